"""What of a galaxy's light its reconstruction keeps: by azimuthal order, and by fineness; and how many nats z has."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from galvae.geometry import Pose, pixels_to_grid, to_image, to_object
from galvae.inference.canonical import decoded_at
from galvae.inference.infer import Inferred
from galvae.model.elbo import content_by_latent
from galvae.model.vae import SpatialVAE
from galvae.sampling import displayed
from galvae.spectra import CYCLES, ORDERS, azimuthal_power, radial_power

# Ellipses about a galaxy, in units of its matched Gaussian's standard deviations, and points on each.
ELLIPSES, ANGLES = np.linspace(0.1, 1.3, 13), 64


class Kept(NamedTuple):
    """Powers of N galaxies' light above the sky, of what is decoded, of what is left over, and of the sky's noise.

    Parameters
    ----------
    around
        On ellipses of the galaxy's own shape, over the light's at order 0, by azimuthal order
        (:data:`galvae.spectra.ORDERS`), shape (N, 4, 5): what is a flat disk seen inclined is all of order 0.
    fine
        Of the window, over the light's at the coarsest, by cycles (:data:`galvae.spectra.CYCLES`), shape (N, 4, 3).
    nats
        Divergence of each latent from its prior, shape (N, Z).
    windows
        What was seen and what is decoded, uint8, shape (N, 2, n, n, C).
    """

    around: np.ndarray
    fine: np.ndarray
    nats: np.ndarray
    windows: np.ndarray


def compare(vae: SpatialVAE, found: Inferred, white: Tensor) -> Kept:
    """Compare galaxies with what is decoded of them, laid over them.

    Parameters
    ----------
    vae, found
        The model, and what was inferred of B galaxies.
    white
        Noise of each pixel of the fields, of standard deviation 1, shape (B, C, F, F): the power of the sky's own is
        measured on it.
    """
    view, level = found.view, found.sky.level[:, None]
    noise = view.of(found.sky.drawn(white))
    rings = _ellipses(found, vae.window).to(level)

    def sampled(points: Tensor) -> Tensor:
        seen = view.sample(points) - level
        decoded = decoded_at(found.fitted.canonical, to_object(points, found.pose)) - level
        return torch.stack([seen, decoded, seen - decoded, noise.sample(points)], 1)

    around, fine = sampled(rings), sampled(vae.grid.expand(len(view), -1, -1))
    side = (vae.window, vae.window)
    rings, windows = (
        value.mean(3).flatten(0, 1).unflatten(1, shape).double().cpu().numpy()
        for value, shape in ((around, (len(ELLIPSES), ANGLES)), (fine, side))
    )
    by_order, by_cycles = (
        power.reshape(len(view), 4, -1)
        for power in (azimuthal_power(rings, ELLIPSES), radial_power(windows[..., None]))
    )
    by_order[~found.placed.ok] = np.nan
    pictures = (fine[:, :2] + level[:, None]).unflatten(2, side).cpu().numpy()
    if not view.display:
        pictures = np.stack([displayed(pair, like=pair[0]) for pair in pictures])
    return Kept(
        *(power / np.where(power[:, :1, :1] > 0, power[:, :1, :1], np.nan) for power in (by_order, by_cycles)),
        content_by_latent(found.posterior).cpu().numpy(),
        np.round(255 * pictures.clip(0, 1)).astype(np.uint8),
    )


def _ellipses(found: Inferred, window: int) -> Tensor:
    """Points on ellipses about galaxies as they lie in their windows, grid units, shape (B, R * A, 2)."""
    x, y, orientation, ratio, sigma = (
        torch.from_numpy(np.where(found.placed.ok, getattr(found.placed, name), 0)).float()
        for name in ("x", "y", "orientation", "axis_ratio", "sigma")
    )
    angle = np.arange(ANGLES) * 2 * np.pi / ANGLES
    circles = torch.from_numpy(ELLIPSES[:, None, None] * np.stack([np.cos(angle), np.sin(angle)], -1)).float()
    along = circles.flatten(0, 1) * torch.stack([sigma, sigma * ratio], 1)[:, None]
    points = to_image(along, Pose(-orientation, torch.zeros(len(x), 2))) + torch.stack([x, y], 1)[:, None]
    return pixels_to_grid(points, window)


def what_is_kept(kept: Kept) -> dict[str, Any]:
    """Figures of what reconstructions keep, means over galaxies with noise's own power taken off.

    Returns
    -------
    dict
        ``around`` by azimuthal order and ``fine`` by cycles along the window: ``amplitude`` of the light (the root of
        its power, over that of order 0 or of the coarsest), ``decoded``: power of what is decoded over the light's, and
        ``kept``: 1 less that of what is left over; None where noise has more than the light above it. What is
        decoded of an image's own noise counts as kept. ``nats``: mean divergence of each latent, largest first, and
        their ``sum``.
    """
    nats = np.sort(kept.nats.mean(0))[::-1]
    return {
        "around": dict(zip(ORDERS, _shares(kept.around), strict=True)),
        "fine": dict(zip(map(str, CYCLES), _shares(kept.fine), strict=True)),
        "nats": {"sum": float(nats.sum()), "latents": nats.tolist()},
    }


def _shares(power: np.ndarray) -> list[dict[str, float] | None]:
    """Of powers (N, 4, K) of :class:`Kept`."""
    measured = power[np.isfinite(power).all((1, 2))]
    return [_share(*each) for each in measured.sum(0).T / max(1, len(measured))]


def _share(light: float, decoded: float, left: float, noise: float) -> dict[str, float] | None:
    own = light - noise
    if own <= noise:
        return None
    found = {"amplitude": own**0.5, "decoded": decoded / own, "kept": 1 - (left - noise) / own}
    return {name: float(value) for name, value in found.items()}
