"""Every reader through one suite: the same scene in each format, and what each cannot read."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from astropy.io import fits
from PIL import Image

from galvae.data.readers import hdf5, load
from galvae.data.readers.bands import band_in_header
from galvae.data.readers.base import Place
from galvae.data.readers.fits import _celestial, _read
from galvae.data.readers.pictures import decode
from galvae.data.readers.plan import plan
from galvae.data.settings import IngestSettings

SCENE = np.zeros((40, 52, 3), np.uint8)  # row 0 at the bottom
SCENE[6:12, 30:44] = (250, 120, 60)
SCENE[25:34, 4:10] = (10, 90, 200)
FLUX = np.moveaxis(SCENE.astype(np.float32), 2, 0)  # i, r, g


def encoded(kind, **options):
    data = io.BytesIO()
    Image.fromarray(SCENE[::-1]).save(data, kind, **options)
    return data.getvalue()


def fits_bytes(pixels, **header):
    data = io.BytesIO()
    hdu = fits.PrimaryHDU(pixels)
    hdu.header.update(header)
    hdu.writeto(data)
    return data.getvalue()


def packed_fits(pixels, path):
    hdu = fits.CompImageHDU(pixels, compression_type="RICE_1", quantize_level=64)
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path)


def galaxies(path, **changes):
    recipe = IngestSettings(**changes)
    return [(item, load(item, recipe)) for item in plan([path], recipe)]


def write_bands(folder, wrap=bytes, ending=".fits"):
    for band, plane in zip("irg", FLUX, strict=True):
        (folder / f"obj_{band}{ending}").write_bytes(wrap(fits_bytes(plane)))


def write_fz(folder):
    for band, plane in zip("irg", FLUX, strict=True):
        packed_fits(plane.astype(np.int16), folder / f"obj_{band}.fits.fz")


def write_zip(folder, files):
    with zipfile.ZipFile(folder / "many.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)


def write_hdf5(folder):
    with h5py.File(folder / "Galaxy.h5", "w") as file:
        file["images"] = SCENE[None, ::-1]
        file["name"] = ["obj"]


def write_rotated(folder):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned clockwise
    Image.fromarray(np.rot90(SCENE[::-1])).save(folder / "obj.png", exif=exif)


def write_alpha(folder):
    rgba = np.dstack([SCENE, np.where(SCENE.any(axis=2), 255, 0).astype(np.uint8)])
    rgba[rgba[:, :, 3] == 0, :3] = 99  # hidden colour
    Image.fromarray(rgba[::-1]).save(folder / "obj.png")


FLAVOURS = {
    "png": lambda folder: (folder / "obj.png").write_bytes(encoded("PNG")),
    "png named jpg": lambda folder: (folder / "obj.jpg").write_bytes(encoded("PNG")),
    "png with exif": write_rotated,
    "png with alpha": write_alpha,
    "png gz": lambda folder: (folder / "obj.png.gz").write_bytes(gzip.compress(encoded("PNG"))),
    "zip of png": lambda folder: write_zip(folder, {"images/obj.png": encoded("PNG"), "__MACOSX/._obj.png": b"x"}),
    "hdf5": write_hdf5,
    "fits": write_bands,
    "fits gz": lambda folder: write_bands(folder, gzip.compress, ".fits.gz"),
    "fits bz2": lambda folder: write_bands(folder, bz2.compress, ".fits.bz2"),
    "fits xz": lambda folder: write_bands(folder, lzma.compress, ".fits.xz"),
    "fits named otherwise": lambda folder: write_bands(folder, ending=".jpg"),
    "fits fz": write_fz,
    "fits cube": lambda folder: (folder / "obj.fits").write_bytes(fits_bytes(FLUX, BANDS="irg")),
    "fits cube in another order": lambda folder: (folder / "obj.fits").write_bytes(
        fits_bytes(FLUX[::-1].copy(), BAND0="g", BAND1="r", BAND2="i")
    ),
    "fits cube by recipe": lambda folder: (folder / "obj.fits").write_bytes(fits_bytes(FLUX)),
    "zip of fits": lambda folder: write_zip(
        folder, {f"a/obj_{band}.fits": fits_bytes(plane) for band, plane in zip("irg", FLUX, strict=True)}
    ),
}  # fmt: skip


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_every_format_gives_the_same_scene(flavour, tmp_path):
    FLAVOURS[flavour](tmp_path)
    changes = {"cube_bands": ("i", "r", "g")} if flavour == "fits cube by recipe" else {}
    changes |= {"id_column": "name"} if flavour == "hdf5" else {}
    [(item, cutout)] = galaxies(tmp_path, **changes)
    assert item.id == "obj"
    np.testing.assert_array_equal(cutout.pixels, SCENE)
    assert cutout.bands == (("i", "r", "g") if "fits" in flavour else ())


@pytest.mark.parametrize("options", [{}, {"progressive": True}])
def test_jpeg(options, tmp_path):
    (tmp_path / "obj.jpeg").write_bytes(encoded("JPEG", quality=98, subsampling=0, **options))
    [(_, cutout)] = galaxies(tmp_path)
    assert np.abs(cutout.pixels.astype(int) - SCENE).mean() < 2


def test_grey_cmyk_and_16_bits(tmp_path):
    grey = SCENE[:, :, 0]
    Image.fromarray(grey[::-1]).save(tmp_path / "a.png")
    Image.fromarray(grey[::-1].astype(np.uint16) * 257).save(tmp_path / "b.png")
    Image.fromarray(SCENE[::-1]).convert("CMYK").save(tmp_path / "c.jpg", quality=100)
    a, b, c = [cutout.pixels for _, cutout in galaxies(tmp_path)]
    np.testing.assert_array_equal(a, np.dstack([grey] * 3))
    np.testing.assert_array_equal(b, a)
    assert np.abs(c.astype(int) - SCENE).mean() < 4


def test_integers_with_an_offset_blanks_and_extensions(tmp_path):
    counts = FLUX[0].astype(np.int32)
    weights = fits.ImageHDU(np.ones((40, 52), np.float32), name="WHT")
    image = fits.ImageHDU((counts - 32768).astype(np.int16), name="SCI")
    image.header["BZERO"], image.header["FILTER"], image.header["BLANK"] = 32768, "r SDSS", -32768
    table = fits.BinTableHDU.from_columns([fits.Column("x", "E", array=np.ones(3))])
    fits.HDUList([fits.PrimaryHDU(), table, weights, image]).writeto(tmp_path / "frame.fits")
    [(item, cutout)] = galaxies(tmp_path)
    assert (item.id, cutout.bands) == ("frame", ("r",))
    np.testing.assert_array_equal(np.nan_to_num(cutout.pixels[:, :, 0]), FLUX[0])
    assert np.isnan(cutout.pixels[:, :, 0]).sum() == (counts == 0).sum()


def test_hdf5_rows_have_positions_and_scales_and_integer_ids(tmp_path):
    with h5py.File(tmp_path / "Galaxy10_DECals.h5", "w") as file:
        file["images"] = np.stack([SCENE[::-1], SCENE])
        file["ra"], file["dec"], file["pxscale"] = [10.5, 20.0], [-5.0, 6.0], [0.262, 0.5]
        file["objid"] = np.array([587722952767439450, 587722952767439451])
    (first, one), (second, two) = galaxies(tmp_path, id_column="objid")
    assert (first.id, second.id) == ("587722952767439450", "587722952767439451")
    assert (one.ra, one.dec, one.pixel_scale, two.dec) == (10.5, -5.0, 0.262, 6.0)
    np.testing.assert_array_equal(two.pixels, SCENE[::-1])
    with pytest.raises(ValueError, match=r"no dataset 'nope'; there are .*images.*: set ingest\.images"):
        plan([tmp_path / "Galaxy10_DECals.h5"], IngestSettings(images="nope"))
    with pytest.raises(ValueError, match="expected 2 integers or texts"):
        plan([tmp_path / "Galaxy10_DECals.h5"], IngestSettings(id_column="ra"))


@pytest.mark.parametrize("scale", [0.262, [0.262], [[0.262]]])
def test_hdf5_columns_may_be_of_one_column_and_the_scale_one_number_for_all(scale, tmp_path):
    with h5py.File(tmp_path / "g.h5", "w") as file:
        file["images"] = np.stack([SCENE, SCENE])
        file["ra"], file["dec"], file["pxscale"] = [[10.5], [20.0]], [[-5.0], [6.0]], scale
        file["name"] = [["a"], ["b"]]
    (first, one), (second, two) = galaxies(tmp_path, id_column="name")
    assert (first.id, second.id) == ("a", "b")
    assert (one.ra, one.dec, one.pixel_scale) == (10.5, -5.0, 0.262)
    assert (two.ra, two.dec, two.pixel_scale) == (20.0, 6.0, 0.262)
    found = hdf5.columns(str(tmp_path / "g.h5"), IngestSettings())
    assert {name: list(values) for name, values in found.items()} == {
        "ra": [10.5, 20.0], "dec": [-5.0, 6.0], "name": ["a", "b"],
    }  # fmt: skip


def test_rows_of_several_hdf5_files_have_different_ids(tmp_path):
    for name in ("north", "south"):
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            file["images"] = np.stack([SCENE, SCENE])
    ids = [item.id for item, _ in galaxies(tmp_path)]
    assert ids == ["north_0", "north_1", "south_0", "south_1"]
    assert [item.id for item, _ in galaxies(tmp_path / "south.h5")] == ids[2:]


@pytest.mark.parametrize(
    ("name", "values", "says"),
    [
        ("pxscale", [0.26, -1.0], r"g\.h5: dataset 'pxscale' has -1 in row 2, outside 1e-06 to 3600 arcsec"),
        ("ra", [[400.0], [1.0]], "dataset 'ra' has 400 in row 1, outside 0 to 360 deg"),
        ("ra", [400.0, 1.0], "dataset 'ra' has 400 in row 1, outside 0 to 360 deg"),
        ("dec", [np.nan, 100.0], "dataset 'dec' has 100 in row 2, outside -90 to 90 deg"),
        ("pxscale", -1.0, r"g\.h5: dataset 'pxscale' has -1 in row 1, outside 1e-06 to 3600 arcsec"),
        ("ra", 10.0, r"dataset 'ra' has shape \(\), expected \(2,\), .* set ingest\.ra_column"),
        ("dec", [1.0], r"dataset 'dec' has shape \(1,\), expected \(2,\), .* set ingest\.dec_column"),
        ("ra", ["10:11:12", "1:2:3"], r"dataset 'ra' is text \(10:11:12\).*decimal degrees"),
    ],
)
def test_hdf5_positions_and_scales_that_cannot_be_ones_are_said_at_once(name, values, says, tmp_path):
    with h5py.File(tmp_path / "g.h5", "w") as file:
        file["images"] = np.stack([SCENE, SCENE])
        file[name] = values
    with pytest.raises(ValueError, match=says):
        plan([tmp_path / "g.h5"], IngestSettings())
    other = {"pxscale": "scale_column", "ra": "ra_column", "dec": "dec_column"}[name]
    assert len(plan([tmp_path / "g.h5"], IngestSettings(**{other: "another"}))) == 2


def test_the_gz2_mapping_turns_asset_numbers_into_objids(tmp_path):
    mapping = "objid,sample,asset_id\n587722981736120347,original,1\n587722\n587722981736579107,original,2\n"
    pictures = {f"images/{number}.jpg": encoded("JPEG") for number in (1, 2, 3)}
    write_zip(tmp_path, pictures | {"gz2_filename_mapping.csv": mapping.encode()})
    expected = ["587722981736120347", "587722981736579107", "3"]
    assert [item.id for item in plan([tmp_path / "many.zip"], IngestSettings())] == expected
    folder = tmp_path / "beside" / "images"
    folder.mkdir(parents=True)
    (folder.parent / "gz2_filename_mapping.csv").write_text(mapping)
    for number in (1, 2, 3):
        (folder / f"{number}.jpg").write_bytes(encoded("JPEG"))
    assert [item.id for item in plan([folder], IngestSettings())] == expected


def test_what_is_no_image_is_ignored_in_a_folder_but_not_where_it_is_named(tmp_path):
    for name in ("catalog.csv", "README.md", "notes.txt", "meta.json", ".hidden.png"):
        (tmp_path / name).write_text("id,ra\n1,2\n")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "obj.png").write_bytes(encoded("PNG"))
    assert [item.id for item in plan([tmp_path], IngestSettings())] == ["obj"]
    [item] = plan([tmp_path / "notes.txt"], IngestSettings())
    with pytest.raises(ValueError, match="not an image: neither FITS, JPEG"):
        load(item, IngestSettings())


def test_one_bad_file_in_a_folder_is_skipped_and_an_error_where_it_is_named(tmp_path):
    (tmp_path / "good.png").write_bytes(encoded("PNG"))
    write_zip(tmp_path, {"a.png": encoded("PNG")})
    (tmp_path / "many.zip").write_bytes((tmp_path / "many.zip").read_bytes()[:-30])
    with h5py.File(tmp_path / "catalog.h5", "w") as file:
        file["catalog"] = np.zeros(3)
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nowhere")
    items = plan([tmp_path], IngestSettings())
    assert [item.id for item in items if item.reader == "pictures"] == ["good"]
    assert {Path(item.source).name: item.place[0] for item in items if item.reader != "pictures"} == {
        "catalog.h5": "no dataset 'images'; there are catalog: set ingest.images in the recipe",
        "gone.jpg": "the file cannot be opened",
        "many.zip": "damaged or truncated compressed data",
    }
    for name, why in (("many.zip", "damaged zip archive"), ("catalog.h5", "no dataset 'images'")):
        with pytest.raises(ValueError, match=f"{name}: {why}"):
            plan([tmp_path, tmp_path / name], IngestSettings())


def test_a_name_that_is_no_utf8_is_written_out(tmp_path):
    name = os.fsdecode(b"M\xe9ssier.png")
    (tmp_path / name).write_bytes(encoded("PNG"))
    (tmp_path / name.replace("png", "jpg")).write_bytes(b"")
    good, bad = sorted(plan([tmp_path], IngestSettings()), key=lambda item: item.reader)
    assert (good.id, good.source) == (r"M\xe9ssier", str(tmp_path / r"M\xe9ssier.png"))
    assert load(good, IngestSettings()).pixels.shape == SCENE.shape
    assert bad.source == str(tmp_path / r"M\xe9ssier.jpg")


def test_a_picture_damaged_inside_a_zip_archive_is_said_to_be_when_it_is_read(tmp_path):
    write_zip(tmp_path, {"a.jpg": encoded("JPEG"), "b.jpg": encoded("JPEG")})
    data = bytearray((tmp_path / "many.zip").read_bytes())
    start = data.index(b"b.jpg") + 5
    data[data.index(b"PK", start) - 9] ^= 0xFF
    (tmp_path / "many.zip").write_bytes(data)
    one, other = plan([tmp_path / "many.zip"], IngestSettings())
    load(one, IngestSettings())
    with pytest.raises(ValueError, match="damaged or truncated compressed data"):
        load(other, IngestSettings())


def test_of_zip_archives_only_those_that_end_so_or_are_named_are_opened(tmp_path):
    write_zip(tmp_path, {"media/a.png": encoded("PNG"), "b.docx": b"PK\x03\x04", "c.zip": b"PK\x03\x04"})
    for name in ("many.ZIP", "notes.docx", "photo.jpg"):
        (tmp_path / name).write_bytes((tmp_path / "many.zip").read_bytes())
    (tmp_path / "many.zip").unlink()
    found = [(item.source.rpartition("/")[2], item.reader) for item in plan([tmp_path], IngestSettings())]
    assert found == [("many.ZIP::c.zip", "unreadable"), ("a.png", "pictures"), ("photo.jpg", "unreadable")]
    assert len(plan([tmp_path / "notes.docx"], IngestSettings())) == 2


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
def test_folders_of_archives_written_as_on_windows_are_folders_there_alone(tmp_path, method):
    names = ["set\\", "set\\7.png", "__MACOSX\\._7.png"]
    for system, ids in ((0, ["7"]), (10, ["7"]), (3, ["set\\", "set\\7"])):
        with zipfile.ZipFile(tmp_path / "many.zip", "w") as archive:
            for name in names:
                entry = zipfile.ZipInfo(name)
                entry.create_system, entry.compress_type = system, method
                archive.writestr(entry, encoded("PNG"))
        items = plan([tmp_path / "many.zip"], IngestSettings())
        assert sorted(item.id for item in items) == ids
        assert load(items[-1], IngestSettings()).pixels.shape == SCENE.shape


def test_linked_folders_are_walked_once_and_loops_end(tmp_path):
    (tmp_path / "in" / "sub").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "far.png").write_bytes(encoded("PNG"))
    (tmp_path / "in" / "sub" / "near.png").write_bytes(encoded("PNG"))
    (tmp_path / "in" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in" / "sub" / "loop").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "twin").symlink_to(tmp_path / "in" / "sub")
    assert [item.id for item in plan([tmp_path / "in"], IngestSettings())] == ["far", "near"]


def changed(seed, bytes_=5):
    """A JPEG of a galaxy in which some bytes have changed."""
    random = np.random.default_rng(seed)
    x, y = np.indices((96, 96)) - 48
    light = 200 * np.exp(-np.hypot(x, y) / 8)[..., None] + random.normal(6, 3, (96, 96, 3))
    data = io.BytesIO()
    Image.fromarray(np.clip(light, 0, 255).astype(np.uint8)).save(data, "JPEG", quality=90)
    found = bytearray(data.getvalue())
    for place in random.integers(len(found) // 2, len(found) - 10, bytes_):
        found[place] ^= 0x55
    return bytes(found)


def test_half_of_the_jpegs_in_which_bytes_have_changed_are_refused_and_bytes_between_segments_do_no_harm():
    """The others decode as if nothing had happened: nobody could tell."""
    refused = 0
    for seed in range(40):
        try:
            decode(changed(seed))
        except ValueError:
            refused += 1
        whole = changed(seed, 0)
        for more in (whole[:-2] + bytes(512) + whole[-2:], whole[:20] + bytes(512) + whole[20:]):
            np.testing.assert_array_equal(decode(more), decode(whole))
    assert refused >= 20


BROKEN = {
    "empty.jpg": (b"", "the file is empty"),
    "page.jpg": (b"<html><body>504</body></html>", "not an image"),
    "cut.jpg": (encoded("JPEG")[:500], "damaged or truncated picture"),
    "changed.jpg": (changed(2), "damaged or truncated picture"),
    "cut.png": (encoded("PNG")[:90], "damaged or truncated picture"),
    "cut.fits": (fits_bytes(FLUX)[:8000], "damaged or truncated FITS data"),
    "cut.fits.gz": (gzip.compress(fits_bytes(FLUX))[:60], "damaged or truncated compressed data"),
    "cut.fits.bz2": (bz2.compress(fits_bytes(FLUX))[:60], "damaged or truncated compressed data"),
    "cut.h5": (b"\x89HDF\r\n\x1a\n" + bytes(50), "damaged or truncated HDF5"),
    "line.fits": (fits_bytes(np.ones(9, np.float32)), "no image in this FITS file"),
    "deep.fits": (fits_bytes(np.ones((99, 8, 8), np.float32)), "a cube of 99 planes"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_cannot_be_read_says_why_in_one_line(name, tmp_path):
    data, why = BROKEN[name]
    (tmp_path / name).write_bytes(data)
    [item] = plan([tmp_path], IngestSettings())
    with pytest.raises((ValueError, OSError), match=why) as caught:
        load(item, IngestSettings())
    assert "\n" not in str(caught.value).strip()


def test_only_the_bands_that_are_wanted_are_read(tmp_path):
    write_bands(tmp_path)
    (tmp_path / "obj_z.fits").write_bytes(b"SIMPLE  = rubbish")
    [(_, cutout)] = galaxies(tmp_path)
    assert cutout.bands == ("i", "r", "g")
    [item] = plan([tmp_path], IngestSettings())
    with pytest.raises(ValueError, match="z band"):
        load(item, IngestSettings(bands=("z", "r", "g")))
    with pytest.raises(ValueError, match="no y band"):
        load(item, IngestSettings(bands=("y", "r", "g")))


def test_a_cube_that_names_no_planes_is_not_given_an_order(tmp_path):
    (tmp_path / "obj.fits").write_bytes(fits_bytes(FLUX))
    [(item, cutout)] = galaxies(tmp_path)
    assert cutout.bands == ()
    with pytest.raises(ValueError, match=r"name the planes of a cube by ingest\.cube_bands"):
        load(item, IngestSettings(bands=("i", "r", "g")))
    with pytest.raises(ValueError, match=r"cube of 3 planes, but ingest\.cube_bands names 2"):
        load(item, IngestSettings(cube_bands=("r", "g")))


def test_the_band_in_the_name_wins_over_the_header(tmp_path):
    for band, plane in zip("irg", FLUX, strict=True):
        (tmp_path / f"ngc_{band}.fits").write_bytes(fits_bytes(plane, FILTER="g"))
    [(item, cutout)] = galaxies(tmp_path)
    assert cutout.bands == ("i", "r", "g")
    assert item.source.endswith("ngc_{g,i,r}.fits")


@pytest.mark.filterwarnings("ignore")  # astropy says what it mends
@pytest.mark.parametrize("unit", ["deg", "degree", "degrees", "DEG"])
@pytest.mark.parametrize("planes", [1, 3])
def test_units_of_a_wcs_as_programs_write_them(unit, planes):
    header = fits.Header({"NAXIS": 3 if planes > 1 else 2, "NAXIS1": 64, "NAXIS2": 64})
    for axis, (kind, value) in enumerate([("RA---TAN", 150.0), ("DEC--TAN", 20.0)], 1):
        header.update({f"CTYPE{axis}": kind, f"CRVAL{axis}": value, f"CRPIX{axis}": 32.5, f"CUNIT{axis}": unit})
        header[f"CDELT{axis}"] = 1e-4
    found = _celestial(header)
    assert found.pixel_to_world_values(31.5, 31.5) == pytest.approx([150, 20])


def test_axes_that_are_not_the_images_are_no_sky():
    header = fits.Header({"NAXIS": 3})
    for axis, kind in enumerate(["FREQ", "RA---TAN", "DEC--TAN"], 1):
        header.update({f"CTYPE{axis}": kind, f"CRVAL{axis}": 20.0, f"CRPIX{axis}": 1.0, f"CDELT{axis}": 1e-4})
        header[f"CUNIT{axis}"] = "Hz" if axis == 1 else "degrees"
    assert _celestial(header) is None


@pytest.mark.parametrize("coordinates", [True, False])
def test_what_the_first_header_says_of_band_and_unit_counts_for_an_extension(coordinates, tmp_path):
    first = fits.PrimaryHDU(header=fits.Header({"FILTER": "r", "BUNIT": "nanomaggy", "CTYPE1": "RA---TAN"}))
    image = fits.ImageHDU(FLUX[0], name="SCI")
    if coordinates:
        for axis, (kind, value) in enumerate([("RA---TAN", 150.0), ("DEC--TAN", 20.0)], 1):
            image.header.update({f"CTYPE{axis}": kind, f"CRVAL{axis}": value, f"CDELT{axis}": 1e-4, f"CRPIX{axis}": 1})
    fits.HDUList([first, image]).writeto(tmp_path / "one.fits")
    found = _read(Place(str(tmp_path / "one.fits"), ""))
    assert (band_in_header(found.header), found.header["BUNIT"]) == ("r", "nanomaggy")
    assert (found.wcs is not None) is coordinates
    fits.HDUList([first, fits.ImageHDU(FLUX[0], fits.Header({"BUNIT": "Jy"}), name="SCI")]).writeto(
        tmp_path / "two.fits"
    )
    assert _read(Place(str(tmp_path / "two.fits"), "")).header["BUNIT"] == "Jy"
