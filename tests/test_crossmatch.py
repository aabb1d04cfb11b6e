"""Joins by identifier and by position against what is known, and what has to be refused."""

from pathlib import Path

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import MaskedColumn, Table
from hypothesis import given
from hypothesis import strategies as st

from galvae.catalog import build_catalog, contract, read_catalog, write_catalog
from galvae.crossmatch import join
from galvae.tableio import flatten, read_table

CUTOUTS = Path(__file__).parents[2] / "shared" / "data" / "sdss-cutouts" / "catalog.csv"
IDS = np.array([587722981736120347, 587722981736120348, 588010358543351857, 1, 2])


def catalog_of(ids, ra=None, dec=None):
    ids = np.asarray(ids)
    columns = {"id": ids, "flags": np.zeros(len(ids), np.int32)}
    wanted = {"always"} if ra is None else {"always", "wcs"}
    for row in contract():
        if row["when"] in wanted and row["name"] not in columns:
            shape = (len(ids), {"Z": 2, "10": 10}[row["shape"]]) if row["shape"] else (len(ids),)
            columns[row["name"]] = np.arange(np.prod(shape), dtype=float).reshape(shape)
    if ra is not None:
        columns |= {"ra": np.asarray(ra, float), "dec": np.asarray(dec, float)}
    return build_catalog(columns, meta={"date": "today"})


@given(mine=st.lists(st.integers(0, 9), min_size=1), theirs=st.lists(st.integers(0, 9), min_size=1))
def test_pairs_and_counts_are_those_of_a_plain_loop(mine, theirs):
    mine[0] = theirs[0]
    joined, summary = join(catalog_of(mine), Table({"objid": theirs, "row": np.arange(len(theirs))}), on="objid")
    pairs = [(i, j) for i, a in enumerate(mine) for j, b in enumerate(theirs) if a == b]
    assert list(zip(joined["theta"], joined["row"], strict=True)) == pairs
    assert summary == {
        "matched_rows": len(pairs),
        "catalog_rows": len(mine),
        "catalog_unmatched": sum(a not in theirs for a in mine),
        "catalog_repeated": sum(theirs.count(a) > 1 for a in mine),
        "other_rows": len(theirs),
        "other_unmatched": sum(b not in mine for b in theirs),
        "other_repeated": sum(mine.count(b) > 1 for b in theirs),
        "renamed": {},
    }


@pytest.mark.parametrize(
    "theirs",
    [
        IDS[::-1],
        IDS[::-1].astype("u8"),
        IDS[::-1].astype(str),
        np.char.add(IDS[::-1].astype(str), "  ").astype("S"),
        MaskedColumn(IDS[::-1], mask=[True, False, False, False, False]),
    ],
)
@pytest.mark.parametrize("text", [False, True])
def test_long_identifiers_match_exactly_whatever_holds_them(theirs, text):
    catalog = catalog_of(IDS.astype(str) if text else IDS)
    joined, summary = join(catalog, Table({"id": theirs, "n": np.arange(5)}), on="id")
    kept = slice(None, -1) if hasattr(theirs, "mask") else slice(None)
    assert joined["n"].tolist() == [4, 3, 2, 1, 0][kept]
    assert joined["id"].tolist() == catalog["id"].tolist()[kept]
    assert joined.colnames == [*catalog.colnames, "n"]
    assert summary["catalog_unmatched"] == 5 - len(joined)


def test_floating_point_identifiers_only_where_they_are_exact():
    small = join(catalog_of([1, 2, 3]), Table({"n": [3.0, np.nan, 1.0]}), on="n")[0]
    assert small["id"].tolist() == [1, 3]
    for bad in (IDS.astype(float), [0.5] * 5):
        with pytest.raises(ValueError, match="floating-point numbers, which cannot keep long identifiers apart"):
            join(catalog_of(IDS), Table({"n": bad}), on="n")


def test_positions_find_their_partners():
    random = np.random.default_rng(1)
    where = SkyCoord(random.uniform(0, 360, 200), np.degrees(np.arcsin(random.uniform(-1, 1, 200))), unit="deg")
    moved = where.directional_offset_by(random.uniform(0, 360, 200) * u.deg, np.linspace(0, 2, 200) * u.arcsec)
    order = random.permutation(200)
    other = Table({"RAJ2000": moved.ra.hourangle[order] * u.hourangle, "DEJ2000": moved.dec.rad[order] * u.rad})
    other["n"] = order
    catalog = catalog_of(np.arange(200), where.ra.deg, where.dec.deg)
    joined, summary = join(catalog, other, radius=1.0)
    assert joined["id"].tolist() == joined["n"].tolist() == list(range(100))
    np.testing.assert_allclose(joined["separation"], np.linspace(0, 2, 200)[:100], atol=1e-5)
    assert joined["separation"].unit == "arcsec"
    assert (summary["matched_rows"], summary["catalog_unmatched"], summary["other_unmatched"]) == (
        100,
        100,
        100,
    )


@pytest.mark.parametrize(
    "columns",
    [
        {"ra": [10.5], "dec": [-3.25]},
        {"RA_deg": [10.5], "Dec_deg": [-3.25]},
        {"ra": MaskedColumn([10.5], unit="deg"), "DEC": [-3.25]},
        {"ra": [0.7] * u.hourangle, "dec": [-195.0] * u.arcmin},
        {"ra": ["00:42:00"], "dec": ["-03:15:00"]},
        {"ra": ["0h42m0s"], "dec": ["-3d15m"]},
        {"ra": ["10.5"], "dec": ["-3.25"]},
    ],
)
def test_positions_are_understood(columns):
    joined, _ = join(catalog_of([7], [10.5], [-3.25]), Table(columns), radius=0.01)
    assert joined["separation"][0] < 1e-6


