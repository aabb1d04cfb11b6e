"""A galaxy's own light: what is measured on the pixels, where the model has said where to look.

A centre measured on the decoded image would carry the decoder's own bias, and moments of all of the light those of
neighbours and arms: the weights begin with that of the decoded galaxy, and what lies on one side only, and is not in
the decoded galaxy, is cut out.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from scipy.ndimage import binary_dilation
from torch import Tensor

from galvae.angles import wrap
from galvae.geometry import Pose, to_object
from galvae.inference.background import Sky
from galvae.inference.canonical import Placement, decoded_at
from galvae.moments import Moments, matched_covariance, weighted_moments
from galvae.windows import View

# Areas of weights over that of the decoded galaxy's matched one: for the centre, and for the axis. What arms do to the
# axis turns with the radius: of weights that are wide apart it cancels. The weight that
# is matched to the light, of which axis ratio and size are, begins as the middle one.
NARROW, AREAS = 0.36, (0.36, 0.85, 2.0)
# Pixels are looked at in a square so much wider than the window: wide weights must not be cut by its frame.
WIDER = 1.5
# Something else begins where a pixel is brighter than the one opposite, and than the decoded galaxy, by so much noise
# and so much of the peak; it reaches so many pixels further.
BRIGHTER, SHARE, REACH = 3.0, 0.12, 2
# No weight is flatter than this.
FLATTEST = 0.15
# How far the matched weight goes each time towards what it sees: galaxies are more peaked than Gaussians, of which one
# step would be all of the way.
FOLLOW = 1.25

_DISC = np.hypot(*np.mgrid[-REACH : REACH + 1, -REACH : REACH + 1])[None] <= REACH


class Light(NamedTuple):
    """What is measured on the own light of B galaxies; NaN where there is nothing to measure.

    Parameters
    ----------
    x, y
        Centre from the window's centre, right and up, window pixels, shape (B,).
    covariance
        Of it, from the noise of the pixels, window pixels squared, shape (B, 2, 2).
    orientation, axis_ratio, sigma
        Major axis, radians in the image, minor over major axis, and standard deviation along the major axis of the
        Gaussian matched to it, window pixels, shape (B,).
    swelling
        By how much ln sigma grows where the light is brighter throughout, over brightness, shape (B,).
    spread
        Standard deviation of axis (radians) and axis ratio between weights of several widths, shape (2, B).
    """

    x: np.ndarray
    y: np.ndarray
    covariance: np.ndarray
    orientation: np.ndarray
    axis_ratio: np.ndarray
    sigma: np.ndarray
    swelling: np.ndarray
    spread: np.ndarray


def measure_light(
    view: View, canonical: Tensor, pose: Pose, placed: Placement, around: Sky, *, steps: int = 6,
    errors: bool = True,
) -> Light:  # fmt: skip
    """Centre and shape of galaxies under Gaussian weights that begin with the decoded galaxy's shape.

    The weight of the centre, narrower than the galaxy, is carried along until it rests on the centroid of the light.
    Those of the axis lie there, keep their areas, each a good part of the next, and take on the axis and the axis ratio
    that the light shows when the weight's own is taken off: of galaxies unlike those trained on the decoded shape is
    only a beginning. The axis is that of their mean ellipticity. Axis ratio and size are those of the weight under
    which the light has the weight's own covariance: adaptive moments about the centre.

    What lies beside the galaxy is cut out for axis and axis ratio: near a pixel, outside of the core, that is much
    brighter than the one opposite and than the decoded galaxy, none counts as brighter than these are. Two arms are
    alike, a lopsided galaxy is decoded, a neighbour is neither.

    Parameters
    ----------
    view
        The windows of B galaxies; what is around them is looked at too.
    canonical, pose
        Decoded galaxies, shape (B, n, n, C), and how they lie in the windows.
    placed
        What was measured on those: centre, axis, axis ratio and size in the windows.
    around
        Their sky.
    steps
        Of each weight towards what it shows.
    errors
        Whether to measure the covariance, else NaN. Without, all is computed in single precision, in two thirds of the
        time: centres differ by less than 1e-5 pixels.
    """
    precision = torch.float64 if errors else torch.float32
    half = (view.window - 1) / 2
    ok = placed.ok & np.isfinite(placed.x)
    first = np.where(ok[:, None], np.stack([placed.x, placed.y], 1), 0)
    side = round(WIDER * view.window / 2) * 2
    middle = first.round() + (half + 0.5) % 1  # so that the pixels, an even number to a side, are the image's own
    rows, columns = np.mgrid[:side, :side] - (side - 1) / 2
    grey = view.of(view.values.mean(1, keepdim=True))
    level = around.level.cpu().to(precision).mean(1)[:, None, None].numpy()

    def grid(place: np.ndarray) -> Tensor:
        return torch.from_numpy(place / half).to(grey.fields)[:, None]

    def sampled(points: Tensor) -> np.ndarray:
        seen = grey.sample(points)[..., 0]
        return seen.unflatten(1, (side, side)).cpu().to(precision).numpy() - level

    at = grid(np.stack([columns.ravel(), rows.ravel()], 1))[:, 0] + grid(middle)
    light = sampled(at)
    noise = around.grey_noise.cpu().to(precision).numpy()
    grain = None
    if errors:
        wide = noise * around.power.sqrt().cpu().numpy()  # weights are as wide as many pixels
        grain = wide[:, None, None] * around.left_at(view, at).unflatten(1, (side, side)).cpu().numpy()
    start = first - middle + (side - 1) / 2
    decoded = matched_covariance(Moments(*start.T, placed.orientation, placed.axis_ratio, placed.sigma, placed.ok))
    decoded = np.where(ok[:, None], decoded, [1.0, 1.0, 0.0])
    narrow = NARROW * decoded
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        centre, scatter, peaked = _centroid_of(light, grain, start, narrow, steps)
        # Which the galaxy is.
        ok &= peaked & (np.hypot(*(centre - start).T) < np.where(placed.ok, placed.sigma, 0))
        place = np.where(ok[:, None], centre - (side - 1) / 2 + middle, 0)
        opposite = sampled(grid(2 * place) - at)
        core = _within(side, centre, narrow)
        alone = _alone(light, opposite, _decoded(canonical, pose, at, side) - level, noise[:, None, None], core)
        shape, spread = _shapes_of(alone, centre, [area * decoded for area in AREAS], steps)
    known = np.where(ok, 1, np.nan)
    return Light(
        *(known[:, None] * place).T,
        known[:, None, None] * scatter,
        *(known * shape), known * spread,
    )  # fmt: skip


def _centroid_of(
    light: np.ndarray, noise: np.ndarray | None, start: np.ndarray, weight: np.ndarray, steps: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """Where a weight comes to rest on light with noise (B, n, n), the covariance of that, and where it is a peak.

    The covariance is NaN where no noise is given.
    """
    centre = start
    for _ in range(steps):
        total, offset, shape = weighted_moments(light, centre, weight)
        response = _response(shape, weight)
        step = np.clip(np.einsum("bij,bj->bi", response, offset), -1, 1)
        centre = np.where(np.isfinite(step), centre + step, centre)
    # A peak, of something bright.
    peaked = (total > 0) & (np.linalg.det(response) > 0) & (np.trace(response, axis1=1, axis2=2) > 0)
    if noise is None:
        return centre, np.full_like(response, np.nan), peaked
    squares, _, spread = weighted_moments(noise**2, centre, weight / 2)
    scatter = _matrix(spread * (squares / total**2)[:, None])
    return centre, response @ np.where(np.isfinite(scatter), scatter, 0) @ response.swapaxes(1, 2), peaked


def _alone(
    light: np.ndarray, opposite: np.ndarray, decoded: np.ndarray, noise: np.ndarray, core: np.ndarray
) -> np.ndarray:  # fmt: skip
    """Light (B, n, n) without what lies beside the galaxy; the core, where a sharp peak has no opposite, is kept."""
    peak = np.minimum(light, opposite).max((1, 2), keepdims=True)  # the galaxy's: no neighbour has an opposite
    alike = np.maximum(opposite, decoded)
    other = (light > alike + BRIGHTER * noise + SHARE * peak) & ~core
    some = np.flatnonzero(other.any((1, 2)))
    other[some] = binary_dilation(other[some], _DISC) & ~core[some]
    return np.where(other, np.minimum(light, alike), light)


def _within(side: int, centre: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """Pixels within one standard deviation of Gaussians of this covariance, (B, 3), shape (B, side, side)."""
    x, y = (np.arange(side) - centre.T[..., None])[:, :, None]
    y = y.swapaxes(1, 2)
    xx, yy, xy = _inverse(shape).T[:, :, None, None]
    return xx * x**2 + yy * y**2 + 2 * xy * x * y < 1


def _decoded(canonical: Tensor, pose: Pose, points: Tensor, side: int) -> np.ndarray:
    """Brightness of decoded galaxies at points of the windows (B, P, 2), grid units, shape (B, side, side)."""
    at = to_object(points.to(canonical), pose)
    seen = decoded_at(canonical.mean(3, keepdim=True), at, beyond="zeros")[..., 0]
    return seen.unflatten(1, (side, side)).cpu().numpy()


def _shapes_of(
    light: np.ndarray, centre: np.ndarray, weights: list[np.ndarray], steps: int
) -> tuple[np.ndarray, np.ndarray]:
    """Axis (of the mean ellipticity), axis ratio, size and swelling (of the matched weight), (4, B), and a spread.

    The weights keep their areas and take on the light's shape; the matched one begins as the middle one and takes on
    its area, too. The spread, (2, B), is that of axis and axis ratio between the first. Where one shows no peak the
    light is round.
    """
    found = [_shape_of(light, centre, weight, steps)[:2] for weight in weights]
    orientations, ratios = zip(*found, strict=True)
    orientation, twist = _mean_axis(np.array(orientations), np.array(ratios))
    spread = np.stack([twist, np.nan_to_num(ratios, nan=1).std(0)])
    _, ratio, area, off, total = _shape_of(light, centre, weights[len(weights) // 2], steps + 2, follow=FOLLOW)
    # Where the weight has not come to rest nothing matches.
    ratio, area = (np.where(np.abs(off) < 0.1, value, np.nan) for value in (ratio, area))
    # A pedestal's light under the weight, as a share e of the galaxy's, makes the area seem 1 + 2 e times as large.
    return np.stack([orientation, ratio, np.sqrt(area / ratio), FOLLOW * 2 * np.pi * area / total]), spread


def _shape_of(
    light: np.ndarray, centre: np.ndarray, weight: np.ndarray, steps: int, *, follow: float = 0.0
) -> tuple[np.ndarray, ...]:
    """Major axis, axis ratio and area of light under a weight that takes on its shape, and so much of its area.

    Returns
    -------
    orientation, axis_ratio, area
        Of the light; the area is that of the weight in the end. NaN where it shows no peak.
    off
        Logarithm of the light's area over that of the weight under which it was seen last.
    total
        Of the light under that.
    """
    area = _area(weight)
    for _ in range(steps):
        total, _, seen = weighted_moments(light, centre, weight)
        precision = _inverse(seen) - _inverse(weight)
        orientation, axis_ratio = _shape(precision)
        off = np.where(np.isfinite(axis_ratio), -np.log(_area(precision) * area), np.nan)
        area = area * np.exp(np.clip(follow * np.nan_to_num(off), -1, 1))
        ratio = np.clip(np.nan_to_num(axis_ratio, nan=1), FLATTEST, 1)
        sides = Moments(*centre.T, np.nan_to_num(orientation), ratio, np.sqrt(area / ratio), area > 0)
        weight = matched_covariance(sides)
    return orientation, axis_ratio, area, off, total


def _area(shape: np.ndarray) -> np.ndarray:
    """Root of the determinant of symmetric matrices as xx, yy, xy, shape (B, 3)."""
    return np.sqrt(shape[:, 0] * shape[:, 1] - shape[:, 2] ** 2)


def _mean_axis(orientation: np.ndarray, axis_ratio: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Axis of the mean ellipticity of W measurements (W, B), and how far the axes of the single ones scatter about it.

    Ellipticity is ``(1 - q^2) / (1 + q^2) exp(2 i orientation)``; where one shows no peak it is none, where all do so
    both are NaN.
    """
    ellipticity = np.nan_to_num((1 - axis_ratio**2) / (1 + axis_ratio**2) * np.exp(2j * orientation))
    mean = ellipticity.mean(0)
    mean = np.where(mean == 0, np.nan, mean)
    across = (ellipticity * np.exp(-1j * np.angle(mean))).imag
    return wrap(np.angle(mean) / 2, np.pi), np.sqrt((across**2).mean(0)) / (2 * np.abs(mean))


