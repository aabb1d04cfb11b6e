"""One experiment after the other: make its data, train what is not trained yet, measure, and keep every result."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from galvae.data.split import identifier_hashes
from galvae.data.store import ImageStore
from galvae.files import write_atomically
from galvae.inference.figures import Selection
from galvae.paper.data import Sources, stores
from galvae.paper.experiments import EXPERIMENTS, Job, Scale, jobs
from galvae.paper.measure import MEASURES, Measured
from galvae.progress import say
from galvae.stages import differing, read_json
from galvae.training.checkpoint import DESCRIPTION, STATE, load_model, load_tensors
from galvae.training.fit import fit
from galvae.training.run import trained_recipe

RESULT = "result.json"
# Images that a run is measured on, at most, of those it saw.
SEEN = 500


class OutOfTime(Exception):
    """The time that was given is over; what is done is kept."""


def run_experiment(
    name: str, output: Path, *, scale: Scale, sources: Sources, device: torch.device, minutes: float | None = None,
    quiet: bool = False,
) -> Iterator[dict[str, Any]]:  # fmt: skip
    """Do what is left of an experiment.

    Parameters
    ----------
    name
        Of the experiment.
    output
        Folder of all experiments and scales.
    scale
        ``quick`` or ``paper``.
    sources
        Real data, where it is at hand.
    device
        Where to compute.
    minutes
        Stop a training after so many minutes from now, to be gone on with.
    quiet
        No progress.

    Yields
    ------
    dict
        Of each training, its result as :data:`RESULT` in its run folder holds it.

    Raises
    ------
    OutOfTime
        When the minutes are over.
    """
    with _until(minutes) as over:
        for job in jobs(name, scale):
            if over.is_set():
                raise OutOfTime
            try:
                yield run_job(job, output, scale=scale, sources=sources, device=device, quiet=quiet)
            except KeyboardInterrupt:
                if over.is_set():
                    raise OutOfTime from None
                raise


def folder_of(job: Job, output: Path, scale: Scale) -> Path:
    """Where a training lies."""
    return output / scale / job.experiment / job.name


def run_job(
    job: Job, output: Path, *, scale: Scale, sources: Sources, device: torch.device, quiet: bool
) -> dict[str, Any]:
    """Train and measure, or read what was measured before of the same recipe and data."""
    train, test = stores(job, output / scale / "data", scale=scale, sources=sources, quiet=quiet)
    run = folder_of(job, output, scale)
    made_from = {"recipe": trained_recipe(job.recipe), "store": train.digest, "test": test.digest if test else None}
    before = read_json(run / RESULT)
    if before.get("made_from") == json.loads(json.dumps(made_from)):
        return before
    say(f"{job.experiment}: {job.name}", quiet=quiet)
    begun = (run / STATE).is_file()
    described = read_json(run / DESCRIPTION) or (load_tensors(run / STATE)[1] if begun else {})
    now = {"store": made_from["store"], **made_from["recipe"]}
    same = not differing({"store": described.get("store"), **described.get("recipe", {})}, now)
    if not (same and described.get("finished")):
        fit(train, job.recipe, run, device=device, resume=same and begun, quiet=True)
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    result = {
        **{key: getattr(job, key) for key in ("experiment", "data", "model", "latents", "seed")},
        "scale": scale, "steps": last["step"], "seconds": last["seconds"], "device": _named(device),
        "values": {}, "made_from": made_from,
    }  # fmt: skip
    start = time.monotonic()
    measured = measured_of(run, train, test, device=device)
    for measure in EXPERIMENTS[job.experiment].measures:
        for quantity, value in MEASURES[measure](measured).items():
            result["values"][quantity] = [float(value), value.error]
    result["measured_in"] = round(time.monotonic() - start, 1)
    write_atomically(run / RESULT, json.dumps(result, indent=1) + "\n")
    return result


def measured_of(run: Path, train: ImageStore, test: ImageStore | None, *, device: torch.device) -> Measured:
    """A run and what it is measured on: the test set, or where there is none what was held out of training."""
    vae, description = load_model(run, device=device)
    known = np.isin(identifier_hashes(train.column("id")), description["trained_on"])
    held_out = Selection(train, np.flatnonzero(~known)) if test is None else Selection(test, np.arange(len(test)))
    return Measured(vae, description, held_out, Selection(train, np.flatnonzero(known)[:SEEN]))


def results(output: Path, names: Sequence[str], scale: Scale) -> Iterator[tuple[Job, dict[str, Any]]]:
    """Every training of some experiments at a scale, with its result, empty where there is none yet."""
    for name in names:
        for job in jobs(name, scale):
            yield job, read_json(folder_of(job, output, scale) / RESULT)


@contextmanager
def _until(minutes: float | None) -> Iterator[threading.Event]:
    """An event that is set, and the training under way told to stop as by Ctrl-C, when so many minutes are over."""
    over = threading.Event()

    def stop() -> None:
        over.set()
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(60 * minutes, stop) if minutes else None
    if timer:
        timer.daemon = True
        timer.start()
    try:
        yield over
    finally:
        if timer:
            timer.cancel()


def _named(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{torch.get_num_threads()} CPU threads"
