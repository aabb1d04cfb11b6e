"""Quantiles are torch's, by whatever they are found."""

from unittest.mock import patch

import pytest
import torch

from galvae.quantiles import lower_median, quantiles

COUNTS = pytest.mark.parametrize("count", [2, 7, 8, 1001])
# NumPy's, those of another kind, and those that something is to flow back through.
KINDS = pytest.mark.parametrize("kind", [torch.float32, torch.float64, torch.bfloat16, "backwards"])


def drawn(count, kind):
    values = torch.randn(3, 2, count, generator=torch.Generator().manual_seed(count))
    return values.requires_grad_() if kind == "backwards" else values.to(kind)


@COUNTS
@pytest.mark.parametrize("kind", [torch.float32, torch.float64, "backwards"])
def test_quantiles_are_torchs(count, kind):
    values, shares = drawn(count, kind), (0.5, 0.75, 1.0)
    for found, share in zip(quantiles(values, shares), shares, strict=True):
        assert torch.allclose(found, torch.quantile(values, share, dim=2), atol=1e-6)


@COUNTS
@KINDS
def test_the_lower_median_is_torchs_to_the_bit(count, kind):
    values = drawn(count, kind)
    for seen in (values, values.transpose(0, 2)):  # whatever the strides are
        assert torch.equal(lower_median(seen), seen.median(-1, keepdim=True).values)


def test_it_is_compiled_with_what_is_around_it():
    values = drawn(1001, torch.float32)
    compiled = torch.compile(lambda v: 2 * lower_median(v), fullgraph=True, backend="eager")
    assert torch.equal(compiled(values), 2 * lower_median(values))


def test_what_numpy_cannot_follow_is_left_to_torch():
    with patch("galvae.quantiles.np.partition", side_effect=AssertionError):
        lower_median(drawn(7, "backwards"))
        with pytest.raises(AssertionError):
            lower_median(drawn(7, torch.float32))
