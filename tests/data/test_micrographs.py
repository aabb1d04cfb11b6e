"""MRC stacks and STAR tables: what is in them comes out, whatever the header looks like, or one line says why not."""

from __future__ import annotations

import bz2
import gzip
import struct
import sys
from pathlib import Path

import mrcfile
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galvae.data.ingest import ingest
from galvae.data.readers import load
from galvae.data.readers.plan import plan
from galvae.data.settings import IngestSettings
from galvae.data.store import ImageStore

DATA = Path(__file__).parents[3] / "shared" / "data" / "em"
COUNTS = np.random.default_rng(0).integers(0, 100, (6, 14, 18))
EM = IngestSettings(pixels="normalised", field=12, window=12, crop_sigma=0)
TYPES = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2"}


def write(path, stack=COUNTS, *, dtype="<f4", stack_of_images=True):
    with mrcfile.new(path, overwrite=True) as file:
        file.set_data(np.ascontiguousarray(stack).astype(dtype))
        if stack_of_images:
            file.set_image_stack()
        file.voxel_size = 1.5
    return path


def changed(path, at, values):
    data = bytearray(path.read_bytes())
    data[at : at + len(values)] = values
    path.write_bytes(data)
    return path


def swapped(stack):
    return stack.astype("<f4").view(">f4").astype("<f4")


def pixels_of(path, settings=EM):
    return np.array([load(item, settings).pixels[:, :, 0] for item in plan([path], settings)])


def stored(sources, folder, settings=EM, *, name="s", **options):
    ingest(sources, folder / name, settings, workers=1, quiet=True, **options)
    return ImageStore(folder / name)


@pytest.mark.parametrize("mode", TYPES)
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("bare", [False, True])
def test_every_mode_in_either_byte_order_with_and_without_a_stamp(mode, order, bare, tmp_path):
    path = write(tmp_path / "a.mrcs", dtype=order + TYPES[mode])
    assert struct.unpack(f"{order}i", path.read_bytes()[12:16]) == (mode,)
    if bare:  # neither MAP nor the machine stamp
        changed(path, 208, bytes(8))
    found = pixels_of(path)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, COUNTS)  # row 0 at the bottom
    assert [item.id for item in plan([path], EM)] == [f"{number:06d}@a.mrcs" for number in range(1, 7)]


def test_what_has_its_letters_needs_no_ending_and_what_has_its_ending_no_letters(tmp_path):
    one = write(tmp_path / "a.mrc").rename(tmp_path / "noise.dat")
    other = changed(write(tmp_path / "b.mrcs"), 208, bytes(8)).rename(tmp_path / "b.st")
    (tmp_path / "smalltalk.st").write_text("Object subclass: #Galaxy" * 100)
    assert len(pixels_of(one)) == len(pixels_of(other)) == 6
    assert {item.source.rpartition("/")[2] for item in plan([tmp_path], EM)} == {"noise.dat", "b.st"}


@pytest.mark.parametrize(("wrap", "ending"), [(gzip.compress, ".gz"), (bz2.compress, ".bz2")])
def test_packed_stacks_are_read_in_any_order_and_called_as_they_are_unpacked(wrap, ending, tmp_path):
    path = tmp_path / f"a.mrcs{ending}"
    path.write_bytes(wrap(write(tmp_path / "a.mrcs").read_bytes()))
    items = plan([path], EM)
    assert items[0].id == "000001@a.mrcs"
    for row in (5, 1, 1, 3):
        np.testing.assert_array_equal(load(items[row], EM).pixels[:, :, 0], COUNTS[row])


def test_an_extended_header_is_passed_over(tmp_path):
    path = write(tmp_path / "a.mrcs")
    with mrcfile.open(path, "r+") as file:
        file.set_extended_header(np.zeros(100, "V1"))
    np.testing.assert_array_equal(pixels_of(path), COUNTS)


