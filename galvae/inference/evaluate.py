"""How well a model explains images that it was not trained on, and what it says of them: no registration, no errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from galvae.data.split import identifier_hashes
from galvae.inference.canonical import decode_images
from galvae.inference.catalog import log_likelihood_of, on_every_core, one_draw
from galvae.model.vae import SpatialVAE
from galvae.windows import View

Result = TypeVar("Result")


class Images(Protocol):
    """A store, or some of its rows (:class:`galvae.inference.figures.Selection`)."""

    ingest: dict[str, Any]

    def __len__(self) -> int:
        """How many."""
        ...

    def column(self, name: str) -> np.ndarray:
        """A column by name."""
        ...

    def batches(self, size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Rows, and fields (B, F, F, C)."""
        ...


def evaluate(vae: SpatialVAE, images: Images, *, seed: int = 0) -> dict[str, np.ndarray]:
    """Terms of the ELBO of every image by one draw of its posterior, on every pixel, and its latents.

    Parameters
    ----------
    vae
        A trained model.
    images
        Where each has a fixed window it is that, else the middle one.
    seed
        Of the draws, which are keyed by the identifier.

    Returns
    -------
    dict
        ``elbo``, ``log_likelihood``, ``kl_z``, ``kl_pose`` in nats, shape (N,); of the most probable hypothesis ``z``
        (N, Z), ``theta`` in radians, unwrapped, (N,), and ``shift`` in grid units (N, 2); where a scale is inferred
        ``zoom``, (N,).
    """
    hashes = identifier_hashes(images.column("id")).view(np.int64)

    def of(rows: np.ndarray, view: View) -> dict[str, np.ndarray]:
        posterior = vae.encode(view)
        drawn = posterior.draw(*one_draw(posterior, torch.from_numpy(hashes[rows]).to(vae.grid.device), seed=seed))
        divergence = vae.divergence(posterior)
        likelihood = log_likelihood_of(vae, *drawn, _pixels(vae, view), vae.sky_noise(view))
        pose, content = posterior.draw(posterior.best())
        found = {
            "elbo": likelihood - divergence.content - divergence.pose, "log_likelihood": likelihood,
            "kl_z": divergence.content, "kl_pose": divergence.pose,
            "z": content, "theta": pose.theta, "shift": pose.shift,
        }  # fmt: skip
        found |= {} if pose.zoom is None else {"zoom": pose.zoom}
        return {name: values.double().cpu().numpy() for name, values in found.items()}

    pieces = list(_of_all(vae, images, of))
    return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}


def windows(vae: SpatialVAE, images: Images) -> np.ndarray:
    """What the model is shown, shape (N, n, n, C), row 0 at the bottom."""
    shape = vae.window, vae.window, vae.channels
    return np.concatenate([*_of_all(vae, images, lambda _, view: _pixels(vae, view).cpu().numpy())]).reshape(-1, *shape)


def reconstructed(vae: SpatialVAE, images: Images) -> np.ndarray:
    """What the most probable hypothesis decodes to in its pose, shape (N, n, n, C), row 0 at the bottom."""

    def of(_: np.ndarray, view: View) -> np.ndarray:
        posterior = vae.encode(view)
        return decode_images(vae, *posterior.draw(posterior.best()), size=vae.window).cpu().numpy()

    return np.concatenate([*_of_all(vae, images, of)])


def _of_all(
    vae: SpatialVAE, images: Images, work: Callable[[np.ndarray, View], Result], *, batch: int = 200
) -> Iterator[Result]:
    """What `work` makes of rows and their windows, batch by batch."""
    offset = images.column("window") if images.ingest["crop"] == "fixed" else np.zeros((len(images), 2))

    @torch.inference_mode()
    def of(part: tuple[np.ndarray, np.ndarray]) -> Result:
        rows, fields = part
        to_device: Callable[[np.ndarray], Tensor] = partial(torch.as_tensor, device=vae.grid.device)
        view = View.central(to_device(fields), vae.window, images.ingest["oversample"])
        return work(rows, vae.frame(replace(view, offset=to_device(offset[rows]).float())))

    parts = -(-len(images) // batch)
    with closing(on_every_core(of, images.batches(batch), parts=parts, device=vae.grid.device)) as done:
        yield from done


def _pixels(vae: SpatialVAE, view: View) -> Tensor:
    return view.sample(vae.grid.expand(len(view), -1, -1))
