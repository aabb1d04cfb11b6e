"""The spatial-VAE: inference network, generator, likelihood and priors together."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.func import functional_call

from galvae.geometry import Pose, pixel_grid
from galvae.model.elbo import Divergence, divergence
from galvae.model.generator import SpatialGenerator, VanillaGenerator
from galvae.model.likelihood import likelihood
from galvae.model.mlp import MLPEncoder
from galvae.model.polar import PolarEncoder
from galvae.model.posterior import Posterior
from galvae.model.precision import Mixed
from galvae.model.settings import MEASURED, ModelSettings
from galvae.model.widths import widened
from galvae.structure import structure
from galvae.windows import View

ENCODERS = {"mlp": MLPEncoder, "polar": PolarEncoder}


class SpatialVAE(nn.Module):
    """Variational autoencoder with explicit rotation and translation (Bepler et al. 2019).

    Parameters
    ----------
    settings
        Networks, likelihood and priors.
    window
        Pixels along a side of the square images.
    channels
        Channels of an image.
    """

    def __init__(self, settings: ModelSettings, *, window: int, channels: int) -> None:
        super().__init__()
        self.settings, self.window, self.channels = settings, window, channels
        self.likelihood = likelihood(settings)
        outputs = channels * self.likelihood.outputs
        width = {"units": settings.generator_units, "layers": settings.generator_layers}
        if settings.generator == "spatial":
            self.generator = SpatialGenerator(settings.latents, outputs, waves=settings.waves, **width)
        else:
            self.generator = VanillaGenerator(settings.latents, outputs, size=window, **width)
        self.encoder = ENCODERS[settings.encoder](settings, window=window, channels=channels)
        self.register_buffer("grid", pixel_grid(window), persistent=False)
        self.register_buffer("content_mean", torch.zeros(settings.latents))
        self.register_buffer("content_scale", torch.ones(settings.latents))
        if settings.structure:
            self.register_buffer("structure_mean", torch.zeros(len(MEASURED)))
            self.register_buffer("structure_scale", torch.ones(len(MEASURED)))
        # Of the spatial generator's hidden layers while it computes, where more than it has are faster.
        self.units: int | None = None

    def frame(self, view: View) -> View:
        """The windows that the model looks at, of a view of ordinary ones."""
        return view if self.settings.scale == "fixed" else view.close_up()

    def encode(self, view: View) -> Posterior:
        """Posterior of content and pose of the upright windows of a view."""
        if view.window != self.window or view.fields.shape[3] != self.channels:
            raise ValueError(
                f"windows of {view.window} pixels and {view.fields.shape[3]} channels, but the model takes "
                f"{self.window} and {self.channels}"
            )
        found = self.encoder(view)
        return replace(
            found,
            content=(found.content - self.content_mean) / self.content_scale,
            content_std=found.content_std / self.content_scale,
        )

    def measured(self, view: View) -> Tensor:
        """The latents that are measured, not inferred, of the galaxies of a view, shape (B, 16), or (B, 0).

        About their means over galaxies of the training, in units of their spreads (:meth:`fit_measured`).
        """
        return (
            (structure(view) - self.structure_mean) / self.structure_scale
            if self.settings.structure
            else view.offset[:, :0]
        )

    @torch.no_grad()
    def fit_measured(self, told: Tensor) -> None:
        """Measure such latents from now on about the means, and in units of the spreads, of these, shape (N, 16)."""
        self.structure_mean.copy_(told.mean(0))
        self.structure_scale.copy_(told.std(0, unbiased=False).clamp(min=1e-3))

    def decode(
        self, pose: Pose, content: Tensor, *, pixels: Tensor | None = None, grid: Tensor | None = None
    ) -> Tensor:
        """Parameters of the pixels' distributions, shape (B, P, outputs).

        Parameters
        ----------
        pose, content
            Of B images.
        pixels
            Row-major indices of the pixels to decode, shape (B, P); all of them where not given.
        grid
            Coordinates to decode instead of the window's own pixels, grid units, shape (P, 2).

        Raises
        ------
        ValueError
            If the generator is the vanilla one and a `grid` is given: it knows no coordinates.
        """
        if grid is not None and self.settings.generator == "vanilla":
            raise ValueError(f"a vanilla generator decodes its own {self.window} x {self.window} pixels only")
        x = self.grid if grid is None else grid
        x = x if pixels is None else x[pixels]
        given = x, pose, content * self.content_scale + self.content_mean, pixels
        if self.units is None:
            return self.generator(*given)
        return functional_call(self.generator, widened(self.generator, self.units), given)

    def compute_in(self, precision: torch.dtype | None) -> None:
        """Let the networks' inner layers compute in another precision (:mod:`galvae.model.precision`), None: as is."""
        for module in self.modules():
            if isinstance(module, Mixed):
                module.precision = precision

    @torch.no_grad()
    def fit_prior(self, mean: Tensor, square: Tensor) -> None:
        """Measure content from now on in units of its spread about its mean; reconstructions stay what they are.

        For z -> (z - m) / s the mean divergence from N(0, I) is least at m = E[z] and s^2 = E[z^2] - m^2, under the
        posteriors of all galaxies.

        Parameters
        ----------
        mean, square
            Means of z and z^2 over galaxies and their posteriors, as z is measured now, shape (Z,).
        """
        spread = (square - mean.square()).clamp(min=1e-6).sqrt()
        self.content_mean += self.content_scale * mean
        self.content_scale *= spread

    @torch.no_grad()
    def fit_scale(self, zoom: Tensor) -> None:
        """Measure scales from now on about this mean of inferred zooms, shape (); reconstructions stay what they are.

        But for the polar network's places, which a tanh bounds: those grow as far as that lets them. How large all
        object frames are together is a gauge, the generator's to choose, and windows would be cut as wide as that. So
        the mean galaxy's frame is as wide as its window.
        """
        if self.settings.generator != "vanilla":  # to which coordinates are nothing
            self.encoder.magnify(zoom)
            self.generator.magnify(zoom)

    def log_likelihood(
        self, pose: Pose, content: Tensor, values: Tensor, *,
        pixels: Tensor | None = None, weight: Tensor | None = None, noise: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """Log likelihood of each image in nats, summed over pixels and channels, shape (B,).

        Parameters
        ----------
        pose, content
            Of B images.
        values
            Pixel values, shape (B, P, C): of all pixels, row-major, or of the `pixels` chosen.
        pixels, weight
            Row-major indices and what each pixel counts, shape (B, P); every pixel once where not given.
        noise
            Of each image's sky, shape (B, C), of which a likelihood with ``noise = "sky"`` is made: :meth:`sky_noise`.
        """
        log_prob = self.likelihood.log_prob(self.decode(pose, content, pixels=pixels), values, noise)
        return (log_prob if weight is None else log_prob * weight).sum(1)

    def sky_noise(self, view: View) -> Tensor | None:
        """What the likelihood asks of each image beside its pixels: nothing, or its sky's noise, shape (B, C)."""
        return view.noise() if self.settings.likelihood == "gaussian" and self.settings.noise == "sky" else None

    def divergence(self, posterior: Posterior) -> Divergence:
        """KL of a posterior from the priors, nats per image."""
        return divergence(posterior, self.settings, self.window)
