"""The paper's inference network."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from galvae.geometry import pixel_grid
from galvae.model.posterior import Posterior, scale_fields
from galvae.model.precision import Mixed
from galvae.model.settings import ModelSettings
from galvae.windows import View


class MLPEncoder(Mixed):
    """An MLP on the flattened window (Bepler et al. 2019, section 4.1): one hypothesis.

    Parameters
    ----------
    settings
        Latents, width, depth, and which parts of the pose are inferred; those that are not are exactly zero (eq. 5).
    window
        Pixels along a side of the window.
    channels
        Channels of an image.
    """

    def __init__(self, settings: ModelSettings, *, window: int, channels: int) -> None:
        super().__init__()
        self.settings = settings
        widths = [channels * window * window, *[settings.encoder_units] * settings.encoder_layers]
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.zooms = int(settings.scale == "inferred")
        inferred = settings.latents + settings.infer_rotation + 2 * settings.infer_translation + self.zooms
        self.output = nn.Linear(widths[-1], 2 * inferred)
        self.register_buffer("grid", pixel_grid(window), persistent=False)

    @torch.no_grad()
    def magnify(self, zoom: Tensor) -> None:
        """Answer from now on about object frames in which all is ``exp(zoom)`` times as large."""
        inferred = self.output.out_features // 2
        if self.settings.infer_translation:
            shift = slice(inferred - 3, inferred - 1)
            self.output.weight[shift] *= zoom.exp()
            self.output.bias[shift] *= zoom.exp()
            self.output.bias[inferred:][shift] += zoom
        self.output.bias[inferred - 1] -= zoom

    def forward(self, view: View) -> Posterior:
        """Posterior of the upright windows, from the turned ones."""
        hidden = seen = view.images(self.grid).flatten(1)
        # A processor's batch has too few rows to be worth converting the weights: a step of the paper's network for
        # galaxies takes 1.4 times as long.
        with self.mixed_on_a_gpu(hidden.device):
            for layer in self.hidden:
                hidden = torch.tanh(layer(hidden))
        mean, log_std = self.output(hidden.to(seen.dtype))[:, None].chunk(2, dim=2)
        scale = scale_fields(mean[..., -1], log_std[..., -1], view) if self.zooms else ()
        std = log_std.exp()
        n, zero = self.settings.latents, torch.zeros_like(mean[..., :2])
        theta, theta_std = zero[..., 0], zero[..., 0]
        if self.settings.infer_rotation:
            # What is seen turned by +angle has theta - angle: the turn is given back.
            theta, theta_std = mean[..., n] + view.angle[:, None], std[..., n]
        mean, std = (value[..., : value.shape[2] - self.zooms] for value in (mean, std))
        shift, shift_std = (mean[..., -2:], std[..., -2:]) if self.settings.infer_translation else (zero, zero)
        return Posterior(zero[..., 0], mean[..., :n], std[..., :n], theta, theta_std, shift, shift_std, *scale)
