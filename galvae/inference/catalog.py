"""Run and store to the catalog's columns: plain arrays, in the units and frames of ``catalogs/galvae.ecsv``."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from functools import partial
from itertools import islice
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from galvae.angles import wrap
from galvae.covariance import carried, widths
from galvae.data.ahead import ahead
from galvae.data.split import identifier_hashes
from galvae.data.store import ROWS, ImageStore, spans
from galvae.flags import Flag
from galvae.geometry import Pose
from galvae.inference.canonical import direction, pieces
from galvae.inference.checks import check_fits
from galvae.inference.errors import content_error
from galvae.inference.infer import infer
from galvae.inference.looks import look_again
from galvae.inference.oddities import Typical, explained, odd, typical_of, vague
from galvae.inference.settings import CatalogSettings
from galvae.keyed import normal, uniform
from galvae.model.posterior import Posterior
from galvae.model.vae import SpatialVAE
from galvae.model.winding import Winding
from galvae.progress import Progress
from galvae.texture import texture
from galvae.trails import crossed
from galvae.windows import View

Piece = TypeVar("Piece")
Result = TypeVar("Result")


def infer_columns(
    vae: SpatialVAE, description: dict[str, Any], store: ImageStore, settings: CatalogSettings, *, quiet: bool = False
) -> dict[str, np.ndarray]:
    """All that :func:`infer_parts` gives, at once."""
    parts = [found for _, found in infer_parts(vae, description, store, settings, quiet=quiet)]
    return {name: np.concatenate([found[name] for found in parts]) for name in parts[0]}


def infer_parts(
    vae: SpatialVAE, description: dict[str, Any], store: ImageStore, settings: CatalogSettings, *,
    winding: Winding | None = None, quiet: bool = False,
) -> Generator[tuple[slice, dict[str, np.ndarray]], None, None]:  # fmt: skip
    """Everything about every galaxy of a store that does not need the sky, in its order, some thousands at a time.

    Images are read and inferred `settings.batch` at a time. On processors every core infers a batch of its own, while
    the next is read: cores that share each operation wait for each other. They go on some batches ahead while a part is
    in use. Nothing is held of all galaxies, so neither images nor columns need fit into memory.

    Parameters
    ----------
    vae, description
        A trained model, as :func:`galvae.training.checkpoint.load_model` returns it.
    store
        The images.
    settings
        The recipe's ``[catalog]`` table.
    winding
        Knows which way arms wind, if the run was taught that.
    quiet
        No progress.

    Yields
    ------
    slice
        Rows of the store.
    dict
        Their columns by the names of the contract, and for the sky ``x``, ``y``: the centre in original pixels,
        0-based, and ``covariance``: of them, shape (N, 2, 2).

    Raises
    ------
    ValueError
        If the store's fields are not what the model takes.
    """
    check_fits(vae, description, store)
    oversample, size = store.ingest["oversample"], settings.batch
    typical = typical_of(description)
    each = max(1, ROWS // size)  # batches a part
    trained = np.sort(description["trained_on"])

    def keyed() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for number, (_, fields) in enumerate(store.batches(size)):
            if number % each == 0:
                part = slice(number * size, (number + each) * size)
                hashes = identifier_hashes(store.column("id", part)).view(np.int64)
            begin = number % each * size
            yield hashes[begin : begin + size], fields

    def infer_one(batch: tuple[np.ndarray, np.ndarray]) -> dict[str, np.ndarray]:
        keys, fields = batch
        return infer_batch(
            vae, fields, keys, oversample=oversample, settings=settings, typical=typical, winding=winding
        )  # fmt: skip

    done = on_every_core(infer_one, keyed(), parts=-(-len(store) // size), device=vae.grid.device)
    with Progress("catalog", len(store), quiet=quiet) as progress, closing(done):
        for part in spans(len(store), each * size):
            batches: list[dict[str, np.ndarray]] = []
            for found in islice(done, each):
                batches.append(found)
                progress.advance(len(found["theta"]))
            found = {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
            found = _to_original(found, store, part, vae.window, oversample)
            found["id"] = store.column("id", part)
            found["flags"] = found["flags"] | store.column("flags", part).astype(np.int32)
            hashes = identifier_hashes(found["id"])
            # Not isin, which goes through all that a run was trained on each time.
            known = np.searchsorted(trained, hashes, "left") < np.searchsorted(trained, hashes, "right")
            found["flags"] |= np.where(known, Flag.TRAINED_ON, 0).astype(np.int32)
            yield part, found


def on_every_core(
    work: Callable[[Piece], Result], pieces: Iterable[Piece], *, parts: int, device: torch.device
) -> Generator[Result, None, None]:
    """Results of `work` in the order of so many `pieces`: on processors each core does a piece, while the next is read.

    Where several cores share each operation they wait for each other. On a device one thread works ahead.
    """
    cores = torch.get_num_threads() if device.type == "cpu" else 1
    threads = max(1, min(cores, parts))
    share = partial(torch.set_num_threads, cores // threads) if threads > 1 else None
    try:
        with closing(ahead(work, pieces, count=threads + 1, threads=threads, begin=share)) as results:
            yield from results
    finally:
        if share:
            torch.set_num_threads(cores)  # what a thread sets counts for those begun after it


@torch.inference_mode()
def infer_batch(
    vae: SpatialVAE, fields: np.ndarray, keys: np.ndarray, *, oversample: int, settings: CatalogSettings,
    typical: Typical | None = None, winding: Winding | None = None,
) -> dict[str, np.ndarray]:  # fmt: skip
    """Columns of one batch from the field's middle: lengths in pixels of the ordinary window, angles in degrees.

    Instead of ``dx_err`` and ``dy_err`` there is their ``covariance``, shape (B, 2, 2); ``scale`` and ``scale_err`` are
    over the ordinary window's width.

    Parameters
    ----------
    vae
        The model.
    fields
        As in a store: uint8, or floats that are no display values; shape (B, F, F, C), row 0 at the bottom.
    keys
        int64 that name the galaxies and so the noise that their errors rest on, in whatever store they are, shape (B,).
    oversample
        Field pixels per window pixel.
    settings
        Whether to refine the pose, and how many looks the errors take.
    typical
        What is typical of the run.
    winding
        Knows which way arms wind.
    """
    device = vae.grid.device
    display = fields.dtype == np.uint8
    view = vae.frame(View.central(torch.from_numpy(fields).to(device), vae.window, oversample, display=display))
    found = infer(vae, view, refine=settings.refine)
    galaxy = torch.from_numpy(keys).to(device)
    errors = look_again(vae, found, galaxy, settings)
    posterior, placed = found.posterior, found.placed
    share = explained(vae, found)
    flags = odd(found, share, errors.p_alt, typical)
    z_err = np.concatenate([content_error(found.looks).cpu().numpy(), errors.measured], 1)
    orientation_err = np.degrees(errors.orientation)
    signs = {
        Flag.AXIS_UNDEFINED: vague(placed.axis_ratio, orientation_err),
        Flag.TRAIL: crossed(view).cpu().numpy(),
    }
    for flag, sign in signs.items():
        flags |= np.where(sign, flag, 0).astype(np.int32)
    divergence = vae.divergence(posterior)
    one = posterior.draw(*one_draw(posterior, galaxy, seed=settings.seed))
    log_likelihood = log_likelihood_of(vae, *one, view.images(vae.grid).flatten(2).mT, vae.sky_noise(view))
    numbers = {
        "z": found.content,
        "log_likelihood": log_likelihood,
        "kl_z": divergence.content,
        "kl_pose": divergence.pose,
        "explained": share,
        "texture": texture(view),
        "elbo": log_likelihood - divergence.content - divergence.pose,
    }
    if winding is not None:
        numbers["winding"] = torch.sigmoid(winding(view.close_up()).double())
    widths = found.view.widths()
    dx, dy = found.view.in_field(np.stack([placed.x, placed.y], 1)).T
    return {
        **{name: value.cpu().numpy() for name, value in numbers.items()}, "z_err": z_err,
        "theta": direction(found.pose), "theta_err": np.degrees(errors.theta),
        "theta_alt": wrap(-np.degrees(errors.theta_alt), 360), "p_alt": errors.p_alt,
        "dx": dx, "dy": dy, "covariance": errors.centre * widths[:, None, None] ** 2,
        "scale": widths, "scale_err": widths * errors.scale,
        "semimajor_sigma": widths * placed.sigma, "semimajor_sigma_err": widths * placed.sigma * errors.sigma,
        "orientation": np.degrees(placed.orientation), "orientation_err": orientation_err,
        "axis_ratio": placed.axis_ratio, "axis_ratio_err": errors.axis_ratio,
        "flags": flags,
    }  # fmt: skip


def log_likelihood_of(
    vae: SpatialVAE, pose: Pose, content: Tensor, values: Tensor, noise: Tensor | None = None
) -> Tensor:  # fmt: skip
    """Of all pixels (B, n * n, C) of B windows in nats, shape (B,); they are decoded part by part."""
    count, pixels, _ = values.shape
    every = torch.arange(pixels, device=values.device).expand(count, -1)
    parts = pieces(vae, count, pixels)
    return sum(vae.log_likelihood(pose, content, values[:, part], pixels=every[:, part], noise=noise) for part in parts)


def one_draw(posterior: Posterior, galaxy: Tensor, *, seed: int) -> tuple[Tensor, Tensor]:
    """A hypothesis (B, 1) and standard normal numbers (B, 1, :attr:`Posterior.noise_size`), keyed by galaxy."""
    hypotheses, size = posterior.log_weight.shape[1], posterior.noise_size
    chances = uniform("catalog hypotheses", galaxy, hypotheses, seed=seed, step=0)
    noise = normal("catalog latents", galaxy, size, seed=seed, step=0)
    return posterior.choose(chances, 1), noise[:, None]


def _to_original(
    found: dict[str, np.ndarray], store: ImageStore, rows: slice, window: int, oversample: int
) -> dict[str, np.ndarray]:
    """Carry window pixels and angles into the original cutout by each galaxy's affine map."""
    affine, size = store.column("affine", rows), store.column("size", rows)
    linear = affine[:, :, :2] * oversample
    middle = affine[:, :, :2] @ np.full(2, (store.shape[0] - 1) / 2) + affine[:, :, 2]
    x, y = (middle + _apply(linear, found["dx"], found["dy"])).T
    along = np.radians(found["orientation"])
    towards = _apply(linear, np.cos(along), np.sin(along))
    pixel = np.sqrt(np.abs(np.linalg.det(linear)))
    half = pixel * (window - 1) / 2
    covariance = carried(found["covariance"], linear)
    x_err, y_err = widths(covariance).T
    found |= {
        "x": x, "y": y, "dx": x - (size[:, 1] - 1) / 2, "dy": y - (size[:, 0] - 1) / 2,
        "dx_err": x_err, "dy_err": y_err, "covariance": covariance,
        "orientation": wrap(np.degrees(np.arctan2(towards[:, 1], towards[:, 0])), 180),
        "scale": found["scale"] * half, "scale_err": found["scale_err"] * half,
        **{name: found[name] * pixel for name in ("semimajor_sigma", "semimajor_sigma_err")},
    }  # fmt: skip
    arcsec = store.column("pixel_scale", rows)
    for name in ("dx", "dy", "semimajor_sigma", "scale"):
        found[f"{name}_arcsec"], found[f"{name}_arcsec_err"] = found[name] * arcsec, found[f"{name}_err"] * arcsec
    return found


def _apply(linear: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.einsum("bij,bj->bi", linear, np.stack([x, y], 1))
