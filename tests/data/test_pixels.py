"""What a store keeps of a cutout: colours, grey, or one channel of floats."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from galvae.data.identity import digest_of
from galvae.data.ingest import ingest
from galvae.data.pixels import pixels_of
from galvae.data.readers.base import Cutout
from galvae.data.settings import IngestSettings
from galvae.data.store import ImageStore
from galvae.flags import Flag

GREY, NORMALISED = IngestSettings(pixels="grey"), IngestSettings(pixels="normalised")


@given(arrays(np.uint8, (3, 4, 3)))
def test_grey_is_the_nearest_grey_level_to_the_mean_of_the_colours(colours):
    pixels, _, flags = pixels_of(Cutout(colours), GREY)
    assert (pixels.dtype, pixels.shape, flags) == (np.uint8, (3, 4, 1), 0)
    np.testing.assert_array_equal(pixels[..., 0], np.rint(colours.mean(axis=2)))
    inverted, _, _ = pixels_of(Cutout(colours), GREY.model_copy(update={"invert": True}))
    np.testing.assert_array_equal(inverted, 255 - pixels)
    floats, _, _ = pixels_of(Cutout(colours), NORMALISED)
    np.testing.assert_allclose(floats[..., 0], colours.mean(axis=2), rtol=1e-6)


@given(st.integers(0, 255))
def test_a_grey_picture_keeps_its_values(value):
    pixels, _, _ = pixels_of(Cutout(np.full((2, 2, 3), value, np.uint8)), GREY)
    assert (pixels == value).all()


def test_colours_are_what_they_were():
    colours = np.random.default_rng(0).integers(0, 256, (4, 5, 3), np.uint8)
    pixels, told, flags = pixels_of(Cutout(colours), IngestSettings())
    assert pixels is colours
    assert (list(told), flags) == (["bands", "stretch", "missing", "clipped"], 0)
    with pytest.raises(ValueError, match="fewer than 4 pixels along a side shows no background"):
        IngestSettings(pixels="background-subtracted", field=3, window=3)
    with pytest.raises(ValueError, match="invert = true is for one channel; set pixels to grey or normalised"):
        IngestSettings(invert=True)


def test_of_flux_the_reference_band_is_normalised_and_composites_become_grey(tmp_path):
    rng = np.random.default_rng(0)
    planes = {band: rng.normal(5, 2, (30, 30)).astype(np.float32) for band in "gri"}
    planes["r"][4, 5] = np.nan
    for band, plane in planes.items():
        fits.PrimaryHDU(plane).writeto(tmp_path / f"x_{band}.fits")
    made = {}
    for pixels in ("colour", "grey", "normalised"):
        settings = IngestSettings(pixels=pixels, field=30, window=16)
        ingest(sorted(tmp_path.glob("*.fits")), tmp_path / pixels, settings, workers=1, quiet=True)
        made[pixels] = ImageStore(tmp_path / pixels)
    grey = np.rint(made["colour"].images([0]).mean(axis=3, keepdims=True))
    np.testing.assert_array_equal(made["grey"].images([0]), grey)
    store = made["normalised"]
    assert store.column("bands").tolist() == ["r"]
    assert store.column("flags").tolist() == [Flag.MISSING]
    seen = store.images([0])[0, :, :, 0] * store.column("std")[0] + store.column("mean")[0]
    known = np.isfinite(planes["r"])
    np.testing.assert_allclose(seen[known], planes["r"][known], atol=1e-4)


def test_what_was_begun_before_these_keys_can_be_gone_on_with():
    """The digest of an ingest of colours, and how a store made then is read."""
    known = "5ec885c7d6a16f9cb2b16340f6386357a0356cc03cc7a8956a6cff6d150cc75a"
    digests = {digest_of([], settings) for settings in (IngestSettings(), GREY, NORMALISED)}
    assert len(digests) == 3
    assert digest_of([], IngestSettings()) == known
