"""A run, and a store where one is given, to the figures that show what was learned."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from galvae import pictures, plots
from galvae.data.split import identifier_hashes
from galvae.data.store import ImageStore
from galvae.description import METRICS, read_metrics, weighted
from galvae.flags import Flag
from galvae.geometry import pixel_grid
from galvae.inference.catalog import infer_columns
from galvae.inference.derotated import canonical_images, resample
from galvae.inference.model import Model, Posterior
from galvae.inference.settings import CatalogSettings
from galvae.model.settings import bound
from galvae.progress import say
from galvae.runs import run_path
from galvae.sampling import displayed
from galvae.sky import local_sky
from galvae.training.checkpoint import load_model

GALAXIES = 250
STEPS = np.linspace(-2, 2, 9)


def plot_run(
    run: str | Path, output: str | Path, *,
    store: ImageStore | None = None, settings: CatalogSettings | None = None, device: torch.device | str = "cpu",
    overwrite: bool = False, quiet: bool = False,
) -> Iterator[Path]:  # fmt: skip
    """Draw the figures of a run, one after the other.

    Parameters
    ----------
    run
        A run folder.
    output
        The folder of the figures, made where it is not there.
    store
        Galaxies to show, at most 250, those that were not trained on first; without them only the training and the
        prior are drawn.
    settings
        Of the catalog that the figures show; the defaults if None.
    device
        Where to compute.
    overwrite
        Replace figures of the same names.
    quiet
        No progress.

    Yields
    ------
    Path
        Each figure, when it is written.

    Raises
    ------
    FileNotFoundError
        If `run` holds no model.
    FileExistsError
        If one of the figures is there already.
    ValueError
        If the store is not what the run takes, or is empty.
    """
    vae, description = load_model(run, device=device)
    model, output = Model(vae, description), Path(output)
    figures: dict[str, Callable[[], Figure]] = {}
    metrics = read_metrics(run_path(run) / METRICS)
    if metrics:
        objective = bound(description["model"]["likelihood"])
        figures["curves"] = lambda: plots.curves(
            metrics, window=vae.window, objective=objective, weighted=weighted(description)
        )
    else:
        say(f"{run}: {METRICS} has no epoch yet: no curves.png")
    figures["prior"] = lambda: _prior(model)
    if store is not None:
        figures |= {"reconstructions": lambda: _reconstructions(model, some, columns),
                    "canonical": lambda: _canonical(model, some, columns),
                    "latents": lambda: _latents(model, columns),
                    "orientation": lambda: plots.orientation(columns, note=_whose(columns))}  # fmt: skip
    paths = {name: output / f"{name}.png" for name in figures}
    for path in paths.values():
        if path.exists() and not overwrite:
            raise FileExistsError(f"{path}: already exists; choose another output or add --overwrite")
    if store is not None:
        some = Selection(store, _rows(store, description))
        columns = infer_columns(vae, description, some, settings or CatalogSettings(), quiet=quiet) | {
            "pixel_scale": some.column("pixel_scale")
        }
    output.mkdir(parents=True, exist_ok=True)
    for name, draw in figures.items():
        plots.save(draw(), paths[name])
        yield paths[name]


@dataclass(frozen=True)
class Selection:
    """Some galaxies of a store, read like a store: what is inferred of them is what the whole store's catalog says.

    Parameters
    ----------
    store
        The store.
    rows
        Which of its galaxies, in the order wanted.
    """

    store: ImageStore
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    def column(self, name: str, rows: slice = slice(None)) -> np.ndarray:
        """One column of these galaxies, or of neighbours among them."""
        return self.store.column(name)[self.rows][rows]

    def batches(self, size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Rows of the selection, and fields."""
        for start in range(0, len(self), size):
            rows = np.arange(start, min(start + size, len(self)))
            yield rows, self.store.images(self.rows[rows])


def _rows(store: ImageStore, description: dict[str, Any]) -> np.ndarray:
    rows = np.random.default_rng(0).permutation(len(store))
    trained = np.isin(identifier_hashes(store.column("id")), description["trained_on"])
    return rows[np.argsort(trained[rows], kind="stable")][:GALAXIES]


def _whose(columns: dict[str, np.ndarray]) -> str:
    trained = int(((columns["flags"] & Flag.TRAINED_ON) != 0).sum())
    count = len(columns["id"])
    galaxies = f"{count:,} galaxies" if count > 1 else "1 galaxy"
    return f"{galaxies}, " + (f"{trained:,} of them trained on" if trained else "not trained on")


