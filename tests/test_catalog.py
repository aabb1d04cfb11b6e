"""Every catalog is held to the contract, and every format gives back what was written."""

import bz2
import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits, votable
from astropy.io.votable.ucd import check_ucd
from astropy.table import MaskedColumn, QTable, Table
from astropy.time import Time
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import galvae
from galvae.catalog import build_catalog, check_catalog, contract, read_catalog, write_catalog
from galvae.flags import MEANING, Flag
from galvae.tableio import FORMATS, flatten, read_ecsv_meta, read_table, write_table

ENDINGS = [".ecsv", ".fits", ".vot", ".parquet", ".h5"]
META = {
    "recipe": {
        "about": 'it\'s "é" & more\n',
        "train": {"lr": 1e-4, "steps": 300, "freeze": None, "widths": [500, 500]},
    },
    "store_digest": "0123456789abcdef" * 4,
    "model_digest": "f" * 64,
    "versions": {"galvae": "0.1.0", "numpy": np.__version__},
    "date": "2026-01-02T03:04:05Z",
    "long": "x y " * 3000,
    "resumed": False,
}


def shape_of(told, z):
    return {"": (), "Z": (z,), "10": (10,)}[told]


def arrays(count=5, z=3, *, text=False, seed=0):
    """Random columns by contract name, a NaN in every floating-point one."""
    random = np.random.default_rng(seed)
    columns = {}
    for row in contract():
        if row["name"] == "id":
            ids = 587722981736120347 + np.arange(count)
            columns["id"] = np.array([f"sdss {i}-é" for i in ids]) if text else ids
        elif row["name"] == "flags":
            columns["flags"] = random.choice([0, int(Flag.PADDED | Flag.AXIS_UNDEFINED)], count).astype(np.int32)
        else:
            columns[row["name"]] = random.normal(size=(count, *shape_of(row["shape"], z)))
            columns[row["name"]][count // 2] = np.nan
    return columns


def assert_same(got, expected):
    assert got.colnames == expected.colnames
    assert got.meta == expected.meta
    assert len(got) == len(expected)
    for name in expected.colnames:
        a, b = got[name], expected[name]
        assert type(a) is type(b), name
        assert (a.dtype, a.shape, a.unit) == (b.dtype, b.shape, b.unit), name
        assert a.info.description == b.info.description, name
        assert a.info.meta == b.info.meta, name
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b), err_msg=name)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize(("count", "z", "text"), [(1, 1, False), (1, 4, True), (40, 20, False), (7, 1, True)])
def test_every_format_gives_the_catalog_back(tmp_path, ending, flat, count, z, text):
    catalog = build_catalog(arrays(count, z, text=text), meta=META)
    path = tmp_path / f"c{ending}"
    write_catalog(catalog, path, flat=flat)
    got = read_catalog(path)
    assert isinstance(got, QTable)
    assert_same(got, flatten(catalog) if flat else catalog)
    check_catalog(got)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert catalog.meta == META  # what is written is not changed by it


@pytest.mark.parametrize("ending", ENDINGS)
def test_names_that_begin_as_a_comment_are_none(tmp_path, ending):
    columns = arrays(4, 1, text=True)
    columns["id"] = np.array(["#1", "2", "# 3", '#"4"'])
    write_catalog(build_catalog(columns, meta=META), tmp_path / f"c{ending}")
    assert read_catalog(tmp_path / f"c{ending}")["id"].tolist() == columns["id"].tolist()


def test_a_comments_sign_within_a_text_is_left_as_astropy_writes_it(tmp_path):
    table = Table({"id": ["1", "2"], "note": ["a\n#b", "#c"]})
    write_table(table, tmp_path / "t.ecsv")
    table.write(tmp_path / "theirs.ecsv")
    assert (tmp_path / "t.ecsv").read_bytes() == (tmp_path / "theirs.ecsv").read_bytes()


@pytest.mark.parametrize("ending", [".fits", ".vot"])
@given(text=st.text(st.sampled_from("a'&é \"\\\n/="), max_size=300))
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_metadata_survives_where_it_is_packed(tmp_path, ending, text):
    catalog = build_catalog(arrays(1, 1), meta={"text": text, text: [text]})
    write_catalog(catalog, tmp_path / f"c{ending}", overwrite=True)
    assert read_catalog(tmp_path / f"c{ending}").meta == catalog.meta


def test_the_metadata_of_ecsv_are_read_without_its_rows(tmp_path):
    path = tmp_path / "c.ecsv"
    write_catalog(build_catalog(arrays(3), meta=META), path)
    assert read_ecsv_meta(path) == META
    path.write_text("".join(line for line in path.read_text().splitlines(True) if line.startswith("#")))
    assert read_ecsv_meta(path) == META
    for other in (b"", b"id\n1\n", b"# {\nid\n", b"# 1\n", b"\xff\xfe\x00", b"# %ECSV 1.0\n# ---\n# datatype: []\n"):
        path.write_bytes(other)
        assert read_ecsv_meta(path) == {}


