"""Runs that are unfinished, foreign or of another store than theirs: said in one line, not catalogued in silence."""

import json
import math
import re
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from galvae.cli.main import app
from galvae.inference.checks import check_fits
from galvae.inference.settings import CatalogSettings
from galvae.inference.tables import catalog_parts
from galvae.info import describe
from galvae.training.checkpoint import DESCRIPTION, MODEL, load_model, load_tensors, save_tensors
from galvae.training.fit import fit


@pytest.fixture(scope="module")
def trained(store, tiny_recipe, tmp_path_factory):
    path = tmp_path_factory.mktemp("checks") / "run"
    fit(store, tiny_recipe(), path, device=torch.device("cpu"), quiet=True)
    return path


@pytest.fixture
def run(trained, tmp_path):
    """A copy to spoil."""
    return shutil.copytree(trained, tmp_path / "run")


def change(run, **changes):
    description = json.loads((run / DESCRIPTION).read_text())
    (run / DESCRIPTION).write_text(json.dumps({**description, **changes}))


def test_a_run_stopped_early_is_said_by_every_command(run, store, tmp_path):
    change(run, finished=False, steps=7)
    out = str(tmp_path / "out")
    for arguments in (
        ["sample", str(run), "-o", f"{out}.png"],
        ["verify", str(run), str(store.path), "-q"],
        ["catalog", str(run), str(store.path), "-o", f"{out}.ecsv", "-q"],
        ["interpolate", str(run), str(store.path), "1000", "1001", "-o", f"{out}.npy"],
    ):
        result = CliRunner().invoke(app, arguments, catch_exceptions=False)
        assert result.exit_code == 0
        assert [line for line in result.stderr.splitlines() if "decodes" not in line] == [
            f"warning: {run}: its training stopped at step 7; go on with galvae train --resume"
        ], arguments


def test_a_catalog_carries_how_far_its_run_was_trained(run, store, capsys):
    meta = next(catalog_parts(run, store, CatalogSettings(looks=2), quiet=True)).meta
    assert meta["finished"] is True
    assert meta["steps"] == json.loads((run / DESCRIPTION).read_text())["steps"] > 0
    assert "stopped" not in capsys.readouterr().err
    change(run, finished=False, steps=0)
    meta = next(catalog_parts(run, store, CatalogSettings(looks=2), quiet=True)).meta
    assert (meta["finished"], meta["steps"]) == (False, 0)


OTHER = {"field": 40, "oversample": 2, "stretch": 5.0, "Q": 8.0, "band_scales": [1, 1, 1], "bands": ["i"]}
PICTURES = {"bands": ["", "", ""], "stretch": [math.nan, math.nan, math.nan]}
GREY = {"bands": ["", "r", ""], "stretch": [math.nan, 0.5, 0.5]}
COLOURS = {"bands": ["", "i,r,g", "r"], "stretch": [math.nan, 0.5, 0.5]}


@pytest.mark.parametrize(("made", "deciding"), [(PICTURES, 2), (GREY, 4), (COLOURS, 6)])
def test_a_store_of_another_ingest_is_warned_of_where_it_matters(
    made, deciding, run, make_store, ellipses, tmp_path, capsys
):
    """Colours of pictures are ready-made: no stretch decides them, and no bands those of grey galaxies."""
    model = load_model(run)
    for number, (key, value) in enumerate(OTHER.items()):
        columns = {name: np.array(values) for name, values in made.items()}
        check_fits(
            *model, make_store(tmp_path / key, ellipses(3, side=40), ingest={"field": 28, key: value}, **columns)
        )
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == (number < deciding), key
        assert all(f": {key} = {value} (the run: " in line for line in lines)


def test_pixels_of_another_kind_are_refused(run, store, make_store, tmp_path):
    vae, description = load_model(run)
    floats = make_store(tmp_path / "s", store.images(slice(None)).astype(np.float32))
    with pytest.raises(ValueError, match=r"ingest\.pixels = normalised, but the run was trained on colour ones"):
        check_fits(vae, description, floats)


def test_keys_that_say_where_things_are_may_differ(run, make_store, ellipses, tmp_path, capsys):
    ingest = {"images": "pixels", "id_column": "name", "crop": "fixed", "seed": 4}
    check_fits(*load_model(run), make_store(tmp_path / "store", ellipses(3), ingest=ingest))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("command", ["verify", "catalog", "plot", "interpolate"])
