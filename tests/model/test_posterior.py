"""Drawing from the mixture of hypotheses."""

import pytest
import torch

from galvae.keyed import uniform
from galvae.model.posterior import Posterior


def mixture(weights, count):
    k = len(weights)
    base = torch.arange(count * k).view(count, k).float()
    return Posterior(
        torch.tensor(weights).log().expand(count, k),
        base[..., None].expand(count, k, 2), torch.full((count, k, 2), 0.5),
        base, torch.full((count, k), 0.1), base[..., None].expand(count, k, 2), torch.full((count, k, 2), 0.2),
    )  # fmt: skip


def test_hypotheses_are_drawn_by_their_weights():
    weights = [0.6, 0.3, 0.1]
    q = mixture(weights, 20_000)
    chosen = q.choose(uniform("test", torch.arange(20_000), 3, seed=0, step=0), 1)[:, 0]
    for hypothesis, weight in enumerate(weights):
        share = (chosen == hypothesis).double().mean().item()
        assert abs(share - weight) < 5 * (weight * (1 - weight) / 20_000) ** 0.5


def test_several_are_different_ones_and_the_best_is_the_most_probable():
    q = mixture([0.01, 0.98, 0.01], 500)
    chosen = q.choose(uniform("test", torch.arange(500), 3, seed=0, step=0), 2)
    assert (chosen[:, 0] != chosen[:, 1]).all()
    assert (q.best() == 1).all()
    assert q.best().shape == (500, 1)


def test_draws_keep_those_of_an_image_together():
    q = mixture([0.5, 0.3, 0.2], 4)
    which = torch.tensor([[0, 2], [1, 0], [2, 1], [0, 1]])
    pose, content = q.draw(which)
    assert pose.theta.tolist() == [0, 2, 4, 3, 8, 7, 9, 10]
    assert content.shape == pose.shift.shape == (8, 2)
    noise = torch.arange(5.0).expand(4, 2, 5)
    noisy, noisy_content = q.draw(which, noise)
    assert torch.allclose(noisy_content - content, 0.5 * torch.tensor([0.0, 1.0]).expand(8, 2), atol=1e-6)
    assert torch.allclose(noisy.theta - pose.theta, torch.full((8,), 0.2), atol=1e-6)
    assert torch.allclose(noisy.shift - pose.shift, 0.2 * torch.tensor([3.0, 4.0]).expand(8, 2), atol=1e-6)


def test_the_best_lies_in_the_more_probable_half():
    """A peak on one side does not outweigh what lies spread on the other."""
    theta = torch.tensor([[0.0, 0.2, 3.0, 3.1, 3.3]])
    weight = torch.tensor([[0.35, 0.05, 0.15, 0.25, 0.2]])
    none = torch.zeros(1, 5, 2)
    q = Posterior(weight.log(), none, none, theta, 0 * theta, none, none)
    assert q.best().item() == 3
    both = Posterior.joined([q, q])
    assert both.log_weight.exp().sum().item() == pytest.approx(1)
    assert both.best().item() in (3, 8)
    assert torch.allclose(both.content_mean(), q.content_mean())