def test_columns_are_the_contracts():
    catalog = build_catalog(arrays(), meta={})
    rows = contract()
    assert catalog.colnames == list(rows["name"])
    for row in rows:
        column = catalog[row["name"]]
        assert column.info.description == row["description"]
        assert column.info.meta["ucd"] == row["ucd"]
        assert (column.unit or u.dimensionless_unscaled) == u.Unit(row["unit"])
    assert catalog["z"].shape == (5, 3)
    bits = catalog["flags"].info.meta["bits"]
    assert bits == {flag.name: {"value": flag.value, "meaning": MEANING[flag]} for flag in Flag}


def test_the_manual_lists_every_flag():
    manual = (Path(__file__).parents[1] / "docs" / "catalog.md").read_text(encoding="utf-8")
    listed = [
        row for row in manual.splitlines() if row.endswith(" |") and ("| `ingest` |" in row or "| `catalog` |" in row)
    ]
    ingest = Flag.PADDED | Flag.MISSING | Flag.CLIPPED | Flag.GREY | Flag.OTHER_BANDS | Flag.DOUBTFUL_WCS
    ingest |= Flag.LOST_CHANNEL
    rows = [(flag, "ingest" if flag & ingest else "catalog") for flag in Flag]
    assert listed == [f"| `{flag.name}` | {flag.value} | `{by}` | {MEANING[flag]} |" for flag, by in rows]


def test_the_contract_itself():
    rows = contract()
    assert len(set(rows["name"])) == len(rows)
    assert all(check_ucd(ucd, check_controlled_vocabulary=True) for ucd in rows["ucd"])
    assert set(rows["when"]) == set(rows.meta["when"])
    assert all(rows["description"])
    for row in rows:
        assert row["name"] == "id" or np.dtype(row["dtype"]).kind in "fi"
        assert row["shape"] in ("", "Z", "10")
        u.Unit(row["unit"])
        if row["name"].endswith("_err") and row["name"] not in ("ra_err", "dec_err"):
            assert row["unit"] == rows[list(rows["name"]).index(row["name"][:-4])]["unit"]
    rows["name"][0] = "changed"
    assert contract()["name"][0] == "id"


def test_groups_may_be_absent_together_only():
    rows = contract()
    columns = arrays()
    for row in rows:
        if row["when"] == "wcs":
            del columns[row["name"]]
    catalog = build_catalog(columns, meta={})
    assert np.isnan(catalog["ra"]).all()
    assert catalog["pa"].unit == u.deg
    with pytest.raises(ValueError, match="missing: dec, ra_err"):
        build_catalog(columns | {"ra": np.zeros(5)}, meta={})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"thetas": np.zeros(5)}, "no column 'thetas'"),
        ({"theta": None}, "missing: theta"),
        ({"theta": np.zeros(4)}, "theta has 4 rows where id has 5"),
        ({"z": np.zeros(5)}, "z has 1 dimensions"),
        ({"z_err": np.ones((5, 2))}, "z and z_err differ"),
        ({"texture": np.ones((5, 9))}, "texture must have 10 elements"),
        ({"flags": np.zeros(5)}, "flags of the catalog must be int32"),
        ({"id": np.arange(5.0)}, "id of the catalog must be int64"),
        ({"id": np.arange(5, dtype="u8")}, "id of the catalog must be int64"),
        ({"theta": np.zeros(5) * u.m}, "theta of the catalog must be float64 deg"),
    ],
)
def test_what_is_not_of_the_contract_is_refused(change, says):
    columns = {name: values for name, values in (arrays() | change).items() if values is not None}
    with pytest.raises(ValueError, match=says):
        build_catalog(columns, meta={})


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("reads", [read_catalog, Table.read, QTable.read])
@pytest.mark.filterwarnings("ignore:.*:astropy.utils.exceptions.AstropyWarning")  # no header holds what meta does
def test_rows_that_astropy_writes_as_fits_are_read(tmp_path, ending, reads):
    """To filter a catalog and to save what is left is what users do first."""
    write_catalog(build_catalog(arrays(), meta=META | {"galvae": "0.1.0"}), tmp_path / f"c{ending}")
    some = reads(tmp_path / f"c{ending}")[:3]
    some.write(tmp_path / "some.fits")
    again = read_catalog(tmp_path / "some.fits")
    np.testing.assert_array_equal(again["id"], some["id"])
    np.testing.assert_array_equal(again["texture"], np.asarray(some["texture"]))
    assert again["theta"].unit == u.deg


