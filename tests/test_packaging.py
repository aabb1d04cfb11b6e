"""A wheel and an editable install both find the shipped recipes and the catalog's contract."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ASK = (
    "import galvae, galvae.recipe as r, galvae.catalog as c;"
    "print(galvae.__file__); print(*r.recipe_names()); print(len(c.contract())); print(r.load_recipe('demo').about)"
)


def ask(folder: Path, cwd: Path) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", ASK],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(folder)},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_source_checkout_finds_its_data(tmp_path):
    where, names, columns, about = ask(ROOT, tmp_path)
    assert Path(where).parents[1] == ROOT
    assert "paper/galaxy-zoo" in names
    assert int(columns) > 20
    assert about


def test_a_wheel_finds_its_data(tmp_path):
    pytest.importorskip("hatchling", reason="building a wheel without network needs hatchling here")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    build = [*pip, "wheel", str(ROOT), "--no-deps", "--no-build-isolation", "--quiet", "--wheel-dir", str(tmp_path)]
    done = subprocess.run(build, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    wheel = next(tmp_path.glob("galvae-*.whl"))
    site = tmp_path / "site"
    install = [*pip, "install", str(wheel), "--no-deps", "--quiet", "--target", str(site)]
    done = subprocess.run(install, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    where, *told = ask(site, tmp_path)
    assert Path(where).parents[1] == site
    assert told == ask(ROOT, tmp_path)[1:]
    assert not (site / "pipelines").exists()
    assert not (site / "catalogs").exists()
