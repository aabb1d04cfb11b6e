"""Divergences against torch.distributions, the paper's equations written out, and Monte Carlo."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal, kl_divergence

from galvae.model.elbo import divergence, kl_normal, kl_spread
from galvae.model.posterior import Posterior
from galvae.model.settings import ModelSettings

means = st.floats(-20, 20)
stds = st.floats(1e-3, 30)
WINDOW = 41


def double(*values):
    return tuple(torch.tensor(value, dtype=torch.float64) for value in values)


@given(means, stds, stds)
def test_kl_normal_is_that_of_torch_distributions(mean, std, prior):
    mean, std, prior = double(mean, std, prior)
    oracle = kl_divergence(Normal(mean, std), Normal(torch.zeros_like(mean), prior))
    assert torch.allclose(kl_normal(mean, std, prior.item()), oracle, rtol=1e-9, atol=1e-9)


@given(means, stds, stds)
def test_kl_spread_is_equation_3_and_leaves_the_mean_free(mean, std, s):
    found = kl_spread(torch.tensor(std, dtype=torch.float64), s).item()
    assert math.isclose(found, -math.log(std) + math.log(s) + std**2 / (2 * s**2) - 1 / 2, abs_tol=1e-9)
    at_the_mean = kl_divergence(Normal(*double(mean, std)), Normal(*double(mean, s))).item()
    assert math.isclose(found, at_the_mean, rel_tol=1e-9, abs_tol=1e-9)


@given(stds)
def test_kl_spread_vanishes_when_the_widths_agree(s):
    assert abs(kl_spread(torch.tensor(s, dtype=torch.float64), s).item()) < 1e-12


def posterior(weights, *, latents=2, batch=1, seed=0):
    """A mixture of hypotheses far apart in angle."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(batch, len(weights), *shape, generator=generator, dtype=torch.float64)

    apart = 2 * torch.arange(len(weights), dtype=torch.float64)
    return Posterior(
        torch.tensor(weights, dtype=torch.float64).log().expand(batch, -1),
        normal(latents), (0.3 * normal(latents)).exp(),
        apart + 0.1 * normal(), 0.03 * (0.3 * normal()).exp(),
        0.2 * normal(2), 0.1 * (0.3 * normal(2)).exp(),
    )  # fmt: skip


@pytest.mark.parametrize("theta_prior", ["uniform", "normal"])
def test_one_hypothesis_is_the_paper(theta_prior):
    q = posterior([1.0], batch=5)
    settings = ModelSettings(latents=2, theta_prior=theta_prior, theta_sigma=0.8, shift_sigma=3.0)
    found = divergence(q, settings, WINDOW)
    content = kl_divergence(Normal(q.content, q.content_std), Normal(*double(0.0, 1.0))).sum((1, 2))
    # 3 pixels of a window of 41 pixels, whose 40 intervals span -1..1
    shift = kl_divergence(Normal(q.shift, q.shift_std), Normal(*double(0.0, 3.0 * 2 / 40))).sum((1, 2))
    centre = q.theta if theta_prior == "uniform" else torch.zeros_like(q.theta)
    theta = kl_divergence(Normal(q.theta, q.theta_std), Normal(centre, *double(0.8))).sum(1)
    assert torch.allclose(found.content, content)
    assert torch.allclose(found.pose, shift + theta)


def test_what_is_not_inferred_contributes_nothing():
    """Equation 5."""
    q = posterior([1.0], batch=4)
    both = divergence(q, ModelSettings(latents=2), WINDOW)
    rotation = divergence(q, ModelSettings(latents=2, infer_translation=False), WINDOW)
    translation = divergence(q, ModelSettings(latents=2, infer_rotation=False), WINDOW)
    neither = divergence(q, ModelSettings(latents=2, infer_rotation=False, infer_translation=False), WINDOW)
    assert torch.equal(neither.pose, torch.zeros(4, dtype=torch.float64))
    assert torch.allclose(rotation.pose + translation.pose, both.pose)
    assert (rotation.pose > 0).all()
    assert torch.equal(neither.content, both.content)


