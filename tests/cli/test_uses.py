"""``galvae similar``, ``outliers`` and ``probe`` as a user types them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table
from PIL import Image

from galvae.catalog import read_catalog, write_catalog
from galvae.cli.main import run
from galvae.inference import sheets
from galvae.tableio import read_table
from galvae.uses.figures import sheet

WITHOUT_TORCH = """
import json
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise AssertionError(f"{name} is imported")
sys.meta_path.insert(0, Block())
from galvae.cli.main import run
for words in json.loads(sys.argv[1]):
    try:
        run(words)
    except SystemExit as ended:
        assert not ended.code, words
    print(words[0], "is done")
"""


@pytest.fixture(scope="module")
def folder(store, make_catalog, tmp_path_factory):
    """A catalog of the tiny store, one galaxy of it without content, and labels of two kinds that z tells apart."""
    folder, rng = tmp_path_factory.mktemp("uses"), np.random.default_rng(0)
    count = len(store)
    z = rng.normal(size=(count, 3))
    kind = np.where(np.arange(count) % 3, "disk", "round")
    z[kind == "disk", 0] += 7
    z[59] = np.nan
    columns = {
        "theta": rng.uniform(0, 360, count),
        "axis_ratio": rng.uniform(0.3, 1, count),
        "scale": np.full(count, 7.5),
    }
    catalog = make_catalog(z, meta={"store_digest": store.digest}, id=store.column("id"), **columns)
    write_catalog(catalog, folder / "c.fits")
    Table({"objid": store.column("id"), "kind": kind}).write(folder / "labels.csv")
    return folder


def galvae(capsys, *words, code=0):
    with pytest.raises(SystemExit) as ended:
        run([str(word) for word in words])
    said = capsys.readouterr()
    assert ended.value.code == code, said.err
    return said.out, said.err


@pytest.mark.parametrize("ending", [".ecsv", ".fits", ".vot", ".parquet", ".h5"])
def test_the_nearest_are_listed_and_written(folder, capsys, tmp_path, ending):
    output = tmp_path / f"near{ending}"
    text, err = galvae(capsys, "similar", folder / "c.fits", 1003, "-k", 4, "-o", output)
    assert err.splitlines()[-1].endswith("1 galaxies have no content and are left out")
    lines = text.splitlines()
    assert lines[0].split() == ["rank", "id", "distance", "apart", "flags"]
    assert lines[-1] == "apart: in errors of z, root mean square; two exposures of one galaxy are about 1 apart."
    found = read_table(output)
    assert [line.split()[:2] for line in lines[1:5]] == [[str(r), str(i)] for r, i in found.iterrows("rank", "id")]
    assert found.meta["query"] == "1003"
    assert "distance in z" in found["distance"].description
    assert str(found["ra"].unit) == "deg"
    told = json.loads(galvae(capsys, "similar", folder / "c.fits", 1003, "-k", 4, "--json", "-q")[0])
    assert [row["id"] for row in told["similar"]] == found["id"].tolist()
    assert (told["latents"], told["left_out"], told["similar"][0]["ra"]) == (3, 1, None)


def test_the_most_unusual_are_listed_and_written(folder, capsys, tmp_path):
    output = tmp_path / "odd.ecsv"
    text, _ = galvae(capsys, "outliers", folder / "c.fits", "-k", 3, "-o", output, "-q")
    assert text.splitlines()[0].split()[:4] == ["rank", "id", "rarity", "why"]
    found = read_table(output)
    told = json.loads(galvae(capsys, "outliers", folder / "c.fits", "-k", 3, "--json", "-q")[0])
    assert [row["id"] for row in told["outliers"]] == found["id"].tolist()
    assert told["galaxies"] == 59


def test_rows_of_one_identifier_are_told(folder, capsys, tmp_path):
    catalog = read_catalog(folder / "c.fits")
    catalog["id"][1] = catalog["id"][0]
    write_catalog(catalog, tmp_path / "twice.fits")
    _, err = galvae(capsys, "outliers", tmp_path / "twice.fits", "-k", 3)
    assert err.splitlines()[0] == "1 rows have the identifier of one before, which counts; they are left out"


def test_a_label_is_probed(folder, capsys, tmp_path):
    words = ["probe", folder / "c.fits", folder / "labels.csv", "--label", "kind", "-q"]
    text, err = galvae(capsys, *words, "-o", tmp_path / "out")
    assert err == ""
    assert text.splitlines()[0] == "kind of 59 galaxies: disk 39, round 20; by chance 0.500"
    assert "axis_ratio" in text.splitlines()[1]
    kept = json.loads((tmp_path / "out" / "probe.json").read_text())
    assert kept == json.loads(galvae(capsys, *words, "--json")[0])
    assert kept["z"]["score"] > 0.9
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["confusion.png", "learning.png", "probe.json"]


@pytest.mark.parametrize(
    ("words", "galaxies", "columns"),
    [
        (["similar", "c.fits", "1003", "-k", "5"], 6, 6),
        (["outliers", "c.fits", "-k", "10"], 10, 8),
        (["probe", "c.fits", "labels.csv", "--label", "kind"], 16, 8),
    ],
)
def test_each_draws_its_galaxies(folder, store, capsys, tmp_path, words, galaxies, columns, monkeypatch):
    drawn = {}

    def drawing(images, titles, **told):
        drawn.update(images=images, titles=titles, **told)
        return sheet(images, titles, **told)

    monkeypatch.setattr(sheets, "sheet", drawing)
    words = [folder / word if "." in word else word for word in words]
    galvae(capsys, *words, "--store", store.path, "--sheet", tmp_path / "s.png", "-q")
    with Image.open(tmp_path / "s.png") as picture:
        assert picture.width > 500
    assert drawn["images"].shape == (galaxies, 16, 16, 3)
    assert min(drawn["columns"], galaxies) == columns
    if words[0] == "similar":
        assert drawn["titles"][0] == "1003\nasked about"
    assert "already exists" in galvae(
        capsys, *words, "--store", store.path, "--sheet", tmp_path / "s.png", "-q", code=2
    )[1]  # fmt: skip


@pytest.mark.parametrize("words", [["similar", "c.fits", "1003"], ["outliers", "c.fits"]])
def test_another_store_is_refused(folder, make_store, ellipses, capsys, tmp_path, words):
    other = make_store(tmp_path / "other", ellipses(3, seed=1))
    words = [folder / word if "." in word else word for word in words]
    _, err = galvae(capsys, *words, "--store", other.path, "--sheet", tmp_path / "s.png", code=2)
    assert err.count("\n") == 1
    assert "is not the store that the catalog was made of" in err
    assert not (tmp_path / "s.png").exists()


def test_nothing_of_this_needs_torch(folder, tmp_path):
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    words = (
        ["similar", "c.fits", "1003"],
        ["outliers", "c.fits"],
        ["probe", "c.fits", "labels.csv", "--label", "kind", "-o", str(tmp_path / "out")],
    )
    command = [sys.executable, "-c", WITHOUT_TORCH, json.dumps(words)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert all(f"{name} is done" in done.stdout for name, *_ in words)
