"""A training from beginning to end: epochs, the table of them, signals."""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from galvae.data.store import ImageStore
from galvae.progress import Progress, say
from galvae.recipe import Recipe
from galvae.training.losses import Diverged
from galvae.training.run import RunFolder
from galvae.training.team import ALONE, Lost, Team
from galvae.training.trainer import Trainer


def fit(
    store: ImageStore, recipe: Recipe, run: str | Path, *,
    device: torch.device, team: Team = ALONE, resume: bool = False, max_steps: int | None = None,
    room: int | None = None, quiet: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Train a model and write its run folder.

    Parameters
    ----------
    store
        The images.
    recipe
        Everything that is chosen.
    run
        The folder, made where it is not there. A run that is in it stays as it is until the first epochs of this one
        are saved.
    device
        Where to compute.
    team
        The processes that train it together; the one that leads writes the folder.
    resume
        Go on from the folder's checkpoint: on the CPU, on as many processes, the result equals that of an unbroken
        training, bit for bit.
    max_steps
        Stop after so many steps in all; the schedule stays that of the whole recipe.
    room
        Hold fields on the device if they take at most so many bytes, else read them in the background; None for half
        of the memory that is free there.
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
    Lost
        If another process has ended; the last state is kept.
    ValueError
        If `resume` finds that the run began with another store or another recipe.
    OSError
        If a part of the store cannot be read, or the run folder not be written.
    KeyboardInterrupt
        After SIGINT, or what else the process does at it or at SIGTERM, when the state is saved.
    """
    trainer = Trainer(store, recipe, device=device, team=team, room=room)
    quiet = quiet or not team.leads
    folder = RunFolder(Path(run), trainer)
    if resume:
        folder.load()
    folder.begin()
    if not trainer.training.held:
        say(f"{store.path}: {_how_read(trainer)}", quiet=quiet)
    last = trainer.steps if max_steps is None else min(max_steps, trainer.steps)
    if trainer.step < last and trainer.ways()["compiled"]:
        say("the training step is compiled first: about a minute, each time that training begins", quiet=quiet)
    say(_HEADER if trainer.step < last else f"{run}: {trainer.step} steps are done already", quiet=quiet)
    # A signal reaches several processes between different steps; on a device the question would make steps wait.
    ask_every = 1 if device.type == "cpu" or team.size == 1 else 64
    progress = Progress("train", last, quiet=quiet, done=trainer.step)
    with _signals(quiet=quiet) as received, progress, closing(trainer.batches):
        try:
            if not resume and not folder.replaces:
                folder.save()  # a kill before the first epoch's end can be resumed too
            stop = False
            while trainer.step < last and not stop:
                trainer.take_step()
                stop = trainer.step % ask_every == 0 and team.any(bool(received))
                epoch, rest = divmod(trainer.step, trainer.steps_per_epoch)
                if rest == 0:
                    progress.row(_row(folder.end_epoch()))
                    if epoch % trainer.recipe.train.save_every == 0:
                        trainer.losses.check()
                        folder.save()
                progress.advance()
            trainer.losses.check()
            stop = team.any(bool(received))
        except (Diverged, Lost):
            if device.type == "cpu" and trainer.is_finite() and not folder.replaces:
                folder.save()
            raise
        folder.save()
    if stop:
        for number in received[:1]:
            signal.raise_signal(number)
        raise KeyboardInterrupt  # where the process takes no notice of the signal, or another was told
    return folder.end()


@contextmanager
def _signals(*, quiet: bool) -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM, so that the step under way is finished; a second one is not waited for."""
    received: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        received.append(number)
        signal.signal(number, before[number])
        say("galvae: stopping after this step; the state will be saved", quiet=quiet)

    numbers = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        for number in before:
            signal.signal(number, note)
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _how_read(trainer: Trainer) -> str:
    data, pool = trainer.training, trainer.batches.pool
    size = f"{len(data)} galaxies ({len(data) * data.bytes_each / 1e9:.1f} GB)"
    if pool < len(data):
        return f"{size} are too many to be held on {trainer.device}: read while training, shuffled {pool} at a time"
    return (
        f"{size} are too many to be held on {trainer.device} now, but were not when the run began: each is read from "
        f"anywhere, as the order it began with says; that may be slow"
    )


_HEADER = " epoch     step  images/s |       elbo   held out |   log lik.    kl z  kl pose   (nats per image)"
_ROW = (
    "{epoch:>6} {step:>8} {images_per_second:>9.0f} | {elbo:>10.1f} {validation_elbo:>10.1f} | "
    "{validation_log_likelihood:>10.1f} {validation_kl_z:>7.1f} {validation_kl_pose:>8.1f}"
)


def _row(line: dict[str, Any]) -> str:
    return _ROW.format(**{name: math.nan if value is None else value for name, value in line.items()})
