"""The synthetic survey: laws of the drawing, the truth against independent measurements, and the files."""

from __future__ import annotations

from dataclasses import replace

import astropy.units as u
import numpy as np
import pytest
import typer
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from hypothesis import given, settings
from hypothesis import strategies as st
from photutils.aperture import CircularAperture, EllipticalAperture
from photutils.morphology import data_properties
from pydantic import ValidationError
from scipy.ndimage import map_coordinates
from typer.testing import CliRunner

from galvae.cli.simulate import simulate as command
from galvae.data.galaxies import BANDS, Arms
from galvae.data.settings import SimulateSettings
from galvae.data.simulate import TRUTH, simulate, write_cutout
from galvae.data.survey import SIZE, Field, field
from galvae.data.truth import COLUMNS, truth_of

DEFAULTS = SimulateSettings()
SMOOTH = SimulateSettings(spirals=0.0, ellipticals=0.5, axis_ratio=(0.2, 0.7))
ARMS = Arms(sense=1, pitch=20.0, phase=0.4, width=2.0, start=1.5, share=(0.9, 0.8, 0.7))
few = settings(max_examples=15, deadline=None)
numbers = st.integers(0, 10**6)


def a_field(number: int, recipe: SimulateSettings = DEFAULTS, seed: int = 0) -> Field:
    return field(number, seed=seed, settings=recipe)


def axial(angle: float) -> float:
    return (angle + 90) % 180 - 90


def inside(image: np.ndarray, truth: dict, radius: float) -> np.ndarray:
    return CircularAperture((truth["x"], truth["y"]), radius).to_mask().to_image(image.shape) > 0.5


# Where it is and how it lies


@pytest.mark.parametrize("number", range(6))
def test_flux_and_centroid_are_the_truth(number):
    recipe = SimulateSettings(size=(2.0, 3.0), offset=0.3)
    seen = a_field(number, recipe).turned(move=(150, 150))
    truth = truth_of(seen)
    image = seen.draw(alone=True, shape=(SIZE + 300, SIZE + 300))["r"]
    y, x = np.indices(image.shape)
    assert np.average(x, weights=image) == pytest.approx(truth["x"], abs=0.01)
    assert np.average(y, weights=image) == pytest.approx(truth["y"], abs=0.01)
    # Nearly 3% of the steepest profile lies beyond the 12 half-light radii that are drawn.
    beyond = 1 - image.sum() / 10 ** (0.4 * (22.5 - truth["mag"]))
    assert -1e-4 < beyond < (0.03 if truth["kind"] == "elliptical" else 2e-3)


@pytest.mark.parametrize("number", range(8))
def test_photutils_finds_the_orientation_of_smooth_galaxies(number):
    seen = a_field(number, SMOOTH)
    truth = truth_of(seen)
    image = seen.draw(alone=True)["r"]
    found = data_properties(image, mask=~inside(image, truth, 45))
    assert axial(found.orientation.to_value(u.deg) - truth["orientation"]) == pytest.approx(0, abs=0.5)


@pytest.mark.parametrize("axis_ratio", [0.3, 0.5, 0.8])
def test_the_outer_isophote_has_the_axis_ratio(axis_ratio):
    recipe = SimulateSettings(spirals=0, ellipticals=1, size=(7, 7), axis_ratio=(axis_ratio,) * 2)
    seen = a_field(3, recipe.model_copy(update={"offset": 0.0, "psf": (0.8, 0.8)}))
    truth = truth_of(seen)
    turn, radius = np.radians(truth["orientation"]), 2.5 * truth["r_half"] / truth["pixel_scale"]
    along, across = np.array([np.cos(turn), np.sin(turn)]), np.array([-np.sin(turn), np.cos(turn)])
    ends = radius * np.array([along, -along, axis_ratio * across, -axis_ratio * across])
    places = np.array([truth["y"], truth["x"]]) + ends[:, ::-1]
    light = map_coordinates(seen.draw(alone=True)["r"], places.T)
    assert np.ptp(light) / light.mean() < 0.05


@pytest.mark.parametrize("kind", [{"spirals": 0, "ellipticals": 1}, {"spirals": 1, "ellipticals": 0, "bulge": (0, 0)}])
def test_half_the_light_is_inside_the_half_light_ellipse(kind):
    seen = a_field(1, SimulateSettings(size=(6, 6), psf=(0.9, 0.9), axis_ratio=(0.6, 0.9), **kind))
    truth, image = truth_of(seen), seen.draw(alone=True)["r"]
    major = truth["r_half"] / truth["pixel_scale"]
    ellipse = EllipticalAperture(
        (truth["x"], truth["y"]), major, major * truth["axis_ratio"], theta=np.radians(truth["orientation"])
    )
    assert ellipse.do_photometry(image)[0][0] / seen.galaxy.flux("r") == pytest.approx(0.5, abs=0.01)


