"""Windows of fields: where the model looks, turned and moved on the device."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional

from galvae.geometry import Pose, pixel_grid, rotation, to_image


def as_float(fields: Tensor) -> Tensor:
    """Display values in [0, 1] of uint8 ones; floats as they are."""
    return fields / 255 if fields.dtype == torch.uint8 else fields


@dataclass(frozen=True)
class View:
    """Windows of B fields; the pixels around a window may be looked at too.

    Parameters
    ----------
    fields
        uint8, or floats; shape (B, F, F, C), row 0 at the bottom.
    window
        Pixels along a side of the window.
    oversample
        Field pixels per window pixel.
    offset
        Centre of the window from the centre of the field, (x right, y up) in field pixels, shape (B, 2).
    angle
        An inference network is shown the content turned counter-clockwise by this about the window's centre, radians,
        shape (B,). What it answers is about the *upright* window nevertheless.
    origin
        Where an inference network that has a place to look from looks first, grid units of the window, shape (B, 2);
        the centroid where not given.
    display
        Pixels are display values, in [0, 1] as floats: what is darker or brighter is cut, and was when they were made.
    """

    fields: Tensor
    window: int
    oversample: int
    offset: Tensor
    angle: Tensor
    origin: Tensor | None = None
    display: bool = True

    @classmethod
    def central(cls, fields: Tensor, window: int, oversample: int = 1, *, display: bool = True) -> View:
        """The upright windows in the middle: what a catalog is made from."""
        zero = torch.zeros(len(fields), 2, device=fields.device)
        return cls(fields, window, oversample, zero, zero[:, 0], display=display)

    def about(self, pose: Pose) -> View:
        """The same windows, where the inference network looks about a pose that was inferred before."""
        origin = to_image(torch.zeros_like(pose.shift[:1]), pose)[:, 0]
        return replace(self, angle=pose.theta, origin=origin)

    def __len__(self) -> int:
        return len(self.fields)

    @property
    def values(self) -> Tensor:
        """Pixel values of the fields, display values in [0, 1], shape (B, C, F, F)."""
        # torch.compile has no way into a cached_property, and itself computes what is common once.
        return self._as_values() if torch.compiler.is_compiling() else self._values

    @cached_property
    def _values(self) -> Tensor:
        return self._as_values()

    def _as_values(self) -> Tensor:
        return as_float(self.fields.permute(0, 3, 1, 2).contiguous())

    def of(self, values: Tensor) -> View:
        """The same windows of other fields: pixel values (B, C, F, F), which all views made from it share."""
        return replace(self, fields=values.permute(0, 2, 3, 1))

    def noisier(self, grain: Tensor) -> View:
        """The same windows of fields to which `grain` (B, C, F, F) is added."""
        values = self.values + grain
        return self.of(values.clamp_(0, 1) if self.display else values)

    @property
    def middle(self) -> Tensor:
        """The window's centre from the field's, grid units of the window, shape (B, 2)."""
        return self.offset / ((self.window - 1) / 2 * self.oversample)

    def centroid(self) -> Tensor:
        """Centre of light under a Gaussian window that follows it and narrows, grid units, shape (B, 2)."""
        with torch.no_grad():  # as a decorator it would keep torch.compile out
            return self._centroid()

    def _centroid(self) -> Tensor:
        coarse = pixel_grid(self.window // 2, device=self.fields.device)
        light = self.sample(coarse.expand(len(self), -1, -1)).mean(-1)
        light = (light - light.median(1, keepdim=True).values).clamp(min=0)
        centre = torch.zeros(len(self), 2, device=light.device)
        for width in (0.5, 0.4, 0.3, 0.22, 0.22, 0.22, 0.22):
            distance = (coarse[:, 0] - centre[:, :1]).square() + (coarse[:, 1] - centre[:, 1:]).square()
            weight = light * torch.exp(-0.5 * distance / width**2) + 1e-12
            centre = ((weight @ coarse.to(weight.dtype)) / weight.sum(1, keepdim=True)).clamp(-0.9, 0.9)
        return centre

    def sample(self, points: Tensor) -> Tensor:
        """Pixel values at points of the upright window, bilinear; beyond the field its nearest border pixel.

        Parameters
        ----------
        points
            In grid units of the window, shape (B, P, 2) or (P, 2).

        Returns
        -------
        Tensor
            Shape (B, P, C).
        """
        half_window = (self.window - 1) / 2 * self.oversample
        half_field = (self.fields.shape[1] - 1) / 2
        grid = (points * half_window + self.offset[:, None, :]) / half_field
        found = functional.grid_sample(self.values, grid[:, :, None], padding_mode="border", align_corners=True)
        return found[..., 0].mT

    def averaging(self, points: Tensor) -> Tensor:
        """Share of white noise's standard deviation that is left at points (B, P, 2) between pixels, shape (B, P)."""
        half_window = (self.window - 1) / 2 * self.oversample
        beside = (points * half_window + self.offset[:, None, :] + (self.fields.shape[1] - 1) / 2) % 1
        return (beside.square() + (1 - beside).square()).prod(2).sqrt()

    def images(self, grid: Tensor) -> Tensor:
        """The windows turned by ``angle``, shape (B, C, n, n), for the window's pixel grid, shape (n * n, 2)."""
        turned = grid @ rotation(-self.angle)
        return self.sample(turned).mT.reshape(len(self), -1, self.window, self.window)
