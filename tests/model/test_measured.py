"""Latents that are measured, not inferred: what is told of arms is what z says, whatever the networks."""

import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from galvae.arms import BLUR, arms
from galvae.inference.catalog import infer_columns
from galvae.inference.settings import CatalogSettings
from galvae.model.settings import MEASURED, ModelSettings
from galvae.model.vae import SpatialVAE
from galvae.training.batch import draw_batch
from galvae.training.objective import _content
from galvae.windows import View

COUNT = len(MEASURED)
DESCRIPTION = {"trained_on": np.array([], np.uint64)}


def build(encoder="polar", **changes):
    torch.manual_seed(3)
    settings = {"latents": 3, "encoder": encoder, "encoder_units": 20, "generator_units": 12, **changes}
    return SpatialVAE(ModelSettings(arms=True, content_prior="fitted", **settings), window=16, channels=3)


@pytest.fixture
def fields(ellipses):
    return torch.from_numpy(ellipses(40))


@pytest.mark.parametrize("encoder", ["mlp", "polar"])
@pytest.mark.parametrize("scale", ["fixed", "moments"])
def test_the_last_of_z_are_measured_and_the_first_inferred(encoder, scale, fields):
    vae = build(encoder, scale=scale)
    ordinary = View.central(fields, 16)
    with torch.no_grad():
        view = vae.frame(ordinary)
        vae.fit_prior(*_content(vae.encode(view)))
        found, said = vae.encode(view), vae.encoder(view)
    measured = arms(ordinary)
    wanted = (measured - vae.content_mean[3:]) / vae.content_scale[3:]
    assert said.content.shape[2] == vae.settings.latents == 3
    for hypothesis in range(found.content.shape[1]):
        assert torch.allclose(found.content[:, hypothesis, 3:], wanted)
    assert torch.allclose(found.content[..., :3], (said.content - vae.content_mean[:3]) / vae.content_scale[:3])
    assert torch.allclose(found.content_std[..., 3:], torch.tensor(BLUR))
    spread = wanted.var(0, unbiased=False)
    assert torch.allclose(vae.content_scale[3:].square(), measured.var(0, unbiased=False) + BLUR**2)
    assert ((spread > 0) & (spread < 1)).all()


def test_in_a_mirror_what_is_told_is_of_what_is_seen(fields):
    vae = build()
    options = {
        "oversample": 1,
        "crop": 1.0,
        "rotate": True,
        "pixels": 0,
        "focus": 0.0,
        "seed": 0,
        "step": 3,
        "views": 2,
    }
    batch = draw_batch(vae, fields, torch.arange(40), mirror=True, **options)
    told = arms(View.central(fields, 16))
    mirrored = arms(View.central(fields.flip(2), 16))
    one, other = batch.view.arms.chunk(2)
    assert torch.equal(one, other)
    plain, turned = ((one - each).abs().amax(1) < 1e-5 for each in (told, mirrored))
    assert (plain | turned).all()
    assert 10 < turned.sum() < 30


def test_z_is_longer_by_them():
    assert build().settings.content == build().content_mean.shape[0] == COUNT + 3
    assert ModelSettings(latents=3).content == 3


def test_they_need_a_fitted_prior():
    with pytest.raises(ValidationError, match=r"set content_prior to fitted, or arms to false"):
        ModelSettings(arms=True, content_prior="standard")


def test_their_errors_are_their_scatter_between_exposures(ellipses, make_store, tmp_path):
    noise = 0.03 * np.random.default_rng(0).normal(size=(2, 150, 28, 28, 3))
    image = ellipses(1).astype(float) / 255
    first, second = (
        make_store(tmp_path / str(number), np.uint8(255 * (0.2 + 0.6 * image + one).clip(0, 1) + 0.5))
        for number, one in enumerate(noise)
    )
    vae = build()
    with torch.no_grad():
        vae.content_scale[3:] = 0.1
    settings = CatalogSettings(looks=8, refine=False)
    one, other = (infer_columns(vae, DESCRIPTION, store, settings, quiet=True) for store in (first, second))
    apart = (one["z"] - other["z"])[:, 3:]
    # Each exposure says how far a further one, as noisy again, comes out from it; where there is nothing but noise that
    # is too far, for more noise is more power.
    said = np.sqrt((one["z_err"][:, 3:] ** 2).mean(0)) / apart.std(0)
    assert ((said > 0.75) & (said < 1.75)).all()
    assert said[[2, 8, 9]] == pytest.approx([1] * 3, rel=0.3)
    assert (one["z_err"][:, :3] > 0).all()
    assert math.isfinite(one["kl_z"].sum())