def _response(shape: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """How far the light is off over how far it seems to be under a weight, (B, 2, 2): what makes the step Newton's.

    The mean of the light moves by ``S W^-1`` as the weight does, S its covariance under the weight W.
    """
    shape = np.where(np.isfinite(shape).all(1)[:, None], shape, 0)
    own = np.eye(2) - _matrix(shape) @ _matrix(_inverse(weight))
    own = np.where((np.abs(np.linalg.det(own)) > 1e-3)[:, None, None], own, np.eye(2))
    return np.linalg.inv(own)


def _matrix(shape: np.ndarray) -> np.ndarray:
    """Symmetric matrices (B, 2, 2) of xx, yy, xy, shape (B, 3)."""
    xx, yy, xy = shape.T
    return np.stack([np.stack([xx, xy], -1), np.stack([xy, yy], -1)], -2)


def _inverse(shape: np.ndarray) -> np.ndarray:
    """Of symmetric matrices as xx, yy, xy, shape (B, 3)."""
    xx, yy, xy = shape.T
    return np.stack([yy, xx, -xy], 1) / (xx * yy - xy**2)[:, None]


def _shape(precision: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Major axis and axis ratio of what has this inverse covariance; NaN where nothing has."""
    xx, yy, xy = precision.T
    middle, half = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
    middle = np.where(middle > half, middle, np.nan)
    return wrap(0.5 * np.arctan2(-2 * xy, yy - xx), np.pi), np.sqrt((middle - half) / (middle + half))
