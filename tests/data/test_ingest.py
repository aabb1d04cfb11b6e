"""The engine: the same store however it is made, and nothing half-written when it cannot be made."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from PIL import Image

from galvae.data import identity as identities
from galvae.data import ingest as ingesting
from galvae.data.composite import compose
from galvae.data.ingest import identity, ingest, summary
from galvae.data.pixels import pixels_of
from galvae.data.prepare import frame, to_field
from galvae.data.readers.base import Cutout
from galvae.data.settings import IngestSettings
from galvae.data.store import ImageStore
from galvae.files import SCRATCH
from galvae.flags import Flag
from galvae.sky import local_sky

SMALL = IngestSettings(field=24, window=16)


def png(pixels):
    data = io.BytesIO()
    Image.fromarray(pixels[::-1]).save(data, "PNG")
    return data.getvalue()


def pictures(count, size=40):
    random = np.random.default_rng(3)
    return [random.integers(0, 80, (size, size, 3), np.uint8) for _ in range(count)]


def archive(path, count, size=40):
    made = [png(pixels) for pixels in pictures(8, size)]
    with zipfile.ZipFile(path, "w") as zipped:
        for number in range(count):
            zipped.writestr(f"images/{1000 + number}.png", made[number % 8])
    return path


def datasets(store):
    """Every dataset of every part, by part and name."""
    found = {}
    for path in sorted(Path(store).glob("part-*.h5")):
        with h5py.File(path) as part:
            part.visititems(
                lambda name, node, path=path: (
                    found.__setitem__((path.name, name), node[()]) if isinstance(node, h5py.Dataset) else None
                )
            )
    return found


def assert_same(one, other):
    first, second = datasets(one), datasets(other)
    assert first.keys() == second.keys()
    for key, values in first.items():
        assert values.dtype == second[key].dtype
        np.testing.assert_array_equal(values, second[key], err_msg=str(key))
    assert ImageStore(one).digest == ImageStore(other).digest


def test_the_store_does_not_depend_on_the_number_of_workers(tmp_path):
    source = archive(tmp_path / "many.zip", 50)
    for workers in (1, 3):
        done = ingest([source], tmp_path / f"s{workers}", SMALL, workers=workers, quiet=True)
        assert done == {"galaxies": 50, "skipped": 0, "reasons": {}, "unmatched": None}
    assert_same(tmp_path / "s1", tmp_path / "s3")
    store = ImageStore(tmp_path / "s1")
    assert len(list((tmp_path / "s1").glob("part-*.h5"))) == 4
    np.testing.assert_array_equal(store.column("id"), np.arange(1000, 1050))
    assert store.column("id").dtype == np.int64
    assert store.column("source")[3] == f"{source}::images/1003.png"
    assert store.shape == (24, 24, 3)


def test_killed_and_resumed_equals_unbroken(tmp_path):
    source = archive(tmp_path / "many.zip", 600, size=250)
    recipe = SMALL.model_copy(update={"field": 64})
    script = (
        "import sys; from galvae.data.ingest import ingest; from galvae.data.settings import IngestSettings\n"
        "if __name__ == '__main__':\n"
        "    ingest([sys.argv[1]], sys.argv[2], IngestSettings(field=64, window=16), workers=2, quiet=True)\n"
    )
    (tmp_path / "run.py").write_text(script)
    broken, whole = tmp_path / "broken", tmp_path / "whole"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen([sys.executable, tmp_path / "run.py", source, broken], env=environment)
    while not (broken / "part-00000.h5").is_file():
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    time.sleep(0.5)  # its workers end with it
    kept = {path.name: path.stat().st_mtime_ns for path in broken.glob("part-*.h5")}
    assert 0 < len(kept) < 16
    assert not (broken / "store.json").exists()
    with pytest.raises(FileExistsError, match="--resume to go on"):
        ingest([source], broken, recipe, workers=1, quiet=True)
    with pytest.raises(ValueError, match="begun with other inputs, settings"):
        ingest([source], broken, recipe.model_copy(update={"field": 32}), resume=True, quiet=True)
    assert ingest([source], broken, recipe, workers=1, resume=True, quiet=True)["galaxies"] == 600
    assert kept.items() <= {path.name: path.stat().st_mtime_ns for path in broken.glob("part-*.h5")}.items()
    assert not list(broken.glob(SCRATCH))
    ingest([source], whole, recipe, workers=2, quiet=True)
    assert_same(broken, whole)
    before = json.loads((whole / "store.json").read_text())["parts"]
    assert ingest([source], whole, recipe, workers=1, resume=True, quiet=True)["galaxies"] == 600
    assert json.loads((whole / "store.json").read_text())["parts"] == before


def test_what_is_skipped_is_listed_with_its_reason(tmp_path):
    for name, pixels in zip("abc", pictures(3), strict=True):
        (tmp_path / f"{name}.png").write_bytes(png(pixels))
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.png").write_bytes(png(pictures(1)[0]))
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "flat.png").write_bytes(png(np.full((40, 40, 3), 9, np.uint8)))
    done = ingest([tmp_path], tmp_path / "s", SMALL, workers=1, quiet=True)
    assert (done["galaxies"], done["skipped"]) == (3, 3)
    assert summary(done) == "3 galaxies, 3 skipped (50% of the inputs: galvae info says why)"
    reasons = dict(ImageStore(tmp_path / "s").skipped)
    assert reasons == {
        str(tmp_path / "empty.jpg"): "the file is empty",
        str(tmp_path / "flat.png"): "every pixel has the same value",
        str(tmp_path / "sub" / "a.png"): f"duplicate id: a is first in {tmp_path / 'a.png'}",
    }
    with pytest.raises(ValueError, match=r"empty\.jpg: the file is empty"):
        ingest([tmp_path], tmp_path / "strict", SMALL, workers=1, strict=True, quiet=True)
    assert not (tmp_path / "strict").exists()


def test_when_nothing_can_be_ingested_nothing_is_left(tmp_path):
    (tmp_path / "in").mkdir()
    with pytest.raises(ValueError, match="no images in"):
        ingest([tmp_path / "in"], tmp_path / "s", SMALL, quiet=True)
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / "in" / name).write_bytes(b"")
    with pytest.raises(ValueError, match=r"none of 2 inputs .*a\.jpg: the file is empty, and 1 more"):
        ingest([tmp_path / "in"], tmp_path / "s", SMALL, workers=1, quiet=True)
    with pytest.raises(FileNotFoundError, match="no such file or folder"):
        ingest([tmp_path / "nope"], tmp_path / "s", SMALL, quiet=True)
    with pytest.raises(ValueError, match=r"ingest\.window = 16 does not fit ingest\.field = 8"):
        ingest([tmp_path], tmp_path / "s", IngestSettings(field=8, window=16, crop="fixed"), quiet=True)
    assert not (tmp_path / "s").exists()


def test_existing_outputs_are_refused_or_replaced(tmp_path):
    source = archive(tmp_path / "many.zip", 40)
    ingest([source], tmp_path / "s", SMALL, workers=1, quiet=True)
    with pytest.raises(FileExistsError, match="add --overwrite"):
        ingest([source], tmp_path / "s", SMALL, workers=1, quiet=True)
    ingest([source], tmp_path / "s", SMALL, workers=1, limit=5, overwrite=True, quiet=True)
    assert len(ImageStore(tmp_path / "s")) == 5
    assert len(list((tmp_path / "s").glob("part-*.h5"))) == 1
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    with pytest.raises(FileExistsError, match="folder of something else"):
        ingest([source], tmp_path / "mine", SMALL, workers=1, overwrite=True, quiet=True)
    with pytest.raises(FileNotFoundError):
        ingest([tmp_path / "nope"], tmp_path / "s", SMALL, overwrite=True, quiet=True)
    assert len(ImageStore(tmp_path / "s")) == 5


def test_a_store_inside_the_source_is_no_source(tmp_path):
    (tmp_path / "a.png").write_bytes(png(pictures(1)[0]))
    for _ in range(2):
        done = ingest([tmp_path], tmp_path / "s", SMALL, workers=1, overwrite=True, quiet=True)
        assert (done["galaxies"], done["skipped"]) == (1, 0)


def test_ids_are_integers_only_where_every_one_is(tmp_path):
    for name in ("587722952767439450", "007"):
        (tmp_path / f"{name}.png").write_bytes(png(pictures(1)[0]))
    ingest([tmp_path], tmp_path / "s", SMALL, workers=1, quiet=True)
    assert ImageStore(tmp_path / "s").column("id").tolist() == ["007", "587722952767439450"]


def test_fixed_windows_are_recorded_and_the_field_is_whole(tmp_path):
    source = archive(tmp_path / "many.zip", 6)
    ingest([source], tmp_path / "r", SMALL, workers=1, quiet=True)
    ingest([source], tmp_path / "f", SMALL.model_copy(update={"crop": "fixed"}), workers=1, quiet=True)
    random, fixed = ImageStore(tmp_path / "r"), ImageStore(tmp_path / "f")
    np.testing.assert_array_equal(random.images(slice(None)), fixed.images(slice(None)))
    assert not random.column("window").any()
    assert np.abs(fixed.column("window")).max() == 4
    assert fixed.column("window").dtype == np.int32


def sky_files(folder, *, size=(60, 70), star=(31.0, 22.0)):
    """Bands of an asymmetric scene with a star at a known pixel (x, y), and its WCS."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.crpix = ("RA---TAN", "DEC--TAN"), (150.0, 20.0), (20.0, 11.5)
    wcs.wcs.cd = np.array([[-0.3, 0.9], [0.9, 0.3]]) * 1.1e-4
    rows, columns = np.indices(size)
    light = 3 * np.exp(-((columns - star[0]) ** 2 + (rows - star[1]) ** 2) / (2 * 2.5**2))
    planes = [(light * (1 + band / 5)).astype(np.float32) for band in range(3)]
    for band, plane in zip("irg", planes, strict=True):
        hdu = fits.PrimaryHDU(plane, wcs.to_header())
        hdu.header["BUNIT"] = "nanomaggy"
        hdu.writeto(folder / f"obj_{band}.fits")
    return np.dstack(planes), wcs


