"""Adaptive second moments: laws, known Gaussians, photutils, and what cannot be measured."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from photutils.morphology import data_properties

from galvae import moments
from galvae.moments import Moments, adaptive_moments, luminance, matched_covariance, weighted_moments

SIDE = 49


def gaussian(angle, axis_ratio, x, y, *, sigma=5.0, side=SIDE):
    """Centre from the image's middle, pixels."""
    u, v = np.meshgrid(np.arange(side) - (side - 1) / 2 - x, np.arange(side) - (side - 1) / 2 - y)
    along, across = u * math.cos(angle) + v * math.sin(angle), v * math.cos(angle) - u * math.sin(angle)
    return np.exp(-0.5 * (along**2 + (across / axis_ratio) ** 2) / sigma**2)


def axial(a, b):
    """Difference of two axes, radians."""
    return abs(math.remainder(a - b, math.pi))


angles = st.floats(0, math.pi)
ratios = st.floats(0.3, 0.9)
places = st.floats(-6, 6)


@pytest.mark.parametrize(("kind", "rtol"), [(float, 1e-9), (np.float32, 1e-5), (np.uint8, 1e-5), (np.int32, 1e-9)])
def test_weighted_moments_are_sums_over_pixels(monkeypatch, kind, rtol):
    random = np.random.default_rng(0)
    images, centre = (200 * random.random((5, 20, 30))).astype(kind), random.uniform(5, 15, (5, 2))
    angle, ratio, sigma = random.uniform(0, 3, 5), random.uniform(0.2, 1, 5), random.uniform(1, 8, 5)
    cov = matched_covariance(Moments(*centre.T, angle, ratio, sigma, sigma > 0))
    y, x = np.mgrid[:20, :30]
    wanted = []
    for image, (x0, y0), (xx, yy, xy) in zip(images, centre, cov, strict=True):
        off = np.stack([x - x0, y - y0])
        inverse = np.linalg.inv([[xx, xy], [xy, yy]])
        light = image * np.exp(-0.5 * np.einsum("ihw,ij,jhw->hw", off, inverse, off))
        mean = (off * light).sum((1, 2)) / light.sum()
        second = np.einsum("ihw,jhw,hw->ij", off, off, light) / light.sum() - np.outer(mean, mean)
        wanted.append([light.sum(), *mean, second[0, 0], second[1, 1], second[0, 1]])
    for pixels in (1, 1500, 2**16):  # of so many at once
        monkeypatch.setattr(moments, "_PIECE", pixels)
        total, mean, seen = weighted_moments(images, centre, cov)
        assert np.allclose(np.column_stack([total, mean, seen]), wanted, rtol=rtol, atol=rtol)


@given(angles, ratios, places, places)
def test_known_gaussians_are_recovered(angle, axis_ratio, x, y):
    found = adaptive_moments(gaussian(angle, axis_ratio, x, y)[None])
    assert found.ok.all()
    assert math.isclose(found.x[0] - (SIDE - 1) / 2, x, abs_tol=0.01)
    assert math.isclose(found.y[0] - (SIDE - 1) / 2, y, abs_tol=0.01)
    assert axial(found.angle[0], angle) < 0.005
    assert math.isclose(found.axis_ratio[0], axis_ratio, abs_tol=0.005)
    assert math.isclose(found.sigma[0], 5, abs_tol=0.03)
    assert 0 <= found.angle[0] < math.pi


def lopsided(turn):
    """Something that is no Gaussian: a core, a disk and a knot, turned."""
    knot = gaussian(0, 1, 5 * math.cos(turn + 1), 5 * math.sin(turn + 1), sigma=2.0)
    return gaussian(turn, 0.5, 0, 0) + 0.7 * gaussian(turn, 0.8, 0, 0, sigma=2.5) + 0.3 * knot


@given(st.floats(-7, 7))
def test_turned_content_has_the_turned_axis_and_centre(turn):
    before, after = (adaptive_moments(lopsided(t)[None]) for t in (0.0, turn))
    middle = (SIDE - 1) / 2
    x, y = before.x[0] - middle, before.y[0] - middle
    assert axial(after.angle[0], before.angle[0] + turn) < 1e-3
    assert math.isclose(after.x[0] - middle, x * math.cos(turn) - y * math.sin(turn), abs_tol=2e-3)
    assert math.isclose(after.y[0] - middle, y * math.cos(turn) + x * math.sin(turn), abs_tol=2e-3)
    assert math.isclose(after.axis_ratio[0], before.axis_ratio[0], abs_tol=1e-3)


def test_quarter_turns_and_whole_pixels_are_exact():
    image = lopsided(0.3)
    before = adaptive_moments(image[None])
    # Row 0 is at the bottom: numpy's rot90 turns clockwise.
    after = adaptive_moments(np.rot90(image, -1)[None])
    assert axial(after.angle[0], before.angle[0] + math.pi / 2) < 1e-9
    assert np.allclose([after.x[0], after.y[0]], [SIDE - 1 - before.y[0], before.x[0]], atol=1e-9)
    moved = adaptive_moments(np.roll(image, (3, -2), (0, 1))[None], tolerance=1e-12)
    settled = adaptive_moments(image[None], tolerance=1e-12)
    assert np.allclose([moved.x[0], moved.y[0]], [settled.x[0] - 2, settled.y[0] + 3], atol=1e-9)


@pytest.mark.parametrize("turn", [0.0, math.pi / 2, -1e-17, math.pi])
def test_the_angle_lies_below_pi(turn):
    """A galaxy along x whose covariance is off zero by one rounding had an angle of pi."""
    offsets = np.random.default_rng(0).uniform(-1, 1, (40, 2))
    found = adaptive_moments(np.stack([gaussian(turn, 0.6, x, y) for x, y in offsets]))
    assert ((found.angle >= 0) & (found.angle < math.pi)).all()


