"""Compiled and recorded steps are the plain ones, and where they are not, training goes on with those."""

import logging
import re
from contextlib import nullcontext

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from galvae.keyed import normal, uniform
from galvae.model.precision import Mixed
from galvae.training import engine
from galvae.training import trainer as trainer_module
from galvae.training.engine import WARM, Held, Recorded
from galvae.training.fit import fit
from galvae.training.objective import PLAIN
from galvae.training.trainer import Trainer

CPU = torch.device("cpu")
ON_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here: what only one can show")
POLAR = {"model": {"encoder": "polar", "content_prior": "fitted", "waves": 4}}
RECIPES = {
    "mlp": {"train": {"freeze_content": 3}},
    "every pixel, in pieces": {"train": {"pixels": 0, "chunk": 3 * 256}},
    "polar": {
        "model": {**POLAR["model"], "scale": "inferred", "likelihood": "gaussian", "noise": "sky"},
        "train": {
            "mirror": True,
            "agree": 1.0,
            "noise": 0.02,
            "unbiased": False,
            "freeze_content": 2,
            "learning_rate": 1e-4,
        },
    },
    "muon": {**POLAR, "train": {"optimizer": "muon", "focus": 0.5, "schedule": "cosine"}},
}


@pytest.fixture
def quick(monkeypatch):
    """Compile without making kernels: what is traced, split into forward and backward, runs on torch's own."""
    monkeypatch.setattr(engine, "BACKEND", "aot_eager")
    monkeypatch.setattr(logging.getLogger("torch.__trace"), "propagate", False)  # as long as the compilation itself


@pytest.fixture
def uncompiled(monkeypatch):
    """Where the compiled parts would be are the plain ones."""
    monkeypatch.setattr(trainer_module, "compiled", lambda: PLAIN)


def trained(store, recipe, steps, *, recorder=None):
    trainer = Trainer(store, recipe, device=CPU)
    if recorder:
        trainer._fast = trainer._faster(recorder(trainer))
    for _ in range(steps):
        trainer.take_step()
    return trainer


def with_compile(tiny_recipe, changes, wanted):
    return tiny_recipe(**{**changes, "train": {**changes.get("train", {}), "compile": wanted}})


def far(trainer, other):
    """How far apart the parameters of two trainings are over how far they have come."""
    a, b = (torch.cat([p.detach().flatten() for p in each.vae.parameters()]) for each in (trainer, other))
    start = Trainer(trainer.store, trainer.recipe, device=CPU)
    return float((a - b).norm() / (a - torch.cat([p.detach().flatten() for p in start.vae.parameters()])).norm())


@pytest.mark.parametrize("kind", ["mlp", "polar"])
def test_a_compiled_training_is_the_plain_one(kind, store, tiny_recipe, quick, capsys):
    """And its gradients, of parameters that have moved, to many more digits."""
    # Small steps: Adam makes some of rounding, where a gradient is nearly zero.
    train = {**RECIPES[kind]["train"], "freeze_content": 3 * (kind == "mlp"), "learning_rate": 1e-5}
    changes = {**RECIPES[kind], "train": train}
    plain, compiled = (trained(store, with_compile(tiny_recipe, changes, how), 6) for how in ("never", "always"))
    assert compiled._fast is not None
    assert not compiled._fast.given_up
    assert capsys.readouterr().err == ""
    assert far(plain, compiled) < 1e-2
    assert torch.allclose(plain.sums, compiled.sums, rtol=1e-4)
    assert plain.validate() == pytest.approx(compiled.validate(), rel=1e-4)
    first = [trained(store, each.recipe, 1).sums for each in (plain, compiled)]  # the same parameters
    assert torch.allclose(*first, rtol=1e-5)
    found = []
    for way in (compiled._held.fast, compiled._held.slow):
        outputs = way(*compiled.batches.at(compiled.step), frozen=False, exchange=kind == "polar")
        found.append(engine._Result.of(outputs, compiled.vae.parameters(), ()))
    assert found[0].apart(found[1]) < 1e-4


def test_a_processor_takes_plain_steps_unless_told_otherwise(store, tiny_recipe):
    assert Trainer(store, tiny_recipe(train={"epochs": 10_000}), device=CPU)._fast is None


