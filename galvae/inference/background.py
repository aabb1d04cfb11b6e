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
# Noise is white noise of which a share leaks into the next pixels, and its fourth power, as of a Gaussian, into those
# after them, along rows and columns; how alike neighbours are then, at most as alike as the last.
_LEAKS = torch.linspace(0, 0.6, 61, dtype=torch.float64)
# Pixels so far apart, the first that this does not reach, have noise of their own.
_APART = 5
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
    leak
        How much of white noise leaks into each neighbour, from 0 to 0.6, shape (B,).
    mixing
        What white noise of the channels is multiplied by, from the left, to be correlated as theirs is: lower
        triangular, shape (B, C, C).
    """

    level: Tensor
    noise: Tensor
    left: Tensor
    leak: Tensor
    mixing: Tensor

    @property
    def alike(self) -> Tensor:
        """Correlation of the noise of neighbouring pixels along a row or a column, at most 0.77, shape (B,)."""
        return _alike(self.leak)

    @property
    def power(self) -> Tensor:
        """Variance of the mean of many pixels over that which it had if none of the noise were alike, shape (B,)."""
        leak = self.leak
        return ((1 + 2 * leak + 2 * leak**4).square() / (1 + 2 * leak**2 + 2 * leak**8)).square()

    @property
    def grey_noise(self) -> Tensor:
        """Noise of a pixel's mean over the channels, shape (B,)."""
        return (self.noise[:, None] @ self.mixing)[:, 0].norm(dim=1) / self.noise.shape[1]

    def drawn(self, white: Tensor) -> Tensor:
        """Noise of the fields, as much of it and as alike in channels and pixels, of white noise (B, C, F, F)."""
        leak, size = self.leak[:, None, None, None], white.shape[2]
        noise = (self.mixing @ white.flatten(2)).view_as(white)
        for dim in (2, 3):
            # In few passes: what does not fit a processor's caches takes as long as it is read.
            around = torch.cat([noise.narrow(dim, size - 2, 2), noise, noise.narrow(dim, 0, 2)], dim)
            for share, begin in ((leak, 1), (leak, 3), (leak**4, 0), (leak**4, 4)):
                noise.addcmul_(share, around.narrow(dim, begin, size))
        return noise.mul_(self.grain / (1 + 2 * leak**2 + 2 * leak**8))

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
    smaller by as much. How alike it is in pixels and in channels is the border's, too.
    """
    fields, whole = view.values, not view.fields.is_floating_point()
    rough = _roughness(fields.mean(1, keepdim=True)) + 1e-6  # where there is no noise none is missing
    kind = {"whole": whole, "display": view.display}
    level, noise, usual, leak, mixing = _of_border(fields, rough, **kind)
    padded = [(fields.amax(dim) == fields.amin(dim)).all(1).any(1) for dim in (2, 3)]
    for one in (padded[0] | padded[1]).nonzero()[:, 0].tolist():
        rows, columns = _own(fields[one])
        cut = fields[one : one + 1, :, rows, columns], rough[one : one + 1, :, rows, columns]
        level[one], noise[one], usual[one], leak[one], mixing[one] = (value[0] for value in _of_border(*cut, **kind))
    left = _ROOM * rough / usual[..., None, None]
    return Sky(level, noise, left.clamp(max=1), leak, mixing)


def _of_border(fields: Tensor, rough: Tensor, *, whole: bool, display: bool) -> tuple[Tensor, ...]:
    """Level and noise (B, C) of fields (B, C, H, W), how rough they usually are (B, 1); leak and mixing."""
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
    return level, noise, usual, *_ties(fields, edge)


def _ties(fields: Tensor, edge: int) -> tuple[Tensor, Tensor]:
    """Leak (B,) and mixing (B, C, C) of the noise in the border of (B, C, H, W).

    By how much less neighbours differ than pixels that are apart, and by how alike these differences are in the
    channels: neither slopes of the sky nor, few as they are, stars make much of that. (Where a sky is cut at black
    channels seem less alike.)
    """
    strips = [strip for side in (fields, fields.mT) for strip in (side[..., :edge, :], side[..., -edge:, :])]
    near = _differences([strip.mean(1, keepdim=True) for strip in strips], 1)[:, 0]
    far = _differences(strips, min(_APART, min(fields.shape[2:]) // 4))
    grey = far.mean(1)
    most = 2.6 * quantiles(grey.abs(), (0.75,))[0][:, None]
    beside, apart = (((part.abs() <= most) * part.square()).mean(1) for part in (near, grey))
    leaks = _LEAKS.to(apart)
    known, alike = _alike(leaks), torch.where(apart > 0, 1 - beside / apart, 0)
    after = torch.bucketize(alike, known).clamp(1, len(known) - 1)
    share = (alike - known[after - 1]) / (known[after] - known[after - 1])
    leak = torch.lerp(leaks[after - 1], leaks[after], share.clamp(0, 1))
    far = far * (grey.abs() <= most)[:, None]
    far = far / far.norm(dim=2, keepdim=True).clamp(min=1e-12)
    same = torch.eye(far.shape[1], device=far.device) > 0
    correlation = torch.where(same, 1, 0.999 * far @ far.mT)  # of channels that are the same there is no root
    return leak, torch.linalg.cholesky_ex(correlation).L


def _alike(leak: Tensor) -> Tensor:
    return (2 * leak + 2 * leak**5) / (1 + 2 * leak**2 + 2 * leak**8)


def _differences(strips: list[Tensor], by: int) -> Tensor:
    """Between pixels so far apart along each of the strips (B, C, h, w), less their mean, shape (B, C, P)."""
    found = ((strip[..., by:] - strip[..., :-by]).flatten(2) for strip in strips)
    return torch.cat([part - part.mean(2, keepdim=True) for part in found], 2)


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
