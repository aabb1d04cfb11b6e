"""All that one GPU is asked for, in one go of less than nine minutes.

    python benchmarks/gpu.py [--store STORE] [--original CHECKOUT] [--minutes 8.5] [-o benchmarks/results/gpu.json]

Each part prints a line of JSON when it is done; one that fails, or for which no time is left, is said and left out, and
the exit code is then 1. STORE is one of Galaxy Zoo cutouts with random crops: its galaxies are taken again and again,
until they are 61,578, and held on the device. Without one the images are noise. The paper's run is `paper/galaxy-zoo`
with bfloat16 inside, random windows as the store has them, and z free from the first step on; every pixel.

``steps`` holds compiled and recorded steps against plain ones on this device, and has what they cost before the first
replay. ``paper`` is that recipe for two minutes: images a second, what the steps of its 300 epochs would take,
extrapolated, and with a validation after each, and its ELBO of galaxies held out, asked for in between, off the
clock. ``original`` is the original code with the same networks on this device (benchmarks/original.py), ``sooner``
when the recipe `galaxy-zoo` is first past the ELBO with which the paper's recipe ended: the same galaxies, windows
and pixels, each with its own priors. ``roofline`` is what the paper's step could reach, ``streaming`` steps on fields
that are read over those on fields held, ``choices`` other ways to take the paper's step.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bench import HERE, machine
from roofline import noise_store, waiting

from galvae.data.dataset import Fields
from galvae.data.store import ImageStore
from galvae.device import choose_device
from galvae.files import write_atomically
from galvae.recipe import Recipe, load_recipe
from galvae.training import engine
from galvae.training.engine import WARM
from galvae.training.trainer import Trainer

GALAXIES, HELD_OUT = 61578, 6158
TINY = ["model.latents=4", "model.generator_units=24", "ingest.window=16", "ingest.field=96", "train.batch=16"]
SMALL = {
    "paper/galaxy-zoo": ["model.encoder_units=32"],
    "galaxy-zoo": ["train.pixels=64", "model.waves=4", "train.batch=4"],
}


class Over(BaseException):
    """Time is: no failure that a compiler's caller might take for its own."""


class Repeated(ImageStore):
    """A store's galaxies again and again, under the same identifiers, from memory: each is decoded once."""

    def __init__(self, path: Path, galaxies: int) -> None:
        self._source = ImageStore(path)
        self.once = len(self._source)
        self._count = max(galaxies, self.once)
        self._fields = self._source.images(np.arange(self.once))
        super().__init__(path)

    def __len__(self) -> int:
        return self._count

    def column(self, name: str, rows: slice = slice(None)) -> np.ndarray:
        return self._source.column(name)[np.arange(len(self))[rows] % self.once]

    def images(self, rows: Any) -> np.ndarray:
        return self._fields[np.arange(len(self))[rows] % self.once]


