"""Pixels without a value are found, counted and filled; skies without noise, black skies and digits miss nothing."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from galvae.data.composite import compose
from galvae.data.missing import fill_missing, filled, lost_or_grey, share
from galvae.data.pixels import pixels_of
from galvae.data.readers.base import Cutout
from galvae.data.settings import IngestSettings
from galvae.flags import Flag

PLAIN = IngestSettings(band_scales=(1, 1, 1))


def galaxy(noise=1.0, sky=0.0, size=60):
    random = np.random.default_rng(2)
    rows, columns = np.indices((size, size))
    light = 80 * np.exp(-np.hypot(columns - 30, rows - 30) / 5)
    planes = [light * (1 + 0.5 * band) + sky + noise * random.normal(size=light.shape) for band in range(3)]
    return np.dstack(planes).astype(np.float32)


def picture(noise=3.0, sky=15.0):
    return np.clip(np.rint(galaxy(noise, sky)), 0, 255).astype(np.uint8)


def test_missing_pixels_are_filled_with_the_borders_median_and_counted():
    flux = galaxy(sky=10)
    flux[5:9, 5:20] = np.nan
    flux[40, 40, 1] = np.inf
    filled, missing = fill_missing(flux)
    assert share(missing) == pytest.approx((4 * 15 + 1) / 3600)
    assert np.isfinite(filled).all()
    np.testing.assert_allclose(filled[5:9, 5:20], 10, atol=0.3)
    _, told, flags = compose(Cutout(flux, ("i", "r", "g")), PLAIN)
    assert flags & Flag.MISSING
    assert told["missing"] == pytest.approx(61 / 3600)


def test_blocks_of_zeros_in_noisy_sky_are_missing_but_a_noise_free_sky_is_not():
    noisy = galaxy()
    noisy[:, :20] = 0
    assert share(fill_missing(noisy)[1]) == pytest.approx(1 / 3)
    clean = np.maximum(galaxy(noise=0) - 1, 0)
    assert (clean == 0).mean() > 0.3
    assert share(fill_missing(clean)[1]) == 0


@given(
    rows=st.integers(8, 27), side=st.integers(0, 3), colour=st.sampled_from([(0, 0, 0), (255, 255, 255), (40, 0, 90)])
)
def test_what_lies_beyond_the_edge_of_a_survey_is_missing_in_a_picture(rows, side, colour):
    """On whichever side; filled, two lines more, with the median of the border that is left."""
    colours = picture()
    colours[:rows] = colour
    colours = np.rot90(colours, side)
    found, missing = fill_missing(colours)
    assert found.dtype == np.uint8
    assert share(missing) == pytest.approx((rows + 2) / 60)
    upright, seen = np.rot90(found, -side), np.rot90(colours, -side)
    np.testing.assert_allclose(upright[: rows + 2], 15, atol=1)
    assert np.array_equal(upright[rows + 2 :], seen[rows + 2 :])
    _, told, flags = pixels_of(Cutout(colours), PLAIN)
    assert flags == Flag.MISSING
    assert told["missing"] == pytest.approx((rows + 2) / 60)


@pytest.mark.parametrize("rows", [8, 20])
def test_what_lies_beyond_the_edge_is_missing_beside_a_sky_that_is_nearly_black(rows):
    """None of its pixels is more than three grey levels off, but they are not all the same."""
    colours = np.minimum(picture(noise=1, sky=1.5), 3)
    colours[20:40, 20:40] = picture()[20:40, 20:40]
    assert share(fill_missing(colours)[1]) == 0
    colours[:rows] = 0
    assert share(fill_missing(colours)[1]) == pytest.approx((rows + 2) / 60)


@pytest.mark.parametrize("channel", [0, 1, 2, [0, 1], [1, 2]])
@pytest.mark.parametrize("value", [0, 90, 255])
@pytest.mark.parametrize("quality", [None, 100])
def test_a_picture_of_which_one_channel_is_lost_is_flagged(channel, value, quality):
    """Kept: that a survey's pictures are all of two channels is no reason to refuse them."""
    colours, stream = np.tile(picture(), (2, 2, 1)), io.BytesIO()
    assert pixels_of(Cutout(colours), PLAIN)[2] == 0
    colours[..., channel] = value
    if quality:
        Image.fromarray(colours).save(stream, "JPEG", quality=quality, subsampling=0)
        colours = np.asarray(Image.open(stream))
    found, told, flags = pixels_of(Cutout(colours), PLAIN)
    assert flags == Flag.LOST_CHANNEL
    assert told["missing"] == 0
    assert found is colours


