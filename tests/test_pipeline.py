"""`galvae run`: the stages in order, only those whose inputs or settings have changed, and nothing lost unasked."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from galvae.catalog import check_catalog, read_catalog
from galvae.data import ingest as ingesting
from galvae.data.store import ImageStore
from galvae.inference import figures
from galvae.pipeline import run_recipe
from galvae.recipe import load_recipe
from galvae.training.trainer import Trainer

TINY = ["simulate.galaxies=24", "train.epochs=1", "catalog.looks=2"]
STAGES = ["simulate", "ingest", "train", "catalog", "plot"]


def stages(directory, *changes, sources=(), **options):
    recipe = load_recipe("smoke", [*TINY, *changes])
    done = run_recipe(recipe, list(sources), directory, device="cpu", quiet=True, **options)
    return {stage: made for stage, _, made in done}


def made(*names):
    return {stage: stage in names for stage in STAGES}


def contents(directory):
    return {path: path.read_bytes() for path in sorted(directory.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    directory = tmp_path_factory.mktemp("run")
    assert stages(directory) == made(*STAGES)
    return directory


@pytest.fixture
def directory(drawn, tmp_path, undrawn):
    """A finished run to spoil, at the same path each time: where the cutouts lie counts."""
    whole = shutil.copytree(drawn, tmp_path / "whole")
    yield drawn
    shutil.rmtree(drawn)
    shutil.copytree(whole, drawn)


def test_the_whole_run_makes_a_catalog_and_pictures(drawn):
    catalog = read_catalog(drawn / "catalog.ecsv")
    check_catalog(catalog)
    assert len(catalog) == 24
    assert catalog.meta["recipe"]["train"]["epochs"] == 1
    names = {path.name for path in (drawn / "figures").glob("*.png")}
    assert {"curves.png", "reconstructions.png"} <= names
    for name in names:
        assert (drawn / "run" / "figures" / name).read_bytes() == (drawn / "figures" / name).read_bytes()


def test_what_is_skipped_is_said_and_where_all_is_nothing_is_left(tmp_path, capsys):
    (tmp_path / "in").mkdir()
    light = np.random.default_rng(0).integers(0, 99, (40, 40, 3), np.uint8)
    for name, pixels in (("good", light), ("flat", np.zeros_like(light))):
        Image.fromarray(pixels).save(tmp_path / "in" / f"{name}.png")
    recipe = load_recipe("smoke", TINY)
    next(run_recipe(recipe, [tmp_path / "in"], tmp_path / "some", workers=1, device="cpu"))
    assert f"skipped {tmp_path / 'in' / 'flat.png'}: every pixel has the same value" in capsys.readouterr().err
    with pytest.raises(ValueError, match="none of 1 inputs could be ingested"):
        next(run_recipe(recipe, [tmp_path / "in" / "flat.png"], tmp_path / "none", workers=1, device="cpu"))
    assert not (tmp_path / "none").exists()
    (tmp_path / "mine").mkdir()
    with pytest.raises(ValueError, match="none of 1 inputs could be ingested"):
        next(run_recipe(recipe, [tmp_path / "in" / "flat.png"], tmp_path / "mine", workers=1, device="cpu"))
    assert (tmp_path / "mine").is_dir()


def test_unchanged_stages_are_skipped_and_no_file_is_touched(drawn):
    before = contents(drawn)
    assert stages(drawn) == stages(drawn, overwrite=True) == made()
    assert contents(drawn) == before


@pytest.mark.parametrize(
    ("change", "stage", "redone"),
    [
        ("simulate.galaxies=25", "simulate", STAGES),
        ("ingest.Q=9", "ingest", ["ingest", "train", "catalog", "plot"]),
        ("train.seed=1", "train", ["train", "catalog", "plot"]),
        ("catalog.looks=3", "catalog", ["catalog", "plot"]),
    ],
)
def test_a_changed_setting_is_named_and_redone_only_with_overwrite(directory, change, stage, redone):
    before = contents(directory)
    with pytest.raises(FileExistsError, match=rf"stage {stage} was done with other {change.split('=')[0]}[,;]"):
        stages(directory, change)
    assert contents(directory) == before
    assert stages(directory, change, overwrite=True) == made(*redone)
    assert stages(directory, change) == made()


def test_a_survey_of_another_seed_is_not_taken(directory):
    truth = directory / "survey" / "truth.ecsv"
    truth.write_text(truth.read_text().replace("seed: 0", "seed: 7"))
    with pytest.raises(FileExistsError, match="stage simulate was done with other seed;"):
        stages(directory)


@pytest.mark.parametrize("name", ["survey", "store", "run", "figures", "catalog.ecsv"])
def test_what_is_not_ours_is_never_touched(name, tmp_path):
    place = tmp_path / name
    if name == "catalog.ecsv":
        place.write_text("# %ECSV 1.0\n# ---\n# datatype:\n# - {name: id, datatype: int64}\nid\n1\n")
    else:
        place.mkdir()
        (place / "thesis.tex").write_text("years of work")
    before = contents(tmp_path)
    with pytest.raises((FileExistsError, ValueError), match=f"{name}: (lies where the stage|not a galvae catalog)"):
        stages(tmp_path, overwrite=True)
    assert contents(tmp_path) == before
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_without_the_store_what_was_made_of_it_is_kept_until_told(directory):
    shutil.rmtree(directory / "store")
    with pytest.raises(FileExistsError, match="stage train was done with other output of ingest"):
        stages(directory)
    assert stages(directory, overwrite=True) == made("ingest")


class Killed(BaseException):
    """Stands for SIGKILL: nothing after it is done."""


def killed(*_, **__):
    raise Killed


def is_killed(monkeypatch, owner, name, replacement, directory, *changes, **options):
    with monkeypatch.context() as broken:
        broken.setattr(owner, name, replacement)
        with pytest.raises(Killed):
            stages(directory, *changes, **options)


def forget(directory, *names):
    for name in names:
        shutil.rmtree(directory / name)
    (directory / "catalog.ecsv").unlink()


def test_a_killed_ingest_goes_on(directory, monkeypatch):
    forget(directory, "store", "run", "figures")
    is_killed(monkeypatch, ingesting, "_finish", killed, directory)
    parts = {path: path.stat().st_mtime_ns for path in (directory / "store").glob("part-*.h5")}
    assert parts
    assert stages(directory) == made("ingest", "train", "catalog", "plot")
    assert parts == {path: path.stat().st_mtime_ns for path in parts}


def test_a_killed_replacement_of_a_store_goes_on_and_the_former_stays(directory, monkeypatch):
    store, new, change = directory / "store", directory / ".store.new", "ingest.field=80"
    before = ImageStore(store).digest
    is_killed(monkeypatch, ingesting, "_finish", killed, directory, change, overwrite=True)
    assert ImageStore(store).digest == before
    parts = {path.name: path.stat().st_mtime_ns for path in new.glob("part-*.h5")}
    assert parts
    done = run_recipe(load_recipe("smoke", [*TINY, change]), [], directory, overwrite=True, quiet=True)
    assert [next(done)[2], next(done)[2]] == [False, True]
    assert ImageStore(store).shape == (80, 80, 3)
    assert parts == {path.name: path.stat().st_mtime_ns for path in store.glob("part-*.h5")}
    assert not new.exists()


def test_a_training_killed_in_its_second_epoch_goes_on(directory, monkeypatch):
    changes = ["train.epochs=2", "train.batch=8"]
    take_step, steps = Trainer.take_step, []
    forget(directory, "run", "figures")

    def step(trainer):
        if trainer.step > trainer.steps_per_epoch:
            raise Killed
        steps.append(trainer.step)
        take_step(trainer)

    is_killed(monkeypatch, Trainer, "take_step", step, directory, *changes)
    described = json.loads((directory / "run" / "model.json").read_text())
    assert not described["finished"]
    assert 0 < described["steps"] <= len(steps)
    assert stages(directory, *changes) == made("train", "catalog", "plot")
    lines = (directory / "run" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2, 2]


def test_a_training_is_finished_when_its_last_line_is_written(directory, monkeypatch):
    validate, run = Trainer.validate, directory / "run"

    def last_killed(trainer, *, pixels, precision):
        return validate(trainer, pixels=pixels, precision=precision) if pixels else killed()

    forget(directory, "run", "figures")
    is_killed(monkeypatch, Trainer, "validate", last_killed, directory)
    assert not json.loads((run / "model.json").read_text())["finished"]
    assert stages(directory) == made("train", "catalog", "plot")
    assert json.loads((run / "model.json").read_text())["finished"]
    assert len((run / "metrics.jsonl").read_text().splitlines()) == 2


def test_killed_pictures_are_drawn_again(directory, monkeypatch):
    shutil.rmtree(directory / "run" / "figures")
    is_killed(monkeypatch, figures, "plot_run", killed, directory)
    assert stages(directory) == made("plot")
    assert stages(directory) == made()


def test_a_folder_that_holds_the_output_does_not_take_in_its_pictures(tmp_path, undrawn):
    rng = np.random.default_rng(0)
    for number in range(12):
        Image.fromarray(rng.integers(0, 255, (64, 64, 3), np.uint8)).save(tmp_path / f"{number}.png")
    redone = stages(tmp_path / "out", "train.batch=4", sources=[tmp_path])
    assert redone == dict.fromkeys(STAGES[1:], True)
    Image.new("RGB", (64, 64)).save(tmp_path / "out" / "figures" / "large.png")
    assert not any(stages(tmp_path / "out", "train.batch=4", sources=[tmp_path]).values())
    Image.new("RGB", (64, 64)).save(tmp_path / "12.png")
    with pytest.raises(FileExistsError, match="stage ingest was done with other sources"):
        stages(tmp_path / "out", "train.batch=4", sources=[tmp_path])


def test_the_folder_of_the_images_can_be_that_of_the_output(tmp_path, undrawn, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for number in range(12):
        Image.fromarray(rng.integers(0, 255, (64, 64, 3), np.uint8)).save(f"{number}.png")
    here = Path(".")
    assert stages(here, "train.batch=4", sources=[here]) == dict.fromkeys(STAGES[1:], True)
    assert len(ImageStore(here / "store")) == 12
    assert not any(stages(here, "train.batch=4", sources=[here]).values())


def test_a_finished_run_can_be_moved_and_copied_whole(directory, tmp_path):
    assert stages(shutil.copytree(directory, tmp_path / "moved")) == made()


def test_a_table_and_a_limit_are_part_of_what_is_compared(tmp_path, undrawn):
    (tmp_path / "in").mkdir()
    rng = np.random.default_rng(0)
    for number in range(12):
        Image.fromarray(rng.integers(0, 255, (64, 64, 3), np.uint8)).save(tmp_path / "in" / f"{number}.png")
    (tmp_path / "t.csv").write_text("id,label\n3,spiral\n")
    given = {"sources": [tmp_path / "in"], "table": tmp_path / "t.csv", "limit": 10}

    def again(**changes):
        return stages(tmp_path / "out", "train.batch=4", **{**given, **changes})

    again(workers=1)
    store = ImageStore(tmp_path / "out" / "store")
    assert len(store) == 10
    assert "spiral" in store.column("table/label")
    assert not any(again(workers=2).values())
    for change in ({"limit": 11}, {"limit": None}, {"table": None}):
        with pytest.raises(FileExistsError, match="stage ingest was done with other sources, table or limit;"):
            again(**change)
    (tmp_path / "t.csv").write_text("id,label\n3,merger\n")
    with pytest.raises(FileExistsError, match="stage ingest was done with other sources, table or limit;"):
        again()


def test_a_recipe_without_survey_needs_sources(tmp_path):
    with pytest.raises(ValueError, match="no SOURCE"):
        list(run_recipe(load_recipe("galaxy-zoo-cpu"), [], tmp_path / "out"))
    assert not (tmp_path / "out").exists()
