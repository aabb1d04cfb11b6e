"""Digits that are turned and moved: laws of the one interpolation, the truth, and the file that ingest reads."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from galvae.data import digits
from galvae.data.digits import COLUMNS, moved_digits, write_digits
from galvae.data.errorpage import is_error_page
from galvae.data.ingest import ingest
from galvae.data.readers import hdf5
from galvae.data.settings import IngestSettings
from galvae.data.store import ImageStore

few = settings(max_examples=15)


def some_digits(count: int = 4, size: int = 28, seed: int = 0) -> np.ndarray:
    """Smooth strokes in the middle, uint8."""
    image = np.zeros((count, size, size))
    draw = np.random.default_rng(seed)
    for one in image:
        for _ in range(4):
            row, column = draw.integers(size // 2 - 5, size // 2 + 3, 2)
            one[row : row + 3, column : column + 6] = 255
    return np.stack([gaussian_filter(one, 1.0) for one in image]).astype(np.uint8)


def moved(image: np.ndarray, theta: float, x: float, y: float, size: int) -> np.ndarray:
    return digits._moved(image, theta, x, y, size).astype(float)


def centre(image: np.ndarray) -> np.ndarray:
    grid = np.arange(len(image)) - (len(image) - 1) / 2
    return np.array([image.sum(0) @ grid, image.sum(1) @ grid]) / image.sum()


@pytest.mark.parametrize("size", [27, 28, 29])
def test_quarter_turns_and_whole_pixels_are_exact(size):
    image = some_digits(1, size)[0]
    for quarters in range(5):
        # np.rot90 turns clockwise where row 0 is at the bottom.
        np.testing.assert_array_equal(moved(image, 90.0 * quarters, 0, 0, size), np.rot90(image, -quarters))
    np.testing.assert_array_equal(moved(image, 0, 2, -3, size), np.roll(image, (-3, 2), (0, 1)))
    np.testing.assert_array_equal(moved(image, 0, 0, 0, size + 10)[5:-5, 5:-5], image)


@few
@given(st.floats(-180, 180), st.floats(-6, 6), st.floats(-6, 6), st.sampled_from([47, 48]), st.integers(0, 99))
def test_the_ink_lands_where_the_truth_says(theta, x, y, canvas, seed):
    image = some_digits(1, seed=seed)[0]
    new = moved(image, theta, x, y, canvas)
    angle = np.radians(theta)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    np.testing.assert_allclose(centre(new), turn @ centre(image.astype(float)) + [x, y], atol=0.05)
    assert new.sum() == pytest.approx(image.sum(), rel=0.02)
    # As sharp as before: what linear interpolation takes is several times as much.
    assert (new**2).sum() == pytest.approx((image.astype(float) ** 2).sum(), rel=0.03)


def test_what_leaves_the_canvas_is_lost():
    image = some_digits(1)[0]
    assert not moved(image, 20, 40, 0, 28).any()
    wide, narrow = moved(image, 20, 9, 0, 48), moved(image, 20, 9, 0, 28)
    np.testing.assert_array_equal(wide[10:-10, 10:-10], narrow)
    assert narrow.sum() < wide.sum()


def test_sigmas_are_as_stated_and_digits_do_not_depend_on_each_other():
    images = some_digits(400, 13)
    new, truth = moved_digits(images, turn_sigma=45, move_sigma=1.4, seed=0)
    assert new.dtype == np.uint8
    assert truth["theta"].std() == pytest.approx(45, rel=0.1)
    for name in ("x", "y"):
        assert truth[name].std() == pytest.approx(1.4, rel=0.1)
        assert truth[name].unit == "pix"
    assert {name: column.description for name, column in truth.columns.items()} == {
        name: description for name, (_, description) in COLUMNS.items()
    }
    some, some_truth = moved_digits(images[7:9], turn_sigma=45, move_sigma=1.4, seed=0, first=7)
    np.testing.assert_array_equal(some, new[7:9])
    assert list(some_truth["id"]) == list(truth["id"][7:9]) == ["000007", "000008"]
    np.testing.assert_array_equal(some_truth["theta"], truth["theta"][7:9])
    far, far_truth = moved_digits(images[:3], turn_sigma=45, move_sigma=14, canvas=112, seed=0)
    assert far.shape == (3, 112, 112)
    np.testing.assert_allclose(far_truth["x"], 10 * truth["x"][:3])
    same, _ = moved_digits(images, turn_sigma=0, move_sigma=0)
    np.testing.assert_array_equal(same, images)


@pytest.mark.parametrize("name", ["digits.h5", "digits.hdf5"])
def test_ingest_reads_what_is_written(tmp_path, name):
    images, truth = moved_digits(some_digits(5), turn_sigma=45, move_sigma=1.4)
    write_digits(tmp_path / name, images, truth, label=np.arange(5))
    path, recipe = str(tmp_path / name), IngestSettings(id_column="id")
    items = list(hdf5.plan(path, recipe))
    assert [item.id for item in items] == list(truth["id"])
    for item, image in zip(items, images, strict=True):
        np.testing.assert_array_equal(hdf5.load(item.place, recipe).pixels[..., 0], image)
    columns = hdf5.columns(path, recipe)
    assert set(columns) == {"id", "theta", "x", "y", "label"}
    np.testing.assert_array_equal(columns["theta"], truth["theta"])
    with h5py.File(path) as file:
        np.testing.assert_array_equal(file["images"][0], images[0][::-1])
        assert file.attrs["turn_sigma"] == 45
    with pytest.raises(FileExistsError):
        write_digits(path, images, truth)
    write_digits(path, images, truth, overwrite=True)


def test_digits_on_a_canvas_are_taken_for_no_page_of_text(tmp_path):
    """Though that is what they look like: few levels, hard edges, an even background."""
    images = np.zeros((5, 28, 28), np.uint8)
    images[:, 8:20:3, 8:20] = 255
    images, truth = moved_digits(images, turn_sigma=0, move_sigma=0, canvas=108)
    assert all(is_error_page(np.stack([image] * 3, -1)) for image in images)
    write_digits(tmp_path / "digits.h5", images, truth)
    frame = {"pixels": "grey", "field": 108, "window": 108, "crop": "fixed", "id_column": "id"}
    ingest([tmp_path / "digits.h5"], tmp_path / "store", IngestSettings.model_validate(frame), workers=1, quiet=True)
    np.testing.assert_array_equal(ImageStore(tmp_path / "store").images(range(5))[..., 0], images)


def test_a_failure_leaves_no_half_file(tmp_path):
    images, truth = moved_digits(some_digits(5), turn_sigma=45, move_sigma=1.4)
    write_digits(tmp_path / "digits.h5", images, truth)
    before = (tmp_path / "digits.h5").read_bytes()
    with pytest.raises(ValueError, match="label"):
        write_digits(tmp_path / "digits.h5", images, truth, label=np.arange(4), overwrite=True)
    truth["wrong"] = [None] * 5
    with pytest.raises(TypeError):
        write_digits(tmp_path / "digits.h5", images, truth, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["digits.h5"]
    assert (tmp_path / "digits.h5").read_bytes() == before


def test_what_are_no_digits_is_refused():
    with pytest.raises(ValueError, match="expected uint8"):
        moved_digits(np.zeros((2, 28, 28)), turn_sigma=1, move_sigma=1)
    with pytest.raises(ValueError, match="expected uint8"):
        moved_digits(np.zeros((2, 28, 27), np.uint8), turn_sigma=1, move_sigma=1)
    with pytest.raises(ValueError, match="below 0"):
        moved_digits(some_digits(), turn_sigma=-1, move_sigma=1)
