"""What is on disk: tensors and JSON only, whole or as before."""

import ast
import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import galvae
from galvae.geometry import Pose
from galvae.model.settings import ModelSettings
from galvae.model.vae import SpatialVAE
from galvae.training.checkpoint import (
    MODEL,
    STATE,
    load_model,
    load_state,
    load_tensors,
    save_model,
    save_state,
    save_tensors,
)
from galvae.training.optimizers import optimizers
from galvae.training.settings import TrainSettings

DESCRIPTION = {"recipe": {}, "store": "abc", "steps": 1, "finished": True}


def build(seed=0, **changes):
    torch.manual_seed(seed)
    return SpatialVAE(ModelSettings(latents=3, generator_units=7, encoder_units=9, **changes), window=8, channels=2)


def build_optimizers(vae, name="adam"):
    return optimizers(vae, TrainSettings(optimizer=name, learning_rate=1e-3))


def step(vae, parts):
    vae.zero_grad()
    sum(parameter.square().sum() for parameter in vae.parameters()).backward()
    for part in parts:
        part.step()


def test_others_may_read_a_run_as_they_may_any_file(tmp_path):
    save_model(tmp_path, build(), DESCRIPTION)
    (tmp_path / "any").touch()
    assert len({path.stat().st_mode for path in tmp_path.iterdir()}) == 1


@pytest.mark.parametrize(
    "changes", [{}, {"encoder": "polar", "waves": 5}, {"likelihood": "gaussian", "noise": "learned"}]
)
def test_two_files_are_all_that_inference_needs(tmp_path, changes):
    vae = build(**changes)
    save_model(tmp_path, vae, DESCRIPTION)
    assert {path.name for path in tmp_path.iterdir()} == {"model.safetensors", "model.json"}
    found, description = load_model(tmp_path)
    assert found.settings == vae.settings
    assert (found.window, found.channels, description["store"]) == (8, 2, "abc")
    assert not found.training
    for (name, a), (other, b) in zip(vae.named_parameters(), found.named_parameters(), strict=True):
        assert name == other
        assert torch.equal(a, b)
        assert not b.requires_grad
    pose, content = Pose(torch.ones(2), torch.zeros(2, 2)), torch.ones(2, 3)
    assert torch.equal(found.decode(pose, content), vae.decode(pose, content))
    # Any other program reads them too, and no grid that can be made anew is among them.
    names = load_file(tmp_path / MODEL).keys()
    assert names == {*vae.state_dict(), "trained_on"}
    assert not any("grid" in name for name in names)


@pytest.mark.parametrize("name", ["adam", "muon"])
def test_state_goes_on_exactly(tmp_path, name):
    vae = build(encoder="polar")
    parts = build_optimizers(vae, name)
    step(vae, parts)
    step(vae, parts)
    save_state(tmp_path, vae, parts, {"step": 2, "metrics": [{"elbo": -1.5}]})
    other = build(seed=1, encoder="polar")
    again = build_optimizers(other, name)
    assert load_state(tmp_path, other, again) == {"step": 2, "metrics": [{"elbo": -1.5}]}
    step(vae, parts)
    step(other, again)
    for a, b in zip(vae.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_state_before_the_first_step(tmp_path):
    vae = build()
    save_state(tmp_path, vae, build_optimizers(vae), {"step": 0})
    other = build(seed=1)
    assert load_state(tmp_path, other, build_optimizers(other)) == {"step": 0}
    assert all(torch.equal(a, b) for a, b in zip(vae.parameters(), other.parameters(), strict=True))


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a" / "x.safetensors"
    save_tensors(path, {"x": torch.arange(3)}, {"n": 1})

    def full(*arguments):
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(OSError, match="no space"):
            save_tensors(path, {"x": torch.arange(5)}, {"n": 2})
    tensors, metadata = load_tensors(path)
    assert tensors["x"].tolist() == [0, 1, 2]
    assert metadata == {"n": 1}


def test_what_cannot_be_loaded_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match="no trained run here"):
        load_model(tmp_path)
    vae = build()
    with pytest.raises(FileNotFoundError, match="nothing to resume"):
        load_state(tmp_path, vae, build_optimizers(vae))
    save_state(tmp_path, vae, build_optimizers(vae), {})
    other = build(encoder="polar")
    with pytest.raises(ValueError, match="another model"):
        load_state(tmp_path, other, build_optimizers(other))
    parts = build_optimizers(other, "muon")
    step(other, parts)
    save_state(tmp_path, other, parts, {})
    with pytest.raises(ValueError, match=r"another optimizer; .*recipe\.toml"):
        load_state(tmp_path, other, build_optimizers(other))
    save_state(tmp_path, vae, build_optimizers(vae), {})
    save_model(tmp_path, vae, DESCRIPTION)
    save_tensors(tmp_path / MODEL, {"trained_on": torch.zeros(0, dtype=torch.int64)})
    with pytest.raises(ValueError, match="another network"):
        load_model(tmp_path)
    save_model(tmp_path, vae, DESCRIPTION)
    for name in (MODEL, STATE):
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-9])
    with pytest.raises(ValueError, match=r"model\.safetensors: not a whole safetensors file"):
        load_model(tmp_path)
    with pytest.raises(ValueError, match=r"state\.safetensors: not a whole"):
        load_state(tmp_path, vae, build_optimizers(vae))
    (tmp_path / "model.json").write_text('{"window": 8')
    with pytest.raises(ValueError, match=r"model\.json: "):
        load_model(tmp_path)
    (tmp_path / "model.json").write_text(json.dumps({"window": 8, "channels": 2, "model": {"future": 1}}))
    with pytest.raises(ValueError, match="future"):
        load_model(tmp_path)


def test_nothing_is_unpickled():
    """Neither by torch nor by NumPy nor by itself: a run from elsewhere must not run code."""
    package = Path(galvae.__file__).parent
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                call = ast.unparse(node.func)
                assert call not in ("torch.load", "torch.save", "pickle.load", "pickle.loads", "joblib.load"), path
                assert not any(keyword.arg == "allow_pickle" for keyword in node.keywords), path


def test_what_was_fitted_to_other_measured_latents_is_refused(tmp_path, monkeypatch):
    """Its units would be off, and nothing else would tell; where none are measured it does not matter."""
    plain, measured = build(encoder="polar"), build(encoder="polar", structure=True)
    for vae in (plain, measured):
        save_state(tmp_path, vae, build_optimizers(vae), {})
        save_model(tmp_path, vae, DESCRIPTION)
        load_model(tmp_path)
        load_state(tmp_path, vae, build_optimizers(vae))
    monkeypatch.setattr("galvae.training.checkpoint.REVISION", 10**6)
    with pytest.raises(ValueError, match=r"model\.safetensors: made with revision \d of .*train again"):
        load_model(tmp_path)
    with pytest.raises(ValueError, match=r"state\.safetensors: made with revision \d of .*without --resume"):
        load_state(tmp_path, measured, build_optimizers(measured))
    monkeypatch.undo()
    save_model(tmp_path, plain, DESCRIPTION)
    monkeypatch.setattr("galvae.training.checkpoint.REVISION", 10**6)
    assert not load_model(tmp_path)[0].settings.structure
    monkeypatch.undo()
    save_model(tmp_path, measured, DESCRIPTION)
    save_tensors(tmp_path / MODEL, {**measured.state_dict(), "trained_on": torch.zeros(0, dtype=torch.int64)})
    with pytest.raises(ValueError, match="revision 1"):  # as before there were revisions
        load_model(tmp_path)