@pytest.mark.parametrize(("width", "size"), [(27.0, 1.5), (0.0, np.nan), (-5.0, np.nan), (1e9, np.nan)])
def test_the_pixels_size_is_a_column_where_it_can_be_one(width, size, tmp_path):
    path = changed(write(tmp_path / "a.mrcs"), 40, struct.pack("<f", width))
    store = stored([path], tmp_path)
    np.testing.assert_allclose(store.column("table/pixel_size_angstrom"), size)
    assert np.isnan(store.column("pixel_scale")).all()  # no angle on the sky


@given(st.floats(0.01, 1e4), st.floats(-1e3, 1e3))
def test_neither_the_scale_of_densities_nor_their_zero_counts(scale, zero):
    from galvae.data.prepare import frame, normalised, to_field

    where = frame(COUNTS.shape[1:], EM)
    first, other = (
        normalised(to_field(values.astype(np.float32)[:, :, None], where), where)[0]
        for values in (COUNTS[0], COUNTS[0] * scale + zero)
    )
    np.testing.assert_allclose(other, first, atol=1e-3 + 1e-5 * abs(zero) / scale)


def test_each_field_has_mean_0_and_variance_1_and_what_was_taken_off_is_kept(tmp_path):
    store = stored([write(tmp_path / "a.mrcs")], tmp_path)
    assert (store.shape, store.dtype, store.description["schema"]) == ((12, 12, 1), np.float32, 2)
    fields = store.images(slice(None)).astype(float)
    np.testing.assert_allclose(fields.mean((1, 2, 3)), 0, atol=1e-6)
    np.testing.assert_allclose(fields.std((1, 2, 3)), 1, atol=1e-6)
    assert np.abs(store.column("mean") - COUNTS.mean()).max() < 10
    dark = stored([tmp_path / "a.mrcs"], tmp_path, EM.model_copy(update={"invert": True}), name="dark")
    np.testing.assert_array_equal(dark.images(slice(None)), -store.images(slice(None)))


def test_blocks_of_zeros_are_values(tmp_path):
    stack = COUNTS - 50.0
    stack[:, :7] = 0  # a mask
    store = stored([write(tmp_path / "a.mrcs", stack)], tmp_path)
    assert not store.column("flags").any()
    assert not store.column("missing").any()


def test_no_more_than_an_image_is_read_at_a_time(tmp_path, monkeypatch):
    from galvae.data.readers import mrc

    asked, read_at = [], mrc.read_at
    monkeypatch.setattr(mrc, "read_at", lambda path, start, size: asked.append(size) or read_at(path, start, size))
    items = plan([write(tmp_path / "a.mrcs")], EM)
    load(items[3], EM)
    assert asked == [1024, 14 * 18 * 4]


