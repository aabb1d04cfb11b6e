"""idx files, as MNIST comes in: pictures upright, labels beside them, and what is wrong with a file in one line."""

from __future__ import annotations

import bz2
import gzip
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest

from galvae.data.ingest import ingest
from galvae.data.readers import load
from galvae.data.readers.plan import plan
from galvae.data.settings import IngestSettings
from galvae.data.store import ImageStore

DIGITS = np.random.default_rng(0).integers(0, 256, (5, 10, 12), np.uint8)  # row 0 at the top
LABELS = np.array([7, 2, 1, 0, 4], np.uint8)
GREY = IngestSettings(pixels="grey", field=10, window=10, crop="fixed", crop_sigma=0)
DATA = Path(__file__).parents[3] / "shared" / "data" / "mnist"


def idx(values):
    return struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape) + values.tobytes()


def write(folder, name="train", *, wrap=bytes, ending="", images=DIGITS, labels=LABELS):
    (folder / f"{name}-labels-idx1-ubyte{ending}").write_bytes(wrap(idx(labels)))
    path = folder / f"{name}-images-idx3-ubyte{ending}"
    path.write_bytes(wrap(idx(images)))
    return path


@pytest.mark.parametrize(("wrap", "ending"), [(bytes, ""), (gzip.compress, ".gz"), (bz2.compress, ".bz2")])
def test_pictures_are_upright_and_in_their_order(wrap, ending, tmp_path):
    path = write(tmp_path, wrap=wrap, ending=ending)
    items = plan([tmp_path], GREY)  # the labels are no input
    assert [item.id for item in items] == [f"train-images_{row}" for row in range(5)]
    assert items == plan([path], GREY)
    for row in (0, 4, 2, 2):  # in any order
        pixels = load(items[row], GREY).pixels
        np.testing.assert_array_equal(pixels, np.repeat(DIGITS[row, ::-1, :, None], 3, 2))


def test_grey_fields_are_the_pictures_and_labels_a_column(tmp_path):
    path = write(tmp_path, images=DIGITS[:, :, :10].copy())
    ingest([path], tmp_path / "s", GREY, workers=1, quiet=True)
    store = ImageStore(tmp_path / "s")
    assert (store.shape, store.dtype, store.description["schema"]) == ((10, 10, 1), np.uint8, 1)
    np.testing.assert_array_equal(store.images(slice(None))[..., 0], DIGITS[:, ::-1, :10])
    np.testing.assert_array_equal(store.column("table/label"), LABELS)
    assert not store.column("flags").any()
    assert not store.column("window").any()


def test_colours_of_a_grey_picture_are_three_times_its_values(tmp_path):
    path = write(tmp_path)
    settings = IngestSettings(field=10, window=10)
    ingest([path], tmp_path / "s", settings, workers=1, quiet=True)
    store = ImageStore(tmp_path / "s")
    assert store.shape == (10, 10, 3)
    np.testing.assert_array_equal(store.images([1])[0, :, :, 0], DIGITS[1, ::-1, 1:11])
    assert np.ptp(store.images(slice(None)), axis=3).max() == 0


def test_without_labels_beside_it_there_is_no_such_column(tmp_path):
    path = write(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").unlink()
    shutil.move(path, tmp_path / "digits.bin")
    ingest([tmp_path / "digits.bin"], tmp_path / "s", GREY, workers=1, quiet=True)
    store = ImageStore(tmp_path / "s")
    assert store.column("id")[1] == "digits.bin_1"
    assert "table/label" not in store.column_names


def test_two_files_are_told_apart_and_each_keeps_its_labels(tmp_path):
    write(tmp_path)
    write(tmp_path, "t10k", wrap=gzip.compress, ending=".gz", images=DIGITS[:2], labels=LABELS[3:])
    ingest([tmp_path], tmp_path / "s", GREY, workers=1, quiet=True)
    store = ImageStore(tmp_path / "s")
    assert store.column("id").tolist() == [f"t10k-images_{k}" for k in range(2)] + [
        f"train-images_{k}" for k in range(5)
    ]
    assert store.column("table/label").tolist() == [0, 4, *LABELS]


def test_other_labels_make_another_store(tmp_path):
    path = write(tmp_path)
    ingest([path], tmp_path / "s", GREY, workers=1, quiet=True)
    write(tmp_path, labels=LABELS[::-1])
    with pytest.raises(ValueError, match="was begun with other inputs"):
        ingest([path], tmp_path / "s", GREY, workers=1, quiet=True, resume=True)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (idx(DIGITS)[:-60], r"holds 4 of the 5 that its header claims \(556 of 616 bytes\): truncated\?"),
        (idx(DIGITS)[:10], "not an idx file of bytes in 3 dimensions"),
        (idx(DIGITS[:0]), "0 of 10 x 12 pixels by its header; nothing to read"),
        (idx(DIGITS[:, :, :0]), "5 of 10 x 0 pixels by its header; nothing to read"),
        (gzip.compress(idx(DIGITS)[:-60]), "holds 4 of the 5"),
    ],
)
def test_what_cannot_be_read_is_one_line(data, says, tmp_path):
    path = tmp_path / "x-images-idx3-ubyte.gz"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=f"{path.name}: {says}") as caught:
        plan([path], GREY)
    assert "\n" not in str(caught.value)
    [item] = plan([tmp_path], GREY)  # in a folder, beside others
    assert item.reader == "unreadable"


def test_labels_of_other_pictures_are_refused_and_no_images_themselves(tmp_path):
    path = write(tmp_path, labels=LABELS[:3])
    with pytest.raises(ValueError, match=r"5 pictures but 3 labels in .*train-labels-idx1-ubyte; put the"):
        plan([path], GREY)
    [item] = plan([tmp_path / "train-labels-idx1-ubyte"], GREY)
    with pytest.raises(ValueError, match=r"labels of images \(idx1\): name the file of the images"):
        load(item, GREY)


@pytest.mark.skipif(not DATA.is_dir(), reason=f"no real data at {DATA}")
def test_mnist_itself(tmp_path):
    settings = GREY.model_copy(update={"field": 28, "window": 28})
    ingest([DATA / "t10k-images-idx3-ubyte.gz"], tmp_path / "s", settings, workers=1, limit=300, quiet=True)
    store = ImageStore(tmp_path / "s")
    assert store.column("table/label")[:5].tolist() == [7, 2, 1, 0, 4]
    with gzip.open(DATA / "t10k-images-idx3-ubyte.gz") as file:
        digits = np.frombuffer(file.read(16 + 300 * 784)[16:], np.uint8).reshape(300, 28, 28)
    np.testing.assert_array_equal(store.images(slice(None))[..., 0], digits[:, ::-1])
    seven = store.images([0])[0, :, :, 0] > 127  # its bar is at the top
    assert seven.sum(1).argmax() > 14
    assert len(plan([DATA], settings)) == 70000
