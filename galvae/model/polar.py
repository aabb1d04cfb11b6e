"""An inference network that turns and moves with the galaxy."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from galvae.geometry import Pose
from galvae.model.posterior import Posterior, scale_fields
from galvae.model.precision import Mixed
from galvae.model.settings import ModelSettings
from galvae.windows import View

ANGLES, RADII, REACH = 64, 24, 0.8
# No object's origin is so far from the centroid.
NEAR = 0.2


class Polar(Mixed):
    """Columns of what surrounds the galaxy's centroid, each of them seen alike, wherever the galaxy points.

    The field is sampled on 64 angles x 24 radii about the centroid, wherever that lies and whatever the window's frame
    cuts off, and convolved circularly in angle: turning the image rolls the columns, moving it moves the origin.

    Parameters
    ----------
    outputs
        Of each of the 32 columns that are left.
    channels
        Channels of an image.
    """

    def __init__(self, outputs: int, *, channels: int) -> None:
        super().__init__()
        radii = torch.linspace(0, 1, RADII + 1)[1:] ** 1.25 * REACH
        self.register_buffer("radii", radii, persistent=False)
        self.rings = nn.ModuleList(
            [
                _Ring(channels + 1, 32, kernel=5, stride=(1, 2)),
                _Ring(32, 48, kernel=3, stride=(2, 1)),
                _Ring(48, 64, kernel=3, stride=(2, 1)),
                _Ring(64, 96, kernel=3, stride=(2, 1)),
            ]
        )
        self.flat = nn.Conv1d(96 * (RADII // 8), 128, 1)
        self.around = nn.ModuleList(_Around(128, dilation) for dilation in (1, 2, 3))
        self.output = nn.Conv1d(128, outputs, 1)

    def around_centre(self, view: View, *, stretch: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Light about the centroids, (B, C, 24, 64), the directions, radians, (B, 64), and the centroids, (B, 2).

        Of several things in a window the one nearest to its middle is looked at, unless the view has an origin.

        With `stretch` (B, 2, 2) the circles that are looked at are stretched by these matrices, in the image's frame.
        """
        centre = view.centroid(nearest=True) if view.origin is None else view.origin
        angle = torch.arange(ANGLES, device=centre.device) * (2 * math.pi / ANGLES) - view.angle[:, None]
        direction = torch.stack([torch.cos(angle), torch.sin(angle)], -1)
        circles = (self.radii[:, None, None] * direction[:, None]).flatten(1, 2)
        points = centre[:, None] + (circles if stretch is None else circles @ stretch)
        return view.sample(points).mT.reshape(len(view), -1, RADII, ANGLES), angle, centre

    def columns(self, light: Tensor) -> Tensor:
        """What each of 32 columns says of the light about a centre, (B, C, 24, 64), shape (B, 32, outputs)."""
        radius = self.radii[:, None].expand(len(light), 1, RADII, ANGLES)
        seen = torch.cat([light, radius], 1)
        if not torch.is_grad_enabled():  # The faster layout of a processor's convolutions, but not of what goes back.
            seen = seen.contiguous(memory_format=torch.channels_last)
        with self.mixed(seen.device):
            for ring in self.rings:
                seen = ring(seen)
            seen = functional.silu(self.flat(seen.flatten(1, 2)))
            for around in self.around:
                seen = seen + around(seen)
        return self.output(seen.to(light.dtype)).mT


