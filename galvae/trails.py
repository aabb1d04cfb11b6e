"""Straight lines of light that cross a field from side to side: satellites' trails, the spikes of bright stars."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

from galvae.quantiles import lower_median
from galvae.windows import View

# Fields are looked at with so many pixels along a side; shorter lines than this share of it only cut a corner off.
SIDE, LONG = 64, 0.75
# Of a line so many parts are compared, each with what lies so many pixels beside it, on either side.
PARTS, BESIDE = 8, 4
# The faintest part is brighter than those by so many times a pixel's noise, and than this share of the median part: a
# galaxy seen edge-on fades towards its ends.
NOISE, EVEN = 0.6, 0.5
# Of so many lines one tells the noise.
EVERY = 8
# A processor's cache holds the lines of so many fields.
GROUP = 8
# Flux has no unit: noise is no less than this share of a field's scatter.
LEAST = 1e-2


def crossed(view: View) -> Tensor:
    """Whether a straight line of light crosses each field from side to side, in one channel at least, bool, shape (B,).

    In every eighth of its length the line is brighter than what lies beside it, on one side at least, and in all but
    one on both, by 0.6 times the noise of a pixel of the field at 64 x 64 (and one grey level, of display values, or a
    hundredth of the field's scatter, of others); and the eighths are of a like brightness. Lines within four of these
    pixels of the border are not found, nor are those shorter than three quarters of a side.
    """
    fields = view.values
    group = GROUP if fields.device.type == "cpu" else max(1, len(fields))
    return torch.cat([_crossed(some, display=view.display) for some in fields.split(group)])


def _crossed(fields: Tensor, *, display: bool) -> Tensor:
    side = min(SIDE, fields.shape[-1])
    pixels = functional.adaptive_avg_pool2d(fields, side)
    points, before, line, behind = lines(side, fields.device)
    if not len(line):  # all are too near to the border
        return torch.zeros(len(fields), dtype=torch.bool, device=fields.device)
    # Rows of all galaxies' values at a pixel, of which a part of a line is the mean of some.
    rows = pixels.flatten(0, 1).flatten(1).T.contiguous()
    parts = functional.embedding_bag(points, rows, mode="mean").unflatten(0, (-1, PARTS))
    here, one, other = parts[line], parts[before], parts[behind]
    # What is usual along lines is the noise of so many pixels: a border may be padding.
    usual = lower_median((here - (one + other) / 2)[::EVERY].flatten(0, 1).abs().T)[:, 0]
    least = 1 / 255 if display else LEAST * rows.std(0)
    limit = NOISE * 1.4826 * usual * (points.shape[1] / 1.5) ** 0.5 + least
    above = here - torch.minimum(one, other)
    which, image = (above.amin(1) > limit).nonzero(as_tuple=True)
    within, left, right = (each[which, :, image] for each in (here, one, other))
    both = (within - torch.maximum(left, right) > limit[image, None]).sum(1) >= PARTS - 1
    ordered = above[which, :, image].sort(1).values
    even = ordered[:, 0] >= EVEN * ordered[:, PARTS // 2]
    found = torch.zeros(rows.shape[1], dtype=torch.bool, device=rows.device)
    found[image[both & even]] = True
    return found.unflatten(0, fields.shape[:2]).any(1)


@lru_cache
def lines(side: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The lines across side x side pixels, at angles and distances of about a pixel, on a device.

    Returns
    -------
    points
        Pixels (row by row) of the parts of all lines, shape (lines * parts, points of a part).
    before, line, behind
        Of each line that has both, its neighbour on the one side, itself, and its neighbour on the other.
    """
    half, each = (side - 1) / 2, -(-side // PARTS)
    angles = round(torch.pi * side / 2)
    angle = torch.arange(angles, dtype=torch.float64) * torch.pi / angles
    along = torch.stack([angle.cos(), angle.sin()], 1)[:, None]
    across = torch.stack([-along[..., 1], along[..., 0]], -1)
    # As far from the middle as the pixels' centres: lines along rows and columns go through these.
    distance = torch.arange(-side, side + 1, dtype=torch.float64) + half % 1
    middle = across * distance[:, None]  # (angles, distances, 2)
    # Where a line enters and leaves the outermost pixels, in lengths along it from its middle.
    slope = along.where(along.abs() > 1e-9, 1e-9)[..., None, :]
    ends = (torch.tensor([-side / 2, side / 2])[:, None] - middle[..., None, :]) / slope
    enters, leaves = ends.amin(-2).amax(-1), ends.amax(-2).amin(-1)
    long = leaves - enters >= LONG * side
    number = torch.where(long, long.flatten().cumsum(0).unflatten(0, long.shape) - 1, -1)
    share = (torch.arange(PARTS * each, dtype=torch.float64) + 0.5) / (PARTS * each)
    at = enters[long][:, None] + (leaves - enters)[long][:, None] * share
    way = along.expand_as(middle)[long][:, None]
    x, y = (middle[long][:, None] + at[..., None] * way + half).round().long().clamp(0, side - 1).unbind(-1)
    before, line, behind = number[:, : -2 * BESIDE], number[:, BESIDE:-BESIDE], number[:, 2 * BESIDE :]
    both = (before >= 0) & (line >= 0) & (behind >= 0)
    found = (y * side + x).view(-1, each), before[both], line[both], behind[both]
    return tuple(part.to(device) for part in found)