def _seen(
    model: Model, some: Selection, columns: dict[str, np.ndarray], count: int
) -> tuple[dict[str, np.ndarray], Posterior, np.ndarray, np.ndarray]:
    """Of the first galaxies columns, their centres from the windows' middles, what is inferred, fields and windows."""
    columns = {name: values[:count] for name, values in columns.items()}
    fields, oversample = some.store.images(some.rows[:count]), some.ingest["oversample"]
    posterior = model.encode(fields, oversample=oversample)
    pixel = columns["scale"] / posterior.width / ((model.window - 1) / 2)
    columns |= {name: columns[name] - pixel * posterior.place[:, axis] for axis, name in enumerate(("dx", "dy"))}
    images = resample(fields, pixel_grid(model.window), model.window, oversample, seen=posterior)
    return columns, posterior, fields, images


def _prior(model: Model) -> Figure:
    ends = 2 * np.concatenate([np.eye(model.latents), -np.eye(model.latents)])
    up, down = np.split(model.canonical(ends), 2)
    order = np.argsort(-np.abs(up - down).mean((1, 2, 3)))[:6]
    zero, one = np.zeros(model.latents), np.ones(model.latents)
    samples, strips = model.sample(40), _traversals(model, order, zero, one)
    return pictures.prior(_shown(model, samples), _shown(model, strips, samples), order, STEPS)


def _shown(model: Model, images: np.ndarray, like: np.ndarray | None = None) -> np.ndarray:
    """As display values, for the figures."""
    return images if model.display else displayed(images, like)


def _reconstructions(model: Model, some: Selection, columns: dict[str, np.ndarray]) -> Figure:
    columns, posterior, _, images = _seen(model, some, columns, 12)
    columns["north"], columns["east"] = compass(some.column("wcs")[:12], some.column("size")[:12])
    # Alike, for the residual is their difference.
    three = (_shown(model, shown, images) for shown in (images, model.decode(posterior), model.canonical(posterior)))
    return pictures.reconstructions(*three, columns, note=_whose(columns))


def compass(headers: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The ways North and East in images, degrees counter-clockwise from right, NaN without a WCS.

    They are taken at the middle of the cutout, which is known where the galaxy's centre is not.

    Parameters
    ----------
    headers
        Text of each galaxy's FITS header, ``''`` where there is none, shape (N,).
    sizes
        Rows and columns of each cutout, shape (N, 2).
    """
    sky = local_sky(headers, (sizes[:, 1] - 1) / 2, (sizes[:, 0] - 1) / 2)
    return sky.angle_in_image(0), sky.angle_in_image(90)


def _canonical(model: Model, some: Selection, columns: dict[str, np.ndarray]) -> Figure:
    columns, posterior, fields, images = _seen(model, some, columns, 16)
    turned = canonical_images(fields, posterior, window=model.window, oversample=some.ingest["oversample"])
    seen = (_shown(model, shown, images) for shown in (images, turned))
    return pictures.canonical_views(
        *seen, _shown(model, model.canonical(posterior)), columns, note=_whose(columns)
    )  # fmt: skip


def _latents(model: Model, columns: dict[str, np.ndarray]) -> Figure:
    z = columns["z"]
    columns = columns | {name: columns[name][:, : model.inferred] for name in ("z", "z_err")}
    order = np.argsort(-columns["z"].std(0))[:6]
    shown = plots.representatives(columns["z"])
    canonical, strips = model.canonical(z[shown]), _traversals(model, order, z.mean(0), z.std(0))
    thumbnails = dict(zip(shown.tolist(), _shown(model, canonical), strict=True))
    return plots.latents(
        columns, thumbnails, _shown(model, strips, canonical), order, STEPS, note=_whose(columns)
    )  # fmt: skip


def _traversals(model: Model, latents: np.ndarray, mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    """Canonical images along single latents, the others at their mean, shape (latents, steps, n, n, C)."""
    z = np.tile(mean, (len(latents), len(STEPS), 1))
    for number, latent in enumerate(latents):
        z[number, :, latent] += STEPS * std[latent]
    images = model.canonical(z.reshape(-1, model.latents))
    return images.reshape(*z.shape[:2], *images.shape[1:])