@given(number=numbers)
@few
def test_bulge_and_disk_together_have_half_their_light_inside_r_half(number):
    seen = a_field(number, SimulateSettings(ellipticals=0, bulge=(0.2, 0.8)))
    total = 0.0
    for part in seen.galaxy.components:
        radius = (np.arange(40000) + 0.5) / 40000 * seen.r_half
        round_part = replace(part, axis_ratio=1.0, arms=None)
        [light] = round_part.patterns(np.zeros_like(radius), radius)
        total += (part.flux[BANDS.index("r")] * light * 2 * np.pi * radius).sum() * seen.r_half / 40000
    assert total / seen.galaxy.flux("r") == pytest.approx(0.5, abs=1e-3)


# The sky


@given(number=numbers)
@few
def test_position_angle_is_measured_from_north_through_east_in_either_parity(number):
    for seen in (a_field(number), a_field(number).turned(mirror=True)):
        truth, wcs = truth_of(seen), seen.frames["r"]
        turn = np.radians(truth["orientation"])
        centre = wcs.pixel_to_world(truth["x"], truth["y"])
        end = wcs.pixel_to_world(truth["x"] + np.cos(turn), truth["y"] + np.sin(turn))
        assert axial(centre.position_angle(end).deg - truth["pa"]) == pytest.approx(0, abs=1e-3)
        up = wcs.pixel_to_world(truth["x"], truth["y"] + 1)
        assert (centre.position_angle(up).deg - truth["rotation"] + 180) % 360 == pytest.approx(180, abs=1e-3)
        assert centre.separation(up).arcsec == pytest.approx(truth["pixel_scale"], rel=1e-4)
        assert centre.separation(SkyCoord(truth["ra"], truth["dec"], unit="deg")).arcsec < 1e-6
        assert truth["parity"] == np.sign(np.linalg.det(wcs.wcs.cd))


def test_bands_lie_up_to_1_2_pixels_apart():
    apart = []
    for number in range(60):
        frames = a_field(number).frames
        spots = [frames[band].wcs.crpix for band in BANDS]
        apart += [np.hypot(*(spots[a] - spots[b])) for a, b in ((0, 1), (0, 2), (1, 2))]
    assert max(apart) <= 1.2
    assert max(apart) > 1.0


@given(number=numbers, quarter=st.integers(0, 3), move=st.tuples(st.integers(-9, 9), st.integers(-9, 9)))
@few
def test_quarter_turns_and_whole_moves_are_exact(number, quarter, move):
    recipe = SimulateSettings(size=(2.0, 2.5), stars=0.0, neighbours=0.0)
    seen = a_field(number, recipe)
    turned = seen.turned(90 * quarter, move).draw()["r"]
    expected = np.roll(np.rot90(seen.draw()["r"], -quarter), move[::-1], axis=(0, 1))
    inner = slice(10, -10)
    assert np.abs(turned - expected)[inner, inner].max() < 1e-6 * expected.max()


@given(number=numbers, angle=st.floats(-400, 400), move=st.tuples(st.floats(-9, 9), st.floats(-9, 9)))
@few
def test_truth_turns_with_the_camera(number, angle, move):
    before, after = truth_of(a_field(number)), truth_of(a_field(number).turned(angle, move))
    cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    assert axial(after["orientation"] - before["orientation"] - angle) == pytest.approx(0, abs=1e-3)
    assert after["dx"] == pytest.approx(cos * before["dx"] - sin * before["dy"] + move[0], abs=1e-6)
    assert after["dy"] == pytest.approx(sin * before["dx"] + cos * before["dy"] + move[1], abs=1e-6)
    assert [after[name] for name in ("pa", "winding", "parity", "ra")] == [
        before[name] for name in ("pa", "winding", "parity", "ra")
    ]


# Arms


@given(radius=st.floats(1e-3, 50), share=st.floats(0, 1), width=st.floats(0.5, 4))
def test_arms_move_light_along_circles_only(radius, share, width):
    azimuth = np.linspace(0, 2 * np.pi, 720, endpoint=False)
    factor = 1 + share * replace(ARMS, width=width).excess(np.full(720, radius), azimuth)
    assert factor.mean() == pytest.approx(1, abs=1e-9)
    assert factor.min() >= 0


