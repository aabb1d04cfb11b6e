"""Which recipe is taken where none is named."""

from pathlib import Path

import pytest

from galvae.cli import options


@pytest.mark.parametrize(
    ("driver", "torch", "visible", "recipe"),
    [
        (True, "2.9.1", None, "galaxy-zoo"),
        (True, "2.9.1+cu128", "1", "galaxy-zoo"),
        (True, "2.9.1+cpu", None, "galaxy-zoo-cpu"),
        (True, "2.9.1", "", "galaxy-zoo-cpu"),
        (True, "2.9.1", "-1", "galaxy-zoo-cpu"),
        (False, "2.9.1", None, "galaxy-zoo-cpu"),
    ],
)
def test_the_default_recipe_is_the_one_that_runs_here(driver, torch, visible, recipe, monkeypatch):
    monkeypatch.setattr(options, "version", {"torch": torch}.__getitem__)
    monkeypatch.setattr(Path, "exists", lambda path: driver and str(path) == "/dev/nvidia0")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert options.default_recipe() == recipe
