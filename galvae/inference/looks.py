"""Errors by looking again: what the model says when the sky's noise is added once more and the camera is turned."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from galvae.angles import difference
from galvae.inference.canonical import Placement
from galvae.inference.infer import Fitted, Inferred, best_beside, fit, rival
from galvae.inference.settings import CatalogSettings
from galvae.keyed import cut, sheet_of_noise, uniform
from galvae.model.posterior import Posterior
from galvae.model.vae import SpatialVAE

# Resampling moves a galaxy by this much, pixels of the ordinary window: no exposure that lies otherwise is a copy of
# another. And the latents that are measured by this much of their spread.
RESAMPLING, RESAMPLED = 0.004, 0.01
# The sky's level is not known better than to this share of the noise of a pixel: that of a copy is taken elsewhere.
LEVEL = 0.025


class Errors(NamedTuple):
    """Of B galaxies; NaN where there is nothing to measure.

    Parameters
    ----------
    theta
        Scatter of theta between exposures of the same galaxy, radians, shape (B,).
    centre
        The same of the centre: covariance, window pixels squared, shape (B, 2, 2).
    orientation
        How far the major axis is from the galaxy's, radians, at most pi / 2, shape (B,).
    axis_ratio
        How far the axis ratio is from the galaxy's, shape (B,).
    theta_alt, p_alt
        The rival angle, radians, and how probable it is (:func:`galvae.inference.infer.rival`), shape (B,).
    sigma
        Scatter of the major axis' standard deviation between exposures, as a share of it, shape (B,).
    scale
        Scatter of the width of windows that galaxies ask for, or are inferred to have, as a share of it, shape (B,);
        0 where none does.
    measured
        Scatter of those latents that are measured, the last of z, shape (B, 16), or (B, 0).
    """

    theta: np.ndarray
    centre: np.ndarray
    orientation: np.ndarray
    axis_ratio: np.ndarray
    theta_alt: np.ndarray
    p_alt: np.ndarray
    sigma: np.ndarray
    scale: np.ndarray
    measured: np.ndarray


def look_again(vae: SpatialVAE, first: Inferred, galaxy: Tensor, settings: CatalogSettings) -> Errors:
    """Errors from looking at the same galaxies again.

    Each look adds noise as strong as the fields' own, cuts its window anew where that is as wide as the galaxy, turns
    the camera at random, infers content and pose from there, and again from what it inferred, on the side of the first
    answer, fits and measures, on canonical images decoded somewhat coarsely. What counts is how far it comes out from
    the first answer. Of a rival on the other side all that was seen, at first and in the looks, says in the mean how
    probable it is: the weights of one exposure alone are surer of themselves than another bears out.

    Parameters
    ----------
    vae
        The model.
    first
        What was inferred about B galaxies.
    galaxy
        What tells galaxies apart, int64, shape (B,): noise and turns are keyed by it.
    settings
        How many looks, the seed of noise and turns, and what counts how much.
    """
    refine, count, seed, view = first.fitted.light is not None, settings.looks, settings.seed, first.view
    size = round(0.75 * vae.window) if vae.settings.generator != "vanilla" else vae.window
    start = first.fitted.moments.rescaled(first.fitted.canonical.shape[1], size)
    sheet = sheet_of_noise(view.fields.shape[1], vae.channels, seed=seed).to(view.values)
    numbers = uniform("looks", galaxy, 3 * count, seed=seed, step=0).view(-1, count, 3)
    looks, places, sizes, seen, widths, measured = [], [], [], [first.looks], [], []
    noisier = first.sky._replace(noise=math.sqrt(2) * first.sky.noise)
    for place, turn in zip(numbers[..., :2].unbind(1), numbers[..., 2].unbind(1), strict=True):
        noise = first.sky.drawn(cut(sheet, place, view.fields.shape[1]))
        again = vae.frame(view.noisier(noise))
        turned = again.about(again.carried(first.pose, view)) if refine else again
        if vae.settings.infer_rotation:
            turned = replace(turned, angle=turned.angle + 2 * math.pi * turn)
        seen.append(vae.encode(turned))
        pose, content = best_beside(seen[-1], first.pose)
        if refine:
            pose, content = best_beside(vae.encode(again.about(pose)), first.pose)
        again, pose = again.scaled(pose)
        found = fit(
            vae, again, pose, content, noisier, size=size, refine=refine, errors=False, start=start, tolerance=1e-3,
            steps=3,
        )  # fmt: skip
        looks.append(found)
        placed = found.placed
        places.append(again.in_field(np.stack([placed.x, placed.y], 1)))
        widths.append(again.widths() / view.widths())
        sizes.append(widths[-1] * placed.sigma / first.placed.sigma)
        measured.append(vae.measured(again) - first.content[:, vae.settings.latents :])
    least = RESAMPLING / view.widths()
    scale, sigma = (_scatter(ratios) for ratios in (widths, sizes))
    theta_alt, p_alt = rival(Posterior.joined(seen), first.pose.theta)
    off = np.array(places) - view.in_field(np.stack([first.placed.x, first.placed.y], 1))
    off /= view.widths()[:, None]
    scatter = np.hypot(torch.stack(measured).square().mean(0).sqrt().cpu().numpy(), RESAMPLED)
    theta, centre, orientation, axis_ratio = _errors(first, looks, off, settings, least=least)
    return Errors(
        theta, centre, orientation, axis_ratio, theta_alt.cpu().double().numpy(), p_alt.cpu().numpy(),
        np.hypot(sigma, _swelling(first)), scale, scatter,
    )  # fmt: skip


def _swelling(first: Inferred) -> np.ndarray:
    """Standard deviation of ln sigma for what is not known of the sky's level, shape (B,)."""
    light = first.fitted.light
    if light is None:
        return np.zeros(len(first.view))
    return LEVEL * first.sky.noise.mean(1).cpu().double().numpy() * np.nan_to_num(light.swelling)


