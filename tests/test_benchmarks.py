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
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from astropy.table import Table
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from galvae.catalog import write_catalog
from galvae.moments import adaptive_moments
from galvae.recipe import load_recipe
from galvae.training.trainer import Trainer
from galvae.uses.probe import probe

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
    parts = ["begun", "steps", "paper", "failed", "sooner", "roofline", "streaming", "choices"]
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


@pytest.mark.skipif(
    not importlib.util.find_spec("triton"), reason="no Triton here, which comes with PyTorch's CUDA build"
)
def test_the_generator_in_two_kernels_is_the_plain_one():
    """By Triton's interpreter: of odd numbers of pixels, and of one or more blocks of columns."""
    sizes = (2, 200, 64, 3), (3, 128, 128, 1), (2, 70, 192, 4)
    code = f"""
import torch, fused
for sizes in {sizes}:
    given = fused.drawn(*sizes, device="cpu", dtype=torch.float32)
    print(max(fused.apart(given, fused.Tiles(64, 128, 32, 4, 2, approximate=False))))
"""
    paths = os.pathsep.join([str(FOLDER), str(FOLDER.parent), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": paths}
    said = subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE, text=True, env=environment)
    assert len(said.stdout.split()) == len(sizes)
    assert max(map(float, said.stdout.split())) < 1e-5


def test_both_precisions_are_trained_once_and_compared(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    store = benchmark("roofline").noise_store(tmp_path, galaxies=32, field=128, crop="random")
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
    field = ellipses(1, side=64)[0] * np.array([1, 0.7, 0.4])
    for name, kind in odd.KINDS.items():
        for seed in range(3):
            made = kind(field.copy(), np.random.default_rng(seed))
            assert made.shape == field.shape
            assert (np.abs(made - field).mean() > 0.2) == (name != "ordinary"), name


def test_a_survey_is_taken_without_the_odd_images_that_it_has_itself(make_catalog, tmp_path):
    odd, catalog = benchmark("odd"), make_catalog(np.random.default_rng(0).normal(size=(300, 3)))
    own = tmp_path / "own.txt"
    own.write_text("1003\n1299 \n\n")
    found = odd.alternatives(catalog, own)
    assert [len(found["survey"]), len(found["without"])] == [300, 298]
    assert not {1003, 1299} & set(found["without"]["id"])
    own.write_text("1003\nNGC 1300\n")
    with pytest.raises(SystemExit, match="names 1 that the catalog has not, NGC 1300 first"):
        odd.alternatives(catalog, own)


def test_what_is_far_is_found_and_what_is_not_is_not(make_catalog):
    odd, random = benchmark("odd"), np.random.default_rng(0)
    catalog = make_catalog(random.normal(size=(600, 3)))
    far, usual = np.full((4, 3), 30.0), 0.1 * random.normal(size=(4, 3))
    kind = np.repeat(["star", "ordinary"], 4)
    told = odd.found_among(catalog, make_catalog(np.concatenate([far, usual])), kind, draws=5, random=random)
    assert (told["star"], told["ordinary"], told["all"], told["page"]) == (1, 0, 1, None)


def profile(power, *, scale=5.0, ratio=1.0, angle=0.0, side=97):
    """Light of which the exponent falls with that power of the radius: 1 of an exponential disc."""
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    return np.exp(-((np.hypot(u, v / ratio) / scale) ** power))


def concentration(*images):
    light = np.array(images)
    found = adaptive_moments(light)
    return benchmark("baselines").concentration(light, found.x, found.y)


def test_concentration_is_what_it_is_of_a_disc_and_larger_of_a_cusp():
    """Of an exponential disc 20% of the light lies within 0.824 scale lengths, 80% within 2.994."""
    box, gaussian, disc, cusp = concentration(*(profile(p, scale=s) for p, s in ((9, 12), (2, 8), (1, 5), (0.5, 1))))
    assert disc == pytest.approx(5 * np.log10(2.994 / 0.824), abs=0.1)
    assert gaussian == pytest.approx(2.5 * np.log10(np.log(0.2) / np.log(0.8)), abs=0.1)
    assert box == pytest.approx(2.5 * np.log10(4), abs=0.1)
    assert cusp > disc + 0.5
    nothing = benchmark("baselines").concentration(np.zeros((2, 20, 20)), np.array([9, np.nan]), np.full(2, 9))
    assert np.isnan(nothing).all()


@settings(max_examples=25)
@given(st.floats(0.4, 1), st.floats(0, 6.3), st.floats(4, 7), st.floats(0.8, 1.5))
@example(1.0, 0.0, 7.0, 0.8125)
def test_concentration_minds_neither_turning_nor_magnifying(ratio, angle, scale, power):
    """Where 1.5 Petrosian radii of the larger one lie within its image."""
    one, other = concentration(
        profile(power, scale=4, ratio=ratio, side=129),
        profile(power, scale=scale, ratio=ratio, angle=angle, side=129),
    )
    assert one == pytest.approx(other, abs=0.08)


@settings(max_examples=20)
@given(st.lists(st.integers(12, 40), min_size=2, max_size=4), st.integers(0, 99))
def test_the_nearest_are_of_the_class_in_clusters_and_by_chance_if_labels_are_shuffled(counts, seed):
    baselines, random = benchmark("baselines"), np.random.default_rng(seed)
    labels = np.repeat([f"class {number}" for number in range(len(counts))], counts)
    values = random.normal(size=(len(labels), 5)) + 20 * np.unique(labels, return_inverse=True)[1][:, None]
    values[:, 3] = 1e4 * random.normal(size=len(labels))  # in whatever unit a value is
    apart = baselines.euclidean(values[:, [0, 1, 2, 4]] * [1, 1e-4, 1e3, 1])
    assert set(baselines.nearest(apart, labels).values()) == {1}
    shuffled = baselines.nearest(baselines.euclidean(values), random.permutation(labels))
    for name, share in shuffled.items():
        assert share == pytest.approx(((labels == name).sum() - 1) / (len(labels) - 1), abs=0.2)
    assert set(baselines.nearest(lambda number: np.zeros(len(labels)), np.full(len(labels), "a")).values()) == {1}


def test_what_statmorph_cannot_measure_is_the_median(monkeypatch):
    baselines = benchmark("baselines")
    found = iter([ValueError("no"), 2, 0, 1, 0])

    def measured(image, segment, label, *, mask, weightmap, sersic_maxiter):
        assert segment[48, 48] == label
        assert not mask.any()
        flag = next(found)
        if isinstance(flag, Exception):
            raise flag
        values = dict.fromkeys(baselines.QUANTITIES, 3.0 + flag) | ({"m20": -99.0} if flag else {})
        return type("Measured", (dict,), {"flag": flag})(values)

    module = ModuleType("statmorph")
    module.SourceMorphology = measured
    monkeypatch.setitem(sys.modules, "statmorph", module)
    light = np.array([profile(1)] * 5)
    values = baselines.morphology(light, adaptive_moments(light))
    assert np.isnan(values).all(1).tolist() == [True, True, False, False, False]
    assert baselines.filled(values)[:, 0].tolist() == [3, 3, 3, 4, 3]
    assert np.isnan(values[3, baselines.QUANTITIES.index("m20")])
    assert np.isfinite(baselines.filled(np.full((3, 2), np.nan))).all()


@pytest.fixture
def coloured(make_store, make_catalog, ellipses, tmp_path):
    """A store of red and blue galaxies of which two know the colour: the images, and z of the first catalog."""
    count = 60
    blue = np.random.default_rng(0).random(count) < 0.4
    fields = ellipses(count)
    fields[blue] = fields[blue][..., ::-1]
    store = make_store(tmp_path / "store", fields)
    z = np.random.default_rng(1).normal(size=(count, 3))
    meta = {"store_digest": store.digest}
    knowing, ignorant = make_catalog(z + [[0, 9, 0]] * blue[:, None], meta=meta), make_catalog(z[:, :2], meta=meta)
    write_catalog(knowing[np.random.default_rng(2).permutation(count)], tmp_path / "knowing.ecsv")
    write_catalog(ignorant[3:], tmp_path / "ignorant.fits")
    Table({"objid": store.column("id"), "kind": np.where(blue, "blue", "red"), "mag": np.arange(count) / 7}).write(
        tmp_path / "labels.csv"
    )
    return SimpleNamespace(folder=tmp_path, store=store, blue=blue[3:], catalog=knowing[3:])


def words(folder, *more, label="kind"):
    given = [f"--catalog={name}" for name in (f"ours={folder / 'knowing.ecsv'}", f"other={folder / 'ignorant.fits'}")]
    return [str(word) for word in (folder / "store", folder / "labels.csv", "--label", label, *given, *more)]


def test_baselines_stand_in_one_table_of_the_same_galaxies(coloured, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "statmorph", None)
    output = coloured.folder / "found.json"
    baselines = benchmark("baselines")
    baselines.main(words(coloured.folder, "-o", output, "--repeats", 2, "--epochs", 6))
    printed, found = capsys.readouterr().out.splitlines(), json.loads(output.read_text())
    rows, blue = found["rows"], coloured.blue
    assert found["classes"] == {"blue": blue.sum(), "red": (~blue).sum()}
    assert rows["z of ours"]["score"] > 0.99
    assert rows["z of ours"]["nearest"] == {"blue": 1, "red": 1}
    assert rows["z of other"]["score"] == pytest.approx(0.5, abs=0.15)
    assert rows[baselines.FORM]["score"] > 0.99
    assert rows[baselines.FORM]["features"] == 5
    assert {rows[name]["features"] for name in rows if name.startswith("PCA")} == {2, 3, 50}
    assert rows["PCA of aligned pixels, 3"]["score"] > 0.95
    assert rows["network taught the labels"]["score"] > 0.9
    assert rows["statmorph"] == {"note": "not installed"}
    assert len(printed) == 2 + 2 + len(rows) + 1
    assert len({line.count("|") for line in printed[2:]}) == 1
    monkeypatch.setattr("galvae.uses.probe.REPEATS", 2)
    alone, _ = probe(coloured.catalog, coloured.folder / "labels.csv", "kind")
    assert alone["z"]["score"] == rows["z of ours"]["score"]


@pytest.mark.parametrize(
    ("label", "more", "says"),
    [
        ("sort", [], r"labels\.csv: no column sort; its columns are objid, kind, mag"),
        ("mag", [], "holds numbers, not classes"),
        ("kind", ["--catalog", "x=nowhere.ecsv"], r"nowhere\.ecsv"),
        ("kind", ["--catalog", "ours=again.ecsv"], "ours= is given twice"),
        ("kind", ["--device", "abacus"], "--device abacus"),
    ],
)
def test_what_baselines_cannot_do_is_one_line(coloured, label, more, says):
    with pytest.raises(SystemExit, match=says) as told:
        benchmark("baselines").main(words(coloured.folder, *more, label=label))
    assert "\n" not in str(told.value)


def test_baselines_refuse_a_catalog_of_another_store(coloured, make_store, ellipses):
    make_store(coloured.folder / "another", ellipses(30, seed=1))
    _, *rest = words(coloured.folder)
    with pytest.raises(SystemExit, match=r"knowing\.ecsv: .*another: is not the store that the catalog was made of"):
        benchmark("baselines").main([str(coloured.folder / "another"), *rest])