def test_positions_are_found_by_their_ucd():
    other = Table({"l": [10.5], "b": [-3.25]})
    other["l"].info.meta = {"ucd": "pos.eq.ra;meta.main"}
    other["b"].info.meta = {"ucd": "pos.eq.dec;meta.main"}
    assert len(join(catalog_of([7], [10.5], [-3.25]), other, radius=0.01)[0]) == 1


def test_rows_without_a_position_stay_unmatched_and_many_to_one_is_counted():
    catalog = catalog_of([1, 2, 3], [10, np.nan, 10.0001], [0, 0, 0])
    other = Table({"ra": MaskedColumn([10.0, 5.0], mask=[False, True]), "dec": [0.0, 0.0]})
    joined, summary = join(catalog, other, radius=2)
    assert joined["id"].tolist() == [1, 3]
    assert (summary["catalog_unmatched"], summary["other_unmatched"], summary["other_repeated"]) == (1, 1, 1)


@pytest.mark.parametrize("ending", [".ecsv", ".fits", ".vot", ".parquet", ".h5"])
def test_clashes_are_suffixed_and_units_survive_every_format(tmp_path, ending):
    catalog = flatten(catalog_of(IDS, np.arange(5), np.arange(5)))
    other = Table({"ID": IDS.astype(str), "RA": np.arange(5.0) * u.deg, "ra_other": ["é"] * 5, "theta": np.arange(5)})
    other["mag"] = MaskedColumn(np.arange(5.0), unit="mag", description="r band", mask=[True] + [False] * 4)
    other["n"] = MaskedColumn(np.arange(5), mask=[True] + [False] * 4)
    joined, summary = join(catalog, other, on="ID")
    renamed = {"ID": "ID_other", "RA": "RA_other", "ra_other": "ra_other_other", "theta": "theta_other"}
    assert summary["renamed"] == renamed
    write_catalog(joined, tmp_path / f"j{ending}")
    got = read_catalog(tmp_path / f"j{ending}")
    assert got.colnames == [*catalog.colnames, *renamed.values(), "mag", "n"]
    assert (got["RA_other"].unit, got["mag"].unit, got["ra"].unit) == (u.deg, u.mag, u.deg)
    assert got["mag"].info.description == "r band"
    assert got["ra"].info.meta["ucd"] == "pos.eq.ra;meta.main"
    assert got["n"].tolist() == [None, 1, 2, 3, 4]
    assert got["id"].tolist() == IDS.tolist()
    assert got["ra_other_other"].tolist() == ["é"] * 5
    assert got.meta == {"date": "today", "join": {"on": "ID", "radius_arcsec": None, **summary}}
    again, _ = join(got, other, on="ID")
    assert "theta_other_other" in again.colnames
    assert catalog.meta == {"date": "today"}


@pytest.mark.parametrize(
    ("other", "how", "says"),
    [
        ({"x": [1]}, {}, "either --on COLUMN or --radius"),
        ({"x": [1]}, {"on": "x", "radius": 1.0}, "not both"),
        ({"ObjID": [1]}, {"on": "objid"}, r"no column 'objid' \(did you mean ObjID\?\)"),
        ({"x": [77]}, {"on": "x"}, r"such as 587722981736120347\) is in column x of OTHER \(such as 77\)"),
        ({"x": [[1, 2]]}, {"on": "x"}, "no identifiers"),
        ({"ra": [1.0], "dec": [1.0]}, {"radius": -1.0}, "positive number of arcsec, got -1"),
        ({"ra": [1.0], "dec": [1.0]}, {"radius": float("nan")}, "positive number"),
        ({"ra": [1.0], "x": [1.0]}, {"radius": 1.0}, "OTHER has no columns of right ascension"),
        ({"ra": [1.0], "dec": [np.nan]}, {"radius": 1.0}, "no row of OTHER has a position"),
        ({"ra": [1.0], "dec": [120.0]}, {"radius": 1.0}, "dec of OTHER goes beyond 90"),
        ({"ra": ["here"], "dec": [1.0]}, {"radius": 1.0}, "ra cannot be read as an angle"),
        ({"ra": [1.0] * u.m, "dec": [1.0]}, {"radius": 1.0}, "no angle"),
        ({"ra": [4.001], "dec": [0.0]}, {"radius": 1.0}, "nearest is 3.6 arcsec away"),
    ],
)
def test_what_cannot_be_joined_is_said_in_one_line(other, how, says):
    with pytest.raises(ValueError, match=says):
        join(catalog_of(IDS, np.arange(5), np.zeros(5)), Table(other), **how)


def test_a_catalog_without_positions_is_not_joined_by_them():
    with pytest.raises(ValueError, match="no row of the catalog has a position"):
        join(catalog_of(IDS), Table({"ra": [1.0], "dec": [1.0]}), radius=1.0)


@pytest.mark.skipif(not CUTOUTS.is_file(), reason="needs shared/data/sdss-cutouts")
def test_the_sdss_cutouts_own_table():
    other = read_table(CUTOUTS)
    catalog = catalog_of(np.array(other["id"])[::-1], other["ra_deg"][::-1], other["dec_deg"][::-1])
    for how in ({"on": "id"}, {"radius": 1.0}):
        joined, summary = join(catalog, other, **how)
        assert (summary["matched_rows"], summary["catalog_unmatched"], summary["other_unmatched"]) == (
            53,
            0,
            0,
        )
        assert joined["ra"].tolist() == joined["ra_deg"].tolist()
