"""Experiments from data to table: everything once, nothing twice."""

import json
import math
import shutil
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import mrcfile
import numpy as np
import pytest
import torch
from astropy.table import Table

from galvae.angles import difference
from galvae.cli.main import run as galvae
from galvae.data.hinge import simulate_hinge
from galvae.data.ingest import ingest
from galvae.data.molecule import hinge_molecule
from galvae.data.settings import IngestSettings
from galvae.data.store import ImageStore
from galvae.inference.evaluate import evaluate
from galvae.inference.figures import Selection
from galvae.model.settings import ModelSettings
from galvae.model.vae import SpatialVAE
from galvae.paper import data, measure
from galvae.paper.data import SIZES, Sources
from galvae.paper.experiments import EXPERIMENTS, jobs, select_jobs
from galvae.paper.figures import _FIGURES, draw
from galvae.paper.results import FOUND, NOT_YET, RESULT, as_table, folder_of, page, results
from galvae.paper.work import _discard, locked, run_paper

CPU = torch.device("cpu")
SMALL = (
    "model.generator_units=16", "model.encoder_units=16", "train.epochs=2", "train.batch=20", "train.pixels=100",
    "train.validation=0.2",
)  # fmt: skip


def shrink(patch):
    tiny = replace(EXPERIMENTS["hinge"], data={"hinge": []}, quick=SMALL, seeds={"quick": 2, "paper": 3})
    patch.setitem(EXPERIMENTS, "hinge", tiny)
    patch.setitem(SIZES["hinge"], "quick", (60, 20))


@pytest.fixture
def small(monkeypatch):
    """The hinge, so small that it takes seconds."""
    shrink(monkeypatch)


def do(output):
    assert run_paper(select_jobs(["hinge"], "quick"), output, scale="quick", sources=Sources(), device=CPU, quiet=True)
    return [result for _, result in results(output, ["hinge"], "quick")]


@pytest.fixture(scope="module")
def at_first(tmp_path_factory):
    """What the small hinge leaves, its results; and a folder to copy."""
    folder = tmp_path_factory.mktemp("paper") / "whole"
    with pytest.MonkeyPatch.context() as patch:
        shrink(patch)
        return folder, do(folder)


def test_an_experiment_is_done_once_and_its_rows_stand_beside_the_papers(small, at_first):
    folder, done = at_first
    assert [d["model"] for d in done[:2]] == ["spatial", "vanilla"]
    assert {d["seed"] for d in done} == {0, 1}
    made = [path for path in folder.rglob("*") if path.is_file() and path.parent != folder]  # all but table and page
    before = {path: path.stat().st_mtime_ns for path in made}
    assert json.dumps(do(folder)) == json.dumps(done)
    assert {path: path.stat().st_mtime_ns for path in made} == before

    table = as_table(folder, ["hinge"])
    quick = table[table["scale"] == "quick"]
    row = quick[(quick["model"] == "spatial") & (quick["quantity"] == "|r| of z1, conformation")]
    values = [d["values"]["|r| of z1, conformation"][0] for d in done if d["model"] == "spatial"]
    assert row["paper"] == 0.95
    assert row["ours"][0] == pytest.approx(np.mean(values))
    assert row["lowest"][0] == pytest.approx(min(values))
    assert row["ours_err"][0] == pytest.approx(abs(values[0] - values[1]) / 2)
    above = quick[quick["quantity"] == "test ELBO above vanilla (Z = 2)"]
    elbo = {(d["model"], d["latents"], d["seed"]): d["values"]["test ELBO"][0] for d in done}
    wanted = np.mean([elbo["spatial", 1, s] - elbo["vanilla", 2, s] for s in (0, 1)])
    assert above[above["model"] == "spatial"]["ours"][0] == pytest.approx(wanted)
    kept = {(d["model"], d["latents"], d["seed"]): np.load(d["found"])["elbo"] for d in done}
    errors = [np.std(kept["spatial", 1, s] - kept["vanilla", 2, s], ddof=1) / math.sqrt(20) for s in (0, 1)]
    assert above[above["model"] == "spatial"]["images_err"][0] == pytest.approx(np.mean(errors))

    missing = table[table["scale"] == "paper"]
    assert set(missing["quantity"]) == {NOT_YET}
    assert np.isnan(missing["ours"]).all()
    assert f"Scale `paper`: {NOT_YET}" in page(table)
    assert "0.95 (Table 1)" in page(table)


