"""``galvae train`` killed, interrupted and terminated: exit codes, what is said, and going on bit for bit."""

import json
import os
import random
import shlex
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors import SafetensorError

from galvae.cli.main import run as galvae
from galvae.data.store import ImageStore
from galvae.recipe import load_recipe
from galvae.training.checkpoint import STATE, load_tensors
from galvae.training.fit import fit

EPOCHS = 48


@pytest.fixture
def recipe(tiny_recipe, tmp_path):
    chosen = tiny_recipe(train={"epochs": EPOCHS, "save_every": 2})
    path = tmp_path / "recipe.toml"
    path.write_text(chosen.to_toml())
    return path


@pytest.fixture
def command(capsys):
    """A function: run a command in this process; its exit code, standard output and standard error."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def call(*words):
        with pytest.raises(SystemExit) as ended:
            galvae([str(word) for word in words])
        out, err = capsys.readouterr()
        return ended.value.code, out, err

    yield call
    for number, handler in before.items():
        signal.signal(number, handler)


def begin(words):
    """One thread, as the tests have: sums in another order are other sums."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "galvae", *map(str, words)], env=environment,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def stop(process, run, number, *, after):
    """Send a signal to a training some time after its next line of metrics."""
    metrics = run / "metrics.jsonl"
    deadline = time.monotonic() + 60
    begun = None
    while True:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        count = len(metrics.read_bytes().splitlines()) if metrics.is_file() else 0
        begun = count if begun is None else begun
        if count > begun:
            break
        time.sleep(0.01)
    time.sleep(after)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def test_killed_interrupted_terminated_and_resumed_is_unbroken(store, recipe, command, undrawn, tmp_path):
    run, whole = tmp_path / "run", tmp_path / "whole"
    words = ["train", store.path, "-o", run, "--recipe", recipe, "--device", "cpu"]
    delays = [random.SystemRandom().uniform(0, 0.1) for _ in range(3)]

    code, _, _ = stop(begin(words), run, signal.SIGKILL, after=delays[0])
    assert code == -signal.SIGKILL
    step = load_tensors(run / STATE)[1]["step"]
    for number, delay, wanted in ((signal.SIGINT, delays[1], 130), (signal.SIGTERM, delays[2], 143)):
        code, out, err = stop(begin([*words, "--resume"]), run, number, after=delay)
        assert (code, out) == (wanted, ""), err
        assert "Traceback" not in err
        assert load_tensors(run / STATE)[1]["step"] > step
        step = load_tensors(run / STATE)[1]["step"]
        assert err.splitlines()[-1].startswith("interrupted; what is done is kept. To go on: galvae train ")

    said = shlex.split(err.splitlines()[-1].partition("To go on: ")[2])
    code, out, err = command(*said[1:], "-q")
    assert (code, err) == (0, "")
    assert out.startswith(f"{run}: ")
    fit(ImageStore(store.path), load_recipe(recipe), whole, device=torch.device("cpu"), quiet=True)
    a, b = load_tensors(run / STATE), load_tensors(whole / STATE)
    assert a[0].keys() == b[0].keys()
    assert all(torch.equal(a[0][name], b[0][name]) for name in a[0]), f"killed after {delays} s"
    assert a[1]["step"] == b[1]["step"]
    clocks = ("seconds", "images_per_second", "resident_bytes")
    metrics = [
        [
            {k: v for k, v in json.loads(line).items() if k not in clocks}
            for line in (r / "metrics.jsonl").read_text().splitlines()
        ]
        for r in (run, whole)
    ]
    assert metrics[0] == metrics[1]
    assert len(metrics[0]) == EPOCHS + 1


def refused(found, *parts):
    """Exit code 2 and one clear line."""
    code, out, err = found
    assert code == 2
    assert out == ""
    assert err.startswith("galvae: error: ")
    assert err.count("\n") == 1
    for part in parts:
        assert part in err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_no_cuda(store, recipe, command, tmp_path):
    words = ["train", store.path, "-o", tmp_path / "run", "--recipe", recipe, "--device", "cuda", "-q"]
    refused(command(*words), "--device cuda", "use auto or cpu")
    assert not (tmp_path / "run").exists()


def test_train_prints_what_it_made_and_refuses_to_overwrite(store, recipe, command, request, tmp_path):
    run = tmp_path / "run"
    words = ["train", store.path, "-o", run, "--recipe", recipe, "--device", "cpu", "-q", "--max-steps", 3]
    code, out, err = command(*words)
    assert code == 0
    assert err.splitlines() == [f"warning: {run}: its training stopped at step 3; go on with galvae train --resume"]
    assert out.startswith(f"{run}: 3 steps")
    request.getfixturevalue("undrawn")  # only now: figures are what warns of an unfinished training
    refused(command(*words), f"{run}: already exists", "--overwrite")
    code, out, _ = command(*words, "--overwrite", "--json")
    assert code == 0
    assert json.loads(out)["step"] == 3
    code, out, _ = command("train", store.path, "-o", run, "-q", "--device", "cpu", "--resume", "--max-steps", 5)
    assert code == 0
    assert out.startswith(f"{run}: 5 steps")


def test_resume_refuses_in_one_line(store, recipe, command, undrawn, tmp_path):
    run = tmp_path / "run"
    words = ["train", store.path, "-o", run, "--device", "cpu", "-q", "--resume"]
    refused(command(*words, "--recipe", recipe), "nothing to resume")
    assert not run.exists()
    command(*words[:-1], "--recipe", recipe, "--max-steps", 2)
    refused(command(*words, "--set", "train.seed=9"), "begun with train.seed = 0, not 9")


def test_a_diverging_training_ends_with_2_and_names_step_and_galaxies(store, recipe, command, tmp_path):
    run = tmp_path / "run"
    found = command(
        "train", store.path, "-o", run, "--recipe", recipe, "--device", "cpu", "-q", "--set", "train.learning_rate=1e30"
    )
    refused(found, "not finite at step 1 for ", " galaxies (10", "lower train.learning_rate")
    tensors, progress = load_tensors(run / STATE)
    assert progress["step"] == 1
    assert all(torch.isfinite(tensor).all() for tensor in tensors.values())


def test_a_disk_that_is_full_is_one_line(store, recipe, command, tmp_path, monkeypatch):
    def full(tensors, path, metadata):
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("galvae.training.checkpoint.save_file", full)
    found = command("train", store.path, "-o", tmp_path / "run", "--recipe", recipe, "--device", "cpu", "-q")
    refused(found, f"{STATE}: cannot be written: I/O error: No space left")


def test_what_is_no_store(recipe, command, tmp_path):
    refused(command("train", tmp_path, "-o", tmp_path / "run", "--recipe", recipe), "no image store here")
    assert not (tmp_path / "run").exists()
