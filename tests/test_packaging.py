"""A wheel and an editable install both find the shipped recipes and the catalog's contract."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ASK = (
    "import galvae, galvae.recipe as r, galvae.catalog as c;"
    "print(galvae.__file__); print(*r.recipe_names()); print(len(c.contract())); print(r.load_recipe('demo').about)"
)


PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check"]


def ask(site: Path, cwd: Path) -> list[str]:
    """What galvae says of itself when `site` is the folder of installed packages, before those of the tests.

    Without the .pth files of the latter, which may lead to another installation of galvae.
    """
    others = [sysconfig.get_path(name) for name in ("purelib", "platlib")]
    code = f"import site, sys; site.addsitedir({str(site)!r}); sys.path += {others!r};{ASK}"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-S", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def install(site: Path, *what: str) -> None:
    command = [*PIP, "install", *what, "--no-deps", "--quiet", "--target", str(site)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def editable(tmp_path_factory):
    """What an editable install says of itself."""
    pytest.importorskip("hatchling", reason="building without network needs hatchling here")
    folder = tmp_path_factory.mktemp("editable")
    install(folder / "site", "--editable", str(ROOT), "--no-build-isolation")
    return ask(folder / "site", folder)


def test_an_editable_install_finds_its_data(editable):
    where, names, columns, about = editable
    assert Path(where).parents[1] == ROOT
    assert "paper/galaxy-zoo" in names
    assert int(columns) > 20
    assert about


def test_a_wheel_finds_its_data(editable, tmp_path):
    build = [*PIP, "wheel", str(ROOT), "--no-deps", "--no-build-isolation", "--quiet", "--wheel-dir", str(tmp_path)]
    done = subprocess.run(build, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    site = tmp_path / "site"
    install(site, str(next(tmp_path.glob("galvae-*.whl"))))
    where, *told = ask(site, tmp_path)
    assert Path(where).parents[1] == site
    assert told == editable[1:]
    assert not (site / "pipelines").exists()
    assert not (site / "catalogs").exists()