def test_what_was_made_otherwise_is_kept_unless_it_may_be_replaced(small, at_first, tmp_path, monkeypatch):
    shutil.copytree(at_first[0], tmp_path, dirs_exist_ok=True)
    one = replace(EXPERIMENTS["hinge"], seeds={"quick": 1, "paper": 1})
    monkeypatch.setitem(EXPERIMENTS, "hinge", one)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".md"}
    for change in ("recipe", "data"):
        with monkeypatch.context() as patch:
            if change == "recipe":
                tiny = replace(one, quick=(*SMALL, "train.learning_rate=3e-3"))
                patch.setitem(EXPERIMENTS, "hinge", tiny)
            else:
                patch.setattr(data, "SNR", dict.fromkeys(data.SNR, 3.0))
            with pytest.raises(FileExistsError, match="learning_rate" if change == "recipe" else "other snr"):
                do(tmp_path)
            kept = {path: path.read_bytes() for path in before if path.suffix != ".ecsv" or path.name != "results.ecsv"}
            assert all(before[path] == content for path, content in kept.items())
            with pytest.raises(SystemExit) as stop:
                galvae(["paper", "hinge", "-o", str(tmp_path), "-q", "--overwrite", "--device", "cpu"])
            assert stop.value.code == 0
        before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".md"}


def test_a_run_that_another_process_has_at_hand_comes_last(small, tmp_path):
    """It is waited for; as the other process has died it is done then."""
    held, done = threading.Event(), []
    some = list(jobs("hinge", "quick"))
    results_of = [folder_of(job, tmp_path, "quick") / RESULT for job in some]

    def hold_the_first():
        with locked(tmp_path / "quick", some[0].name, wait=False):
            held.set()
            until = time.monotonic() + 60
            while not all(path.is_file() for path in results_of[1:]) and time.monotonic() < until:
                time.sleep(0.05)
            done.extend(path.is_file() for path in results_of)

    other = threading.Thread(target=hold_the_first)
    other.start()
    assert held.wait(10)
    assert all(do(tmp_path))
    other.join()
    assert done == [False] + [True] * (len(some) - 1)
    drawn = [path.stat().st_mtime_ns for path in (tmp_path / "figures").iterdir()]
    assert min(drawn) > results_of[0].stat().st_mtime_ns


def test_a_run_that_another_process_has_at_hand_is_not_removed(small, at_first, tmp_path, capsys):
    shutil.copytree(at_first[0], tmp_path, dirs_exist_ok=True)
    *others, job = jobs("hinge", "quick")
    with locked(tmp_path / "quick", job.name, wait=False), pytest.raises(SystemExit) as stop:
        galvae(["paper", "hinge", "-o", str(tmp_path), "-q", "--overwrite", "--device", "cpu"])
    assert stop.value.code == 2
    assert f"another process is at {job.name}; wait for it, or stop it first" in capsys.readouterr().err
    assert all((folder_of(one, tmp_path, "quick") / RESULT).is_file() for one in (*others, job))


def test_figures_not_drawn_when_the_command_was_stopped_are_drawn_by_the_next(small, at_first, tmp_path):
    shutil.copytree(at_first[0], tmp_path, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / "figures")
    do(tmp_path)
    assert list((tmp_path / "figures").iterdir())


def test_figures_go_with_what_they_were_drawn_of(small, at_first, tmp_path):
    shutil.copytree(at_first[0], tmp_path, dirs_exist_ok=True)
    of_hinge = list((tmp_path / "figures").glob("quick-hinge-*.png"))
    others = [tmp_path / "figures" / name for name in ("quick-em-x.png", "paper-hinge-manifolds.png")]
    for other in others:
        other.touch()
    _discard({"hinge": list(jobs("hinge", "quick"))}, tmp_path, "quick")
    assert of_hinge
    assert sorted((tmp_path / "figures").iterdir()) == sorted(others)


@pytest.mark.parametrize("kinds", [("spatial",), ("spatial", "fixed", "vanilla", "ours")])
def test_the_title_of_manifolds_is_no_wider_than_their_figure(kinds):
    every = [job for job in jobs("mnist", "quick") if job.data == "mnist" and job.model in kinds]
    run = SimpleNamespace(model=SimpleNamespace(canonical=lambda z: np.zeros((len(z), 8, 8, 1))))
    [(_, figure)] = _FIGURES["mnist"](dict.fromkeys(every, run))
    assert {panel.get_title() for panel in figure.axes} == set(kinds)
    figure.draw_without_rendering()
    inside = figure._suptitle.get_window_extent()
    assert 0 <= inside.x0 < inside.x1 <= figure.bbox.x1


def test_a_result_without_its_images_is_measured_again(small, at_first, tmp_path):
    shutil.copytree(at_first[0], tmp_path, dirs_exist_ok=True)
    found = folder_of(next(jobs("hinge", "quick")), tmp_path, "quick") / FOUND
    found.unlink()
    as_table(tmp_path, ["hinge"])
    do(tmp_path)
    assert found.is_file()