def _scatter(ratios: list[np.ndarray]) -> np.ndarray:
    """Root mean square of the logarithm of ratios (S, B) about 1, of those that are known, shape (B,)."""
    square = np.square(np.log(ratios))
    known = np.isfinite(square)
    return np.sqrt(np.where(known, square, 0).sum(0) / np.where(known.any(0), known.sum(0), np.nan))


def _errors(
    first: Inferred, looks: list[Fitted], off: np.ndarray, settings: CatalogSettings, *, least: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Of theta, centre, axis and axis ratio."""
    fitted, placed = first.fitted, first.placed
    theta = np.array([(look.pose.theta - first.pose.theta).cpu().double().numpy() for look in looks])
    theta_var = (difference(theta, 0, 2 * math.pi) ** 2).sum(0)
    shapes = np.array([_shape_off(look.placed, placed) for look in looks])
    known = np.isfinite(off[..., 0] + shapes.sum(1))  # a look may find nothing to measure
    count = np.where(known.any(0), known.sum(0), np.nan)
    centre = np.einsum("sb,sbi,sbj->bij", known, *[np.nan_to_num(off)] * 2)
    shape_var = (np.where(known[:, None], shapes, 0) ** 2).sum(0) / count
    resampling = least[:, None, None] ** 2 * np.eye(2)
    if fitted.light is None:
        theta_var, centre = theta_var / len(looks), centre / count[:, None, None]
    else:
        of_theta = fitted.covariance[:, 0, 0].cpu().double().numpy()
        theta_var = (settings.of_noise**2 * of_theta + theta_var) / (1 + len(looks))
        told = np.isfinite(fitted.light.covariance).all((1, 2))
        of_centre = np.where(told[:, None, None], fitted.light.covariance, 0)
        centre = (settings.of_noise**2 * of_centre + centre) / (told + count)[:, None, None]
        # Where there is nothing to measure nothing is known.
        unknown = np.array([math.pi / 4, 0.5])[:, None]
        known = np.isfinite([fitted.light.orientation, fitted.light.sigma])
        beside = np.where(known, _shape_off(fitted.decoded, placed), np.nan)
        for part in (settings.of_width * fitted.light.spread, settings.of_decoded * beside):
            shape_var = shape_var + np.where(np.isfinite(part), part, unknown) ** 2
    swing = (least / np.where(placed.ok, placed.sigma, 1)) ** 2
    orientation, axis_ratio = np.sqrt(shape_var)
    return np.sqrt(theta_var + swing), centre + resampling, np.minimum(orientation, math.pi / 2), axis_ratio


def _shape_off(one: Placement, other: Placement) -> np.ndarray:
    """By how much axis (radians) and axis ratio differ, shape (2, B)."""
    return np.stack([difference(one.orientation, other.orientation, math.pi), one.axis_ratio - other.axis_ratio])