@pytest.mark.parametrize("field", [24, 61, 128])
def test_fits_and_png_of_one_scene_give_the_same_field(field, tmp_path):
    flux, _ = sky_files(tmp_path)
    colours, _, _ = compose(Cutout(flux, ("i", "r", "g"), unit="nanomaggy"), IngestSettings())
    (tmp_path / "pic.png").write_bytes(png(colours))
    recipe = IngestSettings(field=field, window=16)
    ingest([tmp_path], tmp_path / "s", recipe, workers=1, quiet=True)
    store = ImageStore(tmp_path / "s")
    assert store.column("id").tolist() == ["obj", "pic"]
    np.testing.assert_array_equal(*store.images([0, 1]))
    padded = Flag.PADDED if field > 60 else 0
    assert store.column("flags").tolist() == [padded, padded]
    assert store.column("bands").tolist() == ["i,r,g", ""]
    assert store.column("size").tolist() == [[60, 70]] * 2


def test_weights_beside_images_and_files_packed_twice_are_no_galaxies(tmp_path):
    sky_files(tmp_path)
    for name in ("obj_r.weight.fits", "obj_mask_g.fits", "obj_r.fits.gz"):
        fits.PrimaryHDU(np.eye(60, dtype=np.float32)).writeto(tmp_path / name)
    ways = {"folder": [tmp_path], "all named": sorted(tmp_path.iterdir())}
    for name, sources in ways.items():
        ingest(sources, tmp_path.parent / name, SMALL, workers=1, limit=1, strict=True, quiet=True)
        assert ImageStore(tmp_path.parent / name).column("id").tolist() == ["obj"]
        assert ImageStore(tmp_path.parent / name).column("bands").tolist() == ["i,r,g"]
    # By itself a file is what the user says it is.
    ingest([tmp_path / "obj_r.weight.fits"], tmp_path.parent / "alone", SMALL, workers=1, quiet=True)
    assert len(ImageStore(tmp_path.parent / "alone")) == 1


