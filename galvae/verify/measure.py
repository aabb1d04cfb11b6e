"""Does the pose follow the galaxy, does z stay, do the errors hold? Galaxies measured again, turned, moved and noisier.

No labels are needed: axes and centres are compared with adaptive second moments of the images themselves (or with a
table of the truth, where there is one), and each galaxy with itself: turned and moved by known amounts before the
model's window is cut (the *turn test*), and in two *exposures*, each with the sky's noise added once more, of which one
is turned and moved as well. A model that hides the pose in z passes the axis and fails the turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from galvae.data.split import identifier_hashes
from galvae.data.store import ImageStore
from galvae.geometry import pixel_grid
from galvae.inference.canonical import decode_images, direction
from galvae.inference.checks import check_fits, warn_of_silence
from galvae.inference.infer import Inferred, infer, rival
from galvae.inference.light import sky
from galvae.inference.looks import look_again
from galvae.model.vae import SpatialVAE
from galvae.moments import adaptive_moments, luminance, segment_axis
from galvae.progress import Progress
from galvae.training.checkpoint import load_model
from galvae.verify.summary import summarize
from galvae.windows import View

LOOKS = 4
BATCH = 64


class Found(NamedTuple):
    """What a model says about N windows, with the errors of a catalog: degrees, window pixels from the window's centre.

    Parameters
    ----------
    theta, theta_err
        Direction of the canonical +x axis as displayed, shape (N,).
    p_alt
        Probability of another direction, shape (N,).
    orientation, orientation_err
        Major axis as displayed, modulo 180, shape (N,).
    axis_ratio
        Minor over major axis, shape (N,).
    centre, covariance
        Right and up, shape (N, 2), and how well it repeats, shape (N, 2, 2).
    z
        Content, shape (N, Z).
    """

    theta: np.ndarray
    theta_err: np.ndarray
    p_alt: np.ndarray
    orientation: np.ndarray
    orientation_err: np.ndarray
    axis_ratio: np.ndarray
    centre: np.ndarray
    covariance: np.ndarray
    z: np.ndarray


class Reference(NamedTuple):
    """What N windows are measured against: as in :class:`Found`, NaN where there is nothing.

    Parameters
    ----------
    orientation, axis_ratio, centre
        Of the truth or of adaptive moments.
    second
        Major axis by another definition, degrees, shape (N,): where the two agree there is an axis to agree on.
    """

    orientation: np.ndarray
    axis_ratio: np.ndarray
    centre: np.ndarray
    second: np.ndarray


@dataclass(frozen=True)
class Measured:
    """N galaxies and all that was measured of them.

    Parameters
    ----------
    rows
        Which galaxies of the store, shape (N,).
    start, end
        What is said of them as they are, and turned and moved.
    first, second
        What is said of two exposures, the second one turned and moved.
    reference
        What they are measured against.
    turn, shift
        Degrees counter-clockwise, shape (N,), after a move by so many window pixels, shape (N, 2).
    brightness, snr
        Mean light in the window, above the sky, and that over the noise of its mean, shape (N,).
    explained
        Share of the light's square in the window that the reconstruction explains, shape (N,).
    """

    rows: np.ndarray
    start: Found
    end: Found
    first: Found
    second: Found
    reference: Reference
    turn: np.ndarray
    shift: np.ndarray
    brightness: np.ndarray
    snr: np.ndarray
    explained: np.ndarray


def verify(
    runs: Sequence[str | Path], store: ImageStore, *,
    truth: str | Path | None = None, limit: int = 1000, move: float = 4.0, seed: int = 0,
    device: torch.device | str = "cpu", quiet: bool = False,
) -> dict[str, tuple[dict[str, Any], Measured]]:  # fmt: skip
    """Measure runs on the same galaxies, which none of them was trained on.

    Parameters
    ----------
    runs
        Run folders.
    store
        Images; galaxies of the same identifier as one that any of the runs was trained on are left out.
    truth
        A table with columns ``id``, ``orientation`` (deg), ``axis_ratio``, ``dx``, ``dy`` (original pixels), to measure
        against instead of moments.
    limit
        At most so many galaxies, the first ones.
    move
        Galaxies are moved by up to so many window pixels in x and in y.
    seed
        Of angles, moves and noise.
    device
        Where to compute.
    quiet
        No progress.

    Returns
    -------
    dict
        Of each run, by its folder as given: the figures of :func:`galvae.verify.summary.summarize`, and what they are
        made from.

    Raises
    ------
    ValueError
        If no galaxy is left to measure on, or the store is not what each of the runs takes.
    """
    models, known = {}, []
    for run in runs:
        models[str(run)], description = load_model(run, device=device)
        check_fits(models[str(run)], description, store)
        known.append(description["trained_on"])
    rows = np.flatnonzero(~np.isin(identifier_hashes(store.column("id")), np.concatenate(known)))[:limit]
    if not len(rows):
        raise ValueError(f"{store.path}: no galaxy that {' and '.join(models)} did not train on; use another store")
    found = {}
    for run, vae in models.items():
        measured = measure(vae, store, rows, truth=truth, move=move, seed=seed, quiet=quiet)
        found[run] = summarize(measured), measured
        warn_of_silence(run, int((~np.isfinite(measured.start.orientation)).sum()), len(rows))
    return found


def measure(
    vae: SpatialVAE, store: ImageStore, rows: np.ndarray, *,
    truth: str | Path | None = None, move: float = 4.0, seed: int = 0, quiet: bool = False,
) -> Measured:  # fmt: skip
    """Measure some galaxies of a store; see :func:`verify`."""
    oversample = store.ingest["oversample"]
    true = None if truth is None else _true(truth, store, rows, oversample)
    random = np.random.default_rng(seed)
    turn = random.uniform(0, 360, len(rows))
    shift = random.uniform(-move, move, (len(rows), 2))
    keys = torch.from_numpy(identifier_hashes(store.column("id")[rows], seed=seed).view(np.int64))
    generator = torch.Generator().manual_seed(seed)
    parts: dict[str, list[Any]] = {name: [] for name in ("start", "end", "first", "second", "reference", "light")}
    with Progress("verify", len(rows), quiet=quiet) as progress, torch.inference_mode():
        for part in np.array_split(np.arange(len(rows)), -(-len(rows) // BATCH)):
            fields = torch.from_numpy(store.images(rows[part])).to(vae.grid.device)
            copies = turned(fields, np.radians(turn[part]), shift[part] * oversample)
            view, again = (View.central(content, vae.window, oversample) for content in (fields, copies))
            key = keys[part].to(vae.grid.device)
            found = infer(vae, view)
            parts["start"].append(say(vae, view, found, key))
            parts["end"].append(say(vae, again, infer(vae, again), key))
            for name, one in (("first", view), ("second", again)):
                noise = sky(view).noise[:, None, None] * torch.randn(fields.shape, generator=generator).to(key.device)
                exposure = View.central((one.values.permute(0, 2, 3, 1) + noise).clamp(0, 1), vae.window, oversample)
                parts[name].append(say(vae, exposure, infer(vae, exposure), key + (name == "second")))
            parts["light"].append(_light(vae, view, found))
            if true is None:
                parts["reference"].append(_moments(view.images(vae.grid)))
            progress.advance(len(part))
    said = {name: _joined(values) for name, values in parts.items() if values and name != "light"}
    brightness, snr, explained = np.concatenate(parts["light"], 1)
    said.setdefault("reference", true)
    return Measured(rows, **said, turn=turn, shift=shift, brightness=brightness, snr=snr, explained=explained)


def say(vae: SpatialVAE, view: View, found: Inferred, keys: Tensor) -> Found:
    """What was inferred about the windows of a view, with errors, as the catalog says it of windows."""
    placed = found.placed
    errors = look_again(vae, view, found, keys, count=LOOKS, seed=0)
    return Found(
        direction(found.pose), np.degrees(errors.theta), rival(found.posterior)[1].cpu().numpy(),
        np.degrees(placed.orientation), np.degrees(errors.orientation), placed.axis_ratio,
        np.stack([placed.x, placed.y], 1), errors.centre, found.content.cpu().numpy(),
    )  # fmt: skip


def turned(fields: Tensor, angle: np.ndarray, offset: np.ndarray) -> Tensor:
    """Fields whose content is moved by `offset` field pixels (N, 2) and then turned by `angle` radians (N,)."""
    size = fields.shape[1]
    offset, angle = (torch.from_numpy(value).float().to(fields.device) for value in (-offset, angle))
    view = View(fields, size, 1, offset, angle)
    return view.images(pixel_grid(size).to(fields.device)).permute(0, 2, 3, 1).contiguous()


def _joined(parts: list[Any]) -> Any:
    return type(parts[0])(*map(np.concatenate, zip(*parts, strict=True)))


def _light(vae: SpatialVAE, view: View, found: Inferred) -> np.ndarray:
    """Brightness, signal-to-noise ratio and share explained, shape (3, B)."""
    level, noise = (value.mean(1)[:, None, None] for value in found.sky)
    seen = view.images(vae.grid).mean(1)
    decoded = decode_images(vae, found.pose, found.content, size=vae.window).mean(-1)
    brightness = (seen - level).mean((1, 2))
    explained = 1 - (seen - decoded).square().sum((1, 2)) / (seen - level).square().sum((1, 2)).clamp(min=1e-12)
    return torch.stack([brightness, brightness * vae.window / noise[:, 0, 0], explained]).cpu().numpy()


def _moments(images: Tensor) -> Reference:
    """Adaptive second moments of windows (N, C, n, n), and the axis of their segments."""
    light = luminance(images.permute(0, 2, 3, 1).cpu().numpy())
    found = adaptive_moments(light)
    centre = np.stack([found.x, found.y], 1) - (images.shape[-1] - 1) / 2
    second = segment_axis(light, found.x, found.y)
    return Reference(np.degrees(found.angle), found.axis_ratio, centre, np.degrees(second))


def _true(path: str | Path, store: ImageStore, rows: np.ndarray, oversample: int) -> Reference:
    """Truth by identifier, lengths in window pixels."""
    from galvae.tableio import read_table

    table = read_table(path)
    wanted = ("orientation", "axis_ratio", "dx", "dy")
    missing = [name for name in ("id", *wanted) if name not in table.colnames]
    if missing:
        raise ValueError(f"{path}: no column {missing[0]}; a truth table has id, {', '.join(wanted)}")
    place = {str(identifier): number for number, identifier in enumerate(table["id"])}
    ids = store.column("id")[rows]
    absent = [i for i in ids if str(i) not in place]
    if absent:
        raise ValueError(f"{path}: no row for galaxy {absent[0]} and {len(absent) - 1} others of {store.path}")
    chosen = table[[place[str(i)] for i in ids]]
    scale = np.sqrt(np.abs(np.linalg.det(store.column("affine")[rows][:, :, :2]))) * oversample
    orientation, axis_ratio, dx, dy = (np.asarray(chosen[name], float) for name in wanted)
    return Reference(orientation, axis_ratio, np.stack([dx, dy], 1) / scale[:, None], orientation)
