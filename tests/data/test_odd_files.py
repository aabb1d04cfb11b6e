"""Odd files met in the wild: the outcome expected of each was written down first, then met."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from galvae.data.store import ImageStore
from galvae.flags import Flag

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data" / "odd-files"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"no real data at {DATA}")

PADDED, MISSING, GREY, OTHER = (int(flag) for flag in (Flag.PADDED, Flag.MISSING, Flag.GREY, Flag.OTHER_BANDS))

# File: (size ny, nx; flags; bands; arcsec per pixel), or the beginning of the reason for skipping it.
EXPECTED = {
    "features1.jpeg": (512, 512, 0, "", None),
    "features2.jpg": (424, 424, 0, "", None),
    "features3.jpg": (424, 424, 0, "", None),
    # Two at the edge of the survey: a sixth and a tenth are black.
    "features4.jpg": (424, 424, MISSING, "", None),
    "features5.jpg": (424, 424, MISSING, "", None),
    "features6.jpg": (424, 424, 0, "", None),
    # Two images in one file: the first is the galaxy, the second is its PSF or its surroundings.
    "galsim_AEGIS_F814w_images_02.fits": (44, 39, PADDED | GREY, "F814w", None),
    # A cube whose header says BANDS = 'grz'.
    "gzbcnn_example_b.fits": (162, 162, OTHER, "z,r,g", 0.262),
    # int16 counts, no WCS, no filter keyword: M51 in B.
    "photutils_M51_B_nowcs_int16.fits": (512, 512, GREY, "B", None),
    # Five planes that the header does not name: grey, no order guessed. PC with CDELT 1.
    "scarlet_Cut_HSC.fits": (50, 50, PADDED | GREY, "", 0.168),
    "scarlet_hsc_ra=150.24071_dec=2.06514.fits": (54, 54, PADDED | GREY, "", 0.168),
    "server_error_page_587729387686002878.jpeg": "text or a plot rendered as a picture",
    "smooth1.jpg": (424, 424, 0, "", None),
    "smooth2.jpg": (424, 424, 0, "", None),
    "smooth3.jpg": (424, 424, 0, "", None),
    "smooth4.jpg": (424, 424, 0, "", None),
    "smooth6.jpg": (424, 424, 0, "", None),
    "star1.jpg": (150, 150, 0, "", None),
    "star2.jpg": (150, 150, 0, "", None),
    "star3.jpg": (150, 150, 0, "", None),
    "star5.jpg": (424, 424, 0, "", None),
    "star6.jpg": (424, 424, 0, "", None),
    # Three quarters of g and r are exact zeros, the galaxy among them.
    "willettk_example_bad_pix.fits": "too many pixels without a value: 78.4%",
    "willettk_example_incomplete.TRUNCATED.fits": "damaged or truncated FITS data",
    "willettk_temp_small.fits": (225, 225, OTHER, "z,r,g", 0.262),
}


@pytest.fixture(scope="module")
def ingested(tmp_path_factory):
    """The store of all of them, by command and with the default recipe, and what the command said."""
    store = tmp_path_factory.mktemp("odd") / "store"
    command = [sys.executable, "-m", "galvae", "ingest", str(DATA), "-o", str(store)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    return store, done


def test_every_file_is_expected():
    assert sorted(path.name for path in DATA.iterdir()) == sorted(EXPECTED)


def test_the_command_ends_well_and_says_what_was_skipped(ingested):
    store, done = ingested
    assert (done.returncode, "Traceback" in done.stderr) == (0, False)
    assert done.stdout == f"{store}: 22 galaxies, 3 skipped (12% of the inputs: galvae info says why)\n"
    assert sum(line.startswith("skipped ") for line in done.stderr.splitlines()) == 3
    assert sorted(path.name for path in store.iterdir()) == [
        "part-00000.h5", "part-00001.h5", "plan.json", "store.json",
    ]  # fmt: skip


@pytest.mark.parametrize("name", EXPECTED)
def test_outcome(ingested, name):
    store, expected = ImageStore(ingested[0]), EXPECTED[name]
    source = str(DATA / name)
    if isinstance(expected, str):
        [reason] = [why for where, why in store.skipped if where == source]
        assert reason.startswith(expected)
        assert "\n" not in reason
        return
    [row] = np.flatnonzero(store.column("source") == source)
    ny, nx, flags, bands, scale = expected
    assert store.column("size")[row].tolist() == [ny, nx]
    assert store.column("flags")[row] == flags
    assert store.column("bands")[row] == bands
    assert store.column("pixel_scale")[row] == pytest.approx(scale or np.nan, rel=1e-3, nan_ok=True)
    assert bool(store.column("wcs")[row]) == (scale is not None)
    centre = store.images([row])[0][54:74, 54:74].mean()
    assert centre > 15  # there is a galaxy, or a star, in the middle


@pytest.mark.parametrize("name", [name for name, outcome in EXPECTED.items() if isinstance(outcome, str)])
def test_what_is_refused_is_one_line_and_leaves_nothing(name, tmp_path):
    command = [sys.executable, "-m", "galvae", "ingest", str(DATA / name), "-o", str(tmp_path / "s"), "-q"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("galvae: error: none of 1 inputs could be ingested: ")
    assert EXPECTED[name] in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "s").exists()
