"""What a model says about images, as every command asks it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from galvae.geometry import Pose
from galvae.inference.background import Sky, sky
from galvae.inference.canonical import Placement, canonical_moments, decode_canonical, place
from galvae.inference.light import Light, measure_light
from galvae.inference.register import register
from galvae.model.posterior import Posterior
from galvae.model.settings import ModelSettings
from galvae.model.vae import SpatialVAE
from galvae.moments import Moments
from galvae.windows import View

LOOKS = 3
# Of further looks, radians and grid units: thirds of the polar encoder's spacing of angles, a third of a pixel.
NUDGES = ((math.pi / 96, 0.01), (math.pi / 48, -0.01))


class Fitted(NamedTuple):
    """A galaxy laid over its image, of B.

    Parameters
    ----------
    pose
        Where it fits best.
    canonical
        Image decoded for it, shape (B, n, n, C).
    moments
        Of that, in its pixels.
    decoded
        Where the decoded galaxies lie.
    placed
        Where the galaxies lie: the decoded ones, where the pose was refined their own light.
    light
        What was measured on that; None where the pose was not refined.
    covariance
        Of :class:`galvae.inference.register.Registered`; None where the pose was not refined.
    """

    pose: Pose
    canonical: Tensor
    moments: Moments
    decoded: Placement
    placed: Placement
    light: Light | None
    covariance: Tensor | None


class Inferred(NamedTuple):
    """About B galaxies.

    Parameters
    ----------
    posterior
        Of the last look.
    looks
        That and what a look hardly off it says, as one mixture: what decides, and what z is the mean of.
    content
        Mean of z over the hypotheses, and after it what is measured, shape (B, Z).
    fitted
        That hypothesis, laid over the image.
    sky
        Around them.
    view
        Their windows: where a scale is inferred as wide as that says, which the pose then no longer does.
    """

    posterior: Posterior
    looks: Posterior
    content: Tensor
    fitted: Fitted
    sky: Sky
    view: View

    @property
    def pose(self) -> Pose:
        """Of the most probable hypothesis; where it was refined, what fits the pixels best."""
        return self.fitted.pose

    @property
    def placed(self) -> Placement:
        """Where the galaxies lie in their windows."""
        return self.fitted.placed


def infer(vae: SpatialVAE, view: View, *, refine: bool = True, around: Sky | None = None) -> Inferred:
    """Infer pose and content of the upright windows of a view.

    Parameters
    ----------
    vae
        The model.
    view
        The windows.
    refine
        Let the inference network look again about the pose that it inferred, until what it says hardly depends on how
        the galaxy was turned and placed, and hardly off it, so that less of the pixels' accidents decides between
        rivals; then fit the pose to the pixels, content held, and measure centre, axis and axis ratio on the galaxy's
        own light. A model that infers no pose, or decodes none, is not refined.
    around
        The sky of the fields, if it is known better than from their borders.
    """
    refine = refine and refines(vae)
    around = sky(view) if around is None else around
    view = view.of(view.values)
    posterior = vae.encode(view)
    pose, content = posterior.draw(posterior.best())
    for _ in range(LOOKS - 1 if refine else 0):
        posterior = vae.encode(view.about(pose))
        pose, content = posterior.draw(posterior.best())
    looks = posterior
    if refine:
        last = view.about(pose)
        nudged = [replace(last, angle=last.angle + angle, origin=last.origin + place) for angle, place in NUDGES]
        looks = Posterior.joined([posterior, *map(vae.encode, nudged)])
        decided, _ = looks.draw(looks.best())
        pose, content = best_beside(posterior, decided)
    size = round(1.25 * vae.window) if refine else vae.window
    view, pose = view.scaled(pose)
    fitted = fit(vae, view, pose, content, around, size=size, refine=refine)
    content = torch.cat([looks.content_mean(), vae.measured(view)], 1)
    return Inferred(posterior, looks, content, fitted, around, view)


def best_beside(posterior: Posterior, pose: Pose) -> tuple[Pose, Tensor]:
    """Pose and content of the most probable hypothesis within 90 degrees of a pose."""
    near = torch.cos(posterior.theta - pose.theta[:, None]) > 0
    there = replace(posterior, log_weight=posterior.log_weight + torch.where(near, 0.0, -1e3))
    return there.draw(there.best())


def refines(vae: SpatialVAE) -> bool:
    """Whether a model has a pose to refine."""
    settings = vae.settings
    return settings.generator != "vanilla" and (settings.infer_rotation or settings.infer_translation)


def fit(
    vae: SpatialVAE, view: View, pose: Pose, content: Tensor, around: Sky, *,
    size: int, refine: bool, errors: bool = True,
    start: Moments | None = None, tolerance: float = 1e-5, steps: int = 6,
) -> Fitted:  # fmt: skip
    """Lay decoded galaxies over their images.

    Parameters
    ----------
    vae, view
        The model, and the windows of B galaxies.
    pose, content
        What was inferred about them.
    around
        Their sky.
    size
        Pixels along a side of the canonical images.
    refine
        Whether to fit the pose.
    errors
        Whether to measure what the errors of the fit and of the light are made of.
    start, tolerance
        Of the measurement on the decoded galaxy.
    steps
        Of the fit, and of the measurement on the light.
    """
    canonical = decode_canonical(vae, content, size=size)
    moments = canonical_moments(canonical, start=start, tolerance=tolerance)
    if not refine:
        decoded = place(moments, pose, size=size, window=vae.window)
        return Fitted(pose, canonical, moments, decoded, decoded, None, None)
    found = register(canonical, view, pose, around, settings=vae.settings, steps=steps, errors=errors)
    decoded = place(moments, found.pose, size=size, window=vae.window)
    light = measure_light(view, canonical, found.pose, decoded, around, steps=steps, errors=errors)
    return Fitted(found.pose, canonical, moments, decoded, _lit(decoded, light, vae.settings), light, found.covariance)


def _lit(decoded: Placement, light: Light, settings: ModelSettings) -> Placement:
    """The decoded galaxy's place, with what the light says instead of what the model infers of it."""
    said = (["x", "y"] if settings.infer_translation else []) + (["orientation"] if settings.infer_rotation else [])
    known = np.isfinite(light.x) & np.isfinite(light.orientation)
    told = dict.fromkeys(said, known) | dict.fromkeys(("axis_ratio", "sigma"), known & np.isfinite(light.sigma))
    return replace(
        decoded, **{name: np.where(here, getattr(light, name), getattr(decoded, name)) for name, here in told.items()}
    )  # fmt: skip


def rival(posterior: Posterior, theta: Tensor) -> tuple[Tensor, Tensor]:
    """The most probable other angle, more than 45 degrees off theta, (B,), and how probable it is.

    Returns
    -------
    theta, probability
        The angle in radians, and the weight of all hypotheses within 45 degrees of it, shape (B,); NaN and 0 where
        there is no other hypothesis.
    """
    far = torch.cos(posterior.theta - theta[:, None]) < math.cos(math.pi / 4)
    weight = posterior.log_weight.exp()
    other = posterior.theta.gather(1, torch.where(far, weight, -1).argmax(1, keepdim=True))
    near = torch.cos(posterior.theta - other) >= math.cos(math.pi / 4)
    found = far.any(1)
    probability = torch.where(found, (weight * (near & far)).sum(1), 0)
    return torch.where(found, other[:, 0], math.nan), probability