BAD = {
    "truncated": (lambda p: p.write_bytes(p.read_bytes()[:4000]), r"holds 2 of the 6 images .*\(4,000 of 7,072"),
    "claims more": (lambda p: changed(p, 8, struct.pack("<i", 60)), "holds 6 of the 60 images that its header claims"),
    "no pixels": (lambda p: changed(p, 0, bytes(8)), "images of 0 x 0 pixels by its header"),
    "negative sides": (lambda p: changed(p, 0, struct.pack("<i", -18)), "images of -18 x 14 pixels by its header"),
    "no images": (lambda p: changed(p, 8, bytes(4)), "0 images by its header"),
    "negative mode": (lambda p: changed(p, 12, struct.pack("<i", -1)), "mode -1 by its header; the modes that are"),
    "complex": (lambda p: changed(p, 12, struct.pack("<i", 4)), "mode 4 by its header; the modes that are read are 0"),
    "other stamp": (lambda p: changed(p, 212, b"\x11\x11"), "wrong byte order: its machine stamp says big-endian, but"),
    "extended header": (lambda p: changed(p, 92, struct.pack("<i", -80)), "an extended header of -80 bytes"),
    "other axes": (lambda p: changed(p, 64, struct.pack("<2i", 2, 1)), "columns and rows lie along axes 2 and 1"),
    "short": (lambda p: p.write_bytes(p.read_bytes()[:500]), "500 bytes are no MRC file, whose header has 1024"),
    "page": (lambda p: p.write_text("<html>" + "sorry " * 400), r"\d+ images of .* in neither byte order; is it"),
    "volumes": (lambda p: changed(p, 88, struct.pack("<i", 401)), r"a 3-D map of 18 x 14 x 6 voxels \(ISPG 401\)"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_bad_stack_is_one_line(name, tmp_path):
    path = write(tmp_path / "a.mrcs")
    spoil, says = BAD[name]
    spoil(path)
    with pytest.raises(ValueError, match=rf"a\.mrcs: {says}") as caught:
        plan([path], EM)
    assert "\n" not in str(caught.value)
    [item] = plan([tmp_path], EM)  # in a folder, beside others
    with pytest.raises(ValueError, match=says):
        load(item, EM)


def test_a_damaged_packed_stack_is_one_line(tmp_path):
    path = tmp_path / "a.mrcs.gz"
    noise = np.random.default_rng(0).normal(size=COUNTS.shape)
    path.write_bytes(gzip.compress(write(tmp_path / "a.mrcs", noise).read_bytes())[:4000])
    with pytest.raises(ValueError, match=r"a\.mrcs\.gz: damaged or truncated compressed data"):
        plan([path], EM)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda stack: np.where(stack == stack[0, 0, 0], np.nan, stack), "pixels are NaN or infinite; mend the image"),
        (lambda stack: np.where(stack > 90, np.inf, stack), "pixels are NaN or infinite; mend the image"),
        (lambda stack: np.full_like(stack, 3), "every pixel has the same value"),
        (lambda stack: swapped(stack + 2), "are the bytes in another order than"),
        (
            lambda stack: swapped(np.sqrt(stack + 2)),
            "are the bytes in another order than",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # mrcfile's own, of what it is given
def test_images_without_values_are_skipped_and_a_stack_of_them_is_one_line(spoil, says, tmp_path):
    whole = np.random.default_rng(1).normal(size=COUNTS.shape)
    some = whole.copy()
    some[:2] = spoil(COUNTS.astype(float))[:2]
    store = stored([write(tmp_path / "a.mrcs", some)], tmp_path)
    assert store.column("id").tolist() == [f"{number:06d}@a.mrcs" for number in (3, 4, 5, 6)]
    assert [source for source, why in store.skipped if says in why] == [
        f"{number:06d}@{tmp_path / 'a.mrcs'}" for number in (1, 2)
    ]
    path = write(tmp_path / "b.mrcs", some[:2])
    said = rf"none of 2 inputs could be ingested: 000001@.*{says}.*, and 1 more"
    with pytest.raises(ValueError, match=said) as caught:
        ingest([path], tmp_path / "none", EM, workers=1, quiet=True)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "none").exists()


def test_a_cube_is_a_map_unless_it_says_or_is_called_otherwise(tmp_path):
    cube = np.random.default_rng(0).normal(size=(9, 9, 9))
    with pytest.raises(ValueError, match=r"a 3-D map of 9 x 9 x 9 voxels \(ISPG 1\).* is a stack, call it \.mrcs"):
        plan([write(tmp_path / "map.mrc", cube, stack_of_images=False)], EM)
    assert len(plan([write(tmp_path / "stack.mrc", cube)], EM)) == 9
    assert len(plan([write(tmp_path / "stack.mrcs", cube, stack_of_images=False)], EM)) == 9
    assert len(plan([write(tmp_path / "slab.mrc", cube[:5], stack_of_images=False)], EM)) == 5


def test_more_bytes_than_images_are_warned_of(tmp_path, capsys):
    path = write(tmp_path / "a.mrcs")
    path.write_bytes(path.read_bytes() + bytes(1008))
    np.testing.assert_array_equal(pixels_of(path), COUNTS)
    assert "warning: " in (said := capsys.readouterr().err)
    assert "1,008 bytes after the last of the 6 images are not read" in said


@pytest.mark.parametrize("pixels", ["colour", "grey"])
def test_densities_have_no_display_values(pixels, tmp_path):
    settings = IngestSettings(pixels=pixels)
    path = write(tmp_path / "a.mrcs")
    with pytest.raises(ValueError, match=rf"a\.mrcs: micrographs .* ingest\.pixels = {pixels}; take the recipe em-neg"):
        plan([path], settings)
    [item] = plan([tmp_path], settings)
    assert item.reader == "unreadable"


OLD = "data_\n\nloop_\n_rlnImageName #1\n_rlnMagnification #2\n_rlnDetectorPixelSize #3\n_rlnAnglePsi #4\n"
NEW = """
# version 30001

data_optics

loop_
_rlnOpticsGroup #1
_rlnImagePixelSize #2
_rlnOpticsGroupName #3
1 2.5 one
2 4.0 two

# version 30001

data_particles

loop_
_rlnImageName #1
_rlnOpticsGroup #2
_rlnAnglePsi #3
_rlnOriginXAngst #4
"""


def test_a_table_of_relion_3_0(tmp_path):
    pytest.importorskip("starfile")
    write(tmp_path / "a.mrcs")
    table = tmp_path / "p.star"
    table.write_text(OLD + "3@a.mrcs 50000 5 10.5\n1@a.mrcs 50000 5 -20\n")
    store = stored([table], tmp_path)
    assert store.column("id").tolist() == ["3@a.mrcs", "1@a.mrcs"]
    assert store.column("table/rlnAnglePsi").tolist() == [10.5, -20]
    np.testing.assert_allclose(store.column("table/pixel_size_angstrom"), 1.0)
    alone = stored([tmp_path / "a.mrcs"], tmp_path, name="alone")
    np.testing.assert_array_equal(alone.images([2, 0]), store.images(slice(None)))


def test_a_table_of_relion_3_1_names_stacks_from_the_project_above(tmp_path):
    pytest.importorskip("starfile")
    (tmp_path / "Extract" / "job7").mkdir(parents=True)
    write(tmp_path / "Extract" / "job7" / "a.mrcs")
    write(tmp_path / "Extract" / "job7" / "b.mrcs", COUNTS[::-1])
    table = tmp_path / "Extract" / "p.star"
    names = ["000002@Extract/job7/b.mrcs", "000005@Extract/job7/a.mrcs", "000001@Extract/job7/b.mrcs"]
    table.write_text(NEW + "".join(f"{name} {1 + k % 2} {30 * k} 0.{k}\n" for k, name in enumerate(names)))
    store = stored([table], tmp_path)
    assert store.column("id").tolist() == names
    assert store.column("table/pixel_size_angstrom").tolist() == [2.5, 4.0, 2.5]
    assert store.column("table/rlnOpticsGroupName").tolist() == ["one", "two", "one"]
    assert store.column("table/rlnOriginXAngst").tolist() == [0.0, 0.1, 0.2]
    np.testing.assert_allclose(store.column("mean"), COUNTS[[4, 4, 5]].mean((1, 2)), atol=8)
    np.testing.assert_array_equal(store.images([0]), store.images([1]))


def test_what_a_table_names_and_is_not_there_is_skipped(tmp_path):
    pytest.importorskip("starfile")
    write(tmp_path / "a.mrcs")
    table = tmp_path / "p.star"
    table.write_text(OLD + "".join(f"{name} 1 5 0\n" for name in ("1@a.mrcs", "7@a.mrcs", "2@gone.mrcs")))
    store = stored([table], tmp_path)
    assert store.column("id").tolist() == ["1@a.mrcs"]
    assert {why for _, why in store.skipped} == {
        f"image 7 of {tmp_path / 'a.mrcs'}, which holds 6; take the stack that belongs to the table",
        "the stack gone.mrcs lies neither in the table's folder nor, by this path, in one above it",
    }


def test_a_table_counts_only_where_it_is_named_and_is_part_of_what_the_store_is(tmp_path):
    pytest.importorskip("starfile")
    write(tmp_path / "a.mrcs")
    table = tmp_path / "p.star"
    table.write_text(OLD + "1@a.mrcs 1 5 0\n")
    assert len(plan([tmp_path], EM)) == 6
    stored([table], tmp_path)
    table.write_text(OLD + "1@a.mrcs 1 5 90\n")
    with pytest.raises(ValueError, match="was begun with other inputs"):
        stored([table], tmp_path, resume=True)


@pytest.mark.parametrize("text", ["hello\n", "", "data_\n\nloop_\n_rlnAnglePsi #1\n3.5\n", "data_optics\n_rlnBox 3\n"])
def test_what_is_no_table_of_images_is_one_line(text, tmp_path):
    pytest.importorskip("starfile")
    table = tmp_path / "p.star"
    table.write_text(text)
    with pytest.raises(
        ValueError, match=r"none of 1 inputs .*the file is empty|p\.star: no table names images"
    ) as caught:
        ingest([table], tmp_path / "s", EM, workers=1, quiet=True)
    assert "\n" not in str(caught.value)


def test_without_starfile_it_is_asked_for(tmp_path, monkeypatch):
    table = tmp_path / "p.star"
    table.write_text(OLD + "1@a.mrcs 1 5 0\n")
    monkeypatch.setitem(sys.modules, "starfile", None)
    with pytest.raises(ValueError, match=r"p\.star: STAR files .* not installed here: pip install 'galvae\[em\]'"):
        plan([table], EM)


REAL = {
    "ay19102021_L3_position6_ribo_it09_bin8_1.82A.mrcs": (
        220, 64, 1.0, "000001@ay19102021_L3_position6_ribo_it09_bin8_1.82A.mrcs",
    ),
    "empiar_10076_7.mrc": (7, 320, np.nan, "000001@empiar_10076_7.mrc"),  # cell size 0
    "empiar_10076_7.star": (7, 320, 1.31, "1@empiar_10076_7.mrc"),
    "hand.mrcs": (100, 64, 1.0, "000001@hand.mrcs"),
    "relion31.mrcs": (5, 256, 1.0, "000001@relion31.mrcs"),  # neither letters nor stamp
    "relion31.star": (5, 256, 2.806, "000001@relion31.mrcs"),
}  # fmt: skip


@pytest.mark.skipif(not DATA.is_dir(), reason=f"no real data at {DATA}")
@pytest.mark.parametrize("name", REAL)
def test_real_stacks(name, tmp_path):
    if name.endswith(".star"):
        pytest.importorskip("starfile")
    settings = EM.model_copy(update={"field": 40, "window": 40})
    store = stored([DATA / name], tmp_path, settings)
    count, side, size, first = REAL[name]
    assert (len(store), store.shape, store.column("id")[0]) == (count, (40, 40, 1), first)
    assert (store.column("size") == side).all()
    np.testing.assert_allclose(store.column("table/pixel_size_angstrom"), size, rtol=1e-3)
    assert np.isfinite(store.images(slice(None))).all()
    stack = DATA / first.partition("@")[2]
    raw = np.fromfile(stack, "<f4", offset=1024, count=side * side).reshape(side, side)
    np.testing.assert_allclose(store.column("mean")[0], raw.mean(), atol=0.02 * raw.std())


@pytest.mark.skipif(not DATA.is_dir(), reason=f"no real data at {DATA}")
def test_every_real_file_is_expected():
    assert {path.name for path in DATA.iterdir()} == {*REAL, "PROVENANCE.md"}
