"""A galaxy's own light: what is measured on the pixels, where the model has said where to look.

A centre measured on the decoded image would carry the decoder's own bias, and moments of all of the light those of
neighbours and arms: the weights begin with that of the decoded galaxy, and what lies on one side only, and is not in
the decoded galaxy, is cut out.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from scipy.ndimage import binary_dilation
from torch import Tensor
from torch.nn import functional

from galvae.angles import difference, wrap
from galvae.geometry import Pose, to_object
from galvae.inference.background import Sky
from galvae.inference.canonical import Placement
from galvae.moments import Moments, matched_covariance, weighted_moments
from galvae.windows import View

# Areas of weights over that of the decoded galaxy's matched one: for the centre, and for the axis. What arms do to the
# axis turns with the radius: of weights that are wide apart it cancels. The middle one is that of the axis ratio.
NARROW, AREAS = 0.36, (0.36, 0.85, 2.0)
# Pixels are looked at in a square so much wider than the window: wide weights must not be cut by its frame.
WIDER = 1.5
# Something else begins where a pixel is brighter than the one opposite, and than the decoded galaxy, by so much noise
# and so much of the peak; it reaches so many pixels further.
BRIGHTER, SHARE, REACH = 3.0, 0.1, 2
# No weight is flatter than this.
FLATTEST = 0.15

_DISC = np.hypot(*np.mgrid[-REACH : REACH + 1, -REACH : REACH + 1])[None] <= REACH + 0.2


class Light(NamedTuple):
    """What is measured on the own light of B galaxies; NaN where there is nothing to measure.

    Parameters
    ----------
    x, y
        Centre from the window's centre, right and up, window pixels, shape (B,).
    covariance
        Of it, from the noise of the pixels, window pixels squared, shape (B, 2, 2).
    orientation, axis_ratio
        Major axis, radians in the image, and minor over major axis, shape (B,).
    twist, gradient
        How much axis (radians) and axis ratio change with the width of the weight: standard deviation, shape (B,).
    beside
        How far axis and axis ratio are from those of all of the light, shape (2, B).
    """

    x: np.ndarray
    y: np.ndarray
    covariance: np.ndarray
    orientation: np.ndarray
    axis_ratio: np.ndarray
    twist: np.ndarray
    gradient: np.ndarray
    beside: np.ndarray


def measure_light(
    view: View, canonical: Tensor, pose: Pose, placed: Placement, around: Sky, *, steps: int = 6
) -> Light:  # fmt: skip
    """Centre and shape of galaxies under Gaussian weights that begin with the decoded galaxy's shape.

    The weight of the centre, narrower than the galaxy, is carried along until it rests on the centroid of the light.
    Those of the axis lie there, keep their areas, each a good part of the next, and take on the axis and the axis ratio
    that the light shows when the weight's own is taken off: of galaxies unlike those trained on the decoded shape is
    only a beginning. The axis is that of their mean ellipticity. For them a pixel is not much brighter than the one
    opposite: two arms are alike, a bright neighbour has no partner.

    Parameters
    ----------
    view
        The windows of B galaxies; what is around them is looked at too.
    canonical, pose
        Decoded galaxies, shape (B, n, n, C), and how they lie in the windows.
    placed
        Where that is.
    around
        Their sky.
    steps
        Of each weight towards what it shows.
    """
    half = (view.window - 1) / 2
    ok = placed.ok & np.isfinite(placed.x)
    first = np.where(ok[:, None], np.stack([placed.x, placed.y], 1), 0)
    side = round(WIDER * view.window / 2) * 2
    middle = first.round() + (half + 0.5) % 1  # so that the pixels, an even number to a side, are the image's own
    rows, columns = np.mgrid[:side, :side] - (side - 1) / 2
    points = np.stack([columns.ravel(), rows.ravel()], 1) + middle[:, None]
    grey = replace(view, fields=view.values.mean(1)[..., None].double())
    level = around.level.cpu().double().mean(1)[:, None, None].numpy()

    def sampled(points: np.ndarray) -> np.ndarray:
        seen = grey.sample(torch.from_numpy(points / half).to(grey.fields))[..., 0]
        return seen.unflatten(1, (side, side)).cpu().numpy() - level

    light = sampled(points)
    noise = (around.noise.square().sum(1).sqrt() / around.noise.shape[1]).cpu().double().numpy()
    at = torch.from_numpy(points / half).to(grey.fields)
    left = around.left_at(view, at).unflatten(1, (side, side)).cpu().numpy()
    start = first - middle + (side - 1) / 2
    decoded = matched_covariance(Moments(*start.T, placed.orientation, placed.axis_ratio, placed.sigma, placed.ok))
    decoded = np.where(ok[:, None], decoded, [1.0, 1.0, 0.0])
    weight, centre = NARROW * decoded, start
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        for _ in range(steps):
            total, offset, shape = weighted_moments(light, centre, weight)
            response = _response(shape, weight)
            step = np.clip(np.einsum("bij,bj->bi", response, offset), -1, 1)
            centre = np.where(np.isfinite(step), centre + step, centre)
        # A peak, of something bright.
        ok &= (total > 0) & (np.linalg.det(response) > 0) & (np.trace(response, axis1=1, axis2=2) > 0)
        ok &= np.hypot(*(centre - start).T) < np.where(placed.ok, placed.sigma, 0)  # which the galaxy is
        squares, _, spread = weighted_moments(left**2, centre, weight / 2)
        scatter = _matrix(spread * ((noise / total) ** 2 * squares)[:, None])
        scatter = response @ np.where(np.isfinite(scatter), scatter, 0) @ response.swapaxes(1, 2)
        place = np.where(ok[:, None], centre - (side - 1) / 2 + middle, 0)
        peak = light[:, side // 4 : -side // 4, side // 4 : -side // 4].max((1, 2))
        alike = np.maximum(sampled(2 * place[:, None] - points), _decoded(canonical, pose, at, side) - level)
        other = light > alike + (BRIGHTER * noise + SHARE * peak)[:, None, None]
        alone = np.where(binary_dilation(other, _DISC), np.minimum(light, alike), light)
        (orientation, axis_ratio), (twist, gradient), weights = _shapes_of(
            alone, centre, [area * decoded for area in AREAS], steps
        )
        (all_orientation, all_ratio), _, _ = _shapes_of(light, centre, weights, 1)
        beside = np.stack([difference(all_orientation, orientation, np.pi), all_ratio - axis_ratio])
    known = np.where(ok, 1, np.nan)
    return Light(
        *(known[:, None] * place).T,
        known[:, None, None] * scatter,
        known * orientation, known * axis_ratio, known * twist, known * gradient, known * beside,
    )  # fmt: skip


def _decoded(canonical: Tensor, pose: Pose, points: Tensor, side: int) -> np.ndarray:
    """Brightness of decoded galaxies at points of the windows (B, P, 2), grid units, shape (B, side, side)."""
    at = to_object(points.to(canonical), pose)[:, :, None]
    grey = canonical.mean(3)[:, None]
    seen = functional.grid_sample(grey, at, padding_mode="border", align_corners=True)[:, 0, :, 0]
    return seen.unflatten(1, (side, side)).cpu().double().numpy()


def _shapes_of(
    light: np.ndarray, centre: np.ndarray, weights: list[np.ndarray], steps: int
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray], list[np.ndarray]]:
    """Major axis and axis ratio of light, and their scatter, under weights of these areas that take on its shape."""
    shapes = [_shape_of(light, centre, weight, steps) for weight in weights]
    orientations, ratios = (np.array([shape[number] for shape in shapes]) for number in range(2))
    orientation, twist = _mean_axis(orientations, ratios)
    middle = ratios[len(ratios) // 2]
    gradient = np.where(np.isfinite(ratios), ratios, middle).std(0)
    return (orientation, middle), (twist, gradient), [weight for _, _, weight in shapes]


def _shape_of(
    light: np.ndarray, centre: np.ndarray, weight: np.ndarray, steps: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Major axis and axis ratio of light under a weight of this area that takes on its shape, and that."""
    area = np.sqrt(weight[:, 0] * weight[:, 1] - weight[:, 2] ** 2)
    for _ in range(steps):
        _, _, seen = weighted_moments(light, centre, weight)
        orientation, axis_ratio = _shape(_inverse(seen) - _inverse(weight))
        ratio = np.clip(np.nan_to_num(axis_ratio, nan=1), FLATTEST, 1)
        sides = Moments(*centre.T, np.nan_to_num(orientation), ratio, np.sqrt(area / ratio), area > 0)
        weight = matched_covariance(sides)
    return orientation, axis_ratio, weight


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