@pytest.mark.parametrize(("wanted", "epochs", "ways"), [
    ("auto", 3, (False, True)), ("auto", 10_000, (True, True)), ("always", 3, (True, True)), ("never", 3, (False,) * 2),
])  # fmt: skip
def test_a_short_training_is_recorded_but_not_compiled(wanted, epochs, ways, store, tiny_recipe, uncompiled):
    trainer = Trainer(store, tiny_recipe(train={"epochs": epochs, "compile": "never"}), device=CPU)
    trainer.recipe = tiny_recipe(train={"epochs": epochs, "compile": wanted})
    trainer._fast = trainer._faster(Replays(trainer))
    assert tuple(trainer.ways().values()) == ways
    for _ in range(8):
        trainer.take_step()
    assert tuple(trainer.ways().values()) == ways


def test_that_steps_are_compiled_is_said(store, tiny_recipe, tmp_path, uncompiled, capsys):
    fit(store, with_compile(tiny_recipe, {}, "always"), tmp_path / "run", device=CPU, max_steps=2)
    assert "the training step is compiled first" in capsys.readouterr().err


def test_a_compiled_training_goes_on_where_it_was_and_saves_the_bare_model(store, tiny_recipe, tmp_path, quick):
    from galvae.training.checkpoint import STATE, load_model, load_tensors

    def train(run, **options):
        return fit(store, with_compile(tiny_recipe, {}, "always"), tmp_path / run, device=CPU, quiet=True, **options)

    train("whole", max_steps=9)
    train("run", max_steps=4)
    train("run", resume=True, max_steps=9)
    a, b = (load_tensors(tmp_path / run / STATE)[0] for run in ("whole", "run"))
    assert a.keys() == b.keys()
    assert all(torch.equal(a[key], b[key]) for key in a)
    assert not any("_orig_mod" in key for key in a)
    load_model(tmp_path / "run")
    # How fast a step is is no part of what is trained.
    fit(store, tiny_recipe(), tmp_path / "run", device=CPU, quiet=True, resume=True, max_steps=10)


@pytest.mark.filterwarnings("ignore")  # torch's to itself
def test_compiled_kernels_draw_the_same_numbers():
    """Wrapping 64-bit integers, by kernels that are really made: seconds for these alone."""
    galaxy, seed = torch.tensor([0, 5, 2**40 + 7, 2**62]), 2**62

    def draw(step):
        return uniform("a", galaxy, 3, seed=seed, step=step), normal("b", galaxy, 2, seed=seed, step=step)

    engine.compiled()  # which says what of it is constant
    compiled = torch.compile(draw, dynamic=False, fullgraph=True)
    for step in (0, 1, 2**40):
        for wanted, found in zip(draw(step), compiled(torch.tensor(step)), strict=True):
            assert torch.allclose(wanted, found, rtol=0, atol=1e-6)


def broken_backend(graph, inputs):
    raise RuntimeError("no kernels\ntoday")


def spoilt(made):
    return made * 1.5 if isinstance(made, torch.Tensor) and made.is_floating_point() else made


def wrong_backend(graph, inputs):
    from functorch.compile import make_boxed_func
    from torch._dynamo.backends.common import aot_autograd

    def compiler(module, _):
        return make_boxed_func(lambda *args: [spoilt(made) for made in module(*args)])

    return aot_autograd(fw_compiler=compiler)(graph, inputs)


@pytest.mark.parametrize(
    ("backend", "says"), [(broken_backend, "no kernels today"), (wrong_backend, "its first step is .* from the plain")]
)
def test_what_does_not_compile_or_comes_out_wrong_is_said_and_training_goes_on(
    backend, says, store, tiny_recipe, monkeypatch, capfd
):
    monkeypatch.setattr(engine, "BACKEND", backend)
    torch._dynamo.reset()
    plain, fallen = (trained(store, with_compile(tiny_recipe, {}, how), 4) for how in ("never", "always"))
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 1
    assert re.search(
        rf"^warning: torch\.compile does not work here \(.*{says}.*\); training goes on without$", lines[0]
    )
    assert fallen._fast.given_up
    assert far(plain, fallen) == 0