def outward_turn(image: np.ndarray, x: float, y: float) -> float:
    """Sum over radii of how far the two arms advance counter-clockwise per pixel outwards."""
    azimuth = np.linspace(0, 2 * np.pi, 180, endpoint=False)
    phases = []
    for radius in range(8, 30):
        columns = np.rint(x + radius * np.cos(azimuth)).astype(int)
        rows = np.rint(y + radius * np.sin(azimuth)).astype(int)
        phases.append(np.angle((image[rows, columns] * np.exp(2j * azimuth)).sum()))
    return float(np.sum(axial(np.degrees(np.diff(phases)) / 2)))


@pytest.mark.parametrize("number", range(6))
def test_winding_is_that_of_the_displayed_arms_and_parity_flips_it(number):
    recipe = SimulateSettings(spirals=1, ellipticals=0, axis_ratio=(0.9, 1), size=(5, 5), arms=(0.8, 0.8), stars=0)
    seen = a_field(number, recipe)
    mirrored = seen.turned(mirror=True)
    truth, flipped = truth_of(seen), truth_of(mirrored)
    for one, what in ((truth, seen), (flipped, mirrored)):
        turn = outward_turn(what.draw(alone=True)["r"], one["x"], one["y"])
        assert one["winding"] == ("Z" if turn > 0 else "S")
        assert (one["winding"] == one["winding_sky"]) == (one["parity"] == -1)
    assert {truth["winding"], flipped["winding"]} == {"S", "Z"}
    assert truth["winding_sky"] == flipped["winding_sky"]
    image = seen.draw()["r"]
    np.testing.assert_allclose(mirrored.draw()["r"], image[:, ::-1], rtol=0, atol=1e-6 * image.max())


# Noise


def test_signal_to_noise_is_that_of_repeated_exposures():
    seen = a_field(2)
    truth = truth_of(seen)
    major = truth["r_half"] / truth["pixel_scale"]
    ellipse = EllipticalAperture(
        (truth["x"], truth["y"]), major, major * truth["axis_ratio"], theta=np.radians(truth["orientation"])
    )
    fluxes = [ellipse.do_photometry(seen.draw(alone=True, exposure=k)["r"])[0][0] for k in range(150)]
    assert seen.galaxy.flux("r") / 2 / np.std(fluxes) == pytest.approx(truth["snr"], rel=0.15)


def test_the_survey_is_broad():
    rows = Table(rows=[truth_of(a_field(number)) for number in range(400)])
    assert (rows["snr"] < 150).mean() > 0.1
    assert (rows["snr"] > 450).mean() > 0.1
    assert (rows["axis_ratio"] > 0.9).mean() > 0.08
    assert (rows["axis_ratio"] < 0.4).mean() > 0.08
    assert 0.2 < (rows["parity"] == 1).mean() < 0.4
    arms = rows[rows["winding_sky"] != "none"]
    assert 0.4 < (arms["winding_sky"] == "Z").mean() < 0.6
    assert ((rows["nearest"] < 20) & (rows["nearest_flux_ratio"] > 0.5)).any()
    assert np.hypot(rows["dx"], rows["dy"]).max() > 6
    assert abs(np.exp(2j * np.radians(rows["orientation"])).mean()) < 0.15
    assert abs(np.exp(1j * np.radians(rows["rotation"])).mean()) < 0.15


# Files


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    folder = tmp_path_factory.mktemp("survey") / "sim"
    return folder, simulate(folder, 30, seed=5, workers=2, quiet=True)


def test_workers_and_n_change_nothing(survey, tmp_path):
    folder, truth = survey
    fewer = simulate(tmp_path / "one", 3, seed=5, workers=1, quiet=True)
    for path in sorted((tmp_path / "one").glob("*.fits")):
        assert path.read_bytes() == (folder / path.name).read_bytes()
    assert all((fewer[name] == truth[name][:3]).all() for name in ("id", "ra", "orientation", "snr"))
    assert truth["id"].tolist() == [f"sim_s5_{number:06d}" for number in range(30)]
    other = simulate(tmp_path / "other", 1, seed=6, quiet=True)
    assert other["id"][0] == "sim_s6_000000"
    assert other["ra"][0] != truth["ra"][0]


def test_files_are_whole_and_their_wcs_gives_the_truth_back(survey):
    folder, truth = survey
    assert len(list(folder.iterdir())) == 3 * 30 + 1
    assert not list(folder.parent.glob(".*"))
    assert set(truth["parity"]) == {-1, 1}
    for row in truth:
        sky = SkyCoord(row["ra"], row["dec"], unit="deg")
        for band in BANDS:
            with fits.open(folder / f"{row['id']}_{band}.fits") as (hdu,):
                assert hdu.data.dtype == ">f4"
                assert hdu.data.shape == (SIZE, SIZE)
                assert (hdu.header["FILTER"], hdu.header["BUNIT"]) == (band, "nanomaggy")
                x, y = WCS(hdu.header).world_to_pixel(sky)
            assert np.hypot(x - row["x"], y - row["y"]) < (1e-4 if band == "r" else 1.2001)