def test_quantities_are_converted():
    catalog = build_catalog(arrays() | {"theta": np.full(5, np.pi) * u.rad}, meta={})
    np.testing.assert_allclose(catalog["theta"].to_value("deg"), 180)


def test_check_finds_what_was_changed_after():
    def changed(change):
        catalog = build_catalog(arrays(), meta={})
        change(catalog)
        return catalog

    def reorder(catalog):
        last = catalog["flags"]
        catalog.remove_column("flags")
        catalog.add_column(last, index=0, name="flags")

    changes = {
        "column theta is missing": lambda c: c.remove_column("theta"),
        "column more is not": lambda c: c.add_column(np.zeros(5), name="more"),
        "column ra must be in deg": lambda c: c.replace_column("ra", c["ra"].to("rad")),
        "column id must be": lambda c: c.replace_column("id", np.arange(5.0)),
        "column dx: UCD": lambda c: c["dx"].info.meta.update(ucd="pos"),
        "column dx: description": lambda c: setattr(c["dx"].info, "description", "no"),
        "order": reorder,
        "empty": lambda c: c.remove_rows(slice(None)),
    }
    for says, change in changes.items():
        with pytest.raises(ValueError, match=says):
            check_catalog(changed(change))
    check_catalog(changed(changes["column more is not"]), exact=False)


def test_nothing_half_written_and_nothing_overwritten(tmp_path):
    catalog = build_catalog(arrays(), meta={"a": 1})
    with pytest.raises(ValueError, match=r"written as \.csv; use one of \.ecsv, \.fits"):
        write_catalog(catalog, tmp_path / "c.csv")
    with pytest.raises(ValueError, match="empty"):
        write_catalog(catalog[:0], tmp_path / "c.fits")
    with pytest.raises(FileNotFoundError, match="no folder"):
        write_catalog(catalog, tmp_path / "not" / "there.fits")
    bad = Table({"x": np.array([object()] * 2)})
    for ending in (".fits", ".parquet", ".h5"):
        with pytest.raises(ValueError, match="cannot be written"):
            write_catalog(bad, tmp_path / f"c{ending}")
    assert not list(tmp_path.iterdir())
    for ending in ENDINGS:
        path = tmp_path / f"c{ending}"
        path.write_text("mine")
        with pytest.raises(FileExistsError, match="--overwrite"):
            write_catalog(catalog, path)
        assert path.read_text() == "mine"
        write_catalog(catalog, path, overwrite=True)
        assert read_catalog(path).meta == {"a": 1}
    assert len(list(tmp_path.iterdir())) == len(ENDINGS)


@pytest.mark.parametrize("ending", [*FORMATS, ".csv", ".txt"])
def test_unreadable_files_are_one_clear_error(tmp_path, ending):
    path = tmp_path / f"c{ending}"
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_catalog(path)
    for content in (b"", b"\x89\x00 not a table", b"<html></html>"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"cannot be read as a table|not a galvae catalog"):
            read_catalog(path)


@pytest.mark.parametrize("ending", ENDINGS)
def test_other_peoples_columns_keep_their_values(tmp_path, ending):
    # FITS as astropy writes it turns int8 and absent booleans into True; VOTable has no unsigned integers.
    numbers = [1, 2, 100]
    table = Table({f"n{kind}": np.array(numbers, kind) for kind in ("i1", "u1", "u2", "u4", "u8", "f2", "f4")})
    table["RA (deg)"] = np.arange(3.0)
    table["some"] = MaskedColumn([True, False, True], mask=[False, False, True])
    table["count"] = MaskedColumn(numbers, mask=[False, True, False])
    table["small"] = MaskedColumn(np.array([63, 0, 255], "u1"), mask=[False, True, False])
    table["name"] = MaskedColumn(["a", "é", "c"], mask=[False, False, True])
    write_catalog(table, tmp_path / f"c{ending}")
    got = read_table(tmp_path / f"c{ending}")
    assert got.colnames == table.colnames
    for name in table.colnames[:8]:
        np.testing.assert_array_equal(got[name], table[name])
    assert [v is np.ma.masked for v in got["some"]] == [False, False, True]
    assert got["some"][:2].astype(bool).tolist() == [True, False]
    assert got["count"].tolist() == [1, None, 100]
    assert got["small"].tolist() == [63, None, 255]
    assert got["name"].tolist()[:2] == ["a", "é"]
    assert got["name"].tolist()[2] in (None, "")


