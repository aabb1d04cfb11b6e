"""What commands print: a result on standard output, as text or as JSON; progress on standard error, none with -q."""

import json
import shutil

import numpy as np
import pytest

from galvae.catalog import read_catalog
from galvae.cli.main import app, run
from galvae.cli.options import json_text


def galvae(capsys, *words):
    with pytest.raises(SystemExit) as ended:
        run([str(word) for word in words])
    out, err = capsys.readouterr()
    assert ended.value.code == 0, err
    return out, err


def test_every_command_has_json_and_those_that_write_have_overwrite():
    commands = {command.callback.__name__: command.callback for command in app.registered_commands}
    commands |= {
        c.callback.__name__: c.callback
        for group in app.registered_groups
        for c in group.typer_instance.registered_commands
    }
    for name, command in commands.items():
        assert "as_json" in command.__annotations__, name
        if "output" in command.__annotations__:
            assert {"overwrite", "quiet"} <= set(command.__annotations__), name
        if "run" in command.__annotations__:
            assert "device" in command.__annotations__, name
    assert len(commands) == 19


def test_json_has_null_for_what_is_no_number():
    assert json_text({"a": [float("nan"), float("inf"), 1.5]}) == '{"a": [null, null, 1.5]}'


def test_a_survey_is_told_of_in_text_and_as_json(capsys, tmp_path):
    words = ["simulate", "-n", 3, "--recipe", "smoke", "-q", "--workers", 1]
    text, err = galvae(capsys, *words, "-o", tmp_path / "text")
    assert err == ""
    assert text.splitlines()[0] == str(tmp_path / "text" / "truth.ecsv")
    done = json.loads(galvae(capsys, *words, "-o", tmp_path / "json", "--json")[0])
    assert done["survey"] == str(tmp_path / "json")
    assert done["galaxies"] == sum(done["kinds"].values()) == 3
    low, high = done["r_mag"]
    assert f"r = {low:.1f} to {high:.1f} mag" in text


def test_pictures_are_told_of(trained, store, capsys, tmp_path):
    first, second = store.column("id")[:2]
    for words, shape in (
        (["sample", trained, "-n", 5, "--size", 8], (5, 8, 8, 3)),
        (["interpolate", trained, store.path, first, second, "--steps", 3], (3, 16, 16, 3)),
    ):
        output = tmp_path / f"{words[0]}.npy"
        words += ["--device", "cpu", "-q"]
        assert galvae(capsys, *words, "-o", output) == (f"{output}\n", "")
        assert np.load(output).shape == shape
        done = json.loads(galvae(capsys, *words, "-o", output, "--overwrite", "--json")[0])
        assert done == {"output": str(output), "images": shape[0], "size": shape[1]}


def test_figures_are_told_of(trained, capsys, tmp_path):
    names = [str(tmp_path / "figures" / f"{name}.png") for name in ("curves", "prior")]
    text, err = galvae(capsys, "plot", trained, "-o", tmp_path / "figures", "-q", "--device", "cpu")
    assert (text.split(), err) == (names, "")
    out, _ = galvae(capsys, "plot", trained, "-o", tmp_path / "figures", "--overwrite", "--json")
    assert json.loads(out) == [{"figure": name} for name in names]


def test_a_catalog_needs_of_the_runs_recipe_its_own_table_only(trained, store, capsys, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    text = (run / "recipe.toml").read_text()
    (run / "recipe.toml").write_text(text.replace("[train]", "[train]\nfuture = 1").replace("looks = 2", "looks = 3"))
    words = ["catalog", run, store.path, "-q", "--device", "cpu", "-o"]
    galvae(capsys, *words, tmp_path / "a.ecsv")
    assert read_catalog(tmp_path / "a.ecsv").meta["catalog"]["looks"] == 3
    galvae(capsys, *words, tmp_path / "b.ecsv", "--set", "catalog.looks=2")
    assert read_catalog(tmp_path / "b.ecsv").meta["catalog"]["looks"] == 2


def test_recipes_are_told_of(capsys):
    recipes = {found["name"]: found["about"] for found in json.loads(galvae(capsys, "recipe", "list", "--json")[0])}
    text = galvae(capsys, "recipe", "list")[0].splitlines()
    assert [line.split(maxsplit=1) for line in text] == [list(pair) for pair in recipes.items()]
    shown = json.loads(galvae(capsys, "recipe", "show", "smoke", "--json")[0])
    assert (shown["about"], shown["ingest"]["window"]) == (recipes["smoke"], 64)
    place = galvae(capsys, "recipe", "path", "smoke")[0].strip()
    assert json.loads(galvae(capsys, "recipe", "path", "smoke", "--json")[0]) == {"name": "smoke", "path": place}
    with open(place) as file:
        assert galvae(capsys, "recipe", "show", "smoke")[0] == file.read()


@pytest.mark.parametrize(
    ("likelihood", "name"), [("bernoulli", "pseudo-ELBO"), ("continuous-bernoulli", "ELBO"), ("gaussian", "ELBO")]
)
def test_an_elbo_is_called_what_it_is(likelihood, name, store, tiny, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("galvae.cli.train._draw", lambda *_: None)
    words = ["--recipe", tiny, "--device", "cpu", "--max-steps", 1, "-q", "--set", f"model.likelihood={likelihood}"]
    text, err = galvae(capsys, "train", store.path, "-o", tmp_path / "run", *words)
    assert err == ""
    assert f"1 steps, {name} of galaxies held out" in text
    told = json.loads(galvae(capsys, "info", tmp_path / "run", "--json")[0])
    assert {"ELBO", "pseudo-ELBO"} & set(told) == {name}
