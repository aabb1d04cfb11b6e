"""Pictures as files: which way up, and that they are whole."""

import numpy as np
import pytest
import torch
from astropy.io import fits
from PIL import Image

from galvae.inference.model import Model
from galvae.model.settings import ModelSettings
from galvae.model.vae import SpatialVAE
from galvae.sampling import contact_sheet, displayed, interpolate, save_images


@pytest.fixture
def images():
    """Bright at the lower left, row 0 being the bottom; each a little redder than the one before."""
    made = np.full((5, 6, 6, 3), 0.1, np.float32)
    made[:, 0, 0] = 1.0
    made[..., 0] += np.linspace(0, 0.5, 5)[:, None, None]
    return made.clip(0, 1)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    settings = ModelSettings(latents=3, generator_units=8, encoder_units=8)
    return Model(SpatialVAE(settings, window=10, channels=3).eval().requires_grad_(False), {})


def test_interpolation_is_the_straight_line_between_its_ends(model):
    start, end = np.array([0.0, 1.0, -1.0]), np.array([2.0, -1.0, 0.0])
    found = interpolate(model, start, end, steps=5)
    assert found.shape == (5, 10, 10, 3)
    assert np.allclose(found[0], model.canonical(start[None])[0], atol=1e-6)
    assert np.allclose(found[-1], model.canonical(end[None])[0], atol=1e-6)
    assert np.allclose(found[2], model.canonical((start + end)[None] / 2)[0], atol=1e-6)
    assert interpolate(model, start, end, steps=2, size=7).shape == (2, 7, 7, 3)
    with pytest.raises(ValueError, match="in 1 steps; it takes at least 2"):
        interpolate(model, start, end, steps=1)


def test_png_is_a_sheet_the_right_way_up(tmp_path, images):
    save_images(tmp_path / "a.png", images, columns=3)
    sheet = np.asarray(Image.open(tmp_path / "a.png"))
    assert sheet.shape == (2 * 6 + 2, 3 * 6 + 2 * 2, 3)
    assert np.array_equal(sheet, contact_sheet(images, columns=3))
    # A viewer shows row 0 at the top: the bright pixel is in the last row of its image.
    assert sheet[5, 0].tolist() == [255, 255, 255]
    assert sheet[0, 0].tolist() == [26, 26, 26]
    assert (sheet[6:8] == 255).all()
    assert (sheet[8:, 16:] == 255).all()
    # Row by row: the last image is the second of the second row.
    assert sheet[8, 8].tolist() == [round(255 * float(images[4, 5, 0, 0])), 26, 26]


def test_fits_and_npy_keep_the_numbers(tmp_path, images):
    save_images(tmp_path / "a.fits", images)
    found = fits.getdata(tmp_path / "a.fits")
    assert found.shape == (5, 3, 6, 6)
    assert np.array_equal(found.transpose(0, 2, 3, 1), images)
    save_images(tmp_path / "a.NPY", images)
    assert np.array_equal(np.load(tmp_path / "a.NPY"), images)
    assert {path.name for path in tmp_path.iterdir()} == {"a.fits", "a.NPY"}


def test_a_written_file_is_replaced_whole(tmp_path, images, monkeypatch):
    path = tmp_path / "a.npy"
    save_images(path, images)
    save_images(path, images[:2])
    assert len(np.load(path)) == 2

    def full(*arguments):
        raise OSError("no space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(OSError, match="no space"):
        save_images(path, images)
    assert [p.name for p in tmp_path.iterdir()] == ["a.npy"]
    assert len(np.load(path)) == 2


@pytest.mark.parametrize("name", ["a.jpg", "a", "a.fits.gz"])
def test_another_ending_is_refused(tmp_path, images, name):
    with pytest.raises(ValueError, match=r"cannot be written as .*; use one of \.png, \.fits, \.npy"):
        save_images(tmp_path / name, images)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("channels", [1, 2])
def test_other_channels_are_shown_grey(channels):
    grey = np.full((2, 4, 4, channels), 0.5)
    grey[..., -1] = 0.25
    sheet = contact_sheet(grey, columns=2, gap=1)
    assert sheet.shape == (4, 9, 3)
    assert sheet[0, 0].tolist() == [round(255 * grey[0, 0, 0].mean())] * 3


def test_floats_of_any_range_span_grey_and_are_kept_elsewhere(tmp_path):
    images = np.random.default_rng(0).normal(100, 7, (4, 6, 6, 1)).astype(np.float32)
    shown = displayed(images)
    assert (shown.min(), shown.max()) == (0, 1)
    np.testing.assert_allclose(displayed(3 * images - 50), shown, atol=1e-4)
    np.testing.assert_allclose(displayed(images[:1], images), shown[:1])
    values = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(displayed(values), values / 255)
    save_images(tmp_path / "a.npy", images, display=False)
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), images)
    save_images(tmp_path / "a.png", images, display=False)
    assert np.ptp(np.asarray(Image.open(tmp_path / "a.png"))[:6, :6]) > 100


def test_values_beyond_white_and_black_are_cut():
    sheet = contact_sheet(np.array([-0.5, 1.7]).reshape(2, 1, 1, 1), columns=2, gap=0)
    assert sheet[0, :, 0].tolist() == [0, 255]
