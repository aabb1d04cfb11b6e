"""Composites: what is filled, clipped, grey, and recorded."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.visualization import make_lupton_rgb

from galvae.data.composite import compose
from galvae.data.readers.base import Cutout
from galvae.data.settings import IngestSettings
from galvae.flags import Flag

PLAIN = IngestSettings(band_scales=(1, 1, 1))


def galaxy(bands=3, noise=1.0, sky=0.0, size=60):
    random = np.random.default_rng(2)
    rows, columns = np.indices((size, size))
    light = 80 * np.exp(-np.hypot(columns - 30, rows - 30) / 5)
    planes = [light * (1 + 0.5 * band) + sky + noise * random.normal(size=light.shape) for band in range(bands)]
    return np.dstack(planes).astype(np.float32)


def test_nanomaggies_are_composed_as_astropy_does_and_recorded():
    flux = galaxy() * 0.02
    recipe = IngestSettings(band_scales=(0.8, 1, 1.6))
    colours, told, flags = compose(Cutout(flux, ("i", "r", "g"), unit="nanomaggy"), recipe)
    expected = make_lupton_rgb(*(flux[:, :, k] * scale for k, scale in enumerate((0.8, 1, 1.6))), stretch=0.5, Q=10)
    np.testing.assert_array_equal(colours, expected)
    assert flags == 0
    assert (told["bands"], told["stretch"], told["missing"]) == ("i,r,g", 0.5, 0)
    assert told["clipped"] == pytest.approx(np.mean((flux * [0.8, 1, 1.6]).sum(axis=2) <= 0))


def test_other_units_are_stretched_by_the_noise_of_the_sky_whatever_unit_and_sky():
    pictures = []
    for gain, sky in ((1.0, 0.0), (37.0, 5000.0)):
        cutout = Cutout((galaxy(noise=2.0) * gain + sky).astype(np.float32), ("i", "r", "g"), reference=1)
        colours, told, _ = compose(cutout, PLAIN)
        assert told["stretch"] == pytest.approx(20 * 2.0 * gain, rel=0.1)
        pictures.append(colours.astype(int))
    assert np.abs(pictures[0] - pictures[1]).max() <= 1


def test_a_stretch_of_the_recipe_is_taken():
    cutout = Cutout(galaxy(), ("i", "r", "g"))
    _, told, _ = compose(cutout, IngestSettings(stretch=3.25))
    assert told["stretch"] == 3.25


@pytest.mark.parametrize("bands", [("r",), ()])
def test_one_band_and_unnamed_planes_are_grey_whatever_their_order(bands):
    flux = galaxy(1 if bands else 4)
    colours, _, flags = compose(Cutout(flux, bands), PLAIN)
    turned, _, _ = compose(Cutout(flux[:, :, ::-1].copy(), bands), PLAIN)
    assert flags == Flag.GREY
    np.testing.assert_array_equal(colours, np.dstack([colours[:, :, 0]] * 3))
    assert np.abs(colours.astype(int) - turned).max() <= 25  # the stretch is the reference plane's


def test_two_bands_have_their_mean_between_them():
    flux = galaxy(2) * 0.02
    middle = np.dstack([flux[:, :, 0], flux.mean(axis=2), flux[:, :, 1]])
    colours, told, flags = compose(Cutout(flux, ("f444w", "f150w"), unit="nanomaggy"), PLAIN)
    three, _, _ = compose(Cutout(middle, ("i", "r", "g"), unit="nanomaggy"), PLAIN)
    assert np.abs(colours.astype(int) - three).max() <= 1
    assert flags == Flag.OTHER_BANDS
    assert told["bands"] == "f444w,f150w"


def test_bands_that_the_recipe_names_are_the_stores_usual_ones():
    _, _, flags = compose(Cutout(galaxy(), ("z", "r", "g")), PLAIN)
    assert flags == Flag.OTHER_BANDS
    _, _, flags = compose(Cutout(galaxy(), ("z", "r", "g")), PLAIN.model_copy(update={"bands": ("z", "r", "g")}))
    assert flags == 0


def test_more_than_half_missing_is_refused():
    flux = galaxy()
    flux[:, :31] = np.nan
    with pytest.raises(ValueError, match=r"too many pixels without a value: 5[12]\.\d%"):
        compose(Cutout(flux, ("i", "r", "g")), PLAIN)


def test_a_sky_below_zero_is_clipped_and_flagged():
    _, told, flags = compose(Cutout(galaxy(sky=-5) * 0.02, ("i", "r", "g"), unit="nanomaggy"), PLAIN)
    assert told["clipped"] > 0.6
    assert flags == Flag.CLIPPED
