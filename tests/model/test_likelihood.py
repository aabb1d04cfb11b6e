"""Log densities and means against torch.distributions and by integration."""

import math

import numpy as np
import pytest
import torch
from torch import distributions
from torch.nn import functional

from galvae.model.likelihood import Bernoulli, ContinuousBernoulli, Gaussian, likelihood
from galvae.model.settings import ModelSettings

CHANNELS = [1, 2, 3, 5]


def drawn(*shape, scale=3.0, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * scale


def uniform(*shape, seed=1):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("channels", CHANNELS)
def test_bernoulli(channels):
    logits, values = drawn(4, 7, channels), uniform(4, 7, channels)
    oracle = distributions.Bernoulli(logits=logits)
    binary = values.round()
    assert torch.allclose(Bernoulli().log_prob(logits, binary), oracle.log_prob(binary).sum(-1))
    cross_entropy = values * oracle.probs.log() + (1 - values) * (1 - oracle.probs).log()
    assert torch.allclose(Bernoulli().log_prob(logits, values), cross_entropy.sum(-1))
    assert torch.allclose(Bernoulli().mean(logits), oracle.mean)


@pytest.mark.parametrize("channels", CHANNELS)
def test_continuous_bernoulli(channels):
    logits, values = drawn(4, 7, channels), uniform(4, 7, channels)
    oracle = distributions.ContinuousBernoulli(logits=logits)
    assert torch.allclose(ContinuousBernoulli().log_prob(logits, values), oracle.log_prob(values).sum(-1), atol=1e-6)
    assert torch.allclose(ContinuousBernoulli().mean(logits), oracle.mean, atol=1e-6)


@pytest.mark.parametrize("logit", [-30, -3, -0.2, -0.0999, -1e-3, 0, 1e-6, 0.0999, 0.1001, 1, 8, 30])
def test_continuous_bernoulli_is_normalised_with_the_mean_it_says(logit):
    nodes, weights = np.polynomial.legendre.leggauss(80)
    values, weights = torch.from_numpy((nodes + 1) / 2), torch.from_numpy(weights / 2)
    parameters = torch.full((80, 1), float(logit), dtype=torch.float64)
    density = ContinuousBernoulli().log_prob(parameters, values[:, None]).exp()
    assert math.isclose((weights * density).sum(), 1, rel_tol=1e-9)
    assert math.isclose((weights * density * values).sum(), ContinuousBernoulli().mean(parameters)[0], rel_tol=1e-8)


@pytest.mark.parametrize("sign", [-1, 1])
def test_continuous_bernoulli_is_smooth_where_its_series_begins(sign):
    logits = sign * torch.tensor([0.0, 1e-8, 0.05, 0.0995, 0.1005, 0.2], dtype=torch.float64)[:, None]
    logits.requires_grad_()
    values = torch.full_like(logits, 0.3).detach()
    density = ContinuousBernoulli()
    assert torch.autograd.gradcheck(lambda x: density.log_prob(x, values), logits, eps=1e-7)
    assert torch.autograd.gradcheck(density.mean, logits, eps=1e-7)
    edges = (sign * torch.tensor([0.1 - 1e-12, 0.1 + 1e-12], dtype=torch.float64))[:, None].requires_grad_()
    below, above = density.log_prob(edges, torch.full((2, 1), 0.3, dtype=torch.float64))
    assert abs(below - above) < 1e-9
    slope = torch.autograd.grad(density.log_prob(edges, torch.full((2, 1), 0.3)).sum(), edges)[0]
    assert abs(slope[0] - slope[1]) < 1e-7
    assert abs(density.mean(edges)[0] - density.mean(edges)[1]) < 1e-9


def test_continuous_bernoulli_gradient_is_finite_in_float32_at_any_logit():
    logits = torch.tensor([-1e4, -90.0, -20.0, 0.0, 1e-30, 20.0, 90.0, 1e4])[:, None].requires_grad_()
    ContinuousBernoulli().log_prob(logits, torch.full((8, 1), 0.5)).sum().backward()
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("nonnegative", [False, True])
def test_gaussian_of_known_noise(channels, nonnegative):
    outputs, values = drawn(4, 7, channels), drawn(4, 7, channels, seed=1)
    mean = functional.softplus(outputs) if nonnegative else outputs
    density = Gaussian(0.7, nonnegative=nonnegative)
    assert density.outputs == 1
    assert torch.allclose(density.log_prob(outputs, values), distributions.Normal(mean, 0.7).log_prob(values).sum(-1))
    assert torch.equal(density.mean(outputs), mean)
    assert not nonnegative or (density.mean(outputs) >= 0).all()


@pytest.mark.parametrize("channels", CHANNELS)
def test_gaussian_of_learned_noise(channels):
    mean, log_std, values = drawn(4, 7, channels), drawn(4, 7, channels, scale=1, seed=2), drawn(4, 7, channels, seed=1)
    density = Gaussian("learned")
    assert density.outputs == 2
    parameters = torch.cat([mean, log_std], -1)
    oracle = distributions.Normal(mean, log_std.exp()).log_prob(values).sum(-1)
    assert torch.allclose(density.log_prob(parameters, values), oracle)
    assert torch.equal(density.mean(parameters), mean)


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ({}, Bernoulli),
        ({"likelihood": "continuous-bernoulli"}, ContinuousBernoulli),
        ({"likelihood": "gaussian", "noise": "learned", "nonnegative": True}, Gaussian),
    ],
)
def test_the_recipe_names_it(settings, kind):
    found = likelihood(ModelSettings(**settings))
    assert type(found) is kind
    if kind is Gaussian:
        assert (found.noise, found.nonnegative, found.outputs) == ("learned", True, 2)
