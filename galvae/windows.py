"""Windows of fields: where the model looks, turned and moved on the device."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional

from galvae.geometry import rotation


@dataclass(frozen=True)
class View:
    """Windows of B fields; the pixels around a window may be looked at too.

    Parameters
    ----------
    fields
        uint8, or float in [0, 1]; shape (B, F, F, C), row 0 at the bottom.
    window
        Pixels along a side of the window.
    oversample
        Field pixels per window pixel.
    offset
        Centre of the window from the centre of the field, (x right, y up) in field pixels, shape (B, 2).
    angle
        An inference network is shown the content turned counter-clockwise by this about the window's centre, radians,
        shape (B,). What it answers is about the *upright* window nevertheless.
    widen
        How many times as much of the field, along a side, each window covers; 1 where not given; shape (B,).
    """

    fields: Tensor
    window: int
    oversample: int
    offset: Tensor
    angle: Tensor
    widen: Tensor | None = None

    @classmethod
    def central(cls, fields: Tensor, window: int, oversample: int = 1) -> View:
        """The upright windows in the middle: what a catalog is made from."""
        zero = torch.zeros(len(fields), 2, device=fields.device)
        return cls(fields, window, oversample, zero, zero[:, 0])

    def __len__(self) -> int:
        return len(self.fields)

    @cached_property
    def _values(self) -> Tensor:
        values = self.fields.permute(0, 3, 1, 2)
        return values.float() / 255 if values.dtype == torch.uint8 else values

    def sample(self, points: Tensor) -> Tensor:
        """Pixel values at points of the upright window, bilinear; beyond the field its nearest border pixel.

        Parameters
        ----------
        points
            In grid units of the window, shape (B, P, 2) or (P, 2).

        Returns
        -------
        Tensor
            In [0, 1], shape (B, P, C).
        """
        half_window = (self.window - 1) / 2 * self.oversample
        half_field = (self.fields.shape[1] - 1) / 2
        if self.widen is not None:
            points = points * self.widen[:, None, None]
        grid = (points * half_window + self.offset[:, None, :]) / half_field
        found = functional.grid_sample(self._values, grid[:, :, None], padding_mode="border", align_corners=True)
        return found[..., 0].mT

    def images(self, grid: Tensor) -> Tensor:
        """The windows turned by ``angle``, shape (B, C, n, n), for the window's pixel grid, shape (n * n, 2)."""
        turned = grid @ rotation(-self.angle)
        return self.sample(turned).mT.reshape(len(self), -1, self.window, self.window)
