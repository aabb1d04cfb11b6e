"""`galvae run`: the stages in order, and only those whose inputs or settings have changed."""

import pytest

from galvae.catalog import check_catalog, read_catalog
from galvae.pipeline import run_recipe
from galvae.recipe import load_recipe

TINY = ["simulate.galaxies=24", "train.epochs=1", "catalog.samples=2"]


def stages(directory, *changes):
    recipe = load_recipe("smoke", [*TINY, *changes])
    return {stage: made for stage, _, made in run_recipe(recipe, [], directory, device="cpu", quiet=True)}


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    directory = tmp_path_factory.mktemp("run")
    assert stages(directory) == dict.fromkeys(["simulate", "ingest", "train", "catalog", "plot"], True)
    return directory


def test_the_whole_run_makes_a_catalog_and_pictures(directory):
    catalog = read_catalog(directory / "catalog.ecsv")
    check_catalog(catalog)
    assert len(catalog) == 24
    assert catalog.meta["recipe"]["train"]["epochs"] == 1
    assert {"curves.png", "reconstructions.png"} <= {path.name for path in (directory / "figures").glob("*.png")}


def test_unchanged_stages_are_skipped(directory):
    assert not any(stages(directory).values())


def test_a_changed_setting_redoes_what_depends_on_it(directory):
    made = stages(directory, "catalog.samples=3")
    assert made == {"simulate": False, "ingest": False, "train": False, "catalog": True, "plot": False}
    made = stages(directory, "catalog.samples=3", "train.seed=1")
    assert made == {"simulate": False, "ingest": False, "train": True, "catalog": True, "plot": True}


def test_a_recipe_without_survey_needs_sources(tmp_path):
    with pytest.raises(ValueError, match="no SOURCE"):
        list(run_recipe(load_recipe("galaxy-zoo-cpu"), [], tmp_path / "out"))
    assert not (tmp_path / "out").exists()