class Bench:
    """What the parts share: the store, the device, how long each may take, and what the others found."""

    def __init__(
        self, store: Repeated, source: Path, device: torch.device, original: Path | None, *, quick: bool
    ) -> None:
        self.store, self.source, self.device, self.original, self.quick = store, source, device, original, quick
        self.wait = waiting(device)
        self.found: dict[str, Any] = {}
        self.kept: Trainer | None = None

    def recipe(self, name: str, *changes: str) -> Recipe:
        tiny = [*TINY, *SMALL[name]] if self.quick else []
        recipe = load_recipe(name, [*tiny, "train.freeze_content=0", "train.precision=bfloat16", *changes])
        made = {key: self.store.ingest[key] for key in ("crop", "field", "oversample") if key in self.store.ingest}
        return recipe.model_copy(update={"ingest": recipe.ingest.model_copy(update=made)})

    def trainer(self, name: str, *changes: str) -> Trainer:
        """A model on all galaxies; those held out are measured once each."""
        trainer = Trainer(self.store, self.recipe(name, *changes), device=self.device)
        rows = trainer.validation.rows
        trainer.validation = Fields(self.store, rows[rows < self.store.once], device=self.device)
        return trainer

    def seconds(self, trainer: Trainer, steps: int) -> float:
        self.wait()
        start = time.perf_counter()
        for _ in range(steps):
            trainer.take_step()
        self.wait()
        return time.perf_counter() - start

    def stretch(self, trainer: Trainer, least: float) -> tuple[int, float]:
        """Steps, and the seconds that they took: at least so many."""
        steps, taken, some = 0, 0.0, 1 if self.quick else 16
        while taken < least:
            now = self.seconds(trainer, some)
            steps, taken = steps + some, taken + now
            some = max(1, min(2 * some, int(some * (least - taken) / now) + 1))
        return steps, taken

    def warm(self, trainer: Trainer) -> float:
        """Seconds until each variant of the step has been replayed."""
        return self.seconds(trainer, (2 if trainer.recipe.train.agree else 1) * (WARM + 2))

    def rate(self, trainer: Trainer, least: float) -> float:
        steps, seconds = self.stretch(trainer, least)
        return steps * trainer.batch / seconds

    def let_go(self) -> None:
        self.kept = None
        gc.collect()
        torch._dynamo.reset()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()


def far(one: Trainer, other: Trainer, start: list[torch.Tensor]) -> float:
    """How far apart two trainings are over how far one has come."""
    pairs = list(zip(one.vae.parameters(), other.vae.parameters(), start, strict=True))
    apart = sum(float((a - b).detach().square().sum()) for a, b, _ in pairs)
    return (apart / sum(float((a.detach() - c).square().sum()) for a, _, c in pairs)) ** 0.5


def steps(bench: Bench) -> dict[str, Any]:
    """The same steps compiled and recorded, plainly, and plainly in float32; the first goes on as the paper's run."""
    compile = "always" if bench.quick else "auto"
    fast = bench.trainer("paper/galaxy-zoo", f"train.compile={compile}")
    start = [p.detach().clone() for p in fast.vae.parameters()]
    warm = bench.warm(fast)
    found = {"warm_up_seconds": warm, "warm_up_steps": fast.step, "elbo": {"fast": fast.means()["elbo"]}}
    for name, precision in (("plain", "bfloat16"), ("plain, float32", "float32")):
        plain = bench.trainer("paper/galaxy-zoo", "train.compile=never", f"train.precision={precision}")
        bench.seconds(plain, fast.step)
        found["elbo"][name] = plain.means()["elbo"]
        found[f"apart_from {name}"] = far(fast, plain, start)
        if precision == "bfloat16":
            found["plain_images_per_second"] = bench.rate(plain, 0.1 if bench.quick else 5)
        del plain
        gc.collect()
    bench.kept = fast
    return {**fast.ways(), "generator_units": fast.vae.units or fast.recipe.model.generator_units, **found}


