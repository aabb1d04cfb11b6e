"""Noise of pixels that are no display values."""

import pytest
import torch

from galvae.inference.background import sky
from galvae.windows import View

FIELD = 40


@pytest.mark.parametrize("scale", [0.01, 1.0, 300.0])
@pytest.mark.parametrize("radius", [100, 19, 16])
def test_noise_is_told_whatever_its_scale_and_behind_a_mask(scale, radius):
    """Of a field without noise at its border, as where a round mask is laid around a particle, too."""
    noise = scale * torch.randn(20, FIELD, FIELD, 1, generator=torch.Generator().manual_seed(0))
    y, x = torch.meshgrid(*[torch.arange(FIELD) - (FIELD - 1) / 2] * 2, indexing="ij")
    fields = torch.where((x**2 + y**2 < radius**2)[..., None], noise, 0.0)
    found = sky(View.central(fields, FIELD, display=False))
    assert found.noise.mean().item() == pytest.approx(scale, rel=0.15)
    middle = found.grain[:, 0, 10:-10, 10:-10]
    assert middle.median().item() == pytest.approx(scale, rel=0.2)


def test_display_values_of_an_even_border_have_that_of_rounding():
    fields = torch.full((2, FIELD, FIELD, 3), 7, dtype=torch.uint8)
    fields[:, 15:25, 15:25] = 200
    assert 1 <= sky(View.central(fields, FIELD)).noise.max().item() * 255 * 12**0.5 < 1.5
