"""Simulated particles: laws of the drawing against the truth, and the files."""

from __future__ import annotations

import mrcfile
import numpy as np
import pytest
from astropy.table import Table
from hypothesis import given, settings
from hypothesis import strategies as st

from galvae.angles import difference
from galvae.data import antibody, hinge
from galvae.data.antibody import AntibodyView, simulate_antibody
from galvae.data.density import gaussians
from galvae.data.hinge import HingeView, simulate_hinge
from galvae.data.molecule import hinge_molecule
from galvae.data.particles import stream
from galvae.moments import adaptive_moments

MOLECULE = hinge_molecule()
SIZES = (39, 40, 41)
few = settings(max_examples=15)
sizes, shares, angles = st.sampled_from(SIZES), st.floats(0, 1), st.floats(0, 360)
moves, fabs = st.floats(-3, 3), st.floats(30, 100)  # moved by more a lobe may leave the frame
MAKE = {"hinge": simulate_hinge, "antibody": simulate_antibody}
both = pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)


def moments(image: np.ndarray) -> tuple[np.ndarray, float]:
    """Centre of mass, right and up of the image's centre in pixels, and major axis in degrees, unweighted."""
    row, column = np.indices(image.shape) - (np.array(image.shape) - 1)[:, None, None] / 2
    light = image.astype(float)
    centre = np.array([(light * axis).sum() / light.sum() for axis in (column, row)])
    x, y = column - centre[0], row - centre[1]
    xx, yy, xy = ((light * product).sum() for product in (x * x, y * y, x * y))
    return centre, np.degrees(np.arctan2(2 * xy, xx - yy)) / 2


def test_gaussians_are_the_sum_that_they_say():
    stream = np.random.default_rng(0)
    points, weights = 6 * stream.standard_normal((30, 2)), stream.random(30)
    for size in SIZES:
        grid = np.arange(size) - (size - 1) / 2
        away = (grid - points[:, :1])[:, None, :] ** 2 + (grid - points[:, 1:])[:, :, None] ** 2
        expected = (weights[:, None, None] * np.exp(-away / 2 / 1.3**2)).sum(0) / (2 * np.pi * 1.3**2)
        found = gaussians(points, size=size, sigma=1.3, weights=weights)
        np.testing.assert_allclose(found, expected, atol=1e-6 * expected.max())


@few
@given(sizes, shares, angles)
def test_a_quarter_turn_of_the_hinge_is_one_of_the_pixels(size, conformation, theta):
    view = HingeView(MOLECULE, size=size)
    before, after = view.image(conformation, theta), view.image(conformation, theta + 90)
    # np.rot90 turns clockwise where row 0 is at the bottom.
    np.testing.assert_allclose(after, np.rot90(before, -1), atol=2e-6 * before.max())


@few
@given(sizes, angles, moves, moves, fabs, fabs)
def test_a_quarter_turn_of_the_antibody_is_one_of_the_pixels(size, theta, x, y, fab_1, fab_2):
    view = AntibodyView(size=size)
    before, after = view.image(theta, x, y, fab_1, fab_2), view.image(theta + 90, -y, x, fab_1, fab_2)
    np.testing.assert_allclose(after, np.rot90(before, -1), atol=2e-6 * before.max())


@few
@given(sizes, shares, angles, angles)
def test_the_hinges_axis_turns_by_theta(size, conformation, theta, other):
    view = HingeView(MOLECULE, size=size)
    (centre, axis), (_, other_axis) = (moments(view.image(conformation, angle)) for angle in (theta, other))
    assert abs(difference(axis - other_axis, theta - other, 180)) < 0.05
    np.testing.assert_allclose(centre, 0, atol=0.01)


def test_moments_of_the_catalog_turn_by_theta_too():
    view, theta = HingeView(MOLECULE), np.arange(0, 360, 15.0)
    found = adaptive_moments(np.stack([view.image(0.9, angle) for angle in theta]))
    assert found.ok.all()
    turned = difference(np.degrees(found.angle - found.angle[0]), theta, 180)
    np.testing.assert_allclose(turned, 0, atol=0.1)


def test_half_a_turn_is_told_from_none():
    view = HingeView(MOLECULE)
    for conformation in (0.0, 0.5, 1.0):
        image, other = view.image(conformation, 0.0), view.image(conformation, 180.0)
        assert np.corrcoef(image.ravel(), other.ravel())[0, 1] < 0.9


