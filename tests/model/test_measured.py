"""Latents that are measured, not inferred: what is told of structure is what z says, and nothing else depends on it."""

import numpy as np
import pytest
import torch

import galvae
from galvae.data.split import held_out
from galvae.inference.catalog import infer_columns
from galvae.inference.infer import infer
from galvae.inference.settings import CatalogSettings
from galvae.model.settings import MEASURED, ModelSettings
from galvae.model.vae import SpatialVAE
from galvae.structure import structure
from galvae.training.checkpoint import load_model
from galvae.training.fit import fit
from galvae.training.trainer import Trainer
from galvae.windows import View

COUNT = len(MEASURED)
CPU = torch.device("cpu")
DESCRIPTION = {"trained_on": np.array([], np.uint64)}
POLAR = {"encoder": "polar", "content_prior": "fitted"}


def build(encoder="polar", **changes):
    torch.manual_seed(3)
    settings = {
        "latents": 3,
        "encoder": encoder,
        "encoder_units": 20,
        "generator_units": 12,
        "structure": True,
        **changes,
    }
    return SpatialVAE(ModelSettings(**settings), window=16, channels=3)


@pytest.fixture
def fields(ellipses):
    """Noisy: of smooth ellipses there is nothing to measure of how arms wind."""
    smooth = torch.from_numpy(ellipses(40))
    return smooth + torch.randint(0, 12, smooth.shape, generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


@pytest.mark.parametrize("encoder", ["mlp", "polar"])
@pytest.mark.parametrize("scale", ["fixed", "moments", "inferred"])
def test_z_is_what_is_inferred_and_after_it_what_is_measured(encoder, scale, fields):
    vae, without = (build(encoder, scale=scale, structure=measured) for measured in (True, False))
    assert (vae.settings.content, without.settings.content) == (COUNT + 3, 3)
    ordinary = View.central(fields, 16)
    told = structure(ordinary)
    vae.fit_measured(told)
    with torch.no_grad():
        found, other = (infer(each, each.frame(ordinary), refine=False) for each in (vae, without))
    assert torch.equal(found.content[:, :3], other.content)
    assert torch.equal(vae.structure_mean, told.mean(0))
    wanted = (told - told.mean(0)) / told.std(0, unbiased=False).clamp(min=1e-3)
    assert torch.allclose(found.content[:, 3:], wanted, atol=0.02)
    assert (found.content[:, 3:].std(0) > 0.05).all()


def test_a_training_is_the_same_without_them(store, tiny_recipe):
    """And their units are those of galaxies that it is trained on."""
    one, other = (Trainer(store, tiny_recipe(model={**POLAR, "structure": told}), device=CPU) for told in (True, False))
    for trainer in (one, other):
        for _ in range(8):
            trainer.take_step()
    kept = other.vae.state_dict()
    assert {
        name: value for name, value in one.vae.state_dict().items() if "structure" not in name
    }.keys() == kept.keys()
    assert all(torch.equal(one.vae.state_dict()[name], value) for name, value in kept.items())
    rows = np.flatnonzero(~held_out(store.column("id"), 0.2, seed=0))
    told = structure(View.central(torch.from_numpy(store.images(rows)), 16))
    assert torch.allclose(one.vae.structure_mean, told.mean(0), atol=1e-5)


def test_a_run_keeps_them_and_python_says_what_the_catalog_says(store, tiny_recipe, tmp_path):
    fit(store, tiny_recipe(model={**POLAR, "structure": True}), tmp_path / "run", device=CPU, quiet=True)
    vae, description = load_model(tmp_path / "run")
    columns = infer_columns(vae, description, store, CatalogSettings(looks=2), quiet=True)
    assert columns["z"].shape == columns["z_err"].shape == (len(store), COUNT + 3)
    assert (columns["z_err"] > 0).all()
    model = galvae.load(tmp_path / "run")
    said = model.encode(store.images(slice(None)))
    assert np.allclose(said.z, columns["z"], atol=1e-3)
    assert (model.latents, model.inferred) == (COUNT + 3, 3)
    assert np.isnan(said.z_err[:, 3:]).all()
    other = said.z.copy()
    other[:, 3:] += 1
    assert np.array_equal(model.canonical(other), model.canonical(said.z))
    assert model.sample(2).shape == (2, 16, 16, 3)


def test_their_errors_are_their_scatter_between_exposures(ellipses, make_store, tmp_path):
    noise = 0.03 * np.random.default_rng(0).normal(size=(2, 150, 28, 28, 3))
    image = ellipses(1).astype(float) / 255
    first, second = (
        make_store(tmp_path / str(number), np.uint8(255 * (0.2 + 0.6 * image + one).clip(0, 1) + 0.5))
        for number, one in enumerate(noise)
    )
    vae = build()
    vae.structure_scale.fill_(0.1)
    settings = CatalogSettings(looks=8, refine=False)
    one, other = (infer_columns(vae, DESCRIPTION, store, settings, quiet=True) for store in (first, second))
    apart = (one["z"] - other["z"])[:, 3:]
    # Each exposure says how far a further one, as noisy again, comes out from it; where there is nothing but noise that
    # is too far, for more noise is more power. Turning smooths noise, which counts where a pixel does: of the nucleus,
    # which is no larger here, and of open arms of two.
    said = np.sqrt((one["z_err"][:, 3:] ** 2).mean(0)) / apart.std(0)
    assert ((said > 0.6) & (said < 2)).all()
    assert (np.delete(said, [0, 1, MEASURED.index("order 2, open")]) > 0.75).all()
