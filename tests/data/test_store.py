"""The store: what was written comes back, in any order, and half a store is none."""

from __future__ import annotations

import json
import shutil

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galvae.data.store import SCHEMA, ImageStore, part_path, part_summary, write_part
from galvae.files import write_atomically

COUNTS = (5, 0, 7, 1)
IMAGES = np.random.default_rng(0).integers(0, 256, (sum(COUNTS), 6, 6, 3), np.uint8)
NAMES = np.array([f"gálaxy {number}" for number in range(sum(COUNTS))])


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("store")
    start = 0
    for number, count in enumerate(COUNTS):
        rows = slice(start, start + count)
        columns = {"id": NAMES[rows], "table/x": np.arange(start, start + count), "affine": np.ones((count, 2, 3))}
        write_part(part_path(path, number), IMAGES[rows], columns, [(f"bad {number}", "why")] * (number % 2))
        start += count
    parts = [part_summary(part_path(path, number)) for number in range(len(COUNTS))]
    described = {
        "schema": SCHEMA,
        "shape": [6, 6, 3],
        "ingest": {"field": 6, "oversample": 1, "crop": "random"},
        "columns": parts[0]["columns"],
        "parts": [{key: part[key] for key in ("galaxies", "skipped", "digest")} for part in parts],
    }
    write_atomically(path / "store.json", json.dumps(described))
    return ImageStore(path)


def test_columns_come_back(store):
    assert len(store) == 13
    assert store.shape == (6, 6, 3)
    assert store.column_names == ("id", "affine", "table/x")
    assert store.column("id").tolist() == NAMES.tolist()
    assert store.column("table/x").tolist() == list(range(13))
    assert store.column("affine").shape == (13, 2, 3)
    assert store.skipped == [("bad 1", "why"), ("bad 3", "why")]
    with pytest.raises(ValueError, match="no column 'nope'; there are id, affine"):
        store.column("nope")


@given(st.integers(0, 12), st.integers(1, 20))
def test_columns_of_neighbours_are_those_of_the_whole(store, start, count):
    for name in store.column_names:
        found, whole = store.column(name, slice(start, start + count)), store.column(name)
        assert found.dtype.kind == whole.dtype.kind
        np.testing.assert_array_equal(found, whole[start : start + count])


@given(st.lists(st.integers(-13, 12), max_size=20))
def test_rows_come_back_in_any_order_and_as_often_as_asked(store, rows):
    np.testing.assert_array_equal(store.images(np.array(rows, int)), IMAGES[rows])


@given(st.integers(0, 13), st.integers(0, 13))
def test_slices_come_back(store, start, stop):
    np.testing.assert_array_equal(store.images(slice(start, stop)), IMAGES[start:stop])


@pytest.mark.parametrize(
    ("rows", "slices"), [([7, 5, 6, 8], [slice(0, 4)]), ([11, 8, 7, 7, 2, 9], [slice(2, 3), slice(2, 5), slice(6, 7)])]
)
def test_neighbours_are_read_as_a_slice_and_no_row_from_a_list(rows, slices, store, monkeypatch):
    """A list of rows takes h5py twenty times as long."""
    asked = []
    read = h5py.Dataset.__getitem__
    monkeypatch.setattr(h5py.Dataset, "__getitem__", lambda data, key: asked.append(key) or read(data, key))
    np.testing.assert_array_equal(store.images(np.array(rows)), IMAGES[rows])
    assert asked == slices


def test_stores_of_older_versions_are_read(store, tmp_path):
    copy = shutil.copytree(store.path, tmp_path / "copy")
    with h5py.File(part_path(copy, 0), "r+") as part:
        del part["images"]
        part.create_dataset("images", data=IMAGES[:5], chunks=(1, 6, 6, 3), compression="lzf")
    np.testing.assert_array_equal(ImageStore(copy).images([3, 0, 6]), IMAGES[[3, 0, 6]])


@pytest.mark.parametrize("size", [1, 4, 50])
def test_batches_cover_the_store_in_order(store, size):
    rows, images = zip(*store.batches(size), strict=True)
    np.testing.assert_array_equal(np.concatenate(rows), np.arange(13))
    np.testing.assert_array_equal(np.concatenate(images), IMAGES)