def test_one_run_is_made_again_by_its_name(small, at_first, tmp_path, capsys):
    shutil.copytree(at_first[0], tmp_path, dirs_exist_ok=True)
    folders = {job.name: folder_of(job, tmp_path, "quick") for job in jobs("hinge", "quick")}
    values = {name: json.loads((folder / RESULT).read_text())["values"] for name, folder in folders.items()}
    for folder in folders.values():
        (folder / "mark").touch()
    with pytest.raises(SystemExit) as stop:
        galvae(["paper", "-o", str(tmp_path), "-q", "--overwrite", "--device", "cpu", "--only", "hinge-vanilla-z2-s1"])
    assert stop.value.code == 0
    assert {name: json.loads((folder / RESULT).read_text())["values"] for name, folder in folders.items()} == values
    assert [name for name in folders if not (folders[name] / "mark").exists()] == ["hinge-vanilla-z2-s1"]
    with pytest.raises(SystemExit) as stop:
        galvae(["paper", "hinge", "-o", str(tmp_path), "-q", "--only", "hinge-z9-*"])
    assert stop.value.code == 2
    said = "--only hinge-z9-*: no run is called so; there are hinge-spatial-z1-s0, hinge-vanilla-z1-s0, "
    assert said in capsys.readouterr().err


def test_figures_are_drawn_of_what_was_measured(small, at_first, tmp_path, monkeypatch):
    shutil.copytree(at_first[0], tmp_path, dirs_exist_ok=True)
    picture = next((tmp_path / "figures").iterdir())
    before = picture.read_bytes()
    picture.unlink()
    monkeypatch.setattr(measure, "evaluate", None)
    draw("hinge", tmp_path, scale="quick", sources=Sources(), device=CPU)
    assert picture.read_bytes() == before


def test_no_cell_of_the_page_breaks_its_table(small, at_first):
    lines = [line for line in page(as_table(at_first[0], ["hinge"])).splitlines() if line.startswith("|")]
    assert len(lines) > 10
    assert {line.replace("\\|", "").count("|") for line in lines} == {9}


@pytest.mark.parametrize("size", [40, 41])
def test_theta_is_the_simulators_angle_up_to_a_constant_in_sign_and_size(size, tmp_path):
    """Through stack, store and inference network, which turns with the object though it has learned nothing.

    It tells angles by 32 columns, and having learned nothing takes a column for its neighbour now and then.
    """
    stack = tmp_path / "hinge.mrcs"
    simulate_hinge(stack, 60, size=size, snr=1e4, conformations=(0.7, 0.7), quiet=True)
    frame = {"pixels": "normalised", "field": size, "window": size, "crop": "fixed", "crop_sigma": 0.0}
    settings = IngestSettings.model_validate(frame)
    ingest([stack], tmp_path / "store", settings, table=stack.with_suffix(".ecsv"), workers=1, quiet=True)
    store = ImageStore(tmp_path / "store")
    torch.manual_seed(0)
    vae = SpatialVAE(ModelSettings(latents=2, encoder="polar", likelihood="gaussian"), window=size, channels=1)
    theta = -np.degrees(evaluate(vae, Selection(store, np.arange(60)))["theta"])
    off = difference(theta, store.column("table/theta"), 360)
    centre = np.degrees(np.angle(np.exp(1j * np.radians(off)).mean()))
    off = np.abs(difference(off, centre, 360))
    column = 360 / 32
    assert np.median(off) < column / 2
    assert off.max() < 1.6 * column


def test_every_training_of_both_scales_has_a_recipe():
    names = []
    for scale in ("quick", "paper"):
        for name in EXPERIMENTS:
            names += [(scale, job.experiment, job.name) for job in jobs(name, scale)]
    assert len(set(names)) == len(names)
    wide = [job for job in jobs("mnist", "paper") if job.model == "spatial, wide priors"]
    assert {job.recipe.model.shift_sigma for job in wide} == {14}
    more = next(job for job in jobs("mnist", "quick") if job.model == "vanilla, Z + 3")
    assert (more.latents, more.recipe.model.latents) == (2, 5)


def test_the_command_says_what_is_missing(tmp_path, capsys):
    for words, says in ((["x-rays"], "no experiment 'x-rays'; there are mnist, hinge"), (["mnist"], "--mnist")):
        with pytest.raises(SystemExit) as stop:
            galvae(["paper", *words, "-o", str(tmp_path / "out"), "-q"])
        assert stop.value.code == 2
        assert says in capsys.readouterr().err