@pytest.mark.parametrize("written", [{"EQUINOX": 0.0}, {"EQUINOX": 0.0, "RADESYS": "FK5"}])
def test_an_equinox_of_zero_says_nothing(written, tmp_path):
    """Of one band alone, it would lie elsewhere on the sky than the others."""
    _, wcs = sky_files(tmp_path)
    with fits.open(tmp_path / "obj_r.fits", mode="update") as file:
        file[0].header.remove("RADESYS", ignore_missing=True)
        file[0].header.update(written)
    ingest([tmp_path], tmp_path / "s", SMALL, workers=1, quiet=True)
    store = ImageStore(tmp_path / "s")
    assert store.column("bands").tolist() == ["i,r,g"]
    sky = local_sky(store.column("wcs"), 31.0, 22.0)
    there = wcs.pixel_to_world(31.0, 22.0)
    assert SkyCoord(sky.ra[0], sky.dec[0], unit="deg").separation(there).arcsec < 0.1


@pytest.mark.parametrize(("field", "fine"), [(24, 1), (31, 2), (128, 1)])
def test_a_stars_sky_position_comes_back_through_the_store(field, fine, tmp_path):
    _, wcs = sky_files(tmp_path)
    ingest([tmp_path], tmp_path / "s", IngestSettings(field=field, oversample=fine, window=16), workers=1, quiet=True)
    store = ImageStore(tmp_path / "s")
    light = store.images([0])[0].sum(axis=2).astype(float)
    rows, columns = np.indices(light.shape)
    here = [(light * columns).sum() / light.sum(), (light * rows).sum() / light.sum(), 1]
    x, y = store.column("affine")[0] @ here
    assert np.hypot(x - 31, y - 22) < 0.05
    known = WCS(fits.Header.fromstring(store.column("wcs")[0]))
    np.testing.assert_allclose(known.wcs_pix2world([[x, y]], 0), wcs.wcs_pix2world([[31, 22]], 0), atol=2e-5)
    assert store.column("pixel_scale")[0] == pytest.approx(np.hypot(0.3, 0.9) * 1.1e-4 * 3600)