@pytest.mark.parametrize("weights", [[0.5, 0.3, 0.2], [0.96, 0.04], [0.25] * 4])
def test_divergence_of_a_mixture_by_monte_carlo(weights):
    """Hypotheses apart: the KL is that of the mixture itself, its angle costing what eq. 3 says with s / K."""
    q, count = posterior(weights), len(weights)
    s, sigma = math.pi, 4.0 * 2 / (WINDOW - 1)
    components = Independent(
        Normal(
            torch.cat([q.content[0], q.theta[0, :, None], q.shift[0]], 1),
            torch.cat([q.content_std[0], q.theta_std[0, :, None], q.shift_std[0]], 1),
        ),
        1,
    )
    mixture = MixtureSameFamily(Categorical(logits=q.log_weight[0]), components)
    torch.manual_seed(1)
    drawn = mixture.sample((100_000,))
    priors = Normal(0.0, 1.0).log_prob(drawn[:, :2]).sum(1) + Normal(0.0, sigma).log_prob(drawn[:, 3:]).sum(1)
    terms = mixture.log_prob(drawn) - priors
    # What eq. 3 with s / K has in place of a prior of the angle; log K of the hypotheses' prior cancels there.
    angle = 0.5 * math.log(2 * math.pi * s**2)
    angle += (q.log_weight.exp() * q.theta_std.square()).sum().item() * count**2 / (2 * s**2)
    found = divergence(q, ModelSettings(latents=2, theta_sigma=s, shift_sigma=4.0), WINDOW)
    error = terms.std().item() / math.sqrt(len(terms))
    assert error < 0.02
    assert abs((found.content + found.pose).item() - (terms.mean().item() + angle)) < 4 * error


def zoomed(q, *, about, seed=3):
    """The same mixture with zooms of windows of which ln of the width is minus `about`."""
    random = torch.Generator().manual_seed(seed)
    zoom, std = 0.2 * torch.randn(2, *q.theta.shape, generator=random, dtype=torch.float64)
    return replace(q, zoom=zoom, zoom_std=0.1 * std.exp(), zoom_prior=torch.full_like(zoom, about))


def test_the_prior_of_a_scale_is_log_normal_about_the_ordinary_windows_width():
    q = zoomed(posterior([1.0], batch=5), about=-0.4)
    settings = ModelSettings(latents=2, scale="inferred", scale_sigma=0.6)
    more = divergence(q, settings, WINDOW).pose - divergence(q, ModelSettings(latents=2), WINDOW).pose
    scale = Normal(q.zoom + 0.4, q.zoom_std)  # ln of the galaxy's width over the ordinary window's
    assert torch.allclose(more, kl_divergence(scale, Normal(*double(0.0, 0.6))).sum(1))


@pytest.mark.parametrize("about", [0.0, -0.5])
def test_divergence_of_a_mixture_of_scales_by_monte_carlo(about):
    q, sigma = zoomed(posterior([0.5, 0.3, 0.2]), about=about), 0.7
    settings = ModelSettings(latents=2, scale="inferred", scale_sigma=sigma)
    more = (divergence(q, settings, WINDOW).pose - divergence(q, ModelSettings(latents=2), WINDOW).pose).item()
    torch.manual_seed(2)
    which = torch.multinomial(q.log_weight.exp(), 100_000, replacement=True)
    pose, _ = q.draw(which, torch.randn(1, 100_000, q.noise_size, dtype=torch.float64))
    mean, std = q.zoom[0, which[0]], q.zoom_std[0, which[0]]
    terms = Normal(mean, std).log_prob(pose.zoom) - Normal(about, sigma).log_prob(pose.zoom)
    assert abs(more - terms.mean().item()) < 4 * terms.std().item() / math.sqrt(len(terms))


def test_hypotheses_that_cover_the_circle_evenly_cost_nothing():
    even = torch.full((1, 8), 1 / 8, dtype=torch.float64).log()
    zero = torch.zeros(1, 8, 2, dtype=torch.float64)
    q = Posterior(even, zero, zero + 1, zero[..., 0], zero[..., 0] + math.pi / 8, zero, zero + 0.1)
    found = divergence(q, ModelSettings(latents=2, infer_translation=False), WINDOW)
    assert abs(found.pose.item()) < 1e-12
    sure = replace(q, log_weight=torch.tensor([[100.0] + [0.0] * 7], dtype=torch.float64).log_softmax(1))
    found = divergence(sure, ModelSettings(latents=2, infer_translation=False), WINDOW)
    assert math.isclose(found.pose.item(), math.log(8), rel_tol=1e-9)
