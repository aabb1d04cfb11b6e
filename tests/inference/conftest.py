"""Networks that know: an encoder that says the pose it is told, a generator that draws an elliptical Gaussian."""

from itertools import islice

import pytest
import torch
from torch import nn

from galvae.model.posterior import Posterior
from galvae.model.settings import ModelSettings
from galvae.model.vae import SpatialVAE

COLOURS = torch.tensor([0.85, 0.7, 0.45], dtype=torch.float64)


class Ellipse(nn.Module):
    """An elliptical Gaussian galaxy, content = (major axis in rad, centre x, centre y, axis ratio), grid units."""

    def __init__(self, sigma, pedestal=0.0):
        super().__init__()
        self.sigma, self.pedestal = sigma, pedestal

    def forward(self, coordinates, content, pixels=None):
        axis, x, y, ratio = content[:, None].unbind(-1)
        u, v = coordinates[..., 0] - x, coordinates[..., 1] - y
        along, across = u * axis.cos() + v * axis.sin(), v * axis.cos() - u * axis.sin()
        light = torch.exp(-0.5 * (along**2 + (across / ratio) ** 2) / self.sigma**2)
        return light[..., None] * COLOURS.to(light) + self.pedestal


class Told(nn.Module):
    """Says of one galaxy after another what it was told: tensors (N, K, ...) by the names of a Posterior."""

    def __init__(self, **told):
        super().__init__()
        self.told = Posterior(**told)
        self.rows, self.last = iter(range(len(self.told.theta))), []

    def forward(self, view):
        if view.origin is None and not view.angle.any():  # else it looks again
            self.last = list(islice(self.rows, len(view)))
        return Posterior(*(value[self.last] for value in vars(self.told).values()))


@pytest.fixture(scope="session")
def knowing():
    """A function: a model of which everything is known; hypotheses have shape (N, K), or (N,) for one."""

    def make(theta, shift, content, *, window=64, weight=None, std=1e-9, content_std=None, sigma=0.2, pedestal=0.0):
        settings = ModelSettings(latents=4, encoder_units=2, generator_units=2, likelihood="gaussian", noise=0.05)
        vae = SpatialVAE(settings, window=window, channels=3).double()
        theta, shift, content = (torch.as_tensor(value).double() for value in (theta, shift, content))
        if theta.ndim == 1:
            theta, shift, content = theta[:, None], shift[:, None], content[:, None]
        weight = torch.ones_like(theta) / theta.shape[1] if weight is None else torch.as_tensor(weight)
        vae.encoder = Told(
            log_weight=weight.double().log(),
            content=content,
            content_std=torch.full_like(content, std) if content_std is None else torch.as_tensor(content_std).double(),
            theta=theta, theta_std=torch.full_like(theta, std), shift=shift, shift_std=torch.full_like(shift, std),
        )  # fmt: skip
        vae.generator = Ellipse(sigma, pedestal)
        return vae.requires_grad_(False)

    return make
