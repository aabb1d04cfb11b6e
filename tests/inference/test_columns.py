"""The catalog of a trained run: in the store's order, whatever the batches, by the contract."""

import json

import h5py
import numpy as np
import pytest
import torch
from test_catalog import assert_same

from galvae.catalog import check_catalog, read_catalog
from galvae.data.split import held_out
from galvae.data.store import part_path
from galvae.flags import Flag
from galvae.inference import catalog, tables
from galvae.inference.catalog import infer_columns, infer_parts
from galvae.inference.settings import CatalogSettings
from galvae.inference.tables import catalog_parts, make_catalog
from galvae.training.checkpoint import load_model
from galvae.training.fit import fit


@pytest.fixture(scope="module")
def runs(store, tiny_recipe, tmp_path_factory):
    """A run of each encoder, so old that it draws something."""
    found = {}
    for encoder in ("mlp", "polar"):
        found[encoder] = tmp_path_factory.mktemp("runs") / encoder
        train = {"epochs": 15, "learning_rate": 1e-2, "save_every": 15}
        recipe = tiny_recipe(model={"encoder": encoder}, train=train)
        fit(store, recipe, found[encoder], device=torch.device("cpu"), quiet=True)
    return found


def inferred(run, store, **changes):
    settings = CatalogSettings(**{"looks": 2, **changes})
    return infer_columns(*load_model(run), store, settings, quiet=True)


@pytest.mark.parametrize(("encoder", "refine"), [("mlp", False), ("polar", False), ("polar", True)])
def test_the_catalog_does_not_depend_on_the_batches(runs, store, encoder, refine):
    whole = inferred(runs[encoder], store, batch=100, refine=refine)
    for batch in (1, 7, 60):
        found = inferred(runs[encoder], store, batch=batch, refine=refine)
        assert found.keys() == whole.keys()
        for name, values in found.items():
            if values.dtype.kind == "f":
                # Sums over a batch of another size round otherwise, in single precision. Where a run that has hardly
                # learned anything is refined, that can decide whether there is a peak to measure at all.
                close = np.isclose(values, whole[name], rtol=1e-2 if refine else 1e-3, atol=1e-3, equal_nan=True)
                assert close.mean() > (0.9 if refine else 0.9999), name
            else:
                assert np.array_equal(values, whole[name]), name


@pytest.mark.parametrize("refine", [False, True])
def test_cores_that_infer_a_batch_each_say_what_one_does(runs, store, refine):
    one = inferred(runs["polar"], store, batch=13, refine=refine)
    torch.set_num_threads(2)
    try:
        two = inferred(runs["polar"], store, batch=13, refine=refine)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
    for name, values in two.items():
        assert np.array_equal(values, one[name], equal_nan=values.dtype.kind == "f"), name


def test_a_trail_is_flagged_whatever_the_run(runs, store, make_store, tmp_path):
    images, ids = store.images(slice(0, 6)).copy(), store.column("id")[:6]
    images[1, :, 6] = images[4, 5] = 255
    crossed = make_store(tmp_path / "store", images, ids=ids)
    for run in runs.values():
        flags = inferred(run, crossed, refine=False)["flags"]
        assert np.flatnonzero(flags & Flag.TRAIL).tolist() == [1, 4]


@pytest.mark.parametrize("kept", [60, 13])
@pytest.mark.parametrize("encoder", ["mlp", "polar"])
def test_a_galaxys_row_is_the_same_in_any_store(runs, store, make_store, tmp_path, encoder, kept):
    """In another order, or among others: its errors rest on noise, and that on its identifier."""
    ids, images = store.column("id"), store.images(slice(None))
    order = np.random.default_rng(1).permutation(len(ids))[:kept]
    shuffled = make_store(tmp_path / "store", images[order], ids=ids[order])
    found, other = (inferred(runs[encoder], one, refine=False) for one in (store, shuffled))
    assert np.array_equal(found["id"], ids)
    assert found.keys() == other.keys()
    for name, values in other.items():
        if values.dtype.kind == "f":
            assert np.allclose(values, found[name][order], rtol=1e-3, atol=1e-3, equal_nan=True), name
        else:
            assert np.array_equal(values, found[name][order]), name
    another = inferred(runs[encoder], make_store(tmp_path / "named", images, ids=ids + 5000), refine=False)
    assert not np.allclose(another["dx_err"], found["dx_err"], rtol=1e-3, equal_nan=True)
    assert np.allclose(another["theta"], found["theta"], rtol=1e-3, atol=1e-3)