def test_truth_reads_back_with_units_and_descriptions(survey):
    folder, truth = survey
    back = Table.read(folder / TRUTH)
    assert back.colnames == list(COLUMNS) == truth.colnames
    assert not back.has_masked_columns
    for name, (unit, description) in COLUMNS.items():
        assert back[name].unit == (u.Unit(unit) if unit else None)
        assert back[name].description == description
        assert len(description) > 10
        np.testing.assert_array_equal(back[name], truth[name])
    assert back.meta["seed"] == 5
    assert SimulateSettings.model_validate(back.meta["simulate"]) == DEFAULTS


@pytest.mark.parametrize(
    ("number", "band", "pixel", "total"),
    [
        (0, "g", 0.2874427998188858, 143.1088440480149),
        (1, "r", 0.5905738927909632, 47.17709711571379),
        (2, "i", 1.1266074873377872, 444.0572656632362),
    ],
)
def test_pixels_are_those_of_the_first_day(number, band, pixel, total):
    image = a_field(number, SimulateSettings(snr=(15, 300), arms=(0.3, 0.9)), seed=7).draw(exposure=0)[band]
    assert (image[64, 64], image.sum()) == pytest.approx((pixel, total), rel=1e-5)


def test_a_turned_cutout_is_written_under_its_name(tmp_path):
    write_cutout(tmp_path, a_field(0).turned(30), name="turned", exposure=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"turned_{band}.fits" for band in "gir"]


# What is refused


def test_existing_folders_are_kept(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    with pytest.raises(FileExistsError, match="already exists"):
        simulate(tmp_path / "mine", 1, quiet=True)
    with pytest.raises(FileExistsError, match="not a synthetic survey"):
        simulate(tmp_path / "mine", 1, overwrite=True, quiet=True)
    assert (tmp_path / "mine" / "thesis.tex").exists()


@pytest.mark.parametrize("overwrite", [False, True])
def test_an_empty_folder_is_taken(overwrite, tmp_path):
    (tmp_path / "sim").mkdir()
    simulate(tmp_path / "sim", 1, overwrite=overwrite, quiet=True)
    assert [path.name for path in tmp_path.iterdir()] == ["sim"]
    assert len(Table.read(tmp_path / "sim" / TRUTH)) == 1


def test_a_failure_leaves_nothing_and_keeps_the_old(tmp_path, monkeypatch):
    simulate(tmp_path / "sim", 1, quiet=True)
    monkeypatch.setattr("galvae.data.simulate.truth_of", lambda seen: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        simulate(tmp_path / "sim", 2, overwrite=True, quiet=True)
    assert [path.name for path in tmp_path.iterdir()] == ["sim"]
    assert len(Table.read(tmp_path / "sim" / TRUTH)) == 1


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"axis_ratio": (0.9, 0.2)}, "low <= high"),
        ({"axis_ratio": (0.0, 0.5)}, "greater than"),
        ({"size": (-1, 2)}, "greater than 0"),
        ({"spirals": 0.8, "ellipticals": 0.8}, "more than 1"),
        ({"sises": (1, 2)}, "Extra inputs"),
    ],
)
def test_wrong_settings_are_refused(wrong, words):
    with pytest.raises(ValidationError, match=words):
        SimulateSettings(**wrong)


@pytest.mark.parametrize(("n", "seed"), [(0, 0), (1, -1)])
def test_wrong_numbers_are_refused(tmp_path, n, seed):
    with pytest.raises(ValueError, match="at least"):
        simulate(tmp_path / "sim", n, seed=seed)
    assert not list(tmp_path.iterdir())


def test_command_prints_the_table_and_a_summary(tmp_path):
    app = typer.Typer()
    app.command()(command)
    changes = ["--set", "simulate.spirals=1", "--set", "simulate.ellipticals=0"]
    asked = ["-o", str(tmp_path / "sim"), "-n", "2", *changes]
    result = CliRunner().invoke(app, [*asked, "-q"], catch_exceptions=False)
    path, summary = result.stdout.splitlines()
    assert path == str(tmp_path / "sim" / TRUTH)
    assert "2 spiral" in summary
    again = CliRunner().invoke(app, [*asked, "-q"])
    assert isinstance(again.exception, FileExistsError)
    assert CliRunner().invoke(app, [*asked, "-q", "--overwrite"]).exit_code == 0