def test_a_table_gives_positions_scales_and_labels(tmp_path):
    for name, pixels in zip(("11", "12", "13"), pictures(3), strict=True):
        (tmp_path / f"{name}.png").write_bytes(png(pixels))
    (tmp_path / "t.csv").write_text("GalaxyID,RA,dec,pxscale,label\n12,150.5,-3,0.3,spiral\n11,10,4,,merger\n")
    ingested = {}
    for north_up in (True, False):
        recipe = SMALL.model_copy(update={"north_up": north_up})
        done = ingest([tmp_path], tmp_path / f"s{north_up}", recipe, table=tmp_path / "t.csv", workers=1, quiet=True)
        assert summary(done) == "3 galaxies, 0 skipped, 1 without a row in the table"
        ingested[north_up] = ImageStore(tmp_path / f"s{north_up}")
    store = ingested[True]
    assert store.column("table/label").tolist() == ["merger", "spiral", ""]
    assert store.column("pixel_scale")[1] == 0.3
    assert [bool(text) for text in store.column("wcs")] == [False, True, False]
    assert not any(ingested[False].column("wcs"))
    wcs = WCS(fits.Header.fromstring(store.column("wcs")[1]))
    np.testing.assert_allclose(wcs.wcs_pix2world([[19.5, 19.5]], 0), [[150.5, -3]], atol=1e-9)
    east, north = wcs.wcs_world2pix([[150.5 + 0.3 / 3600, -3], [150.5, -3 + 0.3 / 3600]], 0)
    assert east == pytest.approx([18.5, 19.5], abs=2e-3)
    assert north == pytest.approx([19.5, 20.5], abs=1e-3)


def test_a_second_object_of_the_same_name_is_skipped_whatever_it_is_made_of(tmp_path):
    for folder in ("A", "B"):
        (tmp_path / folder).mkdir()
        sky_files(tmp_path / folder)
    for _ in range(2):
        done = ingest([tmp_path], tmp_path / "s", SMALL, workers=1, overwrite=True, quiet=True)
        assert (done["galaxies"], done["skipped"]) == (1, 1)
    [(source, reason)] = ImageStore(tmp_path / "s").skipped
    assert source == str(tmp_path / "B" / "obj_{g,i,r}.fits")
    assert reason.startswith("duplicate id: obj is first in ")
    (tmp_path / "A" / "obj_r.fits").write_bytes((tmp_path / "A" / "obj_g.fits").read_bytes())
    with pytest.raises(ValueError, match="begun with other inputs"):
        ingest([tmp_path], tmp_path / "s", SMALL, workers=1, resume=True, quiet=True)


