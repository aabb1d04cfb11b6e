"""A trained run as NumPy users see it: arrays in, arrays out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from galvae.data.settings import FLOATS
from galvae.geometry import Pose
from galvae.inference.canonical import decode_canonical, decode_images, direction
from galvae.inference.errors import circular_std, content_error, shift_error
from galvae.inference.infer import infer
from galvae.model.vae import SpatialVAE
from galvae.training.checkpoint import load_model
from galvae.windows import View


@dataclass(frozen=True, repr=False)
class Posterior:
    """What a model infers about N images: the most probable hypothesis of each.

    Parameters
    ----------
    z, z_err
        Content latents: mean and standard deviation over all hypotheses, shape (N, Z). That of latents that are
        measured (``model.structure``) is NaN: how they scatter between exposures a catalog says.
    theta, theta_err
        Direction of the canonical +x axis in the image as displayed, degrees counter-clockwise from right in [0, 360),
        and its circular standard deviation, shape (N,). Its zero belongs to the run.
    shift, shift_err
        Offset in the **object** frame in grid units (the window spans -1..1), and its root mean square about that under
        all hypotheses, shape (N, 2). Other hypotheses have other object frames: each counts by the shift with which
        this one would put the galaxy's centre where that one puts it in the image.
    place, width
        Where the middle of the window that the model looked at lies from the image's, right and up, in pixels of the
        ordinary window, shape (N, 2), and its width over that one's, shape (N,): 0 and 1 but for runs whose windows are
        as wide as their galaxies (``model.scale``).
    """

    z: np.ndarray
    z_err: np.ndarray
    theta: np.ndarray
    theta_err: np.ndarray
    shift: np.ndarray
    shift_err: np.ndarray
    place: np.ndarray
    width: np.ndarray

    def __len__(self) -> int:
        return len(self.z)

    def __repr__(self) -> str:
        return f"<Posterior of {len(self)} images, {self.z.shape[1]} content latents>"


class Model:
    """A trained spatial-VAE.

    Parameters
    ----------
    vae
        The network.
    description
        What the run folder says about it.
    """

    def __init__(self, vae: SpatialVAE, description: dict[str, Any]) -> None:
        self._vae, self.description = vae, description

    @property
    def window(self) -> int:
        """Pixels along a side of the window."""
        return self._vae.window

    @property
    def pixels(self) -> str:
        """What it was trained on, as ``ingest.pixels`` names it."""
        return self.description.get("recipe", {}).get("ingest", {}).get("pixels", "colour")

    @property
    def display(self) -> bool:
        """Whether pixels are display values, in [0, 1]."""
        return self.pixels not in FLOATS

    @property
    def latents(self) -> int:
        """Length Z of the content vector."""
        return self._vae.settings.content

    @property
    def inferred(self) -> int:
        """How many of them are inferred, and decoded: the first ones."""
        return self._vae.settings.latents

    def encode(
        self, images: np.ndarray, *, oversample: int | None = None, refine: bool = True, batch: int = 128
    ) -> Posterior:
        """Infer pose and content of images.

        Parameters
        ----------
        images
            uint8, or float in [0, 1]; of a run trained on floats (:data:`galvae.data.settings.FLOATS`) such, as ingest
            makes them. Shape (N, n, n, C), **row 0 at the bottom**; n at least the window: the model infers the window
            in the middle, and may look at what surrounds it.
        oversample
            Pixels of the images per pixel of the window. Where it is not given they are one to one, and images larger
            than the fields that the run was trained on are refused, as they are of another scale.
        refine
            Look again and fit the pose to the pixels, as in a catalog.
        batch
            So many at a time.

        Raises
        ------
        ValueError
            If the images are not square, too small or too large, of another number of channels, or their values are not
            such.
        """
        images = np.asarray(images)
        largest = self.description.get("recipe", {}).get("ingest", {}).get("field")
        if oversample is None and largest and images.ndim == 4 and images.shape[1] > largest:
            raise ValueError(
                f"images of {images.shape[1]} pixels, but the run was trained on whole cutouts of {largest}; scale "
                f"them to that, as galvae ingest does, or say oversample"
            )
        oversample = oversample or 1
        n, c = self.window * oversample, self._vae.channels
        if images.ndim != 4 or images.shape[1] != images.shape[2] or images.shape[1] < n or images.shape[3] != c:
            raise ValueError(f"images of shape {images.shape}; expected (N, n, n, {c}) with n >= {n}")
        if not self.display:
            if images.dtype.kind != "f" or not np.isfinite(images).all():
                raise ValueError(
                    f"the run was trained on {self.pixels} pixels: pass finite floats, each image less "
                    f"{FLOATS[self.pixels]} over its standard deviation, as galvae ingest makes them"
                )
            images = images.astype(np.float32)
        elif images.dtype != np.uint8:
            images = np.asarray(images, np.float32)
            if not ((images >= 0) & (images <= 1)).all():
                raise ValueError("images as floats must lie in [0, 1]; divide them by their full scale, or pass uint8")
        pieces = [
            self._encode(images[start : start + batch], oversample, refine) for start in range(0, len(images), batch)
        ]
        if not pieces:
            raise ValueError("no images to encode; expected at least one")
        return Posterior(*(np.concatenate(values) for values in zip(*pieces, strict=True)))

    @torch.inference_mode()
    def _encode(self, images: np.ndarray, oversample: int, refine: bool) -> list[np.ndarray]:
        fields = torch.from_numpy(np.ascontiguousarray(images)).to(self._vae.grid.device)
        view = self._vae.frame(View.central(fields, self.window, oversample, display=self.display))
        found = infer(self._vae, view, refine=refine)
        posterior, pose, content = found.looks, found.pose, found.content
        theta_err = torch.rad2deg(circular_std(posterior))
        # Where there is no centre to measure the frame's origin has to do.
        shift_err = shift_error(posterior, found.placed.centre.nan_to_num())
        z, z_err, theta_err, shift, shift_err = (
            t.cpu().numpy() for t in (content, content_error(posterior), theta_err, pose.shift, shift_err)
        )
        z_err = np.pad(z_err, ((0, 0), (0, z.shape[1] - z_err.shape[1])), constant_values=np.nan)
        place, width = found.view.in_field(np.zeros((1, 2))), found.view.widths()
        return [z, z_err, direction(pose), theta_err, shift, shift_err, place, width]

    def decode(self, posterior: Posterior, *, size: int | None = None) -> np.ndarray:
        """Reconstructions: mean images in the pose inferred, float32 (N, size, size, C), row 0 at the bottom."""
        return self._decode(posterior.z, posterior, size)

    def canonical(self, z: np.ndarray | Posterior, *, size: int | None = None) -> np.ndarray:
        """Mean images at theta = 0 and shift = 0 of content vectors (N, Z), float32 (N, size, size, C)."""
        return self._decode(z.z if isinstance(z, Posterior) else np.asarray(z), None, size)

    def sample(self, n: int, *, seed: int = 0, size: int | None = None) -> np.ndarray:
        """Galaxies drawn from the prior at theta = 0, shift = 0; float32 (n, size, size, C), row 0 at the bottom."""
        return self.canonical(np.random.default_rng(seed).standard_normal((n, self.latents)), size=size)

    @torch.inference_mode()
    def _decode(self, z: np.ndarray, posterior: Posterior | None, size: int | None) -> np.ndarray:
        if z.ndim != 2 or z.shape[1] != self.latents:
            raise ValueError(f"content of shape {z.shape}; expected (N, {self.latents})")
        device, size = self._vae.grid.device, size or self.window
        step = max(1, 2**20 // size**2)
        found = []
        for start in range(0, len(z), step):
            part = slice(start, start + step)
            content = torch.from_numpy(np.asarray(z[part, : self.inferred], np.float32)).to(device)
            if posterior is None:
                images = decode_canonical(self._vae, content, size=size)
            else:
                theta = torch.from_numpy(-np.radians(posterior.theta[part])).float().to(device)
                shift = torch.from_numpy(posterior.shift[part]).to(device)
                images = decode_images(self._vae, Pose(theta, shift), content, size=size)
            found.append(images.cpu().numpy())
        return np.concatenate(found)


def load(run: str | Path, *, device: str = "cpu") -> Model:
    """The model of a run folder.

    Raises
    ------
    FileNotFoundError
        If `run` holds no model.
    """
    return Model(*load_model(run, device=device))