class Replays:
    """In the place of CUDA graphs: runs what was recorded again, into the memory that it was recorded with."""

    def __init__(self, trainer):
        self.trainer, self.replayed = trainer, 0

    def aside(self, function):
        return function()

    def before_replay(self):
        pass

    def record(self, function):
        state = self.trainer._state
        before = [tensor.clone() for tensor in state()]
        outputs = function()
        gradients = [p.grad for p in self.trainer.vae.parameters()]
        self._put(state(), before)

        def replay():
            self.replayed += 1
            self.before_replay()
            self._put(outputs, function())
            new = [p.grad for p in self.trainer.vae.parameters()]
            assert [g is None for g in new] == [g is None for g in gradients]
            self._put([g for g in gradients if g is not None], [g for g in new if g is not None])

        return replay, outputs

    @torch.no_grad()
    def _put(self, tensors, values):
        for tensor, value in zip(tensors, values, strict=True):
            tensor.copy_(value)


class Stale(Replays):
    """The step is recorded as a number."""

    def record(self, function):
        self.number = int(self.trainer._now)
        return super().record(function)

    def before_replay(self):
        self.trainer._now.fill_(self.number)


class Unable(Replays):
    def record(self, function):
        raise RuntimeError("CUDA error: operation not permitted when stream is capturing\nat length")


class Full(Replays):
    """There is no room for a step beside what is recorded."""

    def aside(self, function):
        if len(self.trainer._fast._replays):
            raise torch.OutOfMemoryError("no room")
        return function()


STEPS = 24


@pytest.mark.parametrize("kind", RECIPES)
def test_a_recorded_training_is_the_plain_one(kind, store, tiny_recipe, uncompiled, capsys):
    plain = trained(store, with_compile(tiny_recipe, RECIPES[kind], "never"), STEPS)
    recorded = trained(store, with_compile(tiny_recipe, RECIPES[kind], "always"), STEPS, recorder=Replays)
    assert isinstance(recorded._fast, Recorded)
    assert recorded._whole is (kind != "muon")
    assert recorded.ways() == {"compiled": True, "recorded": True}
    assert capsys.readouterr().err == ""
    assert recorded._fast.recorder.replayed >= STEPS - 4 * WARM - 8
    # The learning rate has float32's digits where it is recorded, and Adam makes of rounding more.
    assert far(plain, recorded) < 1e-2
    assert torch.allclose(plain.sums, recorded.sums, rtol=1e-3)
    recorded.losses.check()


@pytest.mark.parametrize("kind", ["mlp", "muon"])
@pytest.mark.parametrize(
    ("recorder", "says"),
    [(Stale, "a replayed step is .* from the same step run"), (Unable, "not permitted"), (Full, "no room")],
)
def test_what_does_not_record_or_replays_something_else_is_said_and_training_goes_on(
    kind, recorder, says, store, tiny_recipe, uncompiled, capsys
):
    changes = {**RECIPES[kind], "train": {**RECIPES[kind]["train"], "freeze_content": 0}}
    plain = trained(store, with_compile(tiny_recipe, changes, "never"), 9)
    fallen = trained(store, with_compile(tiny_recipe, changes, "always"), 9, recorder=recorder)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert re.search(rf"^warning: steps cannot be recorded as CUDA graphs here \(.*{says}.*\); training goes", lines[0])
    assert fallen._fast.given_up
    assert far(plain, fallen) < 1e-3


