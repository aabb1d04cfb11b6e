"""The training's data, split, schedule and devices."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from galvae.data.split import held_out
from galvae.device import choose_device
from galvae.training.trainer import TERMS, Trainer

CPU = torch.device("cpu")


@given(st.permutations(range(60)), st.integers(0, 20))
def test_a_galaxy_is_held_out_by_its_identifier(order, seed):
    ids = np.arange(1000, 1060)
    kept = set(ids[held_out(ids, 0.3, seed=seed)])
    shuffled = ids[order]
    assert set(shuffled[held_out(shuffled, 0.3, seed=seed)]) == kept
    some = ids[::2]
    assert set(some[held_out(some, 0.3, seed=seed)]) == kept & set(some)
    assert {int(name) for name in ids.astype(str)[held_out(ids.astype(str), 0.3, seed=seed)]} == kept


def test_about_the_fraction_asked_for_is_held_out():
    ids = np.arange(20_000)
    kept = held_out(ids, 0.1, seed=0)
    assert abs(kept.mean() - 0.1) < 5 * math.sqrt(0.09 / 20_000)
    other = held_out(ids, 0.1, seed=1)
    assert abs((kept & other).mean() - 0.01) < 5 * math.sqrt(0.01 / 20_000)
    assert (held_out(ids, 0.2, seed=0) | ~kept).all()


def test_no_galaxy_is_both_trained_on_and_held_out_whatever_the_order(store, make_store, tiny_recipe, tmp_path):
    ids, images = store.column("id"), store.images(slice(None))
    order = np.random.default_rng(0).permutation(len(ids))
    shuffled = make_store(tmp_path / "store", images[order], ids=ids[order])
    for given_store in (store, shuffled):
        trainer = Trainer(given_store, tiny_recipe(), device=CPU)
        names = given_store.column("id")
        training, validation = (set(names[part.rows]) for part in (trainer.training, trainer.validation))
        assert not training & validation
        assert training | validation == set(ids)
        assert validation == set(ids[held_out(ids, 0.2, seed=0)])


def test_an_epoch_takes_each_galaxy_at_most_once(store, tiny_recipe, monkeypatch):
    trainer = Trainer(store, tiny_recipe(), device=CPU)
    seen = []
    draw = trainer.draw

    def watch(data, which, fields, **options):
        seen.append(data.index[which])
        return draw(data, which, fields, **options)

    monkeypatch.setattr(trainer, "draw", watch)
    for _ in range(2 * trainer.steps_per_epoch):
        trainer.take_step()
    first, second = torch.cat(seen[: trainer.steps_per_epoch]), torch.cat(seen[trainer.steps_per_epoch :])
    assert len(first.unique()) == len(first) == trainer.steps_per_epoch * trainer.batch
    assert len(second.unique()) == len(second)
    assert not torch.equal(first, second)
    assert set(first.tolist()) <= set(trainer.training.rows.tolist())


def test_means_are_over_the_epoch_so_far(store, tiny_recipe, monkeypatch):
    from galvae.training import trainer as module

    found = []
    backward = module.backward

    def watch(*arguments, **options):
        found.append(backward(*arguments, **options))
        return found[-1]

    monkeypatch.setattr(module, "backward", watch)
    trainer = Trainer(store, tiny_recipe(), device=CPU)
    for _ in range(trainer.steps_per_epoch + 2):
        trainer.take_step()
    for name in TERMS:
        wanted = np.mean([getattr(terms, name).double().mean() for terms in found[trainer.steps_per_epoch :]])
        assert math.isclose(trainer.means()[name], wanted, rel_tol=1e-9)


def test_training_improves_the_elbo_of_galaxies_held_out(store, tiny_recipe):
    trainer = Trainer(store, tiny_recipe(train={"pixels": 0}), device=CPU)
    before = trainer.validate()["elbo"]
    for _ in range(30):
        trainer.take_step()
    assert trainer.validate()["elbo"] > before + 10


def test_validation_does_not_depend_on_when_and_how_large_the_batches_are(store, tiny_recipe):
    small, large = (Trainer(store, tiny_recipe(train={"batch": b}), device=CPU) for b in (3, 40))
    before, small.step = small.validate(), 17
    assert small.validate() == before
    for name in TERMS:
        assert math.isclose(small.validate()[name], large.validate()[name], rel_tol=1e-5)


def test_the_same_batches_make_the_same_steps_held_or_read(store, tiny_recipe):
    held = Trainer(store, tiny_recipe(), device=CPU)
    read = Trainer(store, tiny_recipe(), device=CPU, room=0)
    assert held.training.held
    assert held.validation.held
    assert not read.training.held
    assert not read.validation.held
    assert held.validate() == read.validate()
    for _ in range(3):
        held.take_step()
        read.take_step()
    for a, b in zip(held.vae.parameters(), read.vae.parameters(), strict=True):
        assert torch.equal(a, b)
    read.batches.close()


def test_a_fixed_crop_takes_the_stores_windows(make_store, ellipses, tiny_recipe, tmp_path):
    windows = np.stack([np.arange(40) % 7 - 3, np.arange(40) % 5 - 2], 1).astype(np.int32)
    fixed = make_store(tmp_path / "store", ellipses(40), window=windows, ingest={"crop": "fixed"})
    with pytest.raises(ValueError, match=r"ingest\.crop = fixed \(the recipe: random\)"):
        Trainer(fixed, tiny_recipe(), device=CPU)
    recipe = tiny_recipe(ingest={"crop": "fixed"})
    trainer = Trainer(fixed, recipe, device=CPU)
    which, fields = trainer.batches.at(0)
    for step in (0, 1):
        batch = trainer.draw(trainer.training, which, fields, step=step, pixels=0)
        assert torch.equal(batch.view.offset, torch.from_numpy(windows[trainer.training.rows[which]]).float())


@pytest.mark.parametrize("rotates", [True, False])
def test_nothing_is_turned_that_nothing_turns_back(rotates, store, tiny_recipe):
    """A model without rotation that saw turned images could not but fail: no fair baseline."""
    trainer = Trainer(store, tiny_recipe(model={"infer_rotation": rotates}), device=CPU)
    angle = trainer.draw(trainer.training, *trainer.batches.at(0), step=0, pixels=0).view.angle
    assert rotates == bool(angle.any())


def test_schedules(store, tiny_recipe):
    constant = Trainer(store, tiny_recipe(), device=CPU)
    assert {constant.learning_rate()} == {1e-3}
    cosine = Trainer(store, tiny_recipe(train={"schedule": "cosine", "epochs": 100}), device=CPU)
    rates = []
    for step in range(cosine.steps):
        cosine.step = step
        rates.append(cosine.learning_rate())
    assert rates[0] < 2e-5
    assert 0.9e-3 < max(rates) <= 1e-3
    assert 0 < rates[-1] < 1e-7
    assert np.argmax(rates) == 99
    assert (np.diff(rates[100:]) < 0).all()


def test_what_cannot_be_trained_is_said(store, make_store, ellipses, tiny_recipe, tmp_path):
    with pytest.raises(ValueError, match=r"fields of 28 pixels hold no window of 32 x 1; lower ingest\.window"):
        Trainer(store, tiny_recipe(ingest={"window": 32}), device=CPU)
    alone = make_store(tmp_path / "store", ellipses(1))
    with pytest.raises(ValueError, match=r"of 1 galaxies \d are held out .* use more galaxies"):
        Trainer(alone, tiny_recipe(), device=CPU)


def test_normalised_pixels_need_a_likelihood_of_any_value(make_store, tiny_recipe, tmp_path):
    store = make_store(tmp_path / "s", np.random.default_rng(0).normal(size=(40, 28, 28, 1)).astype(np.float32))
    recipe = tiny_recipe(ingest={"pixels": "normalised"})
    with pytest.raises(ValueError, match=r"model\.likelihood = bernoulli is one of values from 0 to 1; --set model"):
        Trainer(store, recipe, device=CPU)
    gaussian = {"likelihood": "gaussian"}
    both = r"pixels = normalised \(the recipe: colour\), .*field = 28 \(the recipe: 30\); .*=normalised --set .*=28"
    with pytest.raises(ValueError, match=both):
        Trainer(store, tiny_recipe(ingest={"field": 30}, model=gaussian), device=CPU)
    assert Trainer(store, tiny_recipe(ingest={"pixels": "normalised"}, model=gaussian), device=CPU).vae.channels == 1


def test_devices():
    assert choose_device("cpu") == CPU
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    for name in ("nonsense", "cuda:99"):
        with pytest.raises(ValueError, match=f"--device {name}: not to be had here .* use auto or cpu"):
            choose_device(name)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_a_gpu_takes_the_same_steps(store, tiny_recipe):
    trainers = [Trainer(store, tiny_recipe(), device=choose_device(name)) for name in ("cpu", "cuda")]
    for trainer in trainers:
        for _ in range(5):
            trainer.take_step()
        trainer.losses.check()
    cpu, gpu = (trainer.validate() for trainer in trainers)
    for name in TERMS:
        assert math.isclose(cpu[name], gpu[name], rel_tol=1e-3)


def test_only_training_is_mirrored_and_weighted(store, tiny_recipe, monkeypatch):
    from galvae.training import trainer as module

    asked, draw = [], module.draw_batch

    def watch(*arguments, **options):
        asked.append({name: options.get(name) for name in ("mirror", "unbiased", "noise")})
        return draw(*arguments, **options)

    monkeypatch.setattr(module, "draw_batch", watch)
    recipe = tiny_recipe(train={"mirror": True, "unbiased": False, "noise": 0.1, "pixels": 16})
    trainer = Trainer(store, recipe, device=CPU)
    trainer.take_step()
    assert asked == [{"mirror": True, "unbiased": False, "noise": 0.1}]
    trainer.validate(pixels=16)
    assert asked[1:]
    assert all(set(options.values()) == {None} for options in asked[1:])
