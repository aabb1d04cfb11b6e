"""The structure of galaxies by numbers: the nucleus, what lies on one side, arms and bars, as if seen face on."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from galvae.windows import View, principal_variances

# Of what the numbers below are: trained models have units, and thresholds, of just these, and are not used with others.
# (That of a galaxy and a star the one nearer to the middle is measured changed few galaxies, and no units.)
REVISION = 2
# Ellipses of the galaxy's own shape, by the logarithm of their size in its matched Gaussian's standard deviations, from
# where to where and how many, about the nucleus and of the disk; and points on each. Flatter than this none is made
# round.
NUCLEAR, DISK, ANGLES = (0.15, 0.6, 12), (0.45, 2.4, 32), 64
FLATTEST = 0.25
# Seen in windows of so many pixels, whatever the model's. The Gaussian is looked for from the nucleus on; and arms may
# be brighter on one side than what neighbours are told by for a window. (How much noise there is does not tell them: of
# a file that was turned the border, where that is measured, is partly made up.)
WINDOW, NARROWING, BESIDE = 64, (0.4, 0.3, 0.22, 0.17, 0.13, *[0.1] * 20), 0.4
# Arms at most; in cycles in a factor e of radius the step between frequencies; and how many of them, from the first on,
# are of open arms and bars, and how many of wound ones.
ORDERS, STEP, OPEN, WOUND = 4, 0.125, 5, 18
# Contrast is to the ellipse's own mean light, and this share of the innermost one's, and of the sky's level; and is
# stretched like an image's light: what stands out more than this counts by its logarithm. Powers are logarithms above a
# floor, and shares of that.
OF_INNER, ROUNDING, SOFTENING = 0.3, 1e-4, 0.1
FLOOR = 0.01
# Orders on one side only, in so many bands of radius, and the floor of that power. The nucleus' light, in units of its
# mean, is a logarithm above this, and is seen smoothed: so much of it from each of the pixels on either side.
ODD, BANDS, FLOOR_OF_ODD, FLOOR_OF_LIGHT, SMOOTHING = (1, 3, 5, 7), 3, 1e-3, 0.05, 0.2
# What the profile of the nucleus is multiplied by: minus the first, and the second coefficient.
_LEGENDRE = torch.from_numpy(np.linalg.pinv(np.polynomial.legendre.legvander(np.linspace(-1, 1, NUCLEAR[2]), 2))[1:].T)
_LEGENDRE[:, 0] *= -1
# How many of them, the last ones, tell an S from a Z.
SENSES = ORDERS - 1


@torch.no_grad()
def structure(view: View) -> Tensor:
    """How the galaxies' light is built, shape (B, 16): the nucleus, one-sided light, spirals, which way these wind.

    Light is taken on ellipses of the galaxy's matched Gaussian (:meth:`galvae.windows.View.matched`), as if its disk
    were seen face on. Turned, moved or magnified with its field a galaxy has the same numbers, as long as it lies in
    the middle half of the field; in a mirror the last three change sign.

    - The first two: how steeply ``ln(light / mean + 0.05)`` falls about the nucleus, and how it bends, where light is
      the mean of each ellipse, none where it is negative, and mean that of them all: minus the first, and the second
      coefficient of Legendre polynomials of ln r, which goes from -1 at 0.15 to 1 at 0.6 standard deviations. The
      image is smoothed by 0.2, 0.6, 0.2 of a row's pixels as stored, and of a column's: less of the sky where these
      are finer.
    - The next three: ``ln(1 + power / 0.001)`` in azimuthal orders 1, 3, 5 and 7, which two-sided light does not have,
      in thirds of ln r, from within outwards; a stretched contrast ``a cos(m phi)`` has the power a^2 / 4. Noise has
      such, too.
    - The next eight: ``ln((S + Z) / 2 + 0.01)`` less its value at 0.02, of m = 1 to 4 arms, open and wound in turn. S
      and Z are the mean powers at f > 0 and f < 0, of arms that wind as these letters, as displayed, in logarithmic
      spirals ``exp(i (m phi + 2 pi f ln r))`` (Kalnajs 1975; Considère & Athanassoula 1988), tapered in ln r, so that
      neighbouring f are hardly told apart.
    - The last three: ``(S - Z) / (S + Z + 0.02)`` of the wound ones of 2 to 4 arms.

    Powers are of the disk's stretched contrast to each ellipse's mean, ``0.1 asinh((light - mean) / (0.1 scale))``,
    where the scale is ``|mean|``, 0.3 of the innermost ellipse's and 1e-4 of the sky's level.

    Parameters
    ----------
    view
        Of B galaxies in the middle of their fields, float32; only these count, not the windows.
    """
    grey = view.of(view.values.mean(1, keepdim=True))
    whole = replace(grey, window=WINDOW).widest()
    level = whole.sky()[0][..., None]
    nucleus, light = (each - level for each in _face_on(whole))
    rounding = ROUNDING * level.abs()
    mean = light.mean(2, keepdim=True)
    scale = mean.abs() + OF_INNER * mean[:, :1].abs() + rounding
    contrast = SOFTENING * torch.asinh((light - mean) / scale.clamp(min=1e-9) / SOFTENING)
    powers = _spirals(contrast)  # (B, 2, orders, frequencies): S, Z
    s, z = torch.stack([powers[..., :OPEN].mean(3), powers[..., OPEN:].mean(3)], 3).unbind(1)
    both = torch.log(((s + z) / 2 + FLOOR) / (2 * FLOOR))
    sense = (s - z) / (s + z + 2 * FLOOR)
    return torch.cat([_nucleus(nucleus.mean(2), rounding[..., 0]), _one_sided(contrast), both.flatten(1),
                      sense[:, 1:, 1]], 1)  # fmt: skip


def _face_on(whole: View) -> list[Tensor]:
    """Mean of the channels on the ellipses of the nucleus and of the disk, each (B, ellipses, angles)."""
    centre, shape = whole.matched(beside=BESIDE, noises=0, narrowing=NARROWING)
    most, own = principal_variances(shape)
    least = torch.maximum(own, FLATTEST**2 * most)
    # The matrix with these eigenvalues, and its root, which turns with the galaxy: no axis is asked for.
    thicker = (least - own) / (most - own).clamp(min=1e-9)
    xx, yy, xy = (1 - thicker) * shape.mT
    xx, yy = xx + thicker * most, yy + thicker * most
    root = (most * least).sqrt()
    rows = torch.stack([torch.stack([xx + root, xy], -1), torch.stack([xy, yy + root], -1)], -2)
    stretch = rows / (xx + yy + 2 * root).sqrt()[:, None, None]
    angle = torch.arange(ANGLES, device=shape.device) * (2 * math.pi / ANGLES)
    direction = torch.stack([torch.cos(angle), torch.sin(angle)], -1)
    nuclear, disk = (
        centre[:, None]
        + (_log_radii(ellipses).to(shape.device).exp()[:, None, None] * direction).flatten(0, 1) @ stretch
        for ellipses in (NUCLEAR, DISK)
    )
    seen = (whole.of(_smoothed(whole.values)), nuclear), (whole, disk)
    return [_curved(each, points).unflatten(1, (-1, ANGLES)) for each, points in seen]


def _bent(light: Tensor, axis: int) -> Tensor:
    """Second difference of images (B, 1, H, W) along x (axis 0) or y (1)."""
    dim = 3 - axis
    size = light.shape[dim]
    wide = torch.cat([light.narrow(dim, 0, 1), light, light.narrow(dim, size - 1, 1)], dim)
    return wide.narrow(dim, 2, size) + wide.narrow(dim, 0, size) - 2 * light


def _smoothed(light: Tensor) -> Tensor:
    """Images (B, 1, H, W), by 0.2, 0.6, 0.2 along rows and columns: where between pixels a peak lies matters less."""
    for axis in (0, 1):
        light = light + SMOOTHING * _bent(light, axis)
    return light


def _curved(view: View, points: Tensor) -> Tensor:
    """Light of a view of one channel at points (B, P, 2) between pixels, by parabolas, shape (B, P).

    Straight lines would blunt a nucleus, and arms, halfway between pixels and not on them: what they leave out is half
    of the second difference by the distances to the pixels on either side (along a row or a column Keys' cubic
    convolution of 1981, a = -1/2; without its cross term). Beyond the field it is its nearest border pixel.
    """
    one, none = view.pixel_width().expand(len(view), 1, 1)[..., 0], torch.zeros_like(points[:, :1, 0])
    along, across = torch.stack([one, none], 2), torch.stack([none, one], 2)  # (B, 1, 2)
    beside = torch.cat([points, points + along, points - along, points + across, points - across], 1)
    here, right, left, above, below = view.sample(beside)[..., 0].chunk(5, 1)
    off = view.in_pixels(points).clamp(0, view.fields.shape[1] - 1) % 1
    bent = torch.stack([right + left - 2 * here, above + below - 2 * here], 2)
    return here - (off * (1 - off) / 2 * bent).sum(2)


def _log_radii(ellipses: tuple[float, float, int]) -> Tensor:
    inner, outer, count = ellipses
    return torch.linspace(math.log(inner), math.log(outer), count)


def _nucleus(profile: Tensor, rounding: Tensor) -> Tensor:
    """How steeply a profile (B, ellipses) falls, and how it bends, shape (B, 2)."""
    mean = profile.mean(1, keepdim=True).clamp(min=0) + rounding
    log = torch.log(profile.clamp(min=0) / mean.clamp(min=1e-9) + FLOOR_OF_LIGHT)
    return log @ _LEGENDRE.to(log)


def _one_sided(contrast: Tensor) -> Tensor:
    """Power in odd orders, from within outwards, shape (B, bands)."""
    power = torch.fft.rfft(contrast, dim=2)[:, :, ODD].abs().square().sum(2) / ANGLES**2
    return torch.stack([torch.log1p(band.mean(1) / FLOOR_OF_ODD) for band in power.tensor_split(BANDS, 1)], 1)


def _spirals(contrast: Tensor) -> Tensor:
    """Power in logarithmic spirals that wind as S and as Z, shape (B, 2, orders, frequencies)."""
    device = contrast.device
    orders = torch.arange(1, ORDERS + 1, device=device)
    phase = torch.arange(ANGLES, device=device)[:, None] * orders * (2 * math.pi / ANGLES)
    inner, outer, ellipses = DISK
    step = math.log(outer / inner) / (ellipses - 1)
    cycles = STEP * torch.arange(1, OPEN + WOUND + 1, device=device)
    taper = torch.hann_window(ellipses + 2, periodic=False, device=device)[1:-1]
    wound = torch.arange(ellipses, device=device)[:, None] * cycles * (2 * math.pi * step)
    scale = 1 / (ANGLES * taper.square().sum().sqrt())
    across = [taper[:, None] * scale * wave for wave in (torch.cos(wound), torch.sin(wound))]
    parts = [contrast @ wave for wave in (torch.cos(phase), torch.sin(phase))]
    cc, cs, sc, ss = (part.mT @ wave for part in parts for wave in across)  # (B, orders, frequencies)
    return torch.stack([(cc - ss).square() + (cs + sc).square(), (cc + ss).square() + (cs - sc).square()], 1)