def test_a_pedestal_is_removed():
    colours = gaussian(0.7, 0.4, 2, -1)[..., None] * [1.0, 0.8, 0.3]
    clean = adaptive_moments(luminance(colours[None]))
    lifted = adaptive_moments(luminance(colours[None] + 0.02))
    assert math.isclose(lifted.axis_ratio[0], 0.4, abs_tol=1e-3)
    for name in ("x", "y", "angle", "axis_ratio", "sigma"):
        assert np.allclose(getattr(lifted, name), getattr(clean, name), atol=1e-6)
    # Removing it matters, or this test would pass without.
    assert adaptive_moments((colours[None] + 0.02).mean(-1)).sigma[0] > clean.sigma[0] + 0.1


def test_luminance_is_the_channel_mean_less_the_borders_median():
    images = np.random.default_rng(0).random((3, 6, 6, 2))
    grey = images.mean(-1)
    for image, found in zip(grey, luminance(images), strict=True):
        border = [image[i, j] for i in range(6) for j in range(6) if i in (0, 5) or j in (0, 5)]
        assert np.allclose(found, image - np.median(border))


@pytest.mark.parametrize("axis_ratio", [0.35, 0.6, 0.85])
@pytest.mark.parametrize("angle", [0.2, 1.5, 1.7, 3.0])
def test_photutils_agrees_on_noiseless_gaussians(angle, axis_ratio):
    image = gaussian(angle, axis_ratio, 1.3, -2.1, sigma=4.0)
    oracle = data_properties(image)
    found = adaptive_moments(image[None])
    assert np.allclose([found.x[0], found.y[0]], oracle.centroid, atol=2e-3)
    assert axial(found.angle[0], math.radians(oracle.orientation.value)) < 1e-3
    assert math.isclose(found.axis_ratio[0], 1 / oracle.elongation.value, abs_tol=2e-3)
    major = np.linalg.eigvalsh(oracle.covariance.value).max()
    assert math.isclose(found.sigma[0], math.sqrt(major), rel_tol=2e-3)


def test_the_start_chooses_among_objects():
    image = gaussian(0.5, 0.7, -12, 0, sigma=2.5) + 0.8 * gaussian(2.0, 0.5, 12, 4, sigma=2.5)
    middle = (SIDE - 1) / 2
    x, y = np.array([middle - 11, middle + 11]), np.array([middle, middle + 3])
    start = Moments(x, y, np.array([0.5, 0.5]), np.array([1.0, 1.0]), np.array([2.5, 2.5]), np.array([True, True]))
    found = adaptive_moments(np.stack([image, image]), start=start)
    assert np.allclose(found.x - middle, [-12, 12], atol=0.05)
    assert axial(found.angle[1], 2.0) < 0.02


def test_objects_of_a_batch_do_not_see_each_other():
    images = np.stack([gaussian(0.4, 0.5, 1, 2), np.zeros((SIDE, SIDE)), gaussian(2.4, 0.8, -3, 0)])
    together = adaptive_moments(images)
    assert together.ok.tolist() == [True, False, True]
    for number in (0, 2):
        alone = adaptive_moments(images[number : number + 1])
        assert alone.x[0] == together.x[number]
        assert alone.angle[0] == together.angle[number]


def unmeasurable():
    rng = np.random.default_rng(0)
    point, far = np.zeros((SIDE, SIDE)), np.zeros((SIDE, SIDE))
    point[20, 30] = 1
    far[0, 0] = 1
    hole = gaussian(0, 0.5, 0, 0)
    hole[24, 24] = np.nan
    cancelling = np.outer(np.arange(SIDE) - 24.0, np.ones(SIDE))
    return {
        "empty": np.zeros((SIDE, SIDE)), "one pixel": point, "corner": far,
        "negative": -gaussian(0.3, 0.5, 1, 1), "NaN": hole, "all NaN": np.full((SIDE, SIDE), np.nan),
        "cancelling": cancelling, "dark middle": rng.random((SIDE, SIDE)) - 2 * gaussian(0, 1, 0, 0),
    }  # fmt: skip


@pytest.mark.parametrize("name", unmeasurable())
def test_nothing_is_measured_where_nothing_can_be(name):
    """Without a warning, which pytest makes an error."""
    found = adaptive_moments(unmeasurable()[name][None])
    assert not found.ok[0]
    for value in (found.x, found.y, found.angle, found.axis_ratio, found.sigma):
        assert np.isnan(value[0])


@given(st.integers(0, 10_000))
def test_noise_is_measured_soundly_or_not_at_all(seed):
    """Light less a background is negative in places, and its weighted covariance may be of something negative."""
    rng = np.random.default_rng(seed)
    images = rng.normal(size=(8, 16, 16))
    images -= np.median(images) * rng.integers(0, 2)
    found = adaptive_moments(images if seed % 3 else np.round(images))
    assert ((found.axis_ratio[found.ok] > 0) & (found.axis_ratio[found.ok] <= 1)).all()
    assert np.isfinite(found.sigma[found.ok]).all()
    assert np.isnan(found.sigma[~found.ok]).all()


@given(angles, st.floats(0.2, 0.95))
def test_an_object_is_its_own_best_start(angle, ratio):
    image = gaussian(angle, ratio, 1, -2)[None]
    found = adaptive_moments(image)
    again = adaptive_moments(image, start=found, iterations=2)
    assert again.ok[0]
    assert math.isclose(again.sigma[0], found.sigma[0], rel_tol=1e-3)
    assert axial(again.angle[0], found.angle[0]) < 1e-3