def test_every_command_refuses_a_store_that_does_not_fit(command, run, make_store, ellipses, tmp_path):
    small = make_store(tmp_path / "store", ellipses(3, side=12))
    rest = {
        "catalog": ["-o", str(tmp_path / "out.ecsv")],
        "plot": ["-o", str(tmp_path / "figures")],
        "interpolate": ["1000", "1001", "-o", str(tmp_path / "out.png")],
        "verify": [],
    }
    with pytest.raises(ValueError, match=r"fields of 12 pixels .* ingest with the recipe of the run"):
        CliRunner().invoke(app, [command, str(run), str(small.path), *rest[command]], catch_exceptions=False)


def said(use, *arguments):
    """What was wrong, '' if nothing was; anything else than a ValueError passes."""
    try:
        use(*arguments)
    except ValueError as error:
        return str(error)
    return ""


def test_a_foreign_description_is_one_line(run, spoiled):
    """Whatever is gone or of another kind: it is said, or nothing rests on it."""
    path = run / DESCRIPTION
    description = json.loads(path.read_text())
    texts = {"empty": "", "list": "[]", "number": "3", "cut": "{", "null": "null", "latin": b'{"window\xe9": 1}'}
    texts |= {where: json.dumps(value) for where, value in spoiled(description)}
    silent = set()
    for where, text in texts.items():
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        wrong = said(load_model, run)
        assert re.fullmatch(r".*model\.(json|safetensors): .*; train again|", wrong), (where, wrong)
        silent |= {where} if not wrong else set()
    assert {where for where in silent if re.fullmatch(r"\w+ gone", where)} == {
        "galvae gone",
        "date gone",
        "precision gone",
    }


def test_a_foreign_network_is_one_line(run):
    whole = (run / MODEL).read_bytes()
    random = np.random.default_rng(0)
    for length in random.integers(0, len(whole), 20):
        (run / MODEL).write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"model\.safetensors: not a whole safetensors file .*; train again"):
            load_model(run)
    (run / MODEL).write_bytes(whole)
    tensors, _ = load_tensors(run / MODEL)
    for metadata in (None, {"format": "pt"}, {"galvae": "{"}):
        save_file(tensors, run / MODEL, metadata)
        with pytest.raises(ValueError, match=r"model\.safetensors: not a whole safetensors file"):
            load_model(run)
    save_tensors(run / MODEL, {**tensors, "trained_on": torch.zeros(3)})
    with pytest.raises(ValueError, match=r"model\.safetensors: holds another network"):
        load_model(run)


@pytest.mark.parametrize("text", ["{}", "[]", "{", '{"model": 3}'])
@pytest.mark.parametrize("name", ["model.json", "store.json"])
def test_info_on_a_foreign_folder_is_one_line(name, text, tmp_path):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=tmp_path.name) as caught:
        describe(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_run_that_forgot_what_it_was_trained_on_is_refused(run):
    tensors, metadata = load_tensors(run / MODEL)
    del tensors["trained_on"]
    save_tensors(run / MODEL, tensors, metadata)
    with pytest.raises(ValueError, match=r"model\.safetensors: holds another network"):
        load_model(run)


def test_arrays_larger_than_the_fields_trained_on_need_scaling(run, ellipses):
    from galvae.inference.model import load

    model = load(run)
    assert len(model.encode(ellipses(2))) == 2
    with pytest.raises(ValueError, match="images of 56 pixels, but the run was trained on whole cutouts of 28"):
        model.encode(ellipses(2, side=56))
    fine = model.encode(np.repeat(np.repeat(ellipses(2), 2, 1), 2, 2), oversample=2)
    assert fine.z.shape == (2, 3)


@pytest.mark.parametrize("command", ["catalog", "verify"])
def test_a_run_that_decodes_nothing_measurable_is_warned_of(command, run, store, tmp_path):
    """All its galaxies are flat."""
    tensors, metadata = load_tensors(run / MODEL)
    flat = {name: 0 * value if name.startswith("generator") else value for name, value in tensors.items()}
    save_tensors(run / MODEL, flat, metadata)
    output = ["-o", str(tmp_path / "c.ecsv")] if command == "catalog" else []
    said = CliRunner().invoke(app, [command, str(run), str(store.path), "-q", *output], catch_exceptions=False).stderr
    assert re.fullmatch(rf"warning: {run} decodes (\d+) of \1 galaxies to images without measurable moments.*\n", said)
