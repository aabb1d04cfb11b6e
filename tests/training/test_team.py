"""Several processes train one model as one would, whoever goes on; one that dies ends all, and what is done stays."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest
import torch

from galvae.training.checkpoint import STATE, load_tensors
from galvae.training.fit import fit
from galvae.training.team import Team
from galvae.training.trainer import Trainer

POLAR = {"model": {"encoder": "polar", "content_prior": "fitted", "scale": "inferred"}}
RECIPES = {
    "mlp": {"train": {"epochs": 3}},
    "polar": {
        **POLAR,
        "train": {"epochs": 2, "mirror": True, "agree": 1.0, "noise": 0.02, "unbiased": False, "optimizer": "muon"},
    },
}


def torchrun(processes, *words, **options):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes),
        "-m", "galvae", *map(str, words),
    ]  # fmt: skip
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


def finish(process, *, within=120):
    out, err = process.communicate(timeout=within)
    return process.returncode, out, err


@pytest.fixture
def written(tiny_recipe, tmp_path):
    """A function: a recipe's file."""

    def write(**changes):
        path = tmp_path / "recipe.toml"
        path.write_text(tiny_recipe(**changes).to_toml())
        return path

    return write


def apart(run, other, begun):
    """How far two trainings' parameters are apart over how far one has come."""
    a, b, c = (torch.cat([t.double().flatten() for name, t in sorted(load_tensors(folder / STATE)[0].items())
                          if name.startswith("model.")]) for folder in (run, other, begun))  # fmt: skip
    return float((a - b).norm() / (a - c).norm())


@pytest.mark.parametrize("kind", RECIPES)
def test_two_processes_are_one_and_may_change_places(kind, store, tiny_recipe, written, tmp_path):
    """Batches of 7: the processes' parts differ in size. One begins, two go on, one ends.

    They may come as far apart as by adding up in another order alone: Adam and Muon make as much of a gradient that is
    nothing but rounding, of a bias before a normalization, as of others.
    """
    changes = {**RECIPES[kind], "train": {**RECIPES[kind]["train"], "batch": 7}}
    recipe, alone, together = tiny_recipe(**changes), tmp_path / "alone", tmp_path / "together"
    last = fit(store, recipe, alone, device=torch.device("cpu"), quiet=True)
    fit(store, recipe, together, device=torch.device("cpu"), quiet=True, max_steps=4)
    (together / "figures").touch()  # in the way of figures, which take longer than the training
    words = ["train", store.path, "-o", together, "--recipe", written(**changes), "--device", "cpu", "--json"]
    code, out, err = finish(torchrun(2, *words, "--resume", "--max-steps", last["step"] - 3))
    assert code == 0, err
    assert json.loads(out)["step"] == last["step"] - 3, "one process speaks"
    assert err.count("held out") == 1
    ended = fit(store, recipe, together, device=torch.device("cpu"), quiet=True, resume=True)
    begun, otherwise = tmp_path / "begun", tmp_path / "otherwise"
    fit(store, recipe, begun, device=torch.device("cpu"), quiet=True, max_steps=1)
    changes["train"]["chunk"] = 128
    third = fit(store, tiny_recipe(**changes), otherwise, device=torch.device("cpu"), quiet=True)
    assert apart(together, alone, begun) < 5 * apart(otherwise, alone, begun) < 0.1
    for name in ("elbo", "validation_elbo", "validation_kl_pose"):
        assert ended[name] == pytest.approx(last[name], rel=1e-4, abs=5 * abs(third[name] - last[name]))
    lines = [(run / "metrics.jsonl").read_text().splitlines() for run in (together, alone)]
    assert len(lines[0]) == len(lines[1]), "only one process writes"


def children(process):
    """Process numbers of the trainings that torchrun has started, by rank."""
    found = {}
    for number in map(
        int, subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True).stdout.split()
    ):
        with open(f"/proc/{number}/environ", "rb") as file:
            rank = re.search(rb"(?:^|\0)RANK=(\d+)", file.read())
        if rank:
            found[int(rank[1])] = number
    return found


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="finds the processes in /proc")
@pytest.mark.parametrize("dies", [0, 1])
def test_a_process_that_dies_ends_the_training_and_it_can_go_on(dies, store, tiny_recipe, written, tmp_path):
    changes = {"train": {"epochs": 5000, "save_every": 2}}
    run = tmp_path / "run"
    process = torchrun(2, "train", store.path, "-o", run, "--recipe", written(**changes), "--device", "cpu")
    metrics, deadline = run / "metrics.jsonl", time.monotonic() + 90
    while not (metrics.is_file() and len(metrics.read_text().splitlines()) > 3):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    ranks = children(process)
    os.kill(ranks[dies], signal.SIGKILL)
    start, lives = time.monotonic(), f"/proc/{ranks[1 - dies]}/stat"
    while os.path.exists(lives):
        if time.monotonic() - start > 20:
            os.kill(ranks[1 - dies], signal.SIGKILL)
            pytest.fail(f"the other one is still there: {finish(process)[2]}")
        time.sleep(0.05)
    code, _, err = finish(process)  # torchrun takes its own time
    assert code != 0
    assert "galvae: error: another process of this training has ended" in err
    assert err.count("Traceback") == 1, err  # that of torchrun
    state = load_tensors(run / STATE)[1]
    assert state["step"] >= 2
    fit(
        store,
        tiny_recipe(**changes),
        run,
        device=torch.device("cpu"),
        quiet=True,
        resume=True,
        max_steps=state["step"] + 3,
    )
    assert load_tensors(run / STATE)[1]["step"] == state["step"] + 3


def test_a_batch_has_one_galaxy_for_each(store, tiny_recipe):
    with pytest.raises(ValueError, match="a batch of 1 galaxies has not one for each of 2 processes"):
        Trainer(store, tiny_recipe(train={"batch": 1}), device=torch.device("cpu"), team=Team(0, 2))