def test_exactly_what_was_trained_on_is_flagged(runs, store, make_store, tmp_path):
    ids = store.column("id")
    trained = (inferred(runs["mlp"], store)["flags"] & Flag.TRAINED_ON) != 0
    assert np.array_equal(trained, ~held_out(ids, 0.2, seed=0))
    again = make_store(tmp_path / "again", store.images(slice(20))[::-1], ids=ids[:20])
    assert np.array_equal((inferred(runs["mlp"], again)["flags"] & Flag.TRAINED_ON) != 0, trained[:20])
    other = make_store(tmp_path / "store", store.images(slice(20)), ids=ids[:20] + 5000)
    assert not (inferred(runs["mlp"], other)["flags"] & Flag.TRAINED_ON).any()


def test_the_stores_own_flags_are_kept(runs, store, make_store, tmp_path):
    flags = np.arange(20, dtype=np.int32) % 3
    other = make_store(tmp_path / "store", store.images(slice(20)), flags=flags)
    assert np.array_equal(inferred(runs["mlp"], other)["flags"] & 3, flags)


def test_the_affine_map_carries_everything(runs, store, make_store, tmp_path):
    """Originals 3 times as fine and off by a known place: pixels scale, angles stay, the centre is the cutout's."""
    images = store.images(slice(20))
    affine = np.tile([[3.0, 0, 7.0], [0, 3.0, -4.0]], (20, 1, 1))
    scaled = make_store(
        tmp_path / "store", images, affine=affine, size=np.full((20, 2), 100, np.int32), pixel_scale=np.full(20, 0.4)
    )
    plain = inferred(runs["polar"], make_store(tmp_path / "plain", images))
    found = inferred(runs["polar"], scaled)
    ok = np.isfinite(plain["dx"])
    assert ok.any()
    assert np.allclose(found["x"], 3 * plain["x"] + 7, equal_nan=True)
    assert np.allclose(found["dy"], 3 * plain["y"] - 4 - 49.5, equal_nan=True)
    assert np.allclose(found["dx_err"], 3 * plain["dx_err"], equal_nan=True)
    assert np.allclose(found["scale"], 3 * 7.5)
    assert np.allclose(found["dy_arcsec"], 0.4 * found["dy"], equal_nan=True)
    for name in ("orientation", "orientation_err", "theta", "axis_ratio"):
        assert np.allclose(found[name], plain[name], equal_nan=True), name


def test_the_table_keeps_the_contract(runs, store):
    table = next(catalog_parts(runs["polar"], store, CatalogSettings(looks=2), quiet=True))
    check_catalog(table)
    assert len(table) == len(store)
    assert table["id"].dtype == np.int64
    assert table["z"].shape == (len(store), 3)
    assert np.isnan(table["ra"]).all()
    meta = json.loads(json.dumps(table.meta))
    assert meta["store_digest"] == store.digest
    assert meta["recipe"]["model"]["encoder"] == "polar"
    assert meta["catalog"]["looks"] == 2
    assert len(meta["model_digest"]) == 64
    assert set(meta["versions"]) == {"torch", "astropy", "numpy", "h5py"}


WCS = """CTYPE1  = 'RA---TAN'
CTYPE2  = 'DEC--TAN'
CRVAL1  = {0}
CRVAL2  = 20.0
CRPIX1  = 14.5
CRPIX2  = 14.5
CDELT1  = -1.1E-4
CDELT2  = 1.1E-4"""


