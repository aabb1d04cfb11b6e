"""Does the pose follow the galaxy, and does z stay? What to ask of a run before believing its catalog.

No labels are needed: axes and centres are compared with adaptive second moments of the images themselves (or with a
table of the truth, where there is one), and the *turn test* compares each galaxy with itself, turned and moved by
known amounts before the model's window is cut. A model that hides the pose in z passes the axis and fails the turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from galvae.data.split import identifier_hashes
from galvae.data.store import ImageStore
from galvae.geometry import pixel_grid
from galvae.inference.canonical import direction
from galvae.inference.checks import check_fits, warn_of_silence
from galvae.inference.infer import infer
from galvae.model.vae import SpatialVAE
from galvae.moments import adaptive_moments, luminance
from galvae.progress import Progress
from galvae.training.checkpoint import load_model
from galvae.windows import View


class Found(NamedTuple):
    """What a model says about N windows: angles in degrees, lengths in window pixels from the window's centre.

    Parameters
    ----------
    theta
        Direction of the canonical +x axis as displayed, shape (N,).
    orientation
        Major axis as displayed, modulo 180, shape (N,).
    axis_ratio
        Of the decoded canonical image, shape (N,).
    centre
        Right and up, shape (N, 2).
    z
        Content, shape (N, Z).
    """

    theta: np.ndarray
    orientation: np.ndarray
    axis_ratio: np.ndarray
    centre: np.ndarray
    z: np.ndarray


class Reference(NamedTuple):
    """What N windows are measured against: as in :class:`Found`, and the axis ratio; NaN where there is nothing."""

    orientation: np.ndarray
    axis_ratio: np.ndarray
    centre: np.ndarray


def verify(
    runs: Sequence[str | Path], store: ImageStore, *,
    truth: str | Path | None = None, limit: int = 1000, move: float = 4.0, seed: int = 0,
    device: torch.device | str = "cpu", quiet: bool = False,
) -> dict[str, dict[str, Any]]:  # fmt: skip
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
        Galaxies of the turn test are moved by up to so many window pixels in x and in y as well.
    seed
        Of the angles and moves.
    device
        Where to compute.
    quiet
        No progress.

    Returns
    -------
    dict
        Of each run, by its folder as given: ``galaxies``, ``elongated`` (axis ratio of the reference below 0.7),
        ``unmeasured`` (without one) and, as median and 84th percentile: ``axis``, ``axis_ratio`` and ``centre`` against
        the reference, ``turn_elongated`` and ``turn_round`` (theta, over 360 degrees), ``turn_axis_elongated``
        (orientation, modulo 180), ``move`` (the centre between the copies) and ``z_drift`` (RMS change of z over its
        spread). Galaxies of which the model or the reference says nothing are counted as ``missing``, and among those
        beyond 30 degrees and flipped.

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
    how = {"truth": truth, "move": move, "seed": seed, "quiet": quiet}
    found = {run: _measure(vae, store, rows=rows, **how) for run, vae in models.items()}
    for run, figures in found.items():
        warn_of_silence(run, figures["centre"]["missing"], figures["galaxies"])
    return found


def _measure(
    vae: SpatialVAE, store: ImageStore, *,
    rows: np.ndarray, truth: str | Path | None, move: float, seed: int, quiet: bool,
) -> dict[str, Any]:  # fmt: skip
    oversample = store.ingest["oversample"]
    reference = None if truth is None else _true(truth, store, rows, oversample)
    random = np.random.default_rng(seed)
    turn = random.uniform(0, 360, len(rows))
    shift = random.uniform(-move, move, (len(rows), 2))
    before, after, measured = [], [], []
    with Progress("verify", len(rows), quiet=quiet) as progress, torch.inference_mode():
        for part in np.array_split(np.arange(len(rows)), -(-len(rows) // 128)):
            fields = torch.from_numpy(store.images(rows[part])).to(vae.grid.device)
            copies = turned(fields, np.radians(turn[part]), shift[part] * oversample)
            view, again = (View.central(content, vae.window, oversample) for content in (fields, copies))
            before.append(find(vae, view))
            after.append(find(vae, again))
            if reference is None:
                measured.append(_measured(view.images(vae.grid)))
            progress.advance(len(part))
    return summarize(_joined(before), _joined(after), reference or _joined(measured), turn=turn, shift=shift)


def find(vae: SpatialVAE, view: View) -> Found:
    """The most probable hypothesis about each window of a view."""
    found = infer(vae, view)
    placed = found.placed
    return Found(
        direction(found.pose), np.degrees(placed.orientation), placed.axis_ratio,
        np.stack([placed.x, placed.y], 1), found.content.cpu().numpy(),
    )  # fmt: skip


def turned(fields: Tensor, angle: np.ndarray, offset: np.ndarray) -> Tensor:
    """Fields whose content is moved by `offset` field pixels (N, 2) and then turned by `angle` radians (N,)."""
    size = fields.shape[1]
    offset, angle = (torch.from_numpy(value).float().to(fields.device) for value in (-offset, angle))
    view = View(fields, size, 1, offset, angle)
    return view.images(pixel_grid(size).to(fields.device)).permute(0, 2, 3, 1).contiguous()


def summarize(start: Found, end: Found, reference: Reference, *, turn: np.ndarray, shift: np.ndarray) -> dict[str, Any]:
    """The figures of :func:`verify` from what was found before and after turning by `turn` and moving by `shift`."""
    long, round_ = reference.axis_ratio < 0.7, reference.axis_ratio >= 0.7
    axis = _difference(start.orientation, reference.orientation, 180)
    theta = _difference(end.theta - start.theta, turn, 360)
    axial = _difference(end.orientation - start.orientation, turn, 180)
    cos, sin = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    x, y = (start.centre + shift).T
    moved = end.centre - np.stack([x * cos - y * sin, x * sin + y * cos], 1)
    drift = np.sqrt(((end.z - start.z) ** 2).sum(1).mean())
    spread = np.sqrt(((start.z - start.z.mean(0)) ** 2).sum(1).mean())
    return {
        "galaxies": len(turn),
        "elongated": int(long.sum()),
        "unmeasured": int((~long & ~round_).sum()),
        "axis": {**_figures(axis[long]), "beyond_30": float((~(axis[long] <= 30)).mean())} if long.any() else None,
        "axis_ratio": _figures(np.abs(start.axis_ratio - reference.axis_ratio)[long | round_]),
        "centre": _figures(np.hypot(*(start.centre - reference.centre).T)),
        "turn_elongated": _turns(theta[long]),
        "turn_round": _turns(theta[round_]),
        "turn_axis_elongated": _figures(axial[long]),
        "move": _figures(np.hypot(*moved.T)),
        "z_drift": float(drift / spread) if spread > 0 else None,
    }


def _joined(parts: list[Any]) -> Any:
    return type(parts[0])(*map(np.concatenate, zip(*parts, strict=True)))


def _difference(a: np.ndarray, b: np.ndarray, period: float) -> np.ndarray:
    return np.abs((a - b + period / 2) % period - period / 2)


def _figures(values: np.ndarray) -> dict[str, float]:
    kept = values[np.isfinite(values)]
    if not len(kept):
        return {"median": float("nan"), "p84": float("nan"), "missing": len(values)}
    return {"median": float(np.median(kept)), "p84": float(np.percentile(kept, 84)), "missing": len(values) - len(kept)}


def _turns(values: np.ndarray) -> dict[str, float]:
    return {**_figures(values), "flips": float((~(values <= 90)).mean()) if len(values) else float("nan")}


def _measured(images: Tensor) -> Reference:
    """Adaptive second moments of windows (N, C, n, n)."""
    found = adaptive_moments(luminance(images.permute(0, 2, 3, 1).cpu().numpy()))
    centre = np.stack([found.x, found.y], 1) - (images.shape[-1] - 1) / 2
    return Reference(np.degrees(found.angle), found.axis_ratio, centre)


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
    return Reference(orientation, axis_ratio, np.stack([dx, dy], 1) / scale[:, None])