def test_a_parts_digest_is_its_contents(tmp_path):
    columns = {"id": np.array(["a", "b"]), "x": np.array([1.0, 2.0])}
    digests = []
    for number, (pixels, changed) in enumerate([(0, {}), (0, {}), (1, {}), (0, {"x": np.array([1.0, 3.0])})]):
        images = np.full((2, 4, 4, 3), pixels, np.uint8)
        write_part(part_path(tmp_path, number), images, {**columns, **changed}, [])
        digests.append(part_summary(part_path(tmp_path, number))["digest"])
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3
    assert not list(tmp_path.glob(".*"))


def test_what_is_no_whole_store_is_refused(store, tmp_path):
    with pytest.raises(FileNotFoundError, match="no image store here"):
        ImageStore(tmp_path)
    (tmp_path / "store.json").write_text(json.dumps({**store.description, "schema": 99}))
    with pytest.raises(ValueError, match=r"store\.json: .*\(schema: Input should be 1 or 2, got 99\); ingest"):
        ImageStore(tmp_path)
    (tmp_path / "store.json").write_text(json.dumps(store.description))
    with pytest.raises(ValueError, match=r"part-00000\.h5 is missing"):
        ImageStore(tmp_path)


def test_floats_come_back_and_an_older_galvae_is_told_so(store, make_store, tmp_path):
    images = np.random.default_rng(0).normal(size=(4, 6, 6, 1)).astype(np.float32)
    floats = make_store(tmp_path / "floats", images)
    assert (floats.dtype, floats.description["schema"], store.dtype) == (np.float32, 2, np.uint8)
    np.testing.assert_array_equal(floats.images([2, 0]), images[[2, 0]])
    described = json.loads((floats.path / "store.json").read_text())
    (floats.path / "store.json").write_text(json.dumps({**described, "dtype": "uint8"}))
    with pytest.raises(OSError, match="not the part that store"):
        ImageStore(floats.path).images([0])


def test_a_store_made_before_there_were_other_pixels_is_one_of_colours(store):
    assert "pixels" not in store.description["ingest"]
    assert (store.ingest["pixels"], store.ingest["invert"]) == ("colour", False)


def _use(path):
    store = ImageStore(path)
    assert store.ingest["oversample"]
    assert store.ingest["crop"]
    assert len(store.digest) == 64
    return [store.images(slice(None)), store.skipped, *(store.column(name) for name in store.column_names)]


def _said(path, use):
    """What was wrong, '' if nothing was; anything else than a ValueError or OSError passes."""
    try:
        use(path)
    except (ValueError, OSError) as error:
        return str(error)
    return ""


def test_a_foreign_or_damaged_description_is_one_line(store, spoiled, tmp_path):
    copy = shutil.copytree(store.path, tmp_path / "copy")
    described = json.loads((copy / "store.json").read_text())
    texts = {"empty": "", "list": "[]", "number": "3", "cut": "{", "null": "null", "latin": b'{"sch\xe9ma": 1}'}
    texts |= {where: json.dumps(value) for where, value in spoiled(described)}
    silent = set()
    for where, text in texts.items():
        (copy / "store.json").write_bytes(text if isinstance(text, bytes) else text.encode())
        said = _said(copy, _use)
        assert "\n" not in said, said
        assert (copy.name in said and "; " in said) or not said, said
        silent |= {where} if not said else set()
    # Nothing reads these but galvae info; a column less, or no part at the end, is another whole store.
    harmless = ("ingest.field", "parts.0.skipped", "parts.1.skipped", "parts.2.skipped", "parts.3.skipped")
    assert {where for where in silent if not where.startswith(harmless)} <= {
        *(f"columns.{n} gone" for n in range(3)), "columns []", "parts.3 gone"
    }  # fmt: skip


def test_a_damaged_part_is_said(store, tmp_path):
    copy = shutil.copytree(store.path, tmp_path / "copy")
    part = part_path(copy, 0)
    whole = part.read_bytes()
    random = np.random.default_rng(0)
    for length in (0, 1, 100, *random.integers(200, len(whole), 20)):
        part.write_bytes(whole[:length])
        assert "remove it and complete the store" in _said(copy, _use), length
    for place in random.integers(0, len(whole), 100):
        part.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        _said(copy, _use)
    part.write_bytes(part_path(store.path, 2).read_bytes())
    assert "not the part that store.json describes" in _said(copy, _use)
    with h5py.File(part, "w") as foreign:
        foreign["images"] = IMAGES
    assert "remove it and complete the store" in _said(copy, _use)
    with pytest.raises(OSError, match="not a whole part of this store"):
        part_summary(part)