def test_labels_in_hdf5_files_travel_into_the_store(tmp_path):
    random = np.random.default_rng(1)
    for name, labels in (
        ("a", {"ans": np.arange(40, dtype=np.uint8), "survey": np.array([f"s{k}" for k in range(40)], object)}),
        ("b", {"redshift": np.linspace(0, 1, 5), "ans": np.full(5, 9, np.uint8)}),
    ):
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            count = len(labels["ans"])
            file["images"] = random.integers(0, 90, (count, 30, 30, 3), np.uint8)
            file["wavelengths"] = np.zeros(3)
            for column, values in labels.items():
                file[column] = values
    (tmp_path / "p.png").write_bytes(png(pictures(1)[0]))
    ingest([tmp_path], tmp_path / "s", SMALL, workers=1, quiet=True)
    store = ImageStore(tmp_path / "s")
    np.testing.assert_array_equal(store.column("table/ans"), [*range(40), *[9] * 5, np.nan])
    np.testing.assert_array_equal(store.column("table/redshift"), [np.nan] * 40 + [0, 0.25, 0.5, 0.75, 1, np.nan])
    assert store.column("table/survey").tolist() == [f"s{k}" for k in range(40)] + [""] * 6
    assert "table/wavelengths" not in store.column_names
    ingest([tmp_path / "a.h5"], tmp_path / "alone", SMALL, workers=1, quiet=True)
    alone = ImageStore(tmp_path / "alone")
    assert alone.column("table/ans").dtype == np.uint8
    assert alone.column("id").tolist() == [f"a_{k}" for k in range(40)]


def test_a_files_own_pixel_scale_stands_against_the_table(tmp_path):
    sky_files(tmp_path)
    (tmp_path / "pic.png").write_bytes(png(pictures(1)[0]))
    (tmp_path / "t.csv").write_text("id,pxscale\nobj,9.5\npic,0.25\n")
    ingest([tmp_path], tmp_path / "s", SMALL, table=tmp_path / "t.csv", workers=1, quiet=True)
    store = ImageStore(tmp_path / "s")
    np.testing.assert_allclose(store.column("pixel_scale"), [np.hypot(0.3, 0.9) * 1.1e-4 * 3600, 0.25], rtol=1e-6)
    assert store.column("table/pxscale").tolist() == [9.5, 0.25]


@pytest.mark.parametrize("mark", ["store.json", "plan.json", "model.safetensors", "figures.json"])
def test_a_folder_that_galvae_wrote_is_no_source(mark, tmp_path):
    (tmp_path / "a.png").write_bytes(png(pictures(1)[0]))
    before = identity([tmp_path], SMALL)
    (tmp_path / "out" / "figures").mkdir(parents=True)
    (tmp_path / "out" / "figures" / "curves.png").write_bytes(png(pictures(2)[1]))
    assert identity([tmp_path], SMALL) != before
    (tmp_path / "out" / mark).write_text("{}")
    assert identity([tmp_path], SMALL) == before


