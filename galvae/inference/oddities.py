"""What is odd about a galaxy: measured against those that a run was not trained on but chosen with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel
from torch import Tensor

from galvae.data.split import held_out
from galvae.data.store import ImageStore
from galvae.files import write_atomically
from galvae.flags import Flag
from galvae.geometry import to_object
from galvae.inference.canonical import decoded_at
from galvae.inference.infer import Inferred, infer
from galvae.model.vae import SpatialVAE
from galvae.progress import Progress
from galvae.runs import run_path
from galvae.training.checkpoint import DESCRIPTION, load_model
from galvae.windows import View

# What :func:`odd` may say.
MODEL_FLAGS = (
    Flag.NO_MOMENTS, Flag.OUTSIDE, Flag.TWO_RIVALS, Flag.POORLY_FITTED, Flag.UNUSUAL, Flag.AT_EDGE, Flag.OFF_CENTRE
)  # fmt: skip
# A galaxy reaches so many standard deviations of its light about its centre.
REACH = 2.0
# Within so many window pixels no cutout is centred badly; beyond this share of the way to the edge, each is: a galaxy
# that runs into its neighbour is as wide as both.
CENTRED, FAR = 3.0, 0.25
GALAXIES = 1000
# Of fewer there is no one in a hundred to be odder than.
ENOUGH = 100
# Light of a channel that counts, in that of the mean channel.
DIM = 0.1


class Typical(BaseModel):
    """Of the galaxies held out of a training, which its :func:`calibrate` measures.

    Parameters
    ----------
    galaxies
        How many.
    explained
        The reconstruction explains more than this of 99% of them.
    mean, precision
        Mean of their z, shape (Z,), and inverse covariance, shape (Z, Z).
    distance
        99% of them are nearer to the mean: Mahalanobis' distance.
    """

    galaxies: int
    explained: float
    mean: list[float]
    precision: list[list[float]]
    distance: float


def calibrate(run: str | Path, store: ImageStore, *, device: torch.device | str = "cpu", quiet: bool = False) -> None:
    """Measure what is typical of the galaxies held out of a finished training, and keep it in the run's description.

    Parameters
    ----------
    run
        The run.
    store
        What it was trained on; its first 1,000 galaxies held out are measured.
    device, quiet
        Where to compute; no progress.
    """
    path = run_path(run) / DESCRIPTION
    described = json.loads(path.read_text(encoding="utf-8"))
    if not described["finished"]:
        return
    vae, description = load_model(run, device=device)
    settings = description["recipe"]["train"]
    rows = np.flatnonzero(held_out(store.column("id"), settings["validation"], seed=settings["seed"]))[:GALAXIES]
    shares, content = [], []
    with Progress("calibrate", len(rows), quiet=quiet) as progress, torch.inference_mode():
        for part in np.array_split(rows, -(-len(rows) // 64)):
            fields = torch.from_numpy(store.images(part)).to(device)
            display = store.dtype == np.uint8
            view = vae.frame(View.central(fields, vae.window, store.ingest["oversample"], display=display))
            found = infer(vae, view)
            shares.append(explained(vae, found).cpu().numpy())
            content.append(found.content.cpu().double().numpy())
            progress.advance(len(part))
    typical = what_is_typical(np.concatenate(shares), np.concatenate(content))
    told = None if typical is None else typical.model_dump()
    write_atomically(path, json.dumps({**described, "typical": told}, indent=1) + "\n")


def typical_of(description: dict[str, Any]) -> Typical | None:
    """What a run's description says is typical, if it says so."""
    told = description.get("typical")
    return None if told is None else Typical.model_validate(told)


def what_is_typical(shares: np.ndarray, content: np.ndarray) -> Typical | None:
    """Of galaxies with these shares explained, (N,), and this content, (N, Z); None for too few to tell.

    Each one's distance is measured with the mean and the covariance of the others: with its own among them the
    threshold would be too low for new galaxies.
    """
    count, latents = content.shape
    if count < max(ENOUGH, 3 * latents):
        return None
    mean, covariance = content.mean(0), np.atleast_2d(np.cov(content.T))
    # Latents that carry nothing hardly vary.
    precision = np.linalg.inv(covariance + 1e-6 * np.trace(covariance) * np.eye(latents))
    square, own = _distance(content, mean, precision) ** 2, count / (count - 1) ** 2
    others = (count / (count - 1)) ** 2 * (count - 2) / (count - 1) * square / np.maximum(1 - own * square, 1e-3)
    distance = np.sqrt(np.percentile(others, 99))
    return Typical(
        galaxies=len(shares), explained=float(np.percentile(shares, 1)),
        mean=mean.tolist(), precision=precision.tolist(), distance=float(distance),
    )  # fmt: skip