@few
@given(sizes, angles, moves, moves, fabs, fabs)
def test_the_antibodys_mass_lies_at_x_and_y(size, theta, x, y, fab_1, fab_2):
    image = AntibodyView(size=size, stain=0.0).image(theta, x, y, fab_1, fab_2)
    wide = np.pad(image, 1)
    centre, _ = moments(wide)
    np.testing.assert_allclose(centre, [x, y], atol=0.01)


def test_fabs_open_to_the_left_and_to_the_right():
    view = AntibodyView(size=41)
    shut, left, right = (view.image(0, 0, 0, *pair) for pair in ((40, 40), (90, 40), (40, 90)))
    np.testing.assert_allclose(left[:, ::-1], right, atol=1e-5 * left.max())
    np.testing.assert_allclose(shut[:, ::-1], shut, atol=1e-5 * left.max())
    # Fc points down: most of the mass beyond it, two Fabs, is above the middle of what is lit.
    lit = np.flatnonzero(shut.sum(1) > 0.05 * shut.sum(1).max())
    assert lit.mean() < 20 + moments(shut)[0][1]
    # The molecule is centred, so that opening the left Fab brings its tip lower and not the right one's.
    assert left[:, :12].sum(1).argmax() < left[:, -12:].sum(1).argmax()


@pytest.mark.parametrize("snr", [0.05, 2.0])
def test_signal_to_noise_is_as_stated(snr):
    view, other = HingeView(MOLECULE, snr=snr), AntibodyView(snr=snr)
    steps, pairs = np.linspace(0, 1, 7), np.random.default_rng(0).uniform(30, 100, (60, 2))
    assert np.mean([view.image(step, 50.0).var() for step in steps]) == pytest.approx(snr, rel=0.05)
    assert np.mean([other.image(70.0, 0, 0, *pair).var() for pair in pairs]) == pytest.approx(snr, rel=0.05)


def test_the_stain_is_as_strong_as_stated_and_smooth():
    view = AntibodyView(stain=0.7, size=41)
    fields = np.stack([view.background(stream("test", 0, number)) for number in range(300)])
    assert np.sqrt((fields**2).mean()) == pytest.approx(0.7, rel=0.03)
    # Correlation of a Gaussian-smoothed field at a lag of its scale.
    assert (fields[:, :, 5:] * fields[:, :, :-5]).mean() / (fields**2).mean() == pytest.approx(np.exp(-0.25), abs=0.05)
    np.testing.assert_allclose(fields.std(0), 0.7, atol=0.15)  # as much at the edge


# The files


@pytest.mark.parametrize("size", SIZES)
def test_the_stack_is_the_truth_and_white_noise(tmp_path, size):
    truth = simulate_hinge(tmp_path / "hinge.mrcs", 60, size=size, quiet=True)
    view = HingeView(MOLECULE, size=size)
    clean = np.stack([view.image(row["conformation"], row["theta"]) for row in truth])
    with mrcfile.open(tmp_path / "hinge.mrcs") as mrc:
        noise = mrc.data - clean
    assert noise.std() == pytest.approx(1, abs=0.01)
    assert noise.mean() == pytest.approx(0, abs=0.02)
    for lag in (noise[:, 1:] * noise[:, :-1], noise[:, :, 1:] * noise[:, :, :-1], noise[1:] * noise[:-1]):
        assert lag.mean() == pytest.approx(0, abs=0.02)


def test_antibodies_are_the_truth_stain_and_noise(tmp_path):
    truth = simulate_antibody(tmp_path / "igg.mrcs", 200, view=AntibodyView(snr=0.3), quiet=True)
    view = AntibodyView(snr=0.3)
    pose = ("theta", "x", "y", "fab_1", "fab_2")
    clean = np.stack([view.image(*(row[name] for name in pose)) for row in truth])
    rest = mrcfile.read(tmp_path / "igg.mrcs") - clean
    assert rest.var(axis=(1, 2)).mean() == pytest.approx(1 + (truth["background"] ** 2).mean(), rel=0.02)
    assert truth["x"].std() == pytest.approx(2, rel=0.15)
    assert truth["fab_1"].min() >= 30
    assert truth["fab_1"].max() <= 100
    assert abs(np.corrcoef(truth["fab_1"], truth["fab_2"])[0, 1]) < 0.2