def test_how_fields_are_made_is_known_by_a_number():
    """Where this fails fields have changed: another number in identity.MADE, and the new digest here."""
    made = hashlib.sha256()
    rng = np.random.default_rng(0)
    for size, shrunk in (((40, 40), 1), ((61, 47), 1), ((30, 50), 1), ((80, 80), 2)):
        pixels = rng.integers(0, 256, (size[0] // shrunk, size[1] // shrunk, 3), np.uint8)
        pixels[:10] = 0  # beyond the edge of a survey
        dark, lost, grey = pixels // 64, pixels.copy(), np.repeat(pixels[..., :1], 3, 2)
        dark[:10] = lost[..., 1] = 0
        for one in (pixels, dark, lost, grey):
            one, told, flags = pixels_of(Cutout(one), SMALL)
            made.update(to_field(one, frame(size, SMALL)).tobytes() + repr((told["missing"], flags)).encode())
    assert (identities.MADE, made.hexdigest()[:16]) == (5, "1a29d0143b4447ed")


def test_what_is_in_the_inputs_decides_whether_they_are_the_same(tmp_path, monkeypatch):
    """Not where they lie, nor how that is written, nor when they were."""
    (tmp_path / "a" / "in").mkdir(parents=True)
    sky_files(tmp_path / "a" / "in")
    (tmp_path / "a" / "in" / "a.png").write_bytes(png(pictures(1)[0]))
    (tmp_path / "a" / "in" / "empty.png").write_bytes(b"")
    with h5py.File(tmp_path / "a" / "in" / "b.h5", "w") as file:
        file["images"] = np.zeros((2, 30, 30, 3), np.uint8)
    archive(tmp_path / "a" / "in" / "z.zip", 2)
    monkeypatch.chdir(tmp_path)
    before = identity([Path("a") / "in"], SMALL)
    assert identity([tmp_path / "a" / "in"], SMALL) == before
    os.utime(tmp_path / "a" / "in" / "a.png", ns=(0, 0))
    (tmp_path / "a").rename(tmp_path / "data")
    folder = Path("data") / "in"
    assert identity([folder], SMALL) == before
    seen = {before, identity([folder], SMALL, limit=3), identity([folder], SMALL.model_copy(update={"seed": 1}))}
    for name in ("a.png", "b.h5", "obj_r.fits"):
        changed = bytearray((folder / name).read_bytes())
        changed[-1] ^= 1
        (folder / name).write_bytes(changed)
        seen.add(identity([folder], SMALL))
    archive(folder / "z.zip", 2, size=41)
    seen.add(identity([folder], SMALL))
    (folder / "a.png").rename(folder / "c.png")
    seen.add(identity([folder], SMALL))
    assert len(seen) == 8


def test_a_store_is_replaced_only_by_a_whole_one(tmp_path, monkeypatch):
    (tmp_path / "in").mkdir()
    source, store = archive(tmp_path / "in" / "many.zip", 20), tmp_path / "s"
    (tmp_path / "bad.jpg").write_bytes(b"")
    ingest([source], store, SMALL, workers=1, quiet=True)
    (store / "notes.txt").write_text("mine")
    before, files = ImageStore(store).digest, {path.name for path in store.iterdir()}
    again = {"workers": 1, "overwrite": True, "quiet": True}
    with pytest.raises(ValueError, match="none of 1 inputs"):
        ingest([tmp_path / "bad.jpg"], store, SMALL, **again)
    with pytest.raises(ValueError, match="the file is empty"):
        ingest([source, tmp_path / "bad.jpg"], store, SMALL, strict=True, **again)
    assert ImageStore(store).digest == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.jpg", "in", "s"]

    def killed(*_):
        raise KeyboardInterrupt

    wide = SMALL.model_copy(update={"field": 30})
    renames = os.replace
    for last, kept in (("_finish", True), ("replace", True), ("rename", False)):
        with monkeypatch.context() as broken:
            if last == "rename":
                broken.setattr(os, "replace", lambda a, b: killed() if Path(b) == store else renames(a, b))
            else:
                broken.setattr(ingesting, last, killed)
            with pytest.raises(KeyboardInterrupt):
                ingest([source], store, wide, **again)
        assert store.exists() == kept
        if kept:
            assert ImageStore(store).digest == before
        ingest([source], store, wide, workers=1, resume=True, quiet=True)
        assert ImageStore(store).shape == (30, 30, 3)
        assert (store / "notes.txt").read_text() == "mine"
        assert {path.name for path in store.iterdir()} == files
        assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.jpg", "in", "s"]
        ingest([source], store, SMALL, **again)
        assert ImageStore(store).digest == before


def test_a_store_names_what_its_fields_are(tmp_path):
    ingest([archive(tmp_path / "many.zip", 2)], tmp_path / "s", SMALL, workers=1, quiet=True)
    described = ImageStore(tmp_path / "s").description
    assert (described["dtype"], described["planes"], described["ingest"]["window"]) == ("uint8", [], 16)


def test_a_linked_store_is_replaced_where_it_lies(tmp_path):
    source = archive(tmp_path / "many.zip", 3)
    ingest([source], tmp_path / "real", SMALL, workers=1, quiet=True)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    ingest([source], tmp_path / "link", SMALL, workers=1, limit=2, overwrite=True, quiet=True)
    assert (tmp_path / "link").is_symlink()
    assert len(ImageStore(tmp_path / "real")) == 2
