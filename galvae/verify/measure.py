"""Does the pose follow the galaxy, does z stay, do the errors hold? Galaxies measured again, turned, moved and noisier.

No labels are needed: axes and centres are compared with adaptive second moments of the images themselves (or with a
table of the truth, where there is one), and each galaxy with itself: turned and moved by known amounts before the
model's window is cut (the *turn test*), and in two *exposures*, each with the sky's noise added once more, of which one
is turned and moved as well. A model that hides the pose in z passes the axis and fails the turn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from galvae.data.split import identifier_hashes
from galvae.data.store import ImageStore
from galvae.geometry import pixel_grid
from galvae.inference.canonical import direction
from galvae.inference.checks import check_fits, warn_of_silence
from galvae.inference.infer import Inferred, infer
from galvae.inference.looks import look_again
from galvae.inference.oddities import Typical, explained, odd, typical_of
from galvae.inference.settings import CatalogSettings
from galvae.model.vae import SpatialVAE
from galvae.moments import Moments, adaptive_moments, luminance, segment_axis
from galvae.progress import Progress
from galvae.training.checkpoint import load_model
from galvae.verify.copies import Copies, ingested_copies, random_copies, rows_of, window_pixel
from galvae.verify.kept import compare
from galvae.verify.measured import Found, Measured, Reference
from galvae.verify.probe import appearance, probe, read_labels
from galvae.verify.summary import summarize
from galvae.windows import View

BATCH = 64


def verify(
    runs: Sequence[str | Path], store: ImageStore, *, settings: Mapping[str, CatalogSettings] | None = None,
    truth: str | Path | None = None, copies: tuple[ImageStore, str | Path] | None = None,
    label: str | None = None, table: str | Path | None = None,
    limit: int = 1000, move: float = 4.0, seed: int = 0, device: torch.device | str = "cpu", quiet: bool = False,
) -> dict[str, tuple[dict[str, Any], Measured]]:  # fmt: skip
    """Measure runs on the same galaxies, which none of them was trained on.

    Parameters
    ----------
    runs
        Run folders.
    store
        Images; galaxies of the same identifier as one that any of the runs was trained on are left out.
    settings
        Of the runs' catalogs, by folder: refinement and looks; the defaults where there are none.
    truth
        A table with columns ``id``, ``orientation`` (deg), ``axis_ratio``, ``dx``, ``dy`` (original pixels), to measure
        against instead of moments.
    copies
        The same galaxies turned and moved as files and ingested into a store of their own, and a table of how
        (:func:`galvae.verify.copies.ingested_copies`); without, the store's fields are turned and moved.
    label
        A column to predict from z (:mod:`galvae.verify.probe`).
    table
        Where that is, if it was not joined when the store was ingested.
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
    models, typical, known = {}, {}, []
    for run in runs:
        models[str(run)], description = load_model(run, device=device)
        typical[str(run)] = typical_of(description)
        check_fits(models[str(run)], description, store)
        known.append(description["trained_on"])
    rows = np.flatnonzero(~np.isin(identifier_hashes(store.column("id")), np.concatenate(known)))[:limit]
    if not len(rows):
        raise ValueError(f"{store.path}: no galaxy that {' and '.join(models)} did not train on; use another store")
    labels = None if label is None else read_labels(store, rows, label, table)
    again = random_copies(len(rows), move=move, seed=seed)
    if copies:
        again = ingested_copies(*copies, store, rows)
    found = {}
    for run, vae in models.items():
        measured = measure(
            vae, store, rows, again, settings=(settings or {}).get(run, CatalogSettings()),
            typical=typical[run], truth=truth, seed=seed, look=labels is not None, quiet=quiet,
        )  # fmt: skip
        figures = summarize(measured)
        if labels is not None:
            figures["probe"] = {"column": label, **probe(labels, (measured.start.z, measured.end.z), measured.seen)}
        found[run] = figures, measured
        warn_of_silence(run, int((~np.isfinite(measured.start.orientation)).sum()), len(rows))
    return found