@both
def test_header_and_truth_are_read_back(tmp_path, make):
    truth = make(tmp_path / "some.mrcs", 3, quiet=True)
    with mrcfile.open(tmp_path / "some.mrcs") as mrc:
        assert mrc.is_image_stack()
        assert mrc.data.shape == (3, 40, 40)
        assert mrc.header.mode == 2
        assert mrc.header.map == b"MAP "
        assert mrc.voxel_size.x == mrc.voxel_size.y == pytest.approx(truth.meta["pixel_size"])
    assert mrcfile.validate(tmp_path / "some.mrcs")
    again = Table.read(tmp_path / "some.ecsv")
    assert list(again["id"]) == ["000001@some.mrcs", "000002@some.mrcs", "000003@some.mrcs"]
    columns = hinge.COLUMNS if make is simulate_hinge else antibody.COLUMNS
    assert again.colnames == ["id", *columns]
    assert again.meta == truth.meta
    assert again.meta["seed"] == 0
    for name, (unit, description) in columns.items():
        np.testing.assert_array_equal(again[name], truth[name])
        assert str(again[name].unit or "") == unit
        assert again[name].description == description
    assert (truth["theta"] >= 0).all()


@both
def test_an_image_is_the_same_whatever_the_number(tmp_path, make):
    truths = [make(tmp_path / f"{n}.mrcs", n, seed=4, quiet=True) for n in (2, 5)]
    few, more = (mrcfile.read(tmp_path / f"{n}.mrcs") for n in (2, 5))
    np.testing.assert_array_equal(few, more[:2])
    np.testing.assert_array_equal(truths[0]["theta"], truths[1]["theta"][:2])
    other = make(tmp_path / "other.mrcs", 2, seed=5, quiet=True)
    assert not np.isin(other["theta"], truths[0]["theta"]).any()


@both
def test_the_same_images_are_the_same_file(tmp_path, make):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        make(tmp_path / folder / "some.mrcs", 2, quiet=True)
    for name in ("some.mrcs", "some.ecsv"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_conformations_may_be_some(tmp_path):
    truth = simulate_hinge(tmp_path / "hinge.mrcs", 50, conformations=(0.4, 0.6), quiet=True)
    assert truth["conformation"].min() >= 0.4
    assert truth["conformation"].max() <= 0.6


# What is refused, and what is kept


@both
@pytest.mark.parametrize("failing", ["simulating", "writing"])
def test_a_failure_leaves_no_half_file_and_keeps_the_old(tmp_path, monkeypatch, make, failing):
    make(tmp_path / "some.mrcs", 2, quiet=True)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def stop(*_):
        raise KeyboardInterrupt

    if failing == "simulating":
        monkeypatch.setattr("galvae.data.particles.stream", stop)
    else:
        monkeypatch.setattr("mrcfile.mrcobject.MrcObject.set_image_stack", stop)
    with pytest.raises(KeyboardInterrupt):
        make(tmp_path / "some.mrcs", 3, overwrite=True, quiet=True)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@both
def test_files_are_kept(tmp_path, make):
    (tmp_path / "some.ecsv").write_text("mine")
    with pytest.raises(FileExistsError, match=r"some\.ecsv"):
        make(tmp_path / "some.mrcs", 2, quiet=True)
    with pytest.raises(ValueError, match=r"\.mrcs"):
        make(tmp_path / "some.mrc", 2, quiet=True)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]


@both
@pytest.mark.parametrize(("n", "seed"), [(0, 0), (1, -1)])
def test_wrong_numbers_are_refused(tmp_path, make, n, seed):
    with pytest.raises(ValueError, match="at least"):
        make(tmp_path / "some.mrcs", n, seed=seed)
    assert not list(tmp_path.iterdir())


def test_wrong_views_are_refused(tmp_path):
    for wrong in ({"conformations": (0.6, 0.4)}, {"size": 4}, {"snr": 0.0}, {"sigma": -1.0}):
        with pytest.raises(ValueError, match="above 0"):
            simulate_hinge(tmp_path / "some.mrcs", 1, **wrong)
    for wrong in ({"fab": (90.0, 40.0)}, {"size": 4}, {"snr": 0.0}, {"stain": -1.0}, {"stain_scale": 0.0}):
        with pytest.raises(ValueError, match="give"):
            simulate_antibody(tmp_path / "some.mrcs", 1, view=AntibodyView(**wrong))
    assert not list(tmp_path.iterdir())
