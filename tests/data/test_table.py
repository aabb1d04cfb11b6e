"""Tables joined to images: by what column, in which format, and what is refused."""

from __future__ import annotations

import astropy.units as u
import numpy as np
import pytest
from astropy.table import MaskedColumn, Table

from galvae.data.readers.base import Item
from galvae.data.settings import IngestSettings
from galvae.data.table import match_table

IDS = ["587722952767439450", "587722952767439451", "587722952767439452"]
ITEMS = [Item("pictures", name, f"in/many.zip::images/{name}.jpg", ()) for name in IDS]
RECIPE = IngestSettings()


def written(path, table):
    table.write(path)
    return match_table(path, ITEMS, RECIPE)


def table(**columns):
    return Table({"objid": np.array([int(name) for name in IDS[::-1]]), **columns})


@pytest.mark.parametrize("name", ["t.csv", "t.ecsv", "t.fits", "t.xml", "t.parquet", "t.hdf5"])
def test_any_format_that_astropy_reads(name, tmp_path):
    made = table(ra=[1.5, 2.5, 3.5] * u.deg, dec=[-1.0, 0.0, 1.0] * u.deg, kind=["a", "b", "c"])
    options = {"format": "votable"} if name == "t.xml" else {}
    options |= {"path": "t", "serialize_meta": True} if name == "t.hdf5" else {}
    made.write(tmp_path / name, **options)
    matched = match_table(tmp_path / name, ITEMS, RECIPE)
    assert matched.unmatched == 0
    assert matched.columns["ra"].tolist() == [3.5, 2.5, 1.5]
    assert matched.columns["table/kind"].tolist() == ["c", "b", "a"]
    assert matched.columns["table/objid"].tolist() == [int(name) for name in IDS]
    assert matched.columns["dec"][1:3].tolist() == [0.0, -1.0]


@pytest.mark.parametrize("named", ["{}", "{}.jpg", "images/{}.jpg"])
def test_images_are_found_by_id_or_file_name(named, tmp_path):
    made = Table({"filename": [named.format(name) for name in IDS[:2]], "x": [1, 2]})
    matched = written(tmp_path / "t.ecsv", made)
    assert matched.unmatched == 1
    np.testing.assert_array_equal(matched.columns["table/x"], [1, 2, np.nan])


PATHS = {
    "the folder decides": (["train/1.jpg", "test/1.jpg"], ["/data/train/1.jpg", "/data/test/1.jpg"], [0, 1]),
    "so without an ending": (["train/1", "test/1"], ["/data/train/1.jpg", "/data/test/1.jpg"], [0, 1]),
    "so in an archive": (["train/1.jpg", "test/1.jpg"], ["a.zip::in/train/1.jpg", "a.zip::in/test/1.jpg"], [0, 1]),
    "so for bands": (["train/1", "test/1"], ["/d/train/1_{g,r}.fits", "/d/test/1_{g,r}.fits"], [0, 1]),
    "no folder of the table": (["train/1.jpg", "test/1.jpg", "2.jpg"], ["/data/1.jpg", "/data/2.jpg"], [np.nan, 2]),
    "one name, any folder": (["train/1.jpg", "test/2.jpg"], ["/data/2.jpg", "/data/1.jpg"], [1, 0]),
    "the name itself": (["1.jpg", "test/1.jpg"], ["/data/1.jpg", "/data/test/1.jpg"], [0, 1]),
    "as the store says it": (["a.zip::in/1.jpg", "b.zip::in/1.jpg"], ["b.zip::in/1.jpg", "a.zip::in/1.jpg"], [1, 0]),
}


@pytest.mark.parametrize("name", PATHS)
def test_a_name_that_two_files_have_is_never_guessed(name, tmp_path):
    rows, sources, expected = PATHS[name]
    ids = [source.rpartition("/")[2].partition(".")[0].partition("_")[0] for source in sources]
    items = [Item("pictures", *pair, ()) for pair in zip(ids, sources, strict=True)]
    Table({"file": rows, "row": np.arange(len(rows))}).write(tmp_path / "t.ecsv")
    matched = match_table(tmp_path / "t.ecsv", items, RECIPE)
    np.testing.assert_array_equal(matched.columns["table/row"], expected)


def test_the_number_of_a_row_names_no_galaxy(tmp_path):
    items = [Item("hdf5", f"{name}_{row}", f"{name}.h5::{row}", (f"{name}.h5", row)) for name in "ab" for row in (0, 1)]
    Table({"id": [0, 1]}).write(tmp_path / "numbers.ecsv")
    with pytest.raises(ValueError, match="no row matches any image; column 'id' has 0, the images have a_0"):
        match_table(tmp_path / "numbers.ecsv", items, RECIPE)


def test_long_integers_without_a_row_do_not_pass_through_a_float(tmp_path):
    matched = written(tmp_path / "t.ecsv", table()[:2])
    assert matched.columns["table/objid"].tolist() == ["", *IDS[1:]]


