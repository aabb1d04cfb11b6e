"""A training from beginning to end: its files, going on exactly, and what stops it."""

import json

import pytest
import torch

from galvae.data.store import ImageStore
from galvae.description import read_metrics
from galvae.recipe import load_recipe
from galvae.training import trainer as trainer_module
from galvae.training.checkpoint import MODEL, STATE, load_model, load_tensors
from galvae.training.fit import fit
from galvae.training.losses import Diverged

CPU = torch.device("cpu")
TIMED = ("seconds", "images_per_second", "resident_bytes", "device_bytes")
KINDS = {
    "mlp": {},
    "polar": {"model": {"encoder": "polar", "scale": "inferred", "likelihood": "gaussian", "noise": "sky"},
              "train": {"schedule": "cosine", "freeze_content": 8}},
    "muon": {"model": {"encoder": "polar"}, "train": {"optimizer": "muon", "mirror": True, "pixels": 32,
                                                      "focus": 0.5, "unbiased": False}},
    "vanilla": {"model": {"generator": "vanilla", "infer_rotation": False, "infer_translation": False},
                "train": {"freeze_content": 8}},
    "fixed pose": {"model": {"infer_rotation": False, "infer_translation": False}, "train": {"freeze_content": 8}},
}  # fmt: skip


def train(store, recipe, run, **options):
    return fit(store, recipe, run, device=CPU, quiet=True, **options)


