"""The benchmarks run, and count what they say they count."""

import importlib.util
import json
import os
import re
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from galvae.recipe import load_recipe
from galvae.training.trainer import Trainer

FOLDER = Path(__file__).parents[1] / "benchmarks"


def benchmark(name):
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(name, *arguments):
    command = [sys.executable, FOLDER / f"{name}.py", *map(str, arguments)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


@pytest.mark.parametrize("recipe", ["smoke", "demo-fixed-pose"])
def test_roofline_counts_what_torch_does_and_gives_it_to_its_part(tmp_path, recipe):
    roofline = benchmark("roofline")
    recipe = load_recipe(recipe)
    store = roofline.noise_store(tmp_path, galaxies=2 * recipe.train.batch + 60, field=128, crop="random")
    device = torch.device("cpu")
    trainer = Trainer(store, recipe, device=device)
    with FlopCounterMode(display=False) as theirs:
        trainer.take_step()
    trainer = Trainer(store, recipe, device=device)
    with roofline.watched(trainer, roofline.Clock(device)) as clock, roofline.Count(clock) as count:
        trainer.take_step()
    assert count.flops.total() == theirs.get_total_flops()
    assert count.flops[roofline.REST] + count.flops["augmentation"] < 0.01 * count.flops.total()
    # Going back there are two products for each, but for one by what nobody asks the gradient of.
    for part in ("encoder", "generator"):
        assert 1 <= count.flops[f"{part} backward"] / count.flops[f"{part} forward"] <= 2


def test_roofline_prints_every_part():
    *table, told = run("roofline", "--recipe", "smoke", "--steps", 1).splitlines()
    parts = json.loads(told)["parts"]
    assert len(table) == 1 + len(parts)
    assert parts["whole step"]["seconds"] == pytest.approx(sum(r["seconds"] for r in parts.values()) / 2)
    assert all(r["seconds"] > 0 for r in parts.values())


def test_curve_finds_the_first_line_past_an_elbo(tmp_path):
    lines = [{"step": n, "seconds": 2.0 * n, "images": 9 * n, "images_per_second": 4.5} for n in (1, 2, 3)]
    elbos = (-9.0, None, -7.0)
    text = "".join(json.dumps({**line, "validation_elbo": e}) + "\n" for line, e in zip(lines, elbos, strict=True))
    (tmp_path / "metrics.jsonl").write_text(text)
    assert json.loads(run("curve", tmp_path, "--elbo", -8))["seconds"] == 6.0
    like, found = map(json.loads, run("curve", tmp_path, "--like", tmp_path, "--step", 3, "--rate", 0.9).splitlines())
    assert like["seconds"] == pytest.approx(30)
    assert found["ratio"] == 5.0


@pytest.mark.skipif("SPATIAL_VAE" not in os.environ, reason="SPATIAL_VAE names no checkout of the original spatial-VAE")
def test_the_originals_terms_are_ours(tmp_path):
    store = tmp_path / "store"
    store.mkdir()
    benchmark("roofline").noise_store(store, galaxies=500, field=96, crop="random")
    networks = tmp_path / "networks.toml"
    networks.write_text(
        "[model]\nlatents = 5\ngenerator_units = 16\nencoder_units = 32\n[train]\nlearning_rate = 1e-2\n"
    )
    words = (os.environ["SPATIAL_VAE"], store, "-o", tmp_path / "run", "--recipe", networks, "--networks", networks)
    run("original", *words, "--steps", 4, "--every", 2)
    found = json.loads(run("original", *words, "--check"))
    assert found["step"] == 4
    assert found["largest_elbo_difference"] < 0.02
    assert found["largest_pixel_difference"] < 1e-4  # a grey level is 4e-3


def test_the_table_has_what_was_measured_and_leaves_out_the_rest(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    bench = benchmark("bench")
    told = {"processor": "P", "cores": 2, "gpu": None, "torch": "2", "galvae": "0", "commit": None, "date": "today"}
    nothing = {"median": None, "p84": None}
    quality = {"curve": [{"seconds": 9.6, "above_floor": 1.25}], "axis": nothing, "turn_elongated": nothing}
    rows = bench.table({"machine": told, "images": "survey", "quality": quality}).splitlines()
    assert "| `galaxy-zoo-cpu`, trained in | 10 s |" in rows
    assert "| axis against moments; turn test, elongated | -; - |" in rows
    assert len(rows) == 4 + 3 + 1
    assert rows[-1] == "| one GPU (`benchmarks/gpu.py`) | not yet measured |"
    assert len(bench.table({"machine": told, "images": "survey"}).splitlines()) == 4 + 1


def test_one_go_on_a_gpu_runs_on_a_processor_and_its_figures_come_into_the_table(tmp_path, monkeypatch):
    """Its parts with tiny sizes, from noise; all but the original, of which there is no checkout here."""
    words = ("--device", "cpu", "--quick", "--minutes", "5", "-o", tmp_path / "gpu.json")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, FOLDER / "gpu.py", *words], stdout=subprocess.PIPE, text=True, env=environment
    )
    told = [json.loads(line) for line in done.stdout.splitlines()]
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert set(found["failed"]) == {"original"}
    assert "no --original" in found["failed"]["original"]
    assert done.returncode == 1
    parts = ["begun", "steps", "paper", "failed", "sooner", "roofline", "streaming", "choices", "choices", "choices"]
    assert [line["part"] for line in told] == parts
    assert found["steps"]["compiled"]
    assert found["steps"]["apart_from plain"] < 1e-2
    assert found["steps"]["elbo"]["plain"] == pytest.approx(found["steps"]["elbo"]["fast"], rel=1e-4)
    paper = found["paper"]
    assert paper["run_minutes_extrapolated"] == pytest.approx(
        300 * ((61578 - 6158) // 16) * 16 / paper["images_per_second"] / 60
    )
    assert paper["run_minutes_with_validation"] > paper["run_minutes_extrapolated"]
    assert not found["sooner"]["cut_off"]
    monkeypatch.syspath_prepend(FOLDER)
    bench = benchmark("bench")
    assert bench.one_gpu(found) == "not yet measured"
    found |= {"quick": False, "original": {"ratio": 12.3}}
    found["machine"]["gpu"] = "H200"
    wanted = (
        r"H200, \S+: the paper's run, in bfloat16, \d+ images/s; the steps .* from \d+ s, with validation [\d.]+; "
        r"12\.3 times the original$"
    )
    assert re.match(wanted, bench.one_gpu(found))


def test_a_store_repeated_is_the_store(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    gpu = benchmark("gpu")
    once = benchmark("roofline").noise_store(tmp_path, galaxies=7, field=8, crop="random")
    again = gpu.Repeated(tmp_path, 17)
    assert len(again) == 17
    rows = np.array([0, 6, 7, 16])
    assert np.array_equal(again.images(rows), once.images(rows % 7))
    assert again.column("id").tolist() == [*range(7), *range(7), *range(3)]


def test_what_takes_too_long_is_ended_though_all_exceptions_are_caught(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    gpu = benchmark("gpu")

    def careless():
        while True:
            with suppress(Exception):
                time.sleep(0.01)

    with pytest.raises(gpu.Over, match="not done in 0 s"), gpu.within(0.05):
        careless()


def test_both_precisions_are_trained_once_and_compared(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    store = benchmark("roofline").noise_store(tmp_path, galaxies=80, field=128, crop="random")
    words = (store.path, "-o", tmp_path / "runs", "--seeds", 1, "--recipe", "smoke", "--set", "train.epochs=1")
    *runs, told = map(json.loads, run("precision", *words).splitlines())
    assert [Path(said["run"]).name for said in runs] == ["plain-0", "fast-0"]
    described = [json.loads((tmp_path / "runs" / name / "model.json").read_text()) for name in ("plain-0", "fast-0")]
    assert [each["precision"] for each in described] == ["float32", "bfloat16"]
    assert [each["recipe"]["train"]["unbiased"] for each in described] == [True, True]
    assert told["mean"] == pytest.approx(runs[1]["below_floor"] / runs[0]["below_floor"] - 1)
    before = (tmp_path / "runs" / "plain-0" / "model.json").stat().st_mtime_ns
    assert run("precision", *words).splitlines()[-1] == json.dumps(told)
    assert (tmp_path / "runs" / "plain-0" / "model.json").stat().st_mtime_ns == before


def test_odd_images_are_unlike_the_galaxy_and_of_its_size(ellipses):
    odd = benchmark("odd")
    field = ellipses(1, side=64)[0].astype(float)
    for kind in odd.KINDS.values():
        for seed in range(3):
            made = kind(field.copy(), np.random.default_rng(seed))
            assert made.shape == field.shape
            assert np.abs(made - field).mean() > 2, kind.__name__
