"""A trained run, for commands that take one."""

import pytest
import torch

from galvae.training.fit import fit


@pytest.fixture(scope="session")
def trained(store, tiny_recipe, tmp_path_factory):
    """A run folder without figures."""
    run = tmp_path_factory.mktemp("trained") / "run"
    fit(store, tiny_recipe(), run, device=torch.device("cpu"), quiet=True)
    return run


@pytest.fixture
def tiny(tiny_recipe, tmp_path):
    """The tiny recipe as a file."""
    path = tmp_path / "tiny.toml"
    path.write_text(tiny_recipe().to_toml())
    return path