def lines(run):
    """The metrics without what is measured by a clock."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if key not in TIMED} for row in rows]


def same(run, other):
    for name in (STATE, MODEL):
        a, b = load_tensors(run / name)[0], load_tensors(other / name)[0]
        assert a.keys() == b.keys()
        assert all(torch.equal(a[key], b[key]) for key in a)
    assert lines(run) == lines(other)


@pytest.fixture(scope="module")
def unbroken(store, tiny_recipe, tmp_path_factory):
    runs = {}

    def make(kind):
        if kind not in runs:
            runs[kind] = tmp_path_factory.mktemp("unbroken") / "run"
            train(store, tiny_recipe(**KINDS[kind]), runs[kind])
        return runs[kind]

    return make


@pytest.mark.parametrize("kind", KINDS)
def test_broken_off_and_resumed_is_unbroken(kind, store, tiny_recipe, unbroken, tmp_path):
    """Bit for bit: from the middle of an epoch, from its end, at once again, and after the end."""
    recipe, run = tiny_recipe(**KINDS[kind]), tmp_path / "run"
    train(store, recipe, run, max_steps=2)
    for last in (6, 9, 9, None, None):
        train(store, recipe, run, resume=True, max_steps=last)
    same(run, unbroken(kind))


def test_a_run_folder(store, tiny_recipe, unbroken):
    run = unbroken("mlp")
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    terms = ["elbo", "log_likelihood", "kl_z", "kl_pose"]
    for row in rows:
        assert {
            "epoch",
            "step",
            "seconds",
            "images_per_second",
            *TIMED,
            *terms,
            *(f"validation_{t}" for t in terms),
        } <= set(row)
        for prefix in ("", "validation_"):
            log_likelihood, kl_z, kl_pose = (row[prefix + term] for term in terms[1:])
            assert row[prefix + "elbo"] == pytest.approx(log_likelihood - kl_z - kl_pose, rel=1e-5)
    steps = len(held_in(store)) // 8
    assert [(row["epoch"], row["step"]) for row in rows] == [(1, steps), (2, 2 * steps), (3, 3 * steps), (3, 3 * steps)]
    assert rows[-1]["pixels"] == 16**2  # the last line is of every pixel
    assert rows[0]["resident_bytes"] > 10**7
    assert load_recipe(run / "recipe.toml") == tiny_recipe()
    description = json.loads((run / "model.json").read_text())
    assert description["store"] == store.digest
    assert description["steps"] == 3 * steps
    assert not list(run.rglob(".*.tmp*"))


def test_less_than_an_epoch(store, tiny_recipe, tmp_path):
    """One line, of the steps that there were; the run says that it is not finished."""
    last = train(store, tiny_recipe(), tmp_path, max_steps=2)
    (line,) = lines(tmp_path)
    assert (line["epoch"], line["step"], last["step"]) == (1, 2, 2)
    assert line["elbo"] == pytest.approx(line["validation_elbo"], rel=0.1)
    assert not json.loads((tmp_path / "model.json").read_text())["finished"]


def test_a_finished_run_says_so_and_stays(store, tiny_recipe, tmp_path, capsys):
    train(store, tiny_recipe(), tmp_path)
    before = lines(tmp_path)
    capsys.readouterr()
    for steps in (None, 3):
        last = fit(store, tiny_recipe(), tmp_path, device=CPU, resume=True, max_steps=steps)
        assert capsys.readouterr().err == f"{tmp_path}: {last['step']} steps are done already\n"
        assert lines(tmp_path) == before
        assert last["images_per_second"] > 0
        assert json.loads((tmp_path / "model.json").read_text())["finished"]


def held_in(store):
    from galvae.data.split import held_out

    return [i for i, out in zip(store.column("id"), held_out(store.column("id"), 0.2, seed=0), strict=True) if not out]


def test_the_same_seed_gives_the_same_run_and_another_another(store, tiny_recipe, unbroken, tmp_path):
    train(store, tiny_recipe(), tmp_path / "again")
    same(tmp_path / "again", unbroken("mlp"))
    train(store, tiny_recipe(train={"seed": 1}), tmp_path / "other")
    assert lines(tmp_path / "other")[-1]["elbo"] != lines(unbroken("mlp"))[-1]["elbo"]


def test_resume_refuses_another_store_or_recipe(store, make_store, ellipses, tiny_recipe, tmp_path):
    run = tmp_path / "run"
    train(store, tiny_recipe(), run, max_steps=7)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    other = make_store(tmp_path / "store", ellipses(60, seed=1))
    with pytest.raises(ValueError, match="another store"):
        train(other, tiny_recipe(), run, resume=True)
    with pytest.raises(ValueError, match=r"begun with train\.learning_rate = 0\.001, not 0\.01; resume without"):
        train(store, tiny_recipe(train={"learning_rate": 0.01}), run, resume=True)
    with pytest.raises(ValueError, match=r"another model; .*recipe\.toml"):
        train(store, tiny_recipe(model={"latents": 4}), run, resume=True)
    with pytest.raises(ValueError, match=r"begun with train\.optimizer = adam, not muon"):
        train(store, tiny_recipe(train={"optimizer": "muon"}), run, resume=True)
    with pytest.raises(FileNotFoundError, match="nothing to resume"):
        train(store, tiny_recipe(), tmp_path / "nothing", resume=True)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    # What only the catalog uses may change.
    train(store, tiny_recipe(catalog={"looks": 5}), run, resume=True, max_steps=8)


@pytest.mark.parametrize("failure", [KeyboardInterrupt, Diverged])
def test_a_run_stays_whole_until_the_one_over_it_is_saved(failure, store, tiny_recipe, tmp_path, monkeypatch):
    """A kill or a loss that is not finite before that costs nothing; after it, no mixture of the two is left."""
    run, recipe = tmp_path / "run", tiny_recipe(train={"seed": 4, "save_every": 2})
    steps = train(store, tiny_recipe(), run)["step"] // 3
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    honest = trainer_module.Trainer.take_step

    def fails_at(step):
        def take_step(self):
            if self.step == step:
                raise failure
            honest(self)

        return take_step

    with monkeypatch.context() as patch:
        for at, kept in ((0, True), (steps + 1, True), (2 * steps + 1, False)):
            patch.setattr(trainer_module.Trainer, "take_step", fails_at(at))
            with pytest.raises(failure):
                train(store, recipe, run)
            assert kept == ({path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before)
    assert load_recipe(run / "recipe.toml") == recipe
    assert load_model(run)[1]["recipe"]["train"]["seed"] == 4
    train(store, recipe, run, resume=True)
    train(store, recipe, tmp_path / "new")
    same(run, tmp_path / "new")


def test_a_kill_while_one_run_takes_anothers_place_leaves_no_mixture(store, tiny_recipe, tmp_path, monkeypatch):
    """At any of the writes, the model is the old one, or the new one, or none."""
    from galvae.training import run as module

    old, new = tiny_recipe(), tiny_recipe(train={"seed": 4})
    for name in ("save_state", "write_atomically", "save_model"):
        run = tmp_path / name
        train(store, old, run, max_steps=1)
        before = load_tensors(run / MODEL)[0]

        def killed(*_, **__):
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(module, name, killed)
            with pytest.raises(KeyboardInterrupt):
                train(store, new, run, max_steps=1)
        if (run / "model.json").is_file():
            tensors = load_tensors(run / MODEL)[0]
            assert all(torch.equal(before[key], tensors[key]) for key in tensors)
            assert load_model(run)[1]["recipe"]["train"]["seed"] == 0
            assert load_recipe(run / "recipe.toml") == old


def test_a_last_line_that_is_not_whole_is_left_out(unbroken, tmp_path):
    """What a kill or a look at the wrong moment finds."""
    text = (unbroken("mlp") / "metrics.jsonl").read_text()
    path = tmp_path / "metrics.jsonl"
    assert read_metrics(path) == []
    whole = [json.loads(line) for line in text.splitlines()]
    for cut in (0, 1, 2, 40):
        path.write_text(text[: len(text) - cut])
        assert read_metrics(path) == (whole if cut < 2 else whole[:-1])
    path.write_text("{\n" + text)
    with pytest.raises(ValueError, match=r"metrics\.jsonl: line 1 is no JSON"):
        read_metrics(path)


def spoil(monkeypatch, *, step, what):
    """Let `what` happen to the objective of one step."""
    honest = trainer_module.backward

    def spoilt(vae, batch, *, step: int, **options):
        terms = honest(vae, batch, step=step, **options)
        if step == spoilt.at:
            what(vae, terms)
        return terms

    spoilt.at = step
    monkeypatch.setattr(trainer_module, "backward", spoilt)


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_state(
    store, tiny_recipe, unbroken, tmp_path, monkeypatch
):
    run, at = tmp_path / "run", 8

    def overflow(vae, terms):
        terms.log_likelihood[2] = -torch.inf
        terms.log_likelihood[5] = torch.nan

    with monkeypatch.context() as patch:
        spoil(patch, step=at, what=overflow)
        with pytest.raises(Diverged) as caught:
            train(store, tiny_recipe(), run)
    trainer = trainer_module.Trainer(store, tiny_recipe(), device=CPU)
    epoch, place = divmod(at, trainer.steps_per_epoch)
    batch = trainer.batches.order(epoch)[place]
    ids = store.column("id")[trainer.training.rows[batch[[2, 5]]]]
    assert f"not finite at step {at} for 2 of 8 galaxies ({ids[0]}, {ids[1]})" in str(caught.value)
    assert load_tensors(run / STATE)[1]["step"] == at
    # The state is that before the bad step: going on from it, when the fault is mended, is going on exactly.
    train(store, tiny_recipe(), run, resume=True)
    same(run, unbroken("mlp"))


def test_a_gradient_that_is_not_finite_does_not_reach_the_disk(store, tiny_recipe, unbroken, tmp_path, monkeypatch):
    """The loss of that step is finite, its parameters are not: the next step's loss says so."""
    run = tmp_path / "run"

    def break_gradient(vae, terms):
        vae.generator.output.bias.grad[0] = torch.nan

    last_of_an_epoch = lines(unbroken("mlp"))[1]["step"] - 1
    for at in (last_of_an_epoch - 3, last_of_an_epoch):
        with monkeypatch.context() as patch:
            spoil(patch, step=at, what=break_gradient)
            with pytest.raises(Diverged, match="not finite"):
                train(store, tiny_recipe(), run)
        vae, _ = load_model(run)
        assert all(torch.isfinite(p).all() for p in vae.parameters())
        train(store, tiny_recipe(), run, resume=True)
        same(run, unbroken("mlp"))


def test_a_store_is_read_whatever_its_parts(make_store, store, tiny_recipe, tmp_path):
    """The parts are a matter of files: the numbers are keyed by the galaxy's row."""
    parts = make_store(tmp_path / "store", store.images(slice(None)), part=7)
    assert isinstance(parts, ImageStore)
    train(store, tiny_recipe(), tmp_path / "a", max_steps=8)
    train(parts, tiny_recipe(), tmp_path / "b", max_steps=8)
    assert lines(tmp_path / "a") == lines(tmp_path / "b")
