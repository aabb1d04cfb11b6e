"""A fitted prior: content measured about its mean in units of its spread; nothing else may change."""

import pytest
import torch

from galvae.model.settings import ModelSettings
from galvae.model.vae import SpatialVAE
from galvae.training.objective import _content
from galvae.windows import View


def build(encoder):
    torch.manual_seed(3)
    vae = SpatialVAE(
        ModelSettings(latents=3, encoder=encoder, encoder_units=20, generator_units=12), window=16, channels=2
    )
    with torch.no_grad():  # away from the prior, and differently for each latent
        vae.content_mean.copy_(torch.tensor([0.5, -1.0, 0.0]))
        vae.content_scale.copy_(torch.tensor([0.4, 2.0, 1.0]))
    return vae


@pytest.mark.parametrize("encoder", ["mlp", "polar"])
def test_reconstructions_stay_and_the_divergence_falls(encoder):
    vae = build(encoder)
    view = View.central(torch.rand(40, 24, 24, 2), 16)
    with torch.no_grad():
        before = vae.encode(view)
        pose, content = before.draw(before.best())
        images = vae.decode(pose, content)
        mean, square = _content(before)
        vae.fit_prior(mean, square)
        after = vae.encode(view)
        pose, content = after.draw(after.best())
    assert torch.allclose(vae.decode(pose, content), images, atol=1e-5)
    mean, square = _content(after)
    assert torch.allclose(mean, torch.zeros(3), atol=1e-4)
    assert torch.allclose(square, torch.ones(3), atol=1e-4)
    assert vae.divergence(after).content.mean() < vae.divergence(before).content.mean()
    assert torch.equal(vae.divergence(after).pose, vae.divergence(before).pose)


def test_no_other_shift_and_scale_has_a_smaller_divergence():
    vae = build("mlp")
    view = View.central(torch.rand(40, 24, 24, 2), 16)
    with torch.no_grad():
        vae.fit_prior(*_content(vae.encode(view)))
        least = vae.divergence(vae.encode(view)).content.mean()
        for shift, scale in ((0.05, 1.0), (-0.05, 1.0), (0.0, 1.05), (0.0, 0.95)):
            other = build("mlp")
            other.load_state_dict(vae.state_dict())
            other.content_mean += shift * other.content_scale
            other.content_scale *= scale
            assert other.divergence(other.encode(view)).content.mean() > least