@pytest.mark.parametrize("quality", [None, 75])
def test_a_picture_without_colour_is_grey(quality):
    colours, stream = np.tile(picture(), (2, 2, 1)), io.BytesIO()
    grey = np.repeat(colours[..., :1], 3, 2)
    if quality:
        Image.fromarray(grey).save(stream, "JPEG", quality=quality)
        grey = np.asarray(Image.open(stream))
    assert pixels_of(Cutout(grey), PLAIN)[2] == Flag.GREY
    assert pixels_of(Cutout(colours), PLAIN)[2] == 0
    assert pixels_of(Cutout(grey), IngestSettings(pixels="grey"))[2] == 0  # as all are


@pytest.mark.parametrize("weaker", [1, 0.5, 0.25, 0.15])
@pytest.mark.parametrize("noise", [0, 1])
@pytest.mark.parametrize("size", [60, 400])
def test_a_faint_channel_is_not_lost(weaker, noise, size):
    """Wherever the galaxy lies, and however little of a large picture it takes."""
    light = 240 * np.exp(-np.hypot(*(np.indices((size, size)) - size // 3)) / 5)[..., None]
    light = light * [1, 0.6, weaker] + np.random.default_rng(0).normal(5, noise, (size, size, 3))
    assert lost_or_grey(np.clip(np.rint(light), 0, 255).astype(np.uint8)) == (False, False)


def test_a_picture_without_light_has_neither_lost_a_channel_nor_its_colour():
    blank = np.random.default_rng(0).integers(14, 17, (60, 60, 3), np.uint8)
    for colours in (blank, blank // 100, np.full((60, 60, 3), 255, np.uint8)):
        assert lost_or_grey(colours) == (False, False)


@pytest.mark.parametrize("slope", [0.02, 0.05, 0.1, 0.2])
@pytest.mark.parametrize("noise", [0, 0.5])
@pytest.mark.parametrize("quality", [None, 60, 75, 95])
def test_a_slope_up_from_black_misses_nothing(slope, noise, quality):
    """Whose grey levels, and blocks of a JPEG, have edges all along a row."""
    random = np.random.default_rng(0)
    colours = slope * (np.arange(128)[:, None, None] - 20) + random.normal(0, noise, (128, 128, 3))
    colours, stream = np.clip(np.rint(colours), 0, 255).astype(np.uint8), io.BytesIO()
    if quality:
        Image.fromarray(colours).save(stream, "JPEG", quality=quality)
        colours = np.asarray(Image.open(stream))
    for side in range(4):
        assert share(fill_missing(np.rot90(colours, side))[1]) == 0


@pytest.mark.parametrize("colour", [0, 255])
def test_two_edges_may_lie_opposite(colour):
    colours = picture()
    colours[:10] = colours[-12:] = colour
    assert share(fill_missing(colours)[1]) == pytest.approx(26 / 60)


@pytest.mark.parametrize("quality", [85, 90, 95])
@pytest.mark.parametrize("edge", [44, 48, 50])
def test_an_edge_in_a_jpeg_is_found_to_its_blocks(edge, quality):
    colours, stream = np.tile(picture(), (2, 2, 1)), io.BytesIO()
    colours[:edge] = 0
    Image.fromarray(colours).save(stream, "JPEG", quality=quality)
    _, missing = fill_missing(np.asarray(Image.open(stream)))
    assert share(missing) == pytest.approx(edge / 120, abs=6 / 120)


@pytest.mark.parametrize(("noise", "sky"), [(0, 0), (0, 15), (3, -1), (3, -2), (3, 0), (3, 5)])
@pytest.mark.parametrize("move", [0, 15, 25])
def test_skies_without_noise_or_clipped_at_black_miss_nothing(noise, sky, move):
    """Nor where the galaxy lies at one side."""
    colours = np.roll(picture(noise, sky), move, 1)[:, max(0, move - 5) :]
    found, missing = fill_missing(colours)
    assert share(missing) == 0
    assert found is colours


@given(st.integers(0, 60), st.integers(20, 108), st.floats(-3, 12), st.floats(5, 25))
def test_a_galaxy_on_black_without_noise_misses_nothing(cx, cy, sky, size):
    """As long as its light begins gently: what is cut off at half of its brightness has an edge."""
    y, x = np.indices((128, 128))
    light = 300 * np.exp(-np.hypot(x - cx, (y - cy) / 2) / size) + sky
    colours = np.repeat(np.clip(np.rint(light), 0, 255).astype(np.uint8)[..., None], 3, 2)
    assert share(fill_missing(colours)[1]) == 0


def test_a_slope_a_saturated_star_a_frame_and_a_digit_miss_nothing():
    star, framed, digit = picture(), picture(), np.zeros((28, 28, 3), np.uint8)
    y, x = np.indices((60, 60))
    star[np.hypot(x, y) < 25] = 255
    framed[:8] = framed[-8:] = framed[:, :8] = framed[:, -8:] = 0
    digit[:20, 12:16] = 200
    digit[16:20, 2:22] = 200
    for slope in (0.1, 0.3, 0.5, 1, 2):
        along = np.repeat(np.rint(slope * y).astype(np.uint8)[..., None], 3, 2)
        assert share(fill_missing(along)[1]) == 0
    for colours in (star, framed, digit):
        assert share(fill_missing(colours)[1]) == 0


def test_a_picture_of_which_more_than_half_is_missing_is_refused():
    colours = picture()
    colours[:, :31] = 0
    with pytest.raises(ValueError, match=r"too many pixels without a value: 55\.0%"):
        filled(colours)


def test_a_band_of_zeros_alone_is_missing():
    flux = galaxy()
    flux[:, :, 1] = 0
    flux[:3, :, 1] = np.nan
    with pytest.raises(ValueError, match=r"too many pixels without a value: 100\.0%"):
        filled(flux)


def cut(flux, how):
    """Without what lies at the sides, or in the corners, as a footprint that is turned has it."""
    y, x = np.abs(np.indices(flux.shape[:2]) - (len(flux) - 1) / 2)
    gaps = {
        "one side": np.indices(flux.shape[:2])[0] < 6,
        "four sides": np.maximum(x, y) > len(flux) / 2 - 4,
        "corners": x + y > 0.9 * len(flux) / 1.4,
    }[how]
    return np.where(gaps[..., None], np.nan, flux).astype(np.float32)


@pytest.mark.parametrize("how", ["one side", "four sides", "corners"])
def test_gaps_at_the_sides_change_nothing_of_what_is_seen(how):
    """Both are of pixels that were seen."""
    flux = galaxy(sky=10)
    whole, told, _ = compose(Cutout(flux, ("i", "r", "g")), PLAIN)
    gone = cut(flux, how)
    gone[29:31, 29:31] = gone[33, 27] = np.nan  # nor do gaps in the galaxy
    colours, found, flags = compose(Cutout(gone, ("i", "r", "g")), PLAIN)
    assert flags & Flag.MISSING
    assert found["stretch"] == pytest.approx(told["stretch"], rel=0.15)
    seen = np.isfinite(gone).all(2)
    off = np.abs(colours.astype(int) - whole)
    assert off[seen].mean() < 4
    assert off[20:40, 20:40][seen[20:40, 20:40]].max() <= 15


def test_a_neighbour_at_the_border_makes_no_noise():
    flux = galaxy()
    told = compose(Cutout(flux, ("i", "r", "g")), PLAIN)[1]
    y, x = np.indices(flux.shape[:2])
    beside = flux + 60 * np.exp(-0.5 * np.hypot(x, y - 20) ** 2 / 3**2)[..., None].astype(np.float32)
    assert compose(Cutout(beside, ("i", "r", "g")), PLAIN)[1]["stretch"] == pytest.approx(told["stretch"], rel=0.3)


@pytest.mark.parametrize(("sky", "noise"), [
    (lambda random, light: random.poisson(light + 0.3), 0.55),
    (lambda random, light: np.maximum(random.normal(light, 1), 0), 0.58),
    (lambda random, light: np.rint(random.normal(light + 5, 0.3)), 0.31),
])  # fmt: skip
def test_a_sky_of_counts_or_cut_at_zero_has_noise(sky, noise):
    """Though most of its pixels are the same."""
    flux = sky(np.random.default_rng(0), galaxy(noise=0) * 0.2).astype(np.float32)
    assert compose(Cutout(flux, ("i", "r", "g")), PLAIN)[1]["stretch"] == pytest.approx(20 * noise, rel=0.25)


@pytest.mark.parametrize("odd", range(59))
def test_of_a_turned_picture_the_turned_pixels_are_missing_whatever_one_pixel_is(odd):
    """In the very middle of the first row the odd one is taken for the edge's colour, however the picture lies."""
    colours = np.random.default_rng(0).integers(60, 200, (60, 60, 3), np.uint8)
    colours[:20] = 0
    colours[0, odd] = 255
    before = filled(colours)[1]
    for turns in range(4):
        found = filled(np.ascontiguousarray(np.rot90(colours, turns)))[1]
        assert np.array_equal(
            np.broadcast_to(found, (60, 60, 1)), np.rot90(np.broadcast_to(before, (60, 60, 1)), turns)
        )
