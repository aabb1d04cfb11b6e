"""One experiment after the other: make its data, train what is not trained yet, measure, and keep every result."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock, Timeout

from galvae.data.split import identifier_hashes
from galvae.data.store import ImageStore
from galvae.description import METRICS
from galvae.files import write_atomically
from galvae.inference.figures import Selection
from galvae.paper.data import Sources, check_sources, stores
from galvae.paper.experiments import EXPERIMENTS, Job, Scale, jobs
from galvae.paper.measure import MEASURES, Measured
from galvae.paper.results import FOUND, RESULT, as_table, folder_of, write
from galvae.progress import say
from galvae.stages import differing, read_json
from galvae.training.checkpoint import DESCRIPTION, STATE, load_model, load_tensors
from galvae.training.fit import fit
from galvae.training.run import trained_recipe

# Images that a run is measured on, at most, of those it saw; no more than of the others.
SEEN = 500
# Another number wherever something is measured otherwise: what was measured before is then measured again.
MEASURED = 3


def run_paper(
    wanted: Mapping[str, Sequence[Job]], output: Path, *, scale: Scale, sources: Sources, device: torch.device,
    minutes: float | None = None, overwrite: bool = False, quiet: bool = False,
) -> bool:  # fmt: skip
    """Do what is left of some experiments, and write the table and the figures.

    Several processes may do so at once, each on a device of its own: none takes a run that another has at hand, and
    all wait for the last one.

    Parameters
    ----------
    wanted
        The trainings, by experiment (:func:`galvae.paper.experiments.select_jobs`).
    output
        Folder of all experiments and scales.
    scale
        ``quick`` or ``paper``.
    sources
        Real data, where it is at hand.
    device
        Where to compute.
    minutes
        Stop after about so many, in the middle of a training, to be gone on with.
    overwrite
        Do all of these trainings again; of whole experiments the data, too.
    quiet
        No progress.

    Returns
    -------
    bool
        Whether all is done.

    Raises
    ------
    FileExistsError
        If something was made with other data or another recipe than is wanted, or another process has at hand what is
        to be done again.
    ValueError, OSError
        If data are not at hand; before any work.
    """
    from galvae.paper.figures import draw

    for name in wanted:
        check_sources(name, sources)
    if overwrite:
        _discard(wanted, output, scale)
    output.mkdir(parents=True, exist_ok=True)
    write(output, as_table(output))
    with _until(minutes) as over:
        try:
            todo = [job for some in wanted.values() for job in some]
            for wait in (False, True):
                skipped = []
                for job in todo:
                    if over.is_set():
                        return False
                    options = {"scale": scale, "sources": sources, "device": device, "quiet": quiet}
                    with locked(output / scale, job.name, wait=wait) as mine:
                        if not mine:
                            skipped.append(job)
                        elif run_job(job, output, over=over, **options):
                            write(output, as_table(output))
                todo = skipped
            write(output, as_table(output))
            for name in wanted:
                if _figures_are_older(name, output, scale):
                    draw(name, output, scale=scale, sources=sources, device=device)
        except KeyboardInterrupt:
            if not over.is_set():
                raise
            return False
    return True


def _discard(wanted: Mapping[str, Sequence[Job]], output: Path, scale: Scale) -> None:
    """Remove trainings, all or none, and what they were made of where those are all of an experiment."""
    every = [job for some in wanted.values() for job in some]
    with ExitStack() as locks:
        for job in every:
            if not locks.enter_context(locked(output / scale, job.name, wait=False)):
                raise FileExistsError(f"{output}: another process is at {job.name}; wait for it, or stop it first")
        for job in every:
            shutil.rmtree(folder_of(job, output, scale), ignore_errors=True)
        for name, some in wanted.items():
            if len(some) == len(list(jobs(name, scale))):
                for kind in EXPERIMENTS[name].data:
                    shutil.rmtree(output / scale / "data" / kind, ignore_errors=True)
                for figure in (output / "figures").glob(f"{scale}-{name}-*.png"):
                    figure.unlink(missing_ok=True)


def _figures_are_older(name: str, output: Path, scale: Scale) -> bool:
    """Whether a figure of an experiment is not there, or is of before its last result."""
    drawn = [path.stat().st_mtime_ns for path in (output / "figures").glob(f"{scale}-{name}-*.png")]
    found = [path.stat().st_mtime_ns for path in (output / scale / name).glob(f"*/{RESULT}")]
    return bool(found) and (not drawn or min(drawn) < max(found))


def run_job(
    job: Job, output: Path, *, scale: Scale, sources: Sources, device: torch.device, quiet: bool,
    over: threading.Event,
) -> bool:  # fmt: skip
    """Train and measure, if that is not done yet; whether there was anything to do."""
    with locked(output / scale, f"data of {job.data}", wait=True):
        train, test, source = stores(job, output / scale / "data", scale=scale, sources=sources, quiet=quiet)
    if over.is_set():
        raise KeyboardInterrupt
    run = folder_of(job, output, scale)
    made_from = {
        "recipe": trained_recipe(job.recipe), "store": train.digest, "test": test.digest if test else None,
        "measured": MEASURED,
    }  # fmt: skip
    before = read_json(run / RESULT) if (run / FOUND).is_file() else {}
    if before.get("made_from") == json.loads(json.dumps(made_from)):
        return False
    say(f"{job.experiment}: {job.name}", quiet=quiet)
    begun = (run / STATE).is_file()
    described = read_json(run / DESCRIPTION) or (load_tensors(run / STATE)[1] if begun else {})
    now = {"store": made_from["store"], **made_from["recipe"]}
    changed = differing({"store": described.get("store"), **described.get("recipe", {})}, now) if described else []
    if changed:
        raise FileExistsError(
            f"{run}: was trained with other {', '.join(changed)}; choose another output, or add --overwrite to begin "
            f"the experiment again"
        )
    for path in (run / RESULT, run / FOUND):
        path.unlink(missing_ok=True)
    if not described.get("finished"):
        fit(train, job.recipe, run, device=device, resume=begun, quiet=quiet)
    last = json.loads((run / METRICS).read_text().splitlines()[-1])
    result = {
        **{key: getattr(job, key) for key in ("experiment", "data", "model", "latents", "seed")},
        "source": source, "scale": scale, "steps": last["step"], "seconds": last["seconds"],
        "device": f"{_named(device)}, {read_json(run / DESCRIPTION)['precision']}",
        "values": {}, "made_from": made_from,
    }  # fmt: skip
    start = time.monotonic()
    measured = measured_of(run, train, test, device=device)
    for measure in EXPERIMENTS[job.experiment].measures:
        for quantity, value in MEASURES[measure](measured).items():
            result["values"][quantity] = [*map(float, value)]
    result["measured_in"] = round(time.monotonic() - start, 1)
    write_atomically(run / RESULT, json.dumps(result, indent=1) + "\n")
    return True


def measured_of(run: Path, train: ImageStore, test: ImageStore | None, *, device: torch.device) -> Measured:
    """A run and what it is measured on: the test set, or where there is none what was held out of training."""
    vae, description = load_model(run, device=device)
    known = np.isin(identifier_hashes(train.column("id")), description["trained_on"])
    held_out = Selection(train, np.flatnonzero(~known)) if test is None else Selection(test, np.arange(len(test)))
    seen = np.flatnonzero(known)[: min(SEEN, len(held_out.rows))]
    return Measured(vae, description, held_out, Selection(train, seen), run / FOUND)


@contextmanager
def locked(folder: Path, name: str, *, wait: bool) -> Iterator[bool]:
    """Whether no other process is in a block of this name; with `wait`, when none is any more.

    Who dies is no longer in it. The lock lies in a folder of its own, so that it outlives what it is of.
    """
    (folder / "locks").mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / "locks" / name, timeout=-1 if wait else 0)
    try:
        lock.acquire()
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


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
    threads = torch.get_num_threads()
    return f"{threads} CPU thread{'s' if threads > 1 else ''}"
