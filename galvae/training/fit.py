"""A training from beginning to end: epochs, metrics, signals, files."""

from __future__ import annotations

import json
import math
import resource
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from galvae.data.store import ImageStore, write_atomically
from galvae.progress import Progress, say
from galvae.recipe import Recipe
from galvae.training.checkpoint import load_state, save_model, save_state
from galvae.training.trainer import Diverged, Trainer
from galvae.version import version

METRICS = "metrics.jsonl"


def trained_recipe(recipe: Recipe) -> dict[str, Any]:
    """What of a recipe a training depends on, as the run folder records it."""
    return recipe.model_dump(mode="json", include={"ingest", "model", "train"})


def fit(
    store: ImageStore, recipe: Recipe, run: str | Path, *,
    device: torch.device, resume: bool = False, max_steps: int | None = None, quiet: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Train a model and write its run folder.

    Parameters
    ----------
    store
        The images.
    recipe
        Everything that is chosen.
    run
        The folder, made where it is not there.
    device
        Where to compute.
    resume
        Go on from the folder's checkpoint: on the CPU the result equals that of an unbroken training, bit for bit.
    max_steps
        Stop after so many steps in all; the schedule stays that of the whole recipe.
    quiet
        No progress.

    Returns
    -------
    dict
        The last line of the metrics.

    Raises
    ------
    Diverged
        If the loss is not finite; the last good state is kept.
    ValueError
        If `resume` finds that the run began with another store or another recipe.
    KeyboardInterrupt
        After SIGINT, or what else the process does at it or at SIGTERM, when the state is saved.
    """
    run = Path(run)
    trainer = Trainer(store, recipe, device=device)
    last = trainer.steps if max_steps is None else min(max_steps, trainer.steps)
    seconds, lines = 0.0, []
    recipe = trainer.recipe
    settings = trained_recipe(recipe)
    if resume:
        state = load_state(run, trainer.vae, trainer.optimizer)
        if state["store"] != store.digest:
            raise ValueError(
                f"{run}: was trained on another store than {store.path}; resume with the one it began with"
            )
        _refuse_changes(run, state["recipe"], settings)
        trainer.step, seconds, lines = state["step"], state["seconds"], state["metrics"]
        trainer.sums += torch.tensor(state["sums"], dtype=torch.float64, device=device)
    run.mkdir(parents=True, exist_ok=True)
    write_atomically(run / "recipe.toml", recipe.to_toml())
    _write_metrics(run, lines)
    description = {
        "galvae": version(),
        "recipe": settings,
        "store": store.digest,
    }

    def save() -> None:
        if not trainer.is_finite():
            raise Diverged(f"a parameter is not finite before step {trainer.step}; lower train.learning_rate")
        state = {
            "step": trainer.step, "seconds": seconds + time.monotonic() - start, "sums": trainer.sums.tolist(),
            "store": store.digest, "recipe": settings, "metrics": lines,
        }  # fmt: skip
        save_state(run, trainer.vae, trainer.optimizer, state)
        describe(finished=False)

    def describe(*, finished: bool) -> None:
        date = datetime.now(UTC).isoformat(timespec="seconds")
        told = {**description, "steps": trainer.step, "finished": finished, "date": date}
        save_model(run, trainer.vae, told, trained_on=trainer.trained_on)

    def measure(*, pixels: int) -> dict[str, Any]:
        spent = seconds + time.monotonic() - start
        line = {
            "epoch": -(-trainer.step // trainer.steps_per_epoch), "step": trainer.step, "seconds": round(spent, 3),
            "images_per_second": round((trainer.step - first) * trainer.batch / (time.monotonic() - start), 1),
            **_json_numbers(trainer.means(), ""),
            **_json_numbers(trainer.validate(pixels=pixels), "validation_"),
            "pixels": pixels or trainer.window**2,
            **_memory(device),
        }  # fmt: skip
        with (run / METRICS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        return line

    say(_HEADER, quiet=quiet)
    start, first = time.monotonic(), trainer.step
    with _signals() as received, Progress("train", last, quiet=quiet, done=trainer.step) as progress:
        try:
            if not resume:
                save()  # a kill before the first epoch's end can be resumed too
            while trainer.step < last and not received:
                trainer.take_step()
                if trainer.step % trainer.steps_per_epoch == 0:
                    line = measure(pixels=recipe.train.pixels)
                    lines.append(line)
                    progress.row(_row(line))
                    if trainer.step // trainer.steps_per_epoch % recipe.train.save_every == 0:
                        trainer.check()
                        save()
                progress.advance()
            trainer.check()
        except Diverged:
            if device.type == "cpu" and trainer.is_finite():
                save()
            raise
        save()
    if received:
        signal.raise_signal(received[0])
        raise KeyboardInterrupt  # where the process takes no notice of the signal
    line = measure(pixels=0)
    describe(finished=trainer.step == trainer.steps)  # last: what is finished has its last line
    return line


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM, so that the step under way is finished; a second one is not waited for."""
    received: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        received.append(number)
        signal.signal(number, before[number])
        say("galvae: stopping after this step; the state will be saved")

    numbers = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        for number in before:
            signal.signal(number, note)
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _refuse_changes(run: Path, *recipes: dict[str, dict[str, Any]]) -> None:
    before, now = (
        {f"{name}.{key}": value for name, table in recipe.items() for key, value in table.items()} for recipe in recipes
    )
    for key in before | now:
        if before.get(key) != now.get(key):
            raise ValueError(
                f"{run}: was begun with {key} = {before.get(key)}, not {now.get(key)}; resume without --recipe and "
                f"--set, or begin again with --overwrite"
            )


def _write_metrics(run: Path, lines: list[dict[str, Any]]) -> None:
    write_atomically(run / METRICS, "".join(json.dumps(line) + "\n" for line in lines))


_HEADER = (
    f"{'epoch':>6} {'step':>8} {'images/s':>9} | {'elbo':>10} {'held out':>10} | "
    f"{'log lik.':>10} {'kl z':>7} {'kl pose':>8}"
    "   (nats per image)"
)


def _row(line: dict[str, Any]) -> str:
    shown = {name: f"{math.nan if value is None else value:.1f}" for name, value in line.items()}
    return (
        f"{line['epoch']:>6} {line['step']:>8} {line['images_per_second']:>9.0f} | {shown['elbo']:>10} "
        f"{shown['validation_elbo']:>10} | {shown['validation_log_likelihood']:>10} {shown['validation_kl_z']:>7} "
        f"{shown['validation_kl_pose']:>8}"
    )


def _json_numbers(values: dict[str, float], prefix: str) -> dict[str, float | None]:
    """JSON has no NaN and no infinity."""
    return {prefix + name: value if math.isfinite(value) else None for name, value in values.items()}


def _memory(device: torch.device) -> dict[str, int]:
    unit = 1 if sys.platform == "darwin" else 1024
    return {
        "resident_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit,
        "device_bytes": torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0,
    }