def test_masked_values_are_missing(tmp_path):
    made = table(
        n=MaskedColumn([1, 2, 3], mask=[True, False, False]),
        w=MaskedColumn(["x", "y", "z"], mask=[False, True, False]),
        ra=MaskedColumn([1.0, 2.0, 3.0], mask=[False, False, True]),
    )
    matched = written(tmp_path / "t.ecsv", made)
    np.testing.assert_array_equal(matched.columns["table/n"], [3, 2, np.nan])
    assert matched.columns["table/w"].tolist() == ["z", "", "x"]
    np.testing.assert_array_equal(matched.columns["ra"], [np.nan, 2, 1])


def test_a_row_without_a_name_is_of_no_image(tmp_path):
    """Nor of the one that is called as astropy fills integers."""
    items = [Item("pictures", name, f"{name}.png", ()) for name in ("1", "999999")]
    made = Table({"id": MaskedColumn([1, 0, 0], mask=[False, True, True]), "x": [1, 2, 3]})
    made.write(tmp_path / "t.ecsv")
    Table({"id": ["1", "", ""], "x": [1, 2, 3]}).write(tmp_path / "t.fits")
    np.testing.assert_array_equal(match_table(tmp_path / "t.fits", items, RECIPE).columns["table/x"], [1, np.nan])
    np.testing.assert_array_equal(match_table(tmp_path / "t.ecsv", items, RECIPE).columns["table/x"], [1, np.nan])


def test_a_spreadsheets_mark_of_its_encoding_is_no_part_of_a_name(tmp_path):
    (tmp_path / "t.csv").write_text(f'"GalaxyID","x, y"\n{IDS[0]},1\n{IDS[1]},2\n', encoding="utf-8-sig")
    items = [Item("pictures", name, f"{name}.png", ()) for name in IDS[:2]]
    np.testing.assert_array_equal(match_table(tmp_path / "t.csv", items, RECIPE).columns["table/x, y"], [1, 2])


def test_units_of_angle_are_converted(tmp_path):
    made = table(
        ra=[1.0, 2.0, 3.0] * u.hourangle, dec=[60.0, 0.0, 0.0] * u.arcmin, pxscale=[0.01, 0.01, 0.02] * u.arcmin
    )
    matched = written(tmp_path / "t.ecsv", made)
    np.testing.assert_allclose(matched.columns["ra"], [45, 30, 15])
    assert matched.columns["dec"][2] == 1.0
    np.testing.assert_allclose(matched.columns["pixel_scale"], [1.2, 0.6, 0.6])


@pytest.mark.parametrize("unit", [u.deg, u.deg / u.pix, u.arcsec, u.arcsec / u.pix])
def test_a_scale_may_say_that_it_is_per_pixel(unit, tmp_path):
    scale = [0.2, 0.3, 0.4] * u.arcsec / (1 if unit.is_equivalent(u.deg) else u.pix)
    matched = written(tmp_path / "t.ecsv", table(pxscale=scale.to(unit)))
    np.testing.assert_allclose(matched.columns["pixel_scale"], [0.4, 0.3, 0.2])


WRONG = {
    "has dec 200": (table(dec=[1.0, 200.0, 3.0]), "column 'dec' has 200 in row 2, outside -90 to 90 deg"),
    "has ra -5": (table(ra=[1.0, -5.0, 3.0]), "column 'ra' has -5 in row 2, outside 0 to 360 deg"),
    "sexagesimal": (table(ra=["10:11:12"] * 3), r"column 'ra' is text \(10:11:12\).*decimal degrees"),
    "hours": (table(ra=[1.0, 2, 3] * u.hour), "unit h, which is not an angle; deg is wanted"),
    "pixels": (table(pxscale=[1.0, 2, 3] * u.pix), "unit pix, which is not an angle; arcsec"),
    "no scale": (table(pxscale=[0.0, 0.1, 0.1]), "column 'pxscale' has 0 in row 1"),
    "no id": (Table({"x": [1], "y": [2]}), "no column id, objid.*; it has x, y"),
    "float id": (Table({"objid": [5.877e17, 1.0]}), "is float64; identifiers must be integers or text"),
    "twice": (Table({"objid": [1, 2, 1]}), "has 1 twice, in rows 1 and 3"),
    "others": (Table({"objid": [1, 2]}), r"no row matches any image; column 'objid' has 1, the images have 587"),
    "no rows": (Table({"objid": np.array([], int), "ra": np.array([], float)}), "the table has no rows"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_said_in_one_line(name, tmp_path):
    made, why = WRONG[name]
    with pytest.raises(ValueError, match=why) as caught:
        written(tmp_path / "t.fits" if "no rows" in name else tmp_path / "t.ecsv", made)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_table(tmp_path):
    (tmp_path / "t.fits").write_bytes(b"nonsense")
    with pytest.raises(ValueError, match="cannot be read as a table"):
        match_table(tmp_path / "t.fits", ITEMS, RECIPE)
    with pytest.raises(FileNotFoundError, match="no such file"):
        match_table(tmp_path / "absent.csv", ITEMS, RECIPE)
    table().write(tmp_path / "t.csv")
    with pytest.raises(ValueError, match="no column name2 names the images; it has objid"):
        match_table(tmp_path / "t.csv", ITEMS, IngestSettings(id_column="name2"))