def test_fits_and_votable_say_their_ucds_to_other_tools(tmp_path):
    catalog = build_catalog(arrays(), meta=META)
    write_catalog(catalog, tmp_path / "c.fits")
    header = fits.getheader(tmp_path / "c.fits", 1)
    assert header["TTYPE2"], header["TUNIT2"] == ("ra", "deg")
    assert header["TUCD2"] == "pos.eq.ra;meta.main"
    assert json.loads(header["GALVAE"])["meta"] == META
    write_catalog(catalog, tmp_path / "c.vot")
    ra = votable.parse(str(tmp_path / "c.vot")).get_first_table().fields[1]
    assert (ra.ucd, str(ra.unit), ra.description) == (
        "pos.eq.ra;meta.main",
        "deg",
        catalog["ra"].info.description,
    )


def test_pandas_reads_a_flat_catalog(tmp_path):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    catalog = build_catalog(arrays(z=12), meta={})
    write_catalog(catalog, tmp_path / "c.parquet", flat=True)
    frame = pandas.read_parquet(tmp_path / "c.parquet")
    assert frame["id"].tolist() == catalog["id"].tolist()
    np.testing.assert_array_equal(frame["z_11"], catalog["z"][:, 11])


def test_parquet_of_pandas_is_read_with_its_absent_values(tmp_path):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    ids = pandas.array([587722981736120347, None, 2], dtype="Int64")
    frame = pandas.DataFrame({"id": ids, "name": ["é", None, "c"], "x": [0.5, None, 2.0], "yes": [True, False, True]})
    frame.to_parquet(tmp_path / "p.parquet")
    got = read_table(tmp_path / "p.parquet")
    assert got["id"].tolist() == [587722981736120347, None, 2]
    assert got["name"].tolist() == ["é", None, "c"]
    np.testing.assert_array_equal(got["x"], [0.5, np.nan, 2.0])
    assert got["yes"].tolist() == [True, False, True]


@pytest.mark.parametrize("ending", ENDINGS)
def test_coordinates_and_times_of_another_table_are_written(ending, tmp_path):
    """Where the format has no such columns, by their parts and as text."""
    times = ["2020-01-01T00:00:00.123", "2021-06-01T12:00:00.000"]
    table = Table({"id": [1, 2], "sky": SkyCoord([1.0, 2.0], [3.0, 4.0], unit="deg"), "seen": Time(times)})
    write_table(table, tmp_path / f"t{ending}")
    got = read_table(tmp_path / f"t{ending}")
    if ending in (".fits", ".vot"):
        assert got.colnames == ["id", "sky.ra", "sky.dec", "seen"]
        assert (got["sky.dec"].tolist(), got["sky.dec"].unit) == ([3.0, 4.0], u.deg)
        assert got["seen"].tolist() == times
    else:
        assert got.colnames == table.colnames
        assert got["sky"].separation(table["sky"]).arcsec.max() < 1e-9
        assert got["seen"].isot.tolist() == times
    assert got.meta == {}


@pytest.mark.parametrize("pack", [gzip, bz2])
@pytest.mark.parametrize("ending", [".csv", ".tsv", ".ecsv", ".fits", ".vot"])
def test_packed_tables_are_read(ending, pack, tmp_path):
    table, path = Table({"id": [7, 8], "x": [0.5, 1.5]}), tmp_path / f"t{ending}"
    if ending in ENDINGS:
        write_table(table, path)
    else:
        table.write(path, format="ascii.csv", delimiter="\t" if ending == ".tsv" else ",")
    packed = tmp_path / f"T{ending.upper()}.{ {gzip: 'gz', bz2: 'bz2'}[pack] }"
    packed.write_bytes(pack.compress(path.read_bytes()))
    got = read_table(packed)
    assert (got["id"].tolist(), got["x"].tolist()) == ([7, 8], [0.5, 1.5])


def test_reading_needs_no_torch(tmp_path):
    write_catalog(build_catalog(arrays(), meta={}), tmp_path / "c.fits")
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from galvae.catalog import read_catalog; import galvae.crossmatch, galvae.sky\n"
        "print(len(read_catalog(sys.argv[1])), 'matplotlib' in sys.modules)"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "c.fits")],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert (done.stdout, done.returncode) == ("5 False\n", 0), done.stderr


def test_the_bits_of_flags_have_public_names():
    flags = np.array([galvae.Flag.OFF_CENTRE | galvae.Flag.PADDED, galvae.Flag.PADDED], np.int32)
    assert ((flags & galvae.Flag.OFF_CENTRE) != 0).tolist() == [True, False]


def test_what_is_no_table_is_told_in_galvaes_words(tmp_path):
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)))
    with pytest.raises(ValueError, match=r"a\.png: cannot be read as a table: of no kind known here; take \.ecsv"):
        read_table(tmp_path / "a.png")