class PolarEncoder(Polar):
    """Looks at the galaxy in polar coordinates about its own centroid; each column of angles is a hypothesis.

    Each of the 32 columns is a candidate for where the object's +x axis points, and says how probable it is, by how
    much it is off (within its own share of the circle), where the object's origin lies from the centroid in the
    object's frame (no farther than 0.2 in x and in y, or place would become a code for content), and z: read off the
    column that wins, z does not know how the image was turned.

    With ``a`` the direction of a column, ``d`` its offset, ``c`` the centroid and ``t`` the centroid's place in the
    object frame: ``theta = -(a + d)`` and ``shift = t - c @ R(theta) exp(-zoom)``. Where a scale is inferred each says
    the zoom, too, by how much wider than the window the galaxy's frame is: windows grow with their galaxies, and so
    does the scale.

    Parameters
    ----------
    settings
        Number of latents.
    window
        Pixels along a side of the window.
    channels
        Channels of an image.
    """

    def __init__(self, settings: ModelSettings, *, window: int, channels: int) -> None:
        zooms = int(settings.scale == "inferred")
        super().__init__(2 * settings.latents + 7 + 2 * zooms, channels=channels)
        self.latents, self.zooms = settings.latents, zooms
        with torch.no_grad():  # Begin near the prior: what z starts away from zero it keeps for long.
            self.output.weight.mul_(0.1)
            self.output.bias.zero_()

    @torch.no_grad()
    def magnify(self, zoom: Tensor) -> None:
        """Answer from now on about object frames in which all is ``exp(zoom)`` times as large."""
        place, place_log_std, own = slice(3, 5), slice(5, 7), 7 + 2 * self.latents  # as forward splits what comes out
        self.output.weight[place] *= zoom.exp()
        self.output.bias[place] *= zoom.exp()
        self.output.bias[place_log_std] += zoom
        self.output.bias[own] -= zoom

    def forward(self, view: View) -> Posterior:
        """Posterior of the upright windows."""
        light, angle, centre = self.around_centre(view)
        out = self.columns(light)
        columns, n = out.shape[1], self.latents
        weight, offset, theta_log_std, place, place_log_std, content, content_log_std, zoom, zoom_log_std = out.split(
            [1, 1, 1, 2, 2, n, n, self.zooms, self.zooms], 2
        )
        theta = -(angle[:, :: ANGLES // columns] + torch.tanh(offset[..., 0]) * (math.pi / columns))
        scale = scale_fields(zoom[..., 0], zoom_log_std[..., 0], view) if self.zooms else ()
        shift = NEAR * torch.tanh(place) - (centre[:, None, None] @ Pose(theta, place, *scale[:1]).linear)[:, :, 0]
        return Posterior(
            weight[..., 0].log_softmax(1), content, content_log_std.exp(),
            theta, (theta_log_std[..., 0] - 3).exp(), shift, (place_log_std - 3).exp(), *scale,
        )  # fmt: skip


class _Wrapped(torch.autograd.Function):
    """Angles (the last axis) continued by `pad` at both ends; torch's own circular padding is slow going back."""

    @staticmethod
    def forward(ctx: Any, seen: Tensor, pad: int) -> Tensor:
        ctx.pad = pad
        return torch.cat([seen[..., -pad:], seen, seen[..., :pad]], -1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        pad = ctx.pad
        own = grad[..., pad:-pad].clone()
        own[..., :pad] += grad[..., -pad:]
        own[..., -pad:] += grad[..., :pad]
        return own, None


class _Ring(nn.Module):
    """Convolution over (radius, angle), circular in angle."""

    def __init__(self, inputs: int, outputs: int, *, kernel: int, stride: tuple[int, int]) -> None:
        super().__init__()
        self.pad = kernel // 2
        self.convolve = nn.Conv2d(inputs, outputs, kernel, stride, padding=(self.pad, 0))
        self.norm = nn.GroupNorm(8, outputs)

    def forward(self, seen: Tensor) -> Tensor:
        wrapped = _Wrapped.apply(seen, self.pad)
        return functional.silu(self.norm(self.convolve(wrapped)))


class _Around(nn.Module):
    """Convolution over angle alone, circular."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.convolve = nn.Conv1d(width, width, 5, dilation=dilation)
        self.norm = nn.GroupNorm(8, width)
        self.pad = 2 * dilation

    def forward(self, seen: Tensor) -> Tensor:
        wrapped = _Wrapped.apply(seen, self.pad)
        return functional.silu(self.norm(self.convolve(wrapped)))
