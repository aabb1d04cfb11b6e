"""Bands on one grid: to better than 0.1 pixel, and never by a WCS that the pixels contradict."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.wcs import WCS
from hypothesis import example, given, settings
from hypothesis import strategies as st

from galvae.data.readers.align import onto


def tangent(x=64.5, y=64.5, *, angle=0.0, scale=0.396, mirrored=False):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    wcs.wcs.crval, wcs.wcs.crpix = (150.0, 20.0), (x, y)
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    wcs.wcs.cd = np.array([[-c, s], [s, c]]) @ np.diag([-1.0 if mirrored else 1.0, 1.0]) * scale / 3600
    return wcs


STARS = np.array([[150.0, 20.0], [150.0025, 20.002], [149.998, 19.9975], [150.001, 19.997]])


def sky(wcs, size=128, sigma=1.7):
    """Stars of known places seen through a WCS."""
    rows, columns = np.indices((size, size))
    light = np.zeros((size, size))
    for x, y in wcs.wcs_world2pix(STARS, 0):
        light += 100 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * sigma**2))
    return light.astype(np.float32)


def centre_near(plane, x, y):
    rows, columns = np.indices(plane.shape)
    light = np.where(np.hypot(columns - x, rows - y) < 7, np.nan_to_num(plane), 0)
    return (light * columns).sum() / light.sum(), (light * rows).sum() / light.sum()


@given(st.floats(-3, 3), st.floats(-3, 3), st.floats(-30, 30), st.sampled_from([0.38, 0.396]), st.booleans())
@settings(max_examples=15)
def test_a_shifted_turned_scaled_band_comes_to_the_reference_grid(x, y, angle, scale, mirrored):
    base, other = tangent(), tangent(64.5 + x, 64.5 + y, angle=angle, scale=scale, mirrored=mirrored)
    moved, stale = onto(sky(base), base, sky(other), other, "g")
    assert not stale
    for star in base.wcs_world2pix(STARS, 0):
        assert np.hypot(*np.subtract(centre_near(moved, *star), star)) < 0.02


def test_the_same_grid_is_not_touched():
    plane = sky(tangent())
    moved, stale = onto(plane, tangent(), plane, tangent(64.505, 64.5), "g")
    assert moved is plane
    assert not stale


def test_a_wcs_that_the_pixels_contradict_is_not_followed():
    noise = np.random.default_rng(0).normal(size=(2, 128, 128)).astype(np.float32)
    plane = sky(tangent())
    moved, stale = onto(plane + noise[0], tangent(), plane + noise[1], tangent(64.5, 74.2), "g")
    assert stale
    np.testing.assert_array_equal(moved, plane + noise[1])


def test_a_true_offset_of_many_pixels_is_followed():
    noise = np.random.default_rng(0).normal(size=(2, 128, 128)).astype(np.float32)
    other = tangent(64.5, 74.2)
    moved, stale = onto(sky(tangent()) + noise[0], tangent(), sky(other) + noise[1], other, "g")
    assert not stale
    assert np.isnan(moved[-6:]).all()


@given(st.floats(1.01, 40), st.sampled_from([1.0, 30.0, 100.0, 300.0]), st.integers(0, 1000))
@settings(max_examples=40)
@example(1.05, 30.0, 0)
@example(1.05, 30.0, 1)
@example(20.3, 300.0, 0)
@example(20.3, 300.0, 1)
def test_a_true_wcs_is_believed_however_deep_in_noise_its_band_lies(away, noise, seed):
    other = tangent(64.5, 64.5 + away)
    planes = np.random.default_rng(seed).normal(scale=noise, size=(2, 128, 128)).astype(np.float32)
    _, stale = onto(sky(tangent()) + planes[0], tangent(), sky(other) + planes[1], other, "g")
    assert not stale


def test_a_galaxy_that_fills_the_cutout_does_not_hide_a_stale_wcs():
    rows, columns = np.indices((128, 128))
    glow = 200 * np.exp(-((rows - 63.5) ** 2 + (columns - 63.5) ** 2) / 60**2)  # alike wherever it lies
    noise = np.random.default_rng(0).normal(scale=2, size=(2, 128, 128))
    base, plane = (sky(tangent()) + glow + noise).astype(np.float32)
    for away in (3.1, 9.8):
        assert onto(base, tangent(), plane, tangent(64.5, 64.5 + away), "g")[1]


def test_what_has_no_value_stays_without():
    other = tangent(66.9, 64.5)
    plane = sky(other)
    plane[30:40, 50:60] = np.nan
    moved, _ = onto(sky(tangent()), tangent(), plane, other, "g")
    assert np.isnan(moved[31:39, 49:57]).all()
    assert np.isfinite(moved[:, :40]).sum() > 40 * 120


def test_sizes_that_differ_need_a_wcs():
    with pytest.raises(ValueError, match="g band: 60x50 pixels, the reference band 128x128, and no WCS"):
        onto(sky(tangent()), tangent(), np.zeros((50, 60), np.float32), None, "g")


@pytest.mark.parametrize("scale", [0.396 * 1.07, 0.396 / 2])
def test_bands_of_different_pixel_scales_are_refused(scale):
    other = tangent(scale=scale)
    with pytest.raises(ValueError, match=r"g band: pixels of 0\.\d+ arcsec, the reference band's are of 0\.396"):
        onto(sky(tangent()), tangent(), sky(other), other, "g")


@pytest.mark.parametrize("shape", [(50, 60), (128, 128)])
@pytest.mark.parametrize("away", [0.02, 120.0])
def test_bands_of_different_places_are_refused(shape, away):
    far = tangent()
    far.wcs.crval = 150 + away, 20
    with pytest.raises(ValueError, match="does not overlap"):
        onto(sky(tangent()), tangent(), sky(tangent())[: shape[0], : shape[1]], far, "g")