@pytest.fixture(scope="module")
def named(store, make_store, tmp_path_factory):
    """Galaxies with and without a place on the sky, named by text of any length."""
    names = np.array([f"{'é' * (row % 5)}{row}" for row in range(60)])
    wcs = np.array([WCS.format(row / 10) if row % 3 else "" for row in range(60)])
    path = tmp_path_factory.mktemp("named") / "store"
    return make_store(path, store.images(slice(None)), ids=names, wcs=wcs, flags=np.arange(60) % 3)


@pytest.fixture(scope="module")
def once():
    """What infers the one run's galaxies, but parts of one size only once: whatever format they are written in."""
    known = {}

    def parts(*given, **options):
        if catalog.ROWS not in known:
            known[catalog.ROWS] = list(infer_parts(*given, **options))
        yield from ((rows, dict(columns)) for rows, columns in known[catalog.ROWS])

    return parts


@pytest.mark.parametrize("ending", [".ecsv", ".fits", ".vot", ".parquet", ".h5"])
@pytest.mark.parametrize("flat", [False, True])
def test_a_catalog_written_in_parts_is_the_one_written_at_once(runs, named, once, tmp_path, monkeypatch, ending, flat):
    """Parts of 7 galaxies of 60."""
    monkeypatch.setattr(tables, "infer_parts", once)
    settings = CatalogSettings(looks=2, batch=7, refine=False)
    found = {}
    for rows in (4096, 7):
        monkeypatch.setattr(catalog, "ROWS", rows)
        path = tmp_path / f"{rows}{ending}"
        told = make_catalog(runs["polar"], named, settings, path, flat=flat, quiet=True)
        found[rows] = read_catalog(path)
        assert told == {"galaxies": 60, "flagged": (found[rows]["flags"] != 0).sum()}
        assert "date" in found[rows].meta
        found[rows].meta["date"] = "today"
    assert np.isfinite(found[7]["ra"]).sum() == 40
    assert found[7]["id"].tolist() == named.column("id").tolist()
    assert_same(found[7], found[4096])
    parts = list(catalog_parts(runs["polar"], named, settings, quiet=True))
    assert list(map(len, parts)) == [7] * 8 + [4]


def test_a_store_that_is_damaged_further_on_leaves_the_catalog_that_was_there(
    runs, store, make_store, tmp_path, monkeypatch
):
    monkeypatch.setattr(catalog, "ROWS", 7)
    damaged = make_store(tmp_path / "store", store.images(slice(None)))
    with h5py.File(part_path(damaged.path, 2), "r+") as part:
        del part["images"]
    (tmp_path / "c.fits").write_text("mine")
    settings = CatalogSettings(looks=2, batch=7, refine=False)
    with pytest.raises(OSError, match=rf"^{part_path(damaged.path, 2)}: not a whole part of this store"):
        make_catalog(runs["mlp"], damaged, settings, tmp_path / "c.fits", overwrite=True, quiet=True)
    assert {path.name for path in tmp_path.iterdir()} == {"store", "c.fits"}
    assert (tmp_path / "c.fits").read_text() == "mine"


def test_a_store_that_does_not_fit_is_refused(runs, make_store, tmp_path):
    small = make_store(tmp_path / "small", np.zeros((2, 12, 12, 3), np.uint8))
    with pytest.raises(ValueError, match="fields of 12 pixels and 3 channels, but the run takes windows of 16 pixels"):
        inferred(runs["mlp"], small)
    grey = make_store(tmp_path / "grey", np.zeros((2, 28, 28, 1), np.uint8))
    with pytest.raises(ValueError, match="and 1 channels"):
        inferred(runs["mlp"], grey)
    fine = make_store(tmp_path / "fine", np.zeros((2, 28, 28, 3), np.uint8), ingest={"oversample": 2})
    with pytest.raises(ValueError, match="windows of 32 pixels"):
        inferred(runs["mlp"], fine)


def test_one_sample_has_no_spread():
    with pytest.raises(ValueError, match="greater than or equal to 2"):
        CatalogSettings(looks=1)