def _distance(content: np.ndarray, mean: np.ndarray, precision: np.ndarray) -> np.ndarray:
    return np.sqrt(np.einsum("bi,ij,bj->b", content - mean, precision, content - mean))


def explained(vae: SpatialVAE, found: Inferred) -> Tensor:
    """Share of the light in each window that its reconstruction explains, in the channel where least, shape (B,).

    Of the squares above the sky in the pixels that the canonical image covers, less those of the sky's noise: R^2 about
    the sky. 1 is a perfect reconstruction, 0 one that is as good as none; one that is worse is below 0, down to -1. A
    channel with hardly any light (less than a tenth of the mean channel's: one that is lost, say) is taken to have so
    much.
    """
    view = found.view
    points = vae.grid.expand(len(view), -1, -1)
    seen, at = view.sample(points), to_object(vae.grid, found.pose)
    decoded, inside = decoded_at(found.fitted.canonical, at), (at.abs().amax(2) <= 1).to(seen.dtype)[..., None]
    noise = (found.sky.left_at(view, points)[..., None] * found.sky.noise[:, None]).square()
    both = (seen - decoded, seen - found.sky.level[:, None])
    left, light = (((value.square() - noise) * inside).sum(1) for value in both)
    least = (DIM * light.mean(1, keepdim=True)).clamp(min=1e-12)
    return (1 - left.clamp(min=0) / torch.maximum(light, least)).clamp(min=-1).amin(1)


def odd(found: Inferred, shares: Tensor, p_alt: np.ndarray, typical: Typical | None) -> np.ndarray:
    """Flags of what a model finds odd about B galaxies in the middle of their cutouts, int32, shape (B,).

    Parameters
    ----------
    found
        What a model infers about them.
    shares
        Of :func:`explained`.
    p_alt
        Of :class:`galvae.inference.looks.Errors`, shape (B,).
    typical
        Of the run; where it has none, nothing is unlike what is typical.
    """
    placed, view = found.placed, found.view
    half, ok = view.window / 2, placed.ok
    (x, y), sigma = view.in_field(np.stack([placed.x, placed.y], 1)).T, view.widths() * placed.sigma
    with np.errstate(invalid="ignore"):
        along = x * np.cos(placed.orientation) + y * np.sin(placed.orientation)
        across = y * np.cos(placed.orientation) - x * np.sin(placed.orientation)
        flatness = np.maximum(placed.axis_ratio, 0.1)
        away = np.hypot(along, across / flatness) > REACH * sigma
        off = np.hypot(x, y)
        # How far the ellipse reaches in x and in y.
        cos, sin = np.cos(placed.orientation) ** 2, np.sin(placed.orientation) ** 2
        wide = [REACH * sigma * np.sqrt(a + flatness**2 * b) for a, b in ((cos, sin), (sin, cos))]
        # Of windows that go along with their galaxies the field is the limit.
        limit = half if view.width is None else view.fields.shape[1] / (2 * view.oversample)
        inside = (np.abs(x) < limit) & (np.abs(y) < limit)
        signs = {
            Flag.NO_MOMENTS: ~ok,
            Flag.OUTSIDE: ok & ~inside,
            Flag.AT_EDGE: ok & ((np.abs(x) + wide[0] > limit) | (np.abs(y) + wide[1] > limit)),
            Flag.OFF_CENTRE: ok & (off > CENTRED) & (away | (off > FAR * half)),
            Flag.TWO_RIVALS: p_alt > 0.1,
        }
        if typical is not None:
            distance = _distance(
                found.content.cpu().double().numpy(), np.array(typical.mean), np.array(typical.precision)
            )
            signs[Flag.POORLY_FITTED] = shares.cpu().numpy() < typical.explained
            signs[Flag.UNUSUAL] = distance > typical.distance
    return np.bitwise_or.reduce([np.where(sign, flag.value, 0).astype(np.int32) for flag, sign in signs.items()])


def vague(axis_ratio: np.ndarray, orientation_err: np.ndarray) -> np.ndarray:
    """Whether a galaxy is too round, or measured too badly (degrees), for its axis to mean much, shape (B,)."""
    with np.errstate(invalid="ignore"):
        return (axis_ratio > 0.9) | ~(orientation_err < 30)