def measure(
    vae: SpatialVAE, store: ImageStore, rows: np.ndarray, copies: Copies, *, settings: CatalogSettings,
    typical: Typical | None = None, truth: str | Path | None = None, seed: int = 0, look: bool = False,
    quiet: bool = False,
) -> Measured:  # fmt: skip
    """Measure some galaxies of a store and their copies; see :func:`verify`. With `look` keep what they look like."""
    oversample = store.ingest["oversample"]
    true = None if truth is None else _true(truth, store, rows)
    keys = torch.from_numpy(identifier_hashes(store.column("id")[rows], seed=seed).view(np.int64))
    generator = torch.Generator().manual_seed(seed)
    said: dict[str, list[Any]] = {name: [] for name in ("start", "end", "first", "second", "reference")}
    light, compared, seen = [], [], ([], [])
    with Progress("verify", len(rows), quiet=quiet) as progress, torch.inference_mode():
        for part in np.array_split(np.arange(len(rows)), -(-len(rows) // BATCH)):
            fields = torch.from_numpy(store.images(rows[part])).to(vae.grid.device)
            views = [
                View.central(content, vae.window, oversample, display=store.dtype == np.uint8)
                for content in (fields, copies.of(fields, part, oversample))
            ]
            key = keys[part].to(vae.grid.device)
            found = [infer(vae, vae.frame(view), refine=settings.refine) for view in views]
            whites = torch.randn(2, *fields.shape, generator=generator).to(key.device).permute(0, 1, 4, 2, 3)
            for number, (view, name) in enumerate(zip(views, ("first", "second"), strict=True)):
                said[("start", "end")[number]].append(say(vae, found[number], key, typical, settings))
                first = found[0].sky  # a turned image is smoother
                around = found[number].sky._replace(noise=first.noise, leak=first.leak, mixing=first.mixing)
                exposure = vae.frame(view.noisier(around.drawn(whites[number])))
                # Between the two lies the noise of one exposure, though each shows that of the image as well.
                anew = infer(vae, exposure, refine=settings.refine, around=around)
                said[name].append(say(vae, anew, key + number, typical, settings))
            compared.append(compare(vae, found[0], whites[0]))
            around_them = [_wide(view) for view in views[: 2 if look else 1]]
            lights = [_luminance(view) for view in around_them]
            moments = [adaptive_moments(one) for one in lights]
            said["reference"].append(_reference(around_them[0], lights[0], moments[0]))
            light.append(_light(vae, views[0], found[0]))
            if look:
                for view, shape, kept in zip(around_them, moments, seen, strict=True):
                    kept.append(appearance(view, shape))
            progress.advance(len(part))
    joined = {name: _joined(values) for name, values in said.items()}
    if true is not None:
        joined |= {"reference": true, "moments": joined["reference"]}
    brightness, snr = np.concatenate(light, 1)
    looks = [{name: np.concatenate([one[name] for one in kept]) for name in kept[0]} for kept in seen if kept]
    return Measured(
        rows, **joined, turn=copies.turn, shift=copies.shift, brightness=brightness, snr=snr, kept=_joined(compared),
        seen={name: (looks[0][name], looks[1][name]) for name in looks[0]} if looks else {},
    )  # fmt: skip


def say(
    vae: SpatialVAE, found: Inferred, keys: Tensor, typical: Typical | None, settings: CatalogSettings
) -> Found:  # fmt: skip
    """What was inferred, with errors, as the catalog says it of windows."""
    placed, view, share = found.placed, found.view, explained(vae, found)
    errors = look_again(vae, found, keys, settings)
    sigma = view.widths() * placed.sigma
    return Found(
        direction(found.pose), np.degrees(errors.theta), errors.p_alt,
        np.degrees(placed.orientation), np.degrees(errors.orientation), placed.axis_ratio, errors.axis_ratio,
        sigma, sigma * errors.sigma,
        view.in_field(np.stack([placed.x, placed.y], 1)), errors.centre * view.widths()[:, None, None] ** 2,
        found.content.cpu().numpy(), share.cpu().numpy(), odd(found, share, errors.p_alt, typical),
    )  # fmt: skip


def _joined(parts: list[Any]) -> Any:
    return type(parts[0])(*map(np.concatenate, zip(*parts, strict=True)))


def _light(vae: SpatialVAE, view: View, found: Inferred) -> np.ndarray:
    """Brightness and signal-to-noise ratio, shape (2, B)."""
    level, noise = (value.mean(1)[:, None, None] for value in (found.sky.level, found.sky.noise))
    brightness = (view.images(vae.grid).mean(1) - level).mean((1, 2))
    return torch.stack([brightness, brightness * vae.window / noise[:, 0, 0]]).cpu().numpy()


def _wide(view: View) -> View:
    """Where moments see the whole of a galaxy, whatever window a model sees: the ordinary one, or half of the field."""
    ordinary, widest = replace(view, offset=torch.zeros_like(view.offset), width=None), view.widest()
    return widest if widest.widths().max() > 1.02 else ordinary


def _luminance(view: View) -> np.ndarray:
    return luminance(view.images(pixel_grid(view.window, device=view.fields.device)).permute(0, 2, 3, 1).cpu().numpy())


def _reference(view: View, light: np.ndarray, found: Moments) -> Reference:
    """Adaptive second moments of the light (B, n, n) of windows, and the axis of their segments."""
    centre = view.in_field(np.stack([found.x, found.y], 1) - (view.window - 1) / 2)
    second = segment_axis(light, found.x, found.y)
    kind = np.full(len(centre), "")
    sigma = view.widths() * found.sigma
    return Reference(np.degrees(found.angle), found.axis_ratio, sigma, centre, np.degrees(second), kind)


def _true(path: str | Path, store: ImageStore, rows: np.ndarray) -> Reference:
    """Truth by identifier, lengths in window pixels."""
    found = rows_of(path, ("orientation", "axis_ratio", "dx", "dy"), store.column("id")[rows], text=("kind",))
    centre = np.stack([found["dx"], found["dy"]], 1) / window_pixel(store, rows)[:, None]
    unknown = np.full(len(rows), np.nan)  # adaptive moments' is not the profile's
    return Reference(found["orientation"], found["axis_ratio"], unknown, centre, found["orientation"], found["kind"])