class Watch(TorchDispatchMode):
    """Refuses what makes a host wait for a device, and what copies the host's numbers to one."""

    WAITS = ("_local_scalar_dense", "item", "nonzero", "is_nonzero", "equal", "masked_select", "_unique2", "lift_fresh")

    def __init__(self, device):
        super().__init__()
        self.device, self.seen = device, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.seen += 1
        name = func._overloadpacket.__name__
        assert name not in self.WAITS, f"{func} is waited for"
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        assert name not in ("index", "index_put", "index_put_") or all(t.dtype != torch.bool for t in tensors), func
        assert {t.device.type for t in tensors} <= {self.device.type}, f"{func} takes what is on the host"
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("kind", RECIPES)
def test_nothing_in_a_step_waits_for_the_device(kind, store, tiny_recipe, monkeypatch):
    """But the look at the losses, which is 64 steps apart on one."""
    trainer = trained(store, with_compile(tiny_recipe, RECIPES[kind], "never"), 1)
    monkeypatch.setattr(trainer.losses, "check", lambda: None)
    with Watch(CPU) as watch:
        for _ in range(trainer.steps_per_epoch):
            trainer.take_step()
    assert watch.seen > 100 * trainer.steps_per_epoch


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("crop", ["fixed", "random"])
@pytest.mark.parametrize("kind", RECIPES)
def test_nothing_in_a_step_comes_from_the_host(
    kind, crop, frozen, make_store, ellipses, tiny_recipe, tmp_path, monkeypatch
):
    """On a device that has shapes alone, and so can tell nobody a number."""
    meta = torch.device("meta")
    changes = {**RECIPES[kind], "ingest": {"crop": crop}}
    trainer = Trainer(
        make_store(tmp_path / "store", ellipses(40), ingest={"crop": crop}),
        with_compile(tiny_recipe, changes, "never"), device=CPU,
    )  # fmt: skip
    which, fields = (tensor.to(meta) for tensor in trainer.batches.at(0))
    monkeypatch.setattr(Mixed, "mixed", lambda *_: nullcontext())  # there is no autocast there
    trainer.vae.to(meta)
    trainer.training.index = trainer.training.index.to(meta)
    for name in ("_crop", "_sheet", "_now"):
        value = getattr(trainer, name)
        setattr(trainer, name, value if value is None else value.to(meta))
    with Watch(meta) as watch:
        said, elbo = trainer._gradients(
            which, fields, step=trainer._now, frozen=frozen, exchange=trainer.recipe.train.agree > 0
        )
    assert watch.seen > 100
    assert said.device == elbo.device == meta
    learned = [p.grad is not None for p in trainer.vae.generator.parameters()]
    assert any(learned)


def test_what_is_kept_of_a_step_leads_no_gradients_to_its_parameters():
    """Else they are gathered where the step ran that it was kept of."""
    parameter = torch.nn.Parameter(torch.ones(3))
    kept = engine._Result.of((parameter * 2,), [parameter], [parameter])
    assert not any(tensor.requires_grad for tensor in (*kept.outputs, *kept.state))


def test_a_held_step_is_compared_for_each_variant():
    parameter = torch.nn.Parameter(torch.ones(3))

    def step(x, *, twice):
        parameter.grad = x * (2 if twice else 1)
        return (x.sum(),)

    def wrong(x, *, twice):
        parameter.grad = x
        return (x.sum(),)

    held = Held(wrong, step, [parameter], tolerance=0.1, what="the test")
    assert held(torch.ones(3), twice=False)[0] == 3
    assert not held.given_up
    held(torch.ones(3), twice=True)
    assert held.given_up
    assert torch.equal(parameter.grad, torch.full((3,), 2.0))


@ON_GPU
@pytest.mark.parametrize("kind", RECIPES)
def test_a_gpu_records_every_variant_and_takes_the_plain_steps(kind, store, tiny_recipe, capsys):
    """In float32: of bfloat16's rounding, which the two ways do at other places, trainings make percents."""
    device = torch.device("cuda")
    exact = {**RECIPES[kind], "train": {**RECIPES[kind].get("train", {}), "precision": "float32"}}
    trainers = [Trainer(store, with_compile(tiny_recipe, exact, how), device=device) for how in ("never", "always")]
    for trainer in trainers:
        for _ in range(STEPS):
            trainer.take_step()
        trainer.losses.check()
    assert capsys.readouterr().err == ""
    plain, fast = trainers
    assert fast.ways() == {"compiled": True, "recorded": True}
    assert torch.allclose(plain.sums, fast.sums, rtol=1e-3)
    assert plain.validate() == pytest.approx(fast.validate(), rel=1e-3)


@ON_GPU
@pytest.mark.filterwarnings("ignore:Synchronization debug mode")  # a prototype, it says, and its first call would fail
def test_a_gpus_steps_are_not_waited_for(store, tiny_recipe):
    trainer = Trainer(store, tiny_recipe(), device=torch.device("cuda"))
    for _ in range(WARM + 4):
        trainer.take_step()
    trainer.losses.check()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(3):
            trainer.take_step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