def two_conformations(folder):
    """The made-up molecule, closed and opened, as PDB files."""
    folder.mkdir()
    molecule = hinge_molecule()
    for name, atoms in (("1", molecule.at(0.0)), ("2", molecule.at(1.0))):
        lines = [
            f"ATOM  {n:5d}  CA  ALA A{n:4d}    {x:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00           C\n"
            for n, (x, y, z) in enumerate(atoms, 1)
        ]
        (folder / f"{name}.pdb").write_text("".join(lines))


def test_data_are_known_by_what_they_are_and_a_wrong_source_costs_nothing(small, tmp_path, capsys, monkeypatch):
    one = replace(EXPERIMENTS["hinge"], models={"spatial": []}, seeds={"quick": 1, "paper": 1})
    monkeypatch.setitem(EXPERIMENTS, "hinge", one)

    def paper(source, *more):
        with pytest.raises(SystemExit) as stop:
            galvae(["paper", "hinge", "-o", str(tmp_path / "o"), "--integrin", str(source), "--device", "cpu", *more])
        return stop.value.code, capsys.readouterr().err

    two_conformations(tmp_path / "a")
    assert paper(tmp_path / "a")[0] == 0
    described = next((tmp_path / "o").rglob("train/made_from.json"))
    before = {**json.loads(described.read_text()), "source": str(tmp_path / "a")}
    del before["content"]
    described.write_text(json.dumps(before))  # as it was written before contents were asked for
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "o" / "quick").rglob("*") if path.is_file()}
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert paper(tmp_path / "b")[0] == 0
    shutil.copytree(tmp_path / "a", tmp_path / "c")
    (tmp_path / "c" / "2.pdb").write_text((tmp_path / "c" / "2.pdb").read_text().replace("1.", "2."))
    code, said = paper(tmp_path / "c")
    assert code == 2
    assert "made with other content" in said
    (tmp_path / "empty").mkdir()
    code, said = paper(tmp_path / "empty", "--overwrite")
    assert code == 2
    assert "0 PDB files" in said
    assert made == {path: path.stat().st_mtime_ns for path in (tmp_path / "o" / "quick").rglob("*") if path.is_file()}
    assert list((tmp_path / "o" / "figures").iterdir())


def test_the_time_given_is_kept_and_the_same_command_goes_on(small, tmp_path, capsys, monkeypatch):
    tiny = replace(
        EXPERIMENTS["hinge"],
        quick=(*SMALL, "train.epochs=100000"),
        models={"spatial": []},
        seeds={"quick": 1, "paper": 1},
    )
    monkeypatch.setitem(EXPERIMENTS, "hinge", tiny)
    with pytest.raises(SystemExit) as stop:
        galvae(["paper", "hinge", "-o", str(tmp_path / "out"), "--minutes", "0.15", "--json", "--device", "cpu"])
    said = capsys.readouterr()
    assert stop.value.code == 0
    assert json.loads(said.out)["finished"] is False
    assert "the same command goes on from here" in said.err
    assert (folder_of(next(jobs("hinge", "quick")), tmp_path / "out", "quick") / "checkpoint").is_dir()
    assert set(Table.read(tmp_path / "out" / "results.ecsv")["quantity"]) == {NOT_YET}
    assert math.isnan(Table.read(tmp_path / "out" / "results.ecsv")["ours"][0])


def test_the_clear_hinge_has_less_noise_and_else_the_same_images(monkeypatch, tmp_path):
    monkeypatch.setitem(SIZES["hinge"], "quick", (20, 5))
    told = {}
    for name in data.SNR:
        (tmp_path / name).mkdir()
        made = data.DATA[name](tmp_path / name, Sources(), "quick", False)
        with mrcfile.open(made.files) as stack:
            told[name] = stack.data.astype(float), Table.read(made.table)
    (noisy, truth), (clear, same) = told["hinge"], told["hinge-clear"]
    assert all(truth[name].tolist() == same[name].tolist() for name in ("theta", "conformation"))
    # White noise of one variance: ten times the signal's variance is the rest.
    assert (clear.var() - 1) / (noisy.var() - 1) == pytest.approx(10, rel=0.2)


def test_what_a_model_wants_goes_before_what_its_data_wants():
    recipes = {(job.data, job.model): job.recipe.train for job in jobs("mnist", "quick")}
    assert (recipes["mnist", "spatial"].pixels, recipes["mnist", "vanilla"].pixels) == (64, 0)
    assert recipes["mnist", "spatial"].learning_rate < recipes["mnist", "ours"].learning_rate
    assert recipes["mnist", "spatial"].epochs > recipes["mnist-turned", "spatial"].epochs
