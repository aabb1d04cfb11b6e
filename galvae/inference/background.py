"""What lies around a galaxy: the sky's level, and the noise of each pixel."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from galvae.quantiles import lower_median, quantiles
from galvae.windows import View

_BORDER = 8
# Half the width of a neighbourhood that is smooth or rough, field pixels.
_NEAR = 4
# Neighbourhoods of the sky scatter: so little smoother than the usual one is no less noise.
_ROOM = 1.05
_GOLDEN = (math.sqrt(5) - 1) / 2


class Sky(NamedTuple):
    """The sky around B galaxies, in the units of the pixels' values.

    Parameters
    ----------
    level, noise
        Of its pixels, shape (B, C).
    left
        Share of the noise that is left in each pixel of the fields, shape (B, 1, F, F): a stretch makes it smaller
        where it is bright.
    """

    level: Tensor
    noise: Tensor
    left: Tensor

    @property
    def grain(self) -> Tensor:
        """Noise of each pixel of the fields, shape (B, C, F, F)."""
        return self.noise[:, :, None, None] * self.left

    def left_at(self, view: View, points: Tensor) -> Tensor:
        """The share of the noise that is left at points of a view's windows (B, P, 2), grid units, shape (B, P).

        The points of a galaxy lie whole field pixels apart, so that all are averages of pixels alike.
        """
        left = view.of(self.left.to(points)).sample(points)[..., 0]
        return left * view.averaging(points[:, :1])


def sky(view: View) -> Sky:
    """Level and noise of each channel in the fields' outermost eight pixels: median, and upper quartile above it.

    What lies below the median does not count, because composites clip it at black, nor does what a field was padded
    with. The noise of display values is no less than that of rounding to 8 bits; that of others, where a mask of one
    value lies around the object, is what makes the field rough. Where a field is smoother than there, the noise is
    smaller by as much.
    """
    fields, whole = view.values, not view.fields.is_floating_point()
    rough = _roughness(fields.mean(1, keepdim=True)) + 1e-6  # where there is no noise none is missing
    kind = {"whole": whole, "display": view.display}
    level, noise, usual = _of_border(fields, rough, **kind)
    padded = [(fields.amax(dim) == fields.amin(dim)).all(1).any(1) for dim in (2, 3)]
    for one in (padded[0] | padded[1]).nonzero()[:, 0].tolist():
        rows, columns = _own(fields[one])
        cut = fields[one : one + 1, :, rows, columns], rough[one : one + 1, :, rows, columns]
        level[one], noise[one], usual[one] = (value[0] for value in _of_border(*cut, **kind))
    left = _ROOM * rough / usual[..., None, None]
    return Sky(level, noise, left.clamp(max=1))


def _of_border(fields: Tensor, rough: Tensor, *, whole: bool, display: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Level and noise (B, C) of fields (B, C, H, W), and how rough (B, 1, H, W) they usually are, (B, 1)."""
    edge = min(_BORDER, min(fields.shape[2:]) // 4)
    border = _border(fields, edge)
    if whole:  # quartiles of whole numbers are whole numbers
        border = border + ((torch.arange(border.shape[-1], device=border.device) * _GOLDEN) % 1 - 0.5) / 255
    level, above = quantiles(border, (0.5, 0.75))
    noise = (1.4826 * (above - level)).clamp(min=1 / 255 / 12**0.5 if display else 1e-6)
    usual = lower_median(_border(rough, edge))[..., 0]
    if not display:
        masked = (_border(fields, 1) == fields[:, :, 0, :1]).float().mean(2) > 0.5
        every = rough.flatten(2)
        inside = every.kthvalue(every.shape[2] * 3 // 4, 2).values
        noise, usual = torch.where(masked, inside, noise), torch.where(masked[:, :1], inside, usual)
    return level, noise, usual


def _own(field: Tensor) -> tuple[slice, slice]:
    """Rows and columns of (C, F, F) that are not padding, of one value throughout; all if less than half are left."""
    full, found = slice(0, field.shape[-1]), []
    for dim in (2, 1):
        varied = (field.amax(dim) > field.amin(dim)).any(0).nonzero()[:, 0]
        found.append(slice(int(varied[0]), int(varied[-1]) + 1) if len(varied) else full)
    return tuple(found) if min(part.stop - part.start for part in found) >= field.shape[-1] // 2 else (full, full)


def _border(fields: Tensor, edge: int) -> Tensor:
    """Pixels of (B, C, F, F) within `edge` of the frame, shape (B, C, P)."""
    rows, columns = fields[:, :, [*range(edge), *range(-edge, 0)]], fields[..., [*range(edge), *range(-edge, 0)]]
    return torch.cat([rows.flatten(2), columns[:, :, edge:-edge].flatten(2)], 2)


def _roughness(grey: Tensor) -> Tensor:
    """Standard deviation of white noise that would make each neighbourhood of (B, 1, F, F) as rough as it is.

    By the difference of two Laplacians (Immerkaer 1996, Computer Vision and Image Understanding 64, 300), which planes
    and smooth galaxies hardly show in.
    """
    square = grey.diff(n=2, dim=2).diff(n=2, dim=3).square()
    size = 2 * _NEAR + 1  # rows, then columns: a processor's avg_pool2d takes five times as long
    near = square.unfold(2, size, 1).mean(-1).unfold(3, size, 1).mean(-1)
    return functional.pad(near, (_NEAR + 1,) * 4, mode="replicate").sqrt() / 6
