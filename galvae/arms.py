"""Arms and bars by numbers: the spectrum, in logarithmic spirals, of a galaxy's light as if it were seen face on."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from galvae.windows import View, principal_variances

# Ellipses of the galaxy's own shape, by the logarithm of their size in its matched Gaussian's standard deviations, and
# points on each. Flatter than this none is made round.
INNER, OUTER, ELLIPSES, ANGLES = 0.45, 2.4, 32, 64
FLATTEST = 0.25
# Seen in windows of so many pixels, whatever the model's. The Gaussian is looked for from the nucleus on; and arms may
# be brighter on one side than what neighbours are told by for a window.
WINDOW, NUCLEUS, BESIDE = 64, (0.4, 0.3, 0.22, 0.17, 0.13, *[0.1] * 20), 0.4
# Arms at most; in cycles in a factor e of radius the step between frequencies; and how many of them, from the first on,
# are of open arms and bars, and how many of wound ones.
ORDERS, STEP, OPEN, WOUND = 4, 0.125, 5, 18
# Contrast is to the ellipse's own mean light, and this share of the innermost one's, and of the sky's level; and is
# limited. (Not to the noise: of a file that was turned the border, where that is measured, is partly made up.) Powers
# are logarithms above a floor, and shares of that.
OF_INNER, ROUNDING, LIMIT = 0.3, 1e-4, 0.7
FLOOR = 0.01
# How many of them, the last ones, tell an S from a Z.
SENSES = ORDERS - 1


@torch.no_grad()
def arms(view: View) -> Tensor:
    """Power of the galaxies' light in spirals of one to four arms, and which way these wind, shape (B, 11).

    Light is taken on ellipses of the galaxy's matched Gaussian (:meth:`galvae.windows.View.matched`), as if its disk
    were seen face on, and decomposed into logarithmic spirals ``exp(i (m phi + 2 pi f ln r))`` (Kalnajs 1975; Considère
    & Athanassoula 1988), tapered in ln r, so that neighbouring f are hardly told apart. What is decomposed is the
    contrast to each ellipse's mean, ``0.7 tanh((light - mean) / (0.7 scale))`` where the scale is the mean and 0.3 of
    the innermost ellipse's. The first eight numbers are ``ln((S + Z) / 2 + 0.01)`` less its value at 0.02, of m = 1 to
    4 arms, open and wound in turn, where S and Z are the mean powers at f > 0 and f < 0: arms that wind as these
    letters, as displayed. The last three are ``(S - Z) / (S + Z + 0.02)`` of the wound ones of 2 to 4 arms. Turned,
    moved or magnified with its field a galaxy has the same numbers, as long as it lies in the middle half of the field;
    in a mirror the last three change sign.
    """
    light, level = _face_on(view)
    mean = light.mean(2, keepdim=True)
    scale = mean.abs() + OF_INNER * mean[:, :1].abs() + ROUNDING * level.abs()[..., None]
    contrast = LIMIT * torch.tanh((light - mean) / scale.clamp(min=1e-9) / LIMIT)
    powers = _spirals(contrast)  # (B, 2, orders, frequencies): S, Z
    s, z = torch.stack([powers[..., :OPEN].mean(3), powers[..., OPEN:].mean(3)], 3).unbind(1)
    both = torch.log(((s + z) / 2 + FLOOR) / (2 * FLOOR))
    sense = (s - z) / (s + z + 2 * FLOOR)
    return torch.cat([both.flatten(1), sense[:, 1:, 1]], 1)


def _face_on(view: View) -> tuple[Tensor, Tensor]:
    """Mean of the channels above the sky on ellipses, (B, 32, 64), and the sky's level, (B, 1)."""
    whole = replace(view, window=WINDOW).widest()
    centre, shape = whole.matched(beside=BESIDE, narrowing=NUCLEUS)
    most, own = principal_variances(shape)
    least = torch.maximum(own, FLATTEST**2 * most)
    # The matrix with these eigenvalues, and its root, which turns with the galaxy: no axis is asked for.
    thicker = (least - own) / (most - own).clamp(min=1e-9)
    xx, yy, xy = (1 - thicker) * shape.mT
    xx, yy = xx + thicker * most, yy + thicker * most
    root = (most * least).sqrt()
    rows = torch.stack([torch.stack([xx + root, xy], -1), torch.stack([xy, yy + root], -1)], -2)
    stretch = rows / (xx + yy + 2 * root).sqrt()[:, None, None]
    radius = torch.linspace(math.log(INNER), math.log(OUTER), ELLIPSES, device=shape.device).exp()
    angle = torch.arange(ANGLES, device=shape.device) * (2 * math.pi / ANGLES)
    circles = radius[:, None, None] * torch.stack([torch.cos(angle), torch.sin(angle)], -1)
    light = whole.sample(centre[:, None] + circles.flatten(0, 1) @ stretch).mean(2)
    level, _ = whole.sky()
    return (light - level).unflatten(1, (ELLIPSES, ANGLES)), level


def _spirals(contrast: Tensor) -> Tensor:
    """Power in logarithmic spirals that wind as S and as Z, shape (B, 2, orders, frequencies)."""
    device = contrast.device
    orders = torch.arange(1, ORDERS + 1, device=device)
    phase = torch.arange(ANGLES, device=device)[:, None] * orders * (2 * math.pi / ANGLES)
    step = math.log(OUTER / INNER) / (ELLIPSES - 1)
    cycles = STEP * torch.arange(1, OPEN + WOUND + 1, device=device)
    taper = torch.hann_window(ELLIPSES + 2, periodic=False, device=device)[1:-1]
    wound = torch.arange(ELLIPSES, device=device)[:, None] * cycles * (2 * math.pi * step)
    scale = 1 / (ANGLES * taper.square().sum().sqrt())
    across = [taper[:, None] * scale * wave for wave in (torch.cos(wound), torch.sin(wound))]
    parts = [contrast @ wave for wave in (torch.cos(phase), torch.sin(phase))]
    cc, cs, sc, ss = (part.mT @ wave for part in parts for wave in across)  # (B, orders, frequencies)
    return torch.stack([(cc - ss).square() + (cs + sc).square(), (cc + ss).square() + (cs - sc).square()], 1)
