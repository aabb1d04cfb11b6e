"""Laws of the field: centred, turned and moved with its picture, and mapped back exactly."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from galvae.data.prepare import fixed_window, frame, normalised, to_field
from galvae.data.settings import IngestSettings

SIZES = [(212, 212), (423, 423), (424, 424), (39, 44), (54, 54), (69, 69), (128, 128), (150, 200), (300, 127)]
sizes = st.tuples(st.integers(16, 200), st.integers(16, 200))
fields = st.sampled_from([16, 31, 64])


def picture(size, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)


def field_of(pixels, **changes):
    recipe = IngestSettings(**changes)
    return to_field(pixels, frame(pixels.shape[:2], recipe))


def blob(size, x, y, sigma):
    rows, columns = np.indices(size)
    light = 220 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * sigma**2))
    return np.rint(np.dstack([light] * 3)).astype(np.uint8)


def centroid(field):
    light = field[:, :, 0].astype(float)
    rows, columns = np.indices(light.shape)
    return np.array([(light * columns).sum(), (light * rows).sum()]) / light.sum()


@given(sizes, fields, st.integers(1, 2), st.integers(0, 3), st.booleans())
@settings(max_examples=60)
def test_a_turned_or_flipped_picture_gives_exactly_the_turned_or_flipped_field(size, field, fine, turns, flip):
    pixels = picture(size, seed=turns)
    turned = np.rot90(pixels[:, ::-1] if flip else pixels, turns)
    before = field_of(pixels, field=field, oversample=fine)
    expected = np.rot90(before[:, ::-1] if flip else before, turns)
    np.testing.assert_array_equal(field_of(np.ascontiguousarray(turned), field=field, oversample=fine), expected)


def densities(size, seed=0):
    return np.random.default_rng(seed).normal(30, 5, (*size, 1)).astype(np.float32)


@given(sizes, fields, st.integers(1, 2), st.integers(0, 3), st.booleans())
@settings(max_examples=60)
def test_one_channel_turns_with_its_picture_floats_to_rounding(size, field, fine, turns, flip):
    for pixels, tolerance in ((picture(size, seed=turns)[:, :, 1:2], 0), (densities(size), 1e-6)):
        turned = np.ascontiguousarray(np.rot90(pixels[:, ::-1] if flip else pixels, turns))
        before = field_of(np.ascontiguousarray(pixels), field=field, oversample=fine)
        after = field_of(turned, field=field, oversample=fine)
        assert (after.dtype, after.shape[2]) == (pixels.dtype, 1)
        np.testing.assert_allclose(after, np.rot90(before[:, ::-1] if flip else before, turns), rtol=tolerance)


@given(sizes, fields, st.integers(1, 2))
@settings(max_examples=30)
def test_a_channel_is_filtered_and_padded_as_it_is_among_others(size, field, fine):
    pixels = picture(size)
    one = field_of(np.ascontiguousarray(pixels[:, :, 1:2]), field=field, oversample=fine)
    np.testing.assert_array_equal(one, field_of(pixels, field=field, oversample=fine)[:, :, 1:2])
    floats = field_of(pixels[:, :, 1:2].astype(np.float32), field=field, oversample=fine)
    assert np.abs(floats - one).max() < 1


@pytest.mark.parametrize("side", [28, 40])
def test_a_field_as_large_as_its_cutout_is_the_cutout(side):
    for pixels in (picture((side, side))[:, :, :1].copy(), densities((side, side))):
        np.testing.assert_array_equal(field_of(pixels, field=side, window=side), pixels)


def test_floats_are_padded_with_their_borders_median():
    pixels = densities((40, 50))
    made = field_of(pixels, field=64)
    border = [pixels[:2], pixels[-2:], pixels[2:-2, :2], pixels[2:-2, -2:]]
    np.testing.assert_allclose(made[0, 0, 0], np.median(np.concatenate(border, axis=None)), rtol=1e-6)
    np.testing.assert_array_equal(made[12:52, 7:57], pixels)


@given(sizes, fields, st.integers(1, 2))
@settings(max_examples=40)
def test_what_the_cutout_covers_has_mean_0_and_variance_1(size, field, fine):
    where = frame(size, IngestSettings(field=field, oversample=fine))
    laid = to_field(densities(size), where)
    made, mean, std = normalised(laid, where)
    np.testing.assert_allclose(made * std + mean, laid, rtol=1e-4)
    inside = []
    for n in size:  # centres of field pixels on the cutout
        at = (n - 1) / 2 + (np.arange(where.side) - (where.side - 1) / 2) * where.covers / where.side
        inside.append((at > -0.51) & (at < n - 0.49))
    own = made[np.ix_(*inside)].astype(float)
    np.testing.assert_allclose([own.mean(), own.std()], [0, 1], atol=1e-4)


@given(st.integers(64, 200), fields)
@settings(max_examples=40)
def test_zero_may_be_the_background_whatever_lies_within(side, field):
    where = frame((side, side), IngestSettings(field=field))
    y, x = np.mgrid[:field, :field] - (field - 1) / 2
    outside = np.hypot(x, y) > field / 2
    laid = to_field(densities((side, side)), where)
    made, level, std = normalised(laid, where, background=True)
    assert abs(made[outside].astype(float).mean()) < 1e-4
    np.testing.assert_allclose(made * std + level, laid, rtol=1e-3, atol=1e-4)
    brighter = laid + 7 * ~outside[..., None]
    assert normalised(brighter, where, background=True)[1] == level != normalised(brighter, where)[1]


@given(sizes, fields, st.integers(1, 2))
def test_the_fields_centre_is_the_cutouts_centre(size, field, fine):
    where = frame(size, IngestSettings(field=field, oversample=fine))
    middle = (where.side - 1) / 2
    np.testing.assert_allclose(where.affine @ [middle, middle, 1], [(size[1] - 1) / 2, (size[0] - 1) / 2], atol=1e-9)
    assert where.affine[0, 0] == max(1, min(size) / field) / fine


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("fine", [1, 2])
def test_a_source_lands_where_the_affine_says(size, fine):
    recipe = IngestSettings(oversample=fine)
    where = frame(size, recipe)
    at = np.array([size[1] * 0.45 + 0.3, size[0] * 0.56 - 0.2])
    sigma = max(2.0, 1.2 * min(size) / recipe.field)
    found = where.affine @ [*centroid(to_field(blob(size, *at, sigma), where)), 1]
    assert np.abs(found - at).max() < 0.02 * max(1, min(size) / recipe.field)


@pytest.mark.parametrize(("size", "field"), [((128, 128), 128), ((54, 54), 128), ((69, 69), 91), ((64, 80), 64)])
def test_where_nothing_is_scaled_pixels_are_untouched(size, field):
    pixels = picture(size)
    made = field_of(pixels, field=field)
    inside = [slice((field - n) // 2, (field - n) // 2 + n) if n <= field else slice(None) for n in size]
    outside = [slice((n - field) // 2, (n - field) // 2 + field) if n > field else slice(None) for n in size]
    np.testing.assert_array_equal(made[tuple(inside)], pixels[tuple(outside)])


@given(st.integers(-6, 6), st.integers(-6, 6), st.sampled_from([1, 3]))
def test_content_moved_by_whole_pixels_moves_the_field(x, y, scale):
    size = (64 * scale, 64 * scale)
    still = np.zeros((*size, 3), np.uint8)
    patch = picture((20 * scale, 16 * scale))
    moved = still.copy()
    still[24 * scale : 44 * scale, 20 * scale : 36 * scale] = patch
    moved[(24 + y) * scale : (44 + y) * scale, (20 + x) * scale : (36 + x) * scale] = patch
    np.testing.assert_array_equal(field_of(moved, field=64), np.roll(field_of(still, field=64), (y, x), axis=(0, 1)))


def test_what_the_cutout_does_not_cover_is_its_borders_median():
    pixels = np.full((40, 50, 3), 7, np.uint8)
    pixels[10:30, 10:30] = 200
    made = field_of(pixels, field=64)
    assert (made[:11] == 7).all()
    assert (made[:, :6] == 7).all()
    assert (made[30, 30] == 200).all()


@given(st.integers(65, 300))
@settings(max_examples=20)
def test_downsampling_agrees_with_pillow(size):
    pixels = picture((size, size))
    theirs = np.asarray(Image.fromarray(pixels).resize((64, 64), Image.Resampling.BILINEAR))
    assert np.abs(field_of(pixels, field=64).astype(int) - theirs).max() <= 1


@pytest.mark.parametrize(("size", "side"), [(424, 128), (423, 128), (212, 128), (4096, 128), (129, 128), (300, 31)])
def test_downsampling_is_the_triangle_filter_to_rounding(size, side):
    pixels = picture((size, size))
    where = frame((size, size), IngestSettings(field=side))
    step = size / side
    at = (np.arange(side) - (side - 1) / 2) * step + (size - 1) / 2
    weights = np.clip(1 - np.abs(np.arange(size) - at[:, None]) / step, 0, None)
    weights /= weights.sum(axis=1, keepdims=True)
    exact = np.einsum("yi,xj,ijc->yxc", weights, weights, pixels.astype(float), optimize=True)
    error = to_field(pixels, where) - exact
    assert np.abs(error).max() < 1
    assert np.sqrt(np.mean(error**2)) < 0.3  # a uniform rounding's is 0.289


def test_fixed_windows_are_keyed_by_galaxy_and_seed_and_stay_inside():
    recipe = IngestSettings(crop="fixed", field=96, window=64, oversample=2, crop_sigma=8)
    drawn = np.array([fixed_window(str(number), recipe) for number in range(2000)])
    assert fixed_window("7", recipe) == tuple(drawn[7])
    assert fixed_window("7", recipe.model_copy(update={"seed": 1})) != tuple(drawn[7])
    assert np.abs(drawn).max() == 32
    assert np.abs(drawn.mean(axis=0)).max() < 1.2
    wide = recipe.model_copy(update={"field": 192})
    assert np.std([fixed_window(str(number), wide) for number in range(2000)]) == pytest.approx(16, rel=0.05)
