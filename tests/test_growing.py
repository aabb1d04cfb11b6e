"""A table written part by part is the table written at once, in every format, and is there whole or not at all."""

import gc
import os
import subprocess
import sys
import weakref
from pathlib import Path

import h5py
import numpy as np
import pytest
from astropy.table import Table
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_catalog import ENDINGS, META, arrays, assert_same

from galvae.catalog import build_catalog, check_catalog, read_catalog
from galvae.growing import text_widths, write_parts
from galvae.tableio import write_table

NAMES = ["a", "NGC 42", 'é"#', "#b", "<TABLEDATA>", "銀河", "# x"]


def catalog_of(count, *, z=3, names=None):
    columns = arrays(count, z)
    if names:
        columns["id"] = np.array([names[row % len(names)] for row in range(count)])
    return build_catalog(columns, meta=META)


def parts_of(catalog, rows):
    """Parts, with text no wider than it need be there."""
    for start in range(0, len(catalog), rows):
        columns = {name: catalog[name][start : start + rows] for name in catalog.colnames}
        yield build_catalog(columns | {"id": np.array(columns["id"].tolist())}, meta=META)


def assert_same_file(path, expected):
    """The same bytes; of formats that lay out parts otherwise, the same types, values and metadata."""
    if path.suffix == ".h5":
        with h5py.File(path) as got, h5py.File(expected) as wanted:
            assert list(got) == list(wanted)
            for name in wanted:
                assert got[name].dtype == wanted[name].dtype
                assert got[name][:].tobytes() == wanted[name][:].tobytes()
                assert dict(got[name].attrs) == dict(wanted[name].attrs) == {}
    elif path.suffix == ".parquet":
        parquet = pytest.importorskip("pyarrow.parquet")
        got, wanted = parquet.ParquetFile(path), parquet.ParquetFile(expected)
        assert got.schema_arrow.equals(wanted.schema_arrow, check_metadata=True)
        assert got.metadata.format_version == wanted.metadata.format_version
        assert got.metadata.num_rows == wanted.metadata.num_rows
    else:
        assert path.read_bytes() == expected.read_bytes()


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize(("names", "flat"), [(None, False), (NAMES, True), (["sdss-é"], False)])
def test_parts_make_the_table_that_is_written_at_once(tmp_path, ending, flat, names):
    catalog = catalog_of(40, names=names)
    write_table(catalog, tmp_path / f"whole{ending}", flat=flat)
    whole = read_catalog(tmp_path / f"whole{ending}")
    for rows in (7, 40):
        path = tmp_path / f"parts{ending}"
        longest = text_widths(np.asarray(catalog["id"]))
        write_parts(parts_of(catalog, rows), path, rows=40, longest=longest, flat=flat, overwrite=True)
        assert_same_file(path, tmp_path / f"whole{ending}")
        got = read_catalog(path)
        assert_same(got, whole)
        check_catalog(got)
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("ending", ENDINGS)
@given(rows=st.integers(1, 30), count=st.integers(1, 60), z=st.integers(1, 12))
@settings(max_examples=4, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_number_of_rows_in_any_parts(tmp_path, ending, rows, count, z):
    catalog = catalog_of(count, z=z)
    path, expected = tmp_path / f"parts{ending}", tmp_path / f"whole{ending}"
    write_parts(parts_of(catalog, rows), path, rows=count, overwrite=True)
    write_table(catalog, expected, overwrite=True)
    assert_same_file(path, expected)
    assert_same(read_catalog(path), read_catalog(expected))


@pytest.mark.parametrize("ending", ENDINGS)
def test_one_part_is_held_at_a_time(tmp_path, ending):
    alive = []

    def parts():
        for _ in range(6):
            gc.collect()
            assert sum(part() is not None for part in alive) <= 1
            part = catalog_of(4)
            alive.append(weakref.ref(part))
            yield part
            del part

    write_parts(parts(), tmp_path / f"c{ending}", rows=24)
    assert len(read_catalog(tmp_path / f"c{ending}")) == 24


class Broken(BaseException):
    """Like Ctrl-C."""


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize(
    "error", [ValueError("no such thing"), OSError("part 3 is damaged"), TypeError("a bug"), Broken("stopped")]
)
@pytest.mark.parametrize("good", [0, 2])
def test_what_a_part_fails_of_is_said_as_it_is_and_what_was_there_stays(tmp_path, ending, error, good):
    path = tmp_path / f"c{ending}"
    path.write_text("mine")

    def parts():
        yield from [catalog_of(4)] * good
        raise error

    with pytest.raises(type(error)) as said:
        write_parts(parts(), path, rows=12, overwrite=True)
    assert said.value is error
    assert [kept.name for kept in tmp_path.iterdir()] == [path.name]
    assert path.read_text() == "mine"


def test_nothing_is_asked_for_in_vain(tmp_path):
    def parts():
        raise AssertionError
        yield

    (tmp_path / "c.fits").write_text("mine")
    with pytest.raises(FileExistsError, match="--overwrite"):
        write_parts(parts(), tmp_path / "c.fits", rows=1)
    with pytest.raises(ValueError, match=r"written as \.csv"):
        write_parts(parts(), tmp_path / "c.csv", rows=1)
    with pytest.raises(ValueError, match="empty"):
        write_parts([], tmp_path / "d.fits", rows=0)
    assert [kept.name for kept in tmp_path.iterdir()] == ["c.fits"]


@pytest.mark.parametrize("ending", ENDINGS)
def test_parts_of_other_columns_are_refused(tmp_path, ending):
    tables = [Table({"id": [1], "x": [0.5]}), Table({"id": [1], "x": [5]})]
    with pytest.raises(ValueError, match=r"cannot be written as .*part 2 has columns of other types"):
        write_parts(tables, tmp_path / f"c{ending}", rows=2)
    with pytest.raises(ValueError, match="1 rows came where 2 were announced"):
        write_parts(tables[:1], tmp_path / f"c{ending}", rows=2)
    with pytest.raises(ValueError, match="cannot be written as"):
        write_parts([], tmp_path / f"c{ending}", rows=2)
    assert not list(tmp_path.iterdir())


_FULL = """
import resource, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_growing import catalog_of
from galvae.growing import write_parts

hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
catalog = catalog_of(200)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

def parts():
    yield catalog
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))
    for _ in range(9):
        yield catalog

for path in sys.argv[2:]:
    try:
        write_parts(parts(), path, rows=2000)
    except OSError as error:
        print(error)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
"""


def test_a_full_disk_is_one_line(tmp_path):
    tests, paths = Path(__file__).parent, [tmp_path / f"c{ending}" for ending in ENDINGS]
    environment = os.environ | {"PYTHONPATH": str(tests.parent)}
    done = subprocess.run(
        [sys.executable, "-c", _FULL, str(tests), *map(str, paths)], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    for line, path in zip(done.stdout.splitlines(), paths, strict=True):
        assert line.startswith(f"{path}: cannot be written: ")
    assert not list(tmp_path.iterdir())
