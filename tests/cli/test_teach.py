"""``galvae winding``: a run is taught from labels, its catalogs then know; what does not fit is one line."""

import json
import shutil

import numpy as np
import pytest
from astropy.table import Table

from galvae.catalog import read_catalog
from galvae.cli.main import run as galvae
from galvae.training import winding as module


@pytest.fixture
def run(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "run")


@pytest.fixture
def labels(store, tmp_path):
    """Letters without meaning: what is learned of them does not matter here."""
    ids = store.column("id")
    kinds = np.where(np.arange(len(ids)) % 5 == 4, "none", np.where(np.arange(len(ids)) % 2, "S", "Z"))
    Table({"id": ids, "kind": kinds}).write(tmp_path / "labels.csv")
    return tmp_path / "labels.csv"


@pytest.fixture
def typed(capsys, monkeypatch):
    monkeypatch.setattr(module.learn_winding, "__kwdefaults__", {**module.learn_winding.__kwdefaults__, "epochs": 1})

    def call(*words):
        with pytest.raises(SystemExit) as ended:
            galvae([str(word) for word in (*words, "--device", "cpu", "-q")])
        return ended.value.code, *capsys.readouterr()

    return call


def test_a_run_is_taught_and_its_catalogs_say_so(run, store, make_store, labels, typed, tmp_path):
    typed("catalog", run, store.path, "-o", tmp_path / "before.fits", "--set", "catalog.looks=2")
    before = read_catalog(tmp_path / "before.fits")
    assert np.isnan(before["winding"]).all()
    words = ["winding", run, store.path, "--table", labels, "--label", "kind", "--s", "S", "--z", "Z", "--json"]
    code, out, _ = typed(*words, "--armless", "none")
    assert code == 0
    said = json.loads(out)
    assert (said["galaxies"], said["armless_galaxies"]) == (48, 12)
    assert 0 <= said["right"] <= 1
    code, _, err = typed(*words)
    assert code == 2
    assert "--overwrite" in err
    assert "add --overwrite to teach it anew" in err

    mirrored = make_store(tmp_path / "mirrored", store.images(slice(None))[:, :, ::-1], ids=store.column("id"))
    found = {}
    for name, images in (("there", store), ("mirrored", mirrored)):
        typed("catalog", run, images.path, "-o", tmp_path / f"{name}.fits", "--set", "catalog.looks=2")
        found[name] = np.asarray(read_catalog(tmp_path / f"{name}.fits")["winding"])
    assert np.ptp(found["there"]) > 0
    np.testing.assert_allclose(found["mirrored"], 1 - found["there"], atol=1e-3)
    assert read_catalog(tmp_path / "there.fits").meta["winding_digest"] != before.meta["winding_digest"] == ""


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--label", "kind", "--s", "S", "--z", "left"], "0 galaxies are labelled 'left'"),
        (["--label", "kind", "--s", "S", "--z", "none"], "12 galaxies are labelled 'none'"),
        (["--label", "shape", "--s", "S", "--z", "Z"], "no column shape"),
    ],
)
def test_labels_that_teach_nothing_are_one_line(run, store, labels, typed, words, says):
    code, _, err = typed("winding", run, store.path, "--table", labels, *words)
    assert code == 2
    assert err.startswith("galvae: error: ")
    assert says in err
    assert err.count("\n") == 1
    assert not (run / module.WINDING).exists()
