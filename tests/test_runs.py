"""The run that is shipped: small, whole, taken by its bare name by every command that takes a run."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

import galvae
from galvae.cli.main import app
from galvae.flags import Flag
from galvae.recipe import load_recipe, recipe_names
from galvae.runs import run_name, run_names, run_path
from galvae.training.run import trained_recipe


def test_a_path_that_is_there_is_taken_before_a_name(tmp_path, monkeypatch):
    assert run_names() == ["sdss-rgb"]
    assert (run_path("sdss-rgb") / "model.safetensors").is_file()
    assert run_path("other") == run_path("./other")
    assert [run_name(run_path(name)) for name in ("sdss-rgb", "a/run")] == ["sdss-rgb", "a/run"]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sdss-rgb").mkdir()
    assert not (run_path("sdss-rgb") / "model.safetensors").exists()


def test_it_is_small_finished_and_made_by_a_shipped_recipe():
    path = run_path("sdss-rgb")
    assert sum(file.stat().st_size for file in path.rglob("*")) < 5e6
    described = json.loads((path / "model.json").read_text())
    assert described["finished"]
    assert described["typical"]["galaxies"] >= 500
    made = trained_recipe(load_recipe("galaxy-zoo-cpu"))
    assert "galaxy-zoo-cpu" in recipe_names()
    assert {name: described["recipe"][name] for name in ("model", "train")} == {
        name: made[name] for name in ("model", "train")
    }
    assert (path / "README.md").is_file()


@pytest.fixture
def ellipses(make_store, tmp_path):
    """A store of four galaxies that lie at 20, 65, 110 and 155 degrees."""
    y, x = np.mgrid[:128, :128] - 63.5
    fields, axes = [], np.radians([20, 65, 110, 155])
    for axis in axes:
        u, v = x * np.cos(axis) + y * np.sin(axis), y * np.cos(axis) - x * np.sin(axis)
        light = np.exp(-np.hypot(u, v / 0.5) / 5)
        fields.append(10 + 180 * light[..., None] * [1.0, 0.85, 0.7])
    return make_store(tmp_path / "store", np.array(fields).astype(np.uint8)), np.degrees(axes)


def test_a_first_catalog_by_its_name(ellipses, tmp_path):
    store, axes = ellipses
    arguments = ["catalog", "sdss-rgb", str(store.path), "-o", str(tmp_path / "c.ecsv"), "-q"]
    assert CliRunner().invoke(app, arguments, catch_exceptions=False).exit_code == 0
    catalog = galvae.read_catalog(tmp_path / "c.ecsv")
    off = (catalog["orientation"].value - axes + 90) % 180 - 90
    assert np.abs(off).max() < 0.5
    assert np.abs(catalog["dx"].value).max() < 0.1
    assert not (catalog["flags"] & (Flag.TRAINED_ON | Flag.NO_MOMENTS | Flag.OFF_CENTRE)).any()


def test_info_and_python_know_it_too():
    result = CliRunner().invoke(app, ["info", "sdss-rgb", "--json"], catch_exceptions=False)
    assert result.exit_code == 0
    assert json.loads(result.stdout)["what"] == "run"
    assert galvae.load("sdss-rgb").window == 64
