"""``galvae join`` as a user types it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from galvae.catalog import build_catalog, contract, read_catalog, write_catalog
from galvae.cli.join import join

IDS = 587722981736120347 + np.arange(4)


@pytest.fixture
def folder(tmp_path):
    columns = {"id": IDS, "flags": np.zeros(4, np.int32)}
    for row in contract():
        if row["name"] not in columns and row["when"] != "scale":
            columns[row["name"]] = np.zeros((4, {"Z": 2, "10": 10}[row["shape"]]) if row["shape"] else 4)
    columns |= {"ra": np.array([10.0, 20, 30, 40]), "dec": np.array([1.0, 2, 3, 4])}
    write_catalog(build_catalog(columns, meta={}), tmp_path / "c.fits")
    rows = [f"{IDS[0]},10.0,1.0,a", f"{IDS[0]},10.0001,1.0,b", f"{IDS[1]},20.0,2.0,c", "7,1.0,1.0,d"]
    (tmp_path / "o.csv").write_text("objid,ra,dec,kind\n" + "\n".join(rows) + "\n")
    return tmp_path


def run(*arguments):
    app = typer.Typer()
    app.command()(join)
    return CliRunner().invoke(app, [str(a) for a in arguments])


def test_join_by_identifier(folder):
    done = run(folder / "c.fits", folder / "o.csv", "-o", folder / "j.ecsv", "--on", "objid")
    assert done.exit_code == 0
    assert done.stdout == f"{folder / 'j.ecsv'}\n"
    assert "matched 2 of 4 galaxies of the catalog and 3 of 4 rows of o.csv: 3 rows" in done.stderr
    assert "1 galaxies match several rows" in done.stderr
    assert "ra -> ra_other, dec -> dec_other" in done.stderr
    joined = read_catalog(folder / "j.ecsv")
    assert joined["kind"].tolist() == ["a", "b", "c"]
    assert joined["objid"].tolist() == joined["id"].tolist() == [IDS[0], IDS[0], IDS[1]]


def test_join_by_separation_as_json(folder):
    done = run(folder / "c.fits", folder / "o.csv", "-o", folder / "j.vot", "--radius", "0.5", "--json", "-q")
    assert done.exit_code == 0
    assert done.stderr == ""
    said = json.loads(done.stdout)
    assert (said["output"], said["matched_rows"], said["catalog_unmatched"]) == (str(folder / "j.vot"), 2, 2)
    assert read_catalog(folder / "j.vot")["kind"].tolist() == ["a", "c"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["c.fits", "o.csv", "-o", "j.fits"], "either --on COLUMN or --radius ARCSEC"),
        (["c.fits", "o.csv", "-o", "j.fits", "--on", "objid", "--radius", "1"], "not both"),
        (["c.fits", "o.csv", "-o", "j.fits", "--on", "objd"], "did you mean objid?"),
        (["c.fits", "o.csv", "-o", "j.fits", "--on", "kind"], "no identifier of the catalog"),
        (["c.fits", "o.csv", "-o", "j.fits", "--radius", "-1"], "positive number of arcsec"),
        (["c.fits", "o.csv", "-o", "j.csv", "--on", "objid"], "use one of .ecsv"),
        (["c.fits", "o.csv", "-o", "c.fits", "--on", "objid"], "--overwrite"),
        (["c.fits", "gone.csv", "-o", "j.fits", "--on", "objid"], "no such file"),
        (["o.csv", "c.fits", "-o", "j.fits", "--on", "theta"], "the catalog has neither column theta nor id"),
        (["o.fits", "o.csv", "-o", "j.fits", "--on", "objid"], "no such file"),
    ],
)
def test_mistakes_are_one_clear_error_and_leave_nothing(folder, arguments, says):
    before = sorted(folder.iterdir())
    done = run(*[folder / a if "." in a and a[0] != "-" else a for a in arguments])
    assert isinstance(done.exception, ValueError | OSError)
    assert says in str(done.exception)
    assert sorted(folder.iterdir()) == before


def test_join_runs_without_torch_and_ends_with_2_on_mistakes(folder):
    code = "import sys; sys.modules['torch'] = None; from galvae.cli.main import run; run(sys.argv[1:])"
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}

    def galvae(*arguments):
        command = [sys.executable, "-c", code, "join", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, env=environment)

    inputs = folder / "c.fits", folder / "o.csv", "-o", folder / "j.h5"
    assert galvae(*inputs, "--on", "objid").returncode == 0
    again = galvae(*inputs, "--on", "objid")
    assert again.returncode == 2
    assert again.stderr.count("\n") == 1
    assert "already exists" in again.stderr