def paper(bench: Bench, *, least: float) -> dict[str, Any]:
    trainer = bench.kept or bench.trainer("paper/galaxy-zoo")
    bench.warm(trainer)
    if bench.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    taken, seconds, curve = 0, 0.0, []
    while seconds < least:
        more, spent = bench.stretch(trainer, least / 8)
        taken, seconds = taken + more, seconds + spent
        elbo = trainer.validate()["elbo"]
        curve.append({"seconds": seconds, "images": taken * trainer.batch, "validation_elbo": elbo})
    start = time.perf_counter()
    trainer.validate(precision=trainer.precision)  # as after an epoch
    asked = time.perf_counter() - start
    trainer.losses.check()
    epochs = trainer.recipe.train.epochs
    whole = epochs * ((GALAXIES - HELD_OUT) // trainer.batch)
    each, validating = seconds / taken, asked / len(trainer.validation)
    return {
        **trainer.ways(), "images_per_second": trainer.batch / each, "milliseconds_per_step": each * 1e3,
        "steady_seconds": seconds, "steps": taken, "run_steps": whole, "run_minutes_extrapolated": whole * each / 60,
        "run_minutes_with_validation": (whole * each + epochs * HELD_OUT * validating) / 60,
        "compiled_over_plain": trainer.batch / each / bench.found["steps"]["plain_images_per_second"],
        "validation_seconds_per_galaxy": validating, "curve": curve,
        "peak_GB": torch.cuda.max_memory_allocated() / 1e9 if bench.device.type == "cuda" else None,
    }  # fmt: skip


def original(bench: Bench) -> dict[str, Any]:
    if bench.original is None:
        raise ValueError("no --original: a checkout of the original spatial-VAE")
    bench.let_go()
    with tempfile.TemporaryDirectory() as folder:
        count = 1 if bench.quick else 40
        [said] = script(
            "original", bench.original, bench.source, "-o", folder, "--recipe", "galaxy-zoo", "--rate-only", count
        )
    ours = bench.found["paper"]["images_per_second"]
    return {**said, "ratio": ours / said["images_per_second"]}


def sooner(bench: Bench) -> dict[str, Any]:
    """Seconds of training without those of compiling, the warm-up's steps counted as any others."""
    bench.let_go()
    last = bench.found["paper"]["curve"][-1]
    trainer = bench.trainer("galaxy-zoo")
    warm = bench.warm(trainer)
    taken, seconds, curve, past, cut_off = 0, 0.0, [], False, False
    try:
        while not past and not (bench.quick and curve) and (not curve or curve[-1]["seconds"] < last["seconds"]):
            more, spent = bench.stretch(trainer, 0.2 if bench.quick else 1)
            taken, seconds = taken + more, seconds + spent
            so_far = trainer.step * seconds / taken
            elbo = trainer.validate()["elbo"]
            curve.append({"seconds": so_far, "images": trainer.step * trainer.batch, "elbo": elbo})
            past = elbo >= last["validation_elbo"]
    except Over:  # what was found by then is worth telling
        if not curve:
            raise
        cut_off = True
    return {
        **trainer.ways(), "wanted_elbo": last["validation_elbo"], "paper_seconds": last["seconds"], "past": past,
        "cut_off": cut_off, "warm_up_seconds": warm, "images_per_second": taken * trainer.batch / seconds,
        "share_of_papers_seconds": curve[-1]["seconds"] / last["seconds"] if past else None, "curve": curve,
    }  # fmt: skip


def choices(bench: Bench) -> Iterator[dict[str, Any]]:
    """Other ways to take the paper's step, each compiled anew."""
    bench.let_go()
    now = {"generator_units": bench.found["steps"]["generator_units"], "chunk": "auto"}
    units = bench.recipe("paper/galaxy-zoo").model.generator_units
    other = units if now["generator_units"] != units else -(-units // 64) * 64
    changes: list[dict[str, Any]] = [{"generator_units": other}, {"chunk": 2**14}, {"chunk": 2**16}]
    for change in changes[:1] if bench.quick else changes:
        chosen = {**now, **change}
        trainer = bench.trainer("paper/galaxy-zoo", f"train.chunk={chosen['chunk']}")
        trainer.vae.units = None if chosen["generator_units"] == units else chosen["generator_units"]
        warm = bench.warm(trainer)
        yield {
            **chosen,
            "chunk": trainer.chunk,
            "images_per_second": bench.rate(trainer, 0.1 if bench.quick else 3),
            "warm_up_seconds": warm,
        }
        del trainer
        bench.let_go()


def roofline(bench: Bench) -> dict[str, Any]:
    bench.let_go()
    words = [f"train.{word}" for word in ("compile=never", "precision=bfloat16")]
    words += [*TINY, *SMALL["paper/galaxy-zoo"]] if bench.quick else []
    sets = [word for change in words for word in ("--set", change)]
    [said] = script("roofline", "--recipe", "paper/galaxy-zoo", *sets, "--steps", 1 if bench.quick else 5,
                    "--device", bench.device)  # fmt: skip
    limit = said["parts"]["whole step"]["limit"]
    taken = bench.found["paper"]["milliseconds_per_step"] / 1e3
    return {**said, "limit_milliseconds": limit * 1e3, "compiled_step_reaches": limit / taken}


def streaming(bench: Bench) -> dict[str, Any]:
    bench.let_go()
    words = [*TINY, *SMALL["galaxy-zoo"]] if bench.quick else []
    sets = [word for change in words for word in ("--set", change)]
    few = ["--steps", 1, "--rounds", 1] if bench.quick else ["--steps", 60, "--rounds", 4]
    [said] = script("streaming", bench.source, "--recipe", "galaxy-zoo", *sets, *few, "--device", bench.device)
    return said


def script(name: str, *words: object) -> list[Any]:
    """What another benchmark prints as JSON; it ends when this does."""
    command = [sys.executable, HERE / f"{name}.py", *map(str, words)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            out, _ = process.communicate()
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        raise ValueError(f"benchmarks/{name}.py ended with {process.returncode}")
    return [json.loads(line) for line in out.splitlines() if line.startswith("{")]


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raise Over after so long, as soon as Python is asked."""

    def over(*_: Any) -> None:
        raise Over(f"not done in {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.01))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def main() -> None:
    begin = time.monotonic()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path)
    parser.add_argument("--original", type=Path, help="checkout of the original spatial-VAE")
    parser.add_argument("--minutes", type=float, default=8.5, help="it ends by then, come what may")
    parser.add_argument("--device", default="auto")
    parser.add_argument("-o", "--output", type=Path, default=HERE / "results" / "gpu.json")
    parser.add_argument("--quick", action="store_true", help="tiny: does everything run?")
    chosen = parser.parse_args()
    device = choose_device(chosen.device)
    found: dict[str, Any] = {"machine": machine(), "device": str(device), "quick": chosen.quick}
    failed: list[str] = []

    def tell(name: str, said: Any) -> None:
        found[name] = said
        print(json.dumps({"part": name, "found": said}), flush=True)
        write_atomically(chosen.output, json.dumps(found, indent=1) + "\n")

    def left() -> float:
        return chosen.minutes * 60 - (time.monotonic() - begin)

    # A call into a library that does not come back is not interrupted: then the process ends as it is.
    last = threading.Timer(left() + 15, os._exit, (1,))
    last.daemon = True
    last.start()
    with tempfile.TemporaryDirectory() as scratch:
        source = (
            chosen.store
            or noise_store(
                Path(scratch), galaxies=150 if chosen.quick else 2000, field=96 if chosen.quick else 128, crop="random"
            ).path
        )
        store = Repeated(source, 200 if chosen.quick else GALAXIES)
        bench = Bench(store, source, device, chosen.original, quick=chosen.quick)
        if chosen.quick:
            engine.BACKEND = "aot_eager"
        tell(
            "begun",
            {"images": str(chosen.store or "noise"), "galaxies": len(store), "seconds": time.monotonic() - begin},
        )
        parts: dict[str, tuple[Callable[[Bench], Any], float]] = {
            "steps": (steps, 150),
            "paper": (lambda bench: paper(bench, least=0.2 if chosen.quick else 122), 160),
            "original": (original, 75),
            "sooner": (sooner, 150),
            "roofline": (roofline, 50),
            "streaming": (streaming, 75),
            "choices": (choices, 100),
        }
        for name, (part, most) in parts.items():
            bench.found = found
            try:
                if left() < 1:
                    raise Over("no time is left")
                with within(min(most, left())):
                    if part is choices:
                        for said in part(bench):
                            tell(name, [*found.get(name, []), said])
                    else:
                        tell(name, part(bench))
            except (Exception, Over) as error:  # the others may still tell something
                failed.append(name)
                bench.kept = None
                tell("failed", {**found.get("failed", {}), name: f"{type(error).__name__}: {error}"})
    last.cancel()
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
