"""Cutouts of real surveys: grids, parities, positions, counts."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS

from galvae.data.ingest import ingest
from galvae.data.settings import IngestSettings
from galvae.data.store import ImageStore
from galvae.flags import Flag

DATA = Path(__file__).parents[2].parent / "shared" / "data"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"no real data at {DATA}")


def stored(tmp_path, *names, **options):
    done = ingest([DATA / name for name in names], tmp_path / "s", IngestSettings(), workers=1, quiet=True, **options)
    return ImageStore(tmp_path / "s"), done


def centre(store, row):
    """RA and Dec in degrees of the cutout's centre, through the affine map and the WCS; East's and North's pixels."""
    middle = (store.shape[0] - 1) / 2
    wcs = WCS(fits.Header.fromstring(store.column("wcs")[row]))
    x, y = store.column("affine")[row] @ [middle, middle, 1]
    ra, dec = wcs.wcs_pix2world([[x, y]], 0)[0]
    step = 1e-4
    east, north = wcs.wcs_world2pix([[ra + step, dec], [ra, dec + step]], 0) - [x, y]
    return ra, dec, east / np.hypot(*east), north / np.hypot(*north)


def test_one_galaxy_in_three_surveys_with_their_parities(tmp_path):
    store, _ = stored(tmp_path, "one-galaxy-three-surveys")
    assert store.column("id").tolist() == ["DES", "PS1", "SDSS"]
    assert store.column("bands").tolist() == ["i,r,g"] * 3
    np.testing.assert_allclose(store.column("pixel_scale"), [0.263, 0.25, 0.396], atol=1e-3)
    for row, left in ((0, 1), (1, -1)):  # DES is mirrored: East to the right
        ra, dec, east, north = centre(store, row)
        assert (ra, dec) == pytest.approx((27.952, 0.2635), abs=2e-4)
        assert east == pytest.approx([left, 0], abs=1e-3)
        assert north == pytest.approx([0, 1], abs=1e-3)
    _, _, east, north = centre(store, 2)
    assert north == pytest.approx([1, 0], abs=1e-3)
    assert east == pytest.approx([0, 1], abs=1e-3)


def test_a_stale_wcs_is_flagged_and_the_bands_stay_aligned(tmp_path):
    store, _ = stored(tmp_path, "one-galaxy-three-surveys")
    assert [bool(flags & Flag.DOUBTFUL_WCS) for flags in store.column("flags")] == [False, False, True]
    field = store.images([2])[0].astype(float)
    rows, columns = np.indices(field.shape[:2])
    near = np.hypot(columns - 63.5, rows - 63.5) < 12
    centres = [
        [(np.where(near, field[:, :, band], 0) * grid).sum() / field[near][:, band].sum() for grid in (columns, rows)]
        for band in range(3)
    ]
    assert np.ptp(centres, axis=0).max() < 0.5


def test_sdss_cutouts_have_their_catalogues_positions(tmp_path):
    store, done = stored(tmp_path, "sdss-cutouts", limit=12)
    assert (done["galaxies"], done["skipped"]) == (12, 0)
    known = Table.read(DATA / "sdss-cutouts" / "catalog.csv", format="ascii.csv")
    position = {row["id"]: (row["ra_deg"], row["dec_deg"]) for row in known}
    apart = []
    for row, name in enumerate(store.column("id")):
        ra, dec, _, _ = centre(store, row)
        there = position[name]
        apart.append(3600 * np.hypot((ra - there[0]) * np.cos(np.radians(dec)), dec - there[1]))
    assert max(apart) < 1.0
    assert (store.column("stretch") == 0.5).all()


def test_jwst_stamps_that_are_mostly_zeros_are_skipped(tmp_path):
    store, done = stored(tmp_path, "jwst-ceers")
    assert done["galaxies"] == 19
    [(source, reason)] = store.skipped
    assert "ceers_11922" in source
    assert reason.startswith("too many pixels without a value: 79.9%")
    assert set(store.column("bands")) == {"f444w,f277w,f150w"}
    np.testing.assert_allclose(store.column("pixel_scale"), 0.03, rtol=1e-3)


def test_ngc6976_is_three_bands_on_one_grid_and_two_pictures(tmp_path):
    store, _ = stored(tmp_path, "ngc6976")
    assert store.column("id").tolist() == ["ngc6976-default", "ngc6976", "reprojected_sdss"]
    assert store.column("bands").tolist() == ["", "", "i,r,g"]  # every header says FILTER = g
    ra, dec, _, _ = centre(store, 2)
    assert (ra, dec) == pytest.approx((313.1704, -5.6932), abs=1e-3)


def test_one_band_missing_is_a_reason_only_where_the_recipe_asks_for_it(tmp_path):
    galaxy = min((DATA / "sdss-cutouts").glob("*_r.fits"))
    for band in "gr":
        shutil.copy(galaxy.with_name(galaxy.name.replace("_r.", f"_{band}.")), tmp_path / f"a_{band}.fits")
    with pytest.raises(ValueError, match=r"no i band \(ingest\.bands = i, r, g; there is g, r\)"):
        ingest([tmp_path], tmp_path / "s", IngestSettings(bands=("i", "r", "g")), workers=1, quiet=True)
    ingest([tmp_path], tmp_path / "s", IngestSettings(), workers=1, quiet=True)
    assert ImageStore(tmp_path / "s").column("flags")[0] == Flag.OTHER_BANDS


@pytest.mark.parametrize(
    ("archive", "first"),
    [("galaxy-zoo/images_training_rev1.zip", 100018), ("galaxy-zoo-1/images.zip", 587722952767439450)],
)
def test_galaxy_zoos_zips(archive, first, tmp_path):
    store, done = stored(tmp_path, archive, limit=40)
    assert done == {"galaxies": 40, "skipped": 0, "reasons": {}, "unmatched": None}
    assert store.column("id").dtype == np.int64
    assert store.column("id")[0] == first
    assert not store.column("flags").any()
