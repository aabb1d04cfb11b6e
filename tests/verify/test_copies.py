"""Copies made as files: matched by identifier, their moves in original pixels; what does not fit is refused."""

import numpy as np
import pytest
import torch
from astropy.table import MaskedColumn, Table

from galvae.verify.copies import ingested_copies, rows_of


@pytest.fixture
def stores(make_store, tmp_path):
    """A store of eight galaxies, its copies in another order, and how they were made."""
    images = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3)).astype(np.uint8)
    scale = {"affine": np.tile([[3.0, 0, 0], [0, 3.0, 0]], (8, 1, 1))}
    store = make_store(tmp_path / "store", images, **scale)
    order = np.array([5, 0, 7, 2, 1, 6, 3, 4])
    again = make_store(tmp_path / "again", np.rot90(images, -1, (1, 2))[order].copy(), ids=1000 + order, **scale)
    made = Table({"id": 1000 + order, "turn": np.full(8, 90.0), "dx": order * 3.0, "dy": -order * 6.0})
    made.write(tmp_path / "moves.ecsv")
    return store, again, tmp_path / "moves.ecsv"


def test_copies_are_found_by_identifier_and_their_moves_in_window_pixels(stores):
    store, again, moves = stores
    rows = np.array([1, 4, 6])
    copies = ingested_copies(again, moves, store, rows)
    assert copies.turn == pytest.approx(90)
    assert copies.shift == pytest.approx(np.stack([rows * 1.0, rows * -2.0], 1))
    fields = torch.from_numpy(store.images(rows))
    found = copies.of(fields[1:], np.array([1, 2]), 1)
    assert torch.equal(found, torch.rot90(fields[1:], -1, (1, 2)))


def test_what_does_not_fit_is_refused(stores, make_store, tmp_path):
    store, again, moves = stores
    rows = np.arange(8)
    few = make_store(tmp_path / "few", again.images(slice(0, 7)), ids=again.column("id")[:7])
    with pytest.raises(ValueError, match="holds no copy of galaxy 1004 and 0 others"):
        ingested_copies(few, moves, store, rows)
    other = make_store(tmp_path / "other", again.images(rows), ingest={"oversample": 2})
    with pytest.raises(ValueError, match="was ingested with oversample = 2"):
        ingested_copies(other, moves, store, rows)
    Table.read(moves)["id", "dx", "dy"].write(tmp_path / "short.ecsv")
    with pytest.raises(ValueError, match="no column turn"):
        ingested_copies(again, tmp_path / "short.ecsv", store, rows)


def test_what_a_table_leaves_blank_is_not_zero(tmp_path):
    table = Table({"id": [1, 2, 3]})
    table["orientation"] = MaskedColumn([10, 20, 30], mask=[False, True, False])
    table["kind"] = MaskedColumn(["disk", "disk", "spiral"], mask=[True, False, False])
    table.write(tmp_path / "t.ecsv")
    found = rows_of(tmp_path / "t.ecsv", ("orientation",), np.array([3, 2, 1]), text=("kind", "absent"))
    assert found["orientation"] == pytest.approx([30, np.nan, 10], nan_ok=True)
    assert list(found["kind"]) == ["spiral", "disk", ""]
    assert list(found["absent"]) == ["", "", ""]
