"""What `galvae verify` measures: nothing amiss of a network that knows, the turn of one that hides the pose in z."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from typer.testing import CliRunner

import galvae.verify.measure
from galvae.cli.main import app
from galvae.geometry import Pose, rotation
from galvae.inference.settings import CatalogSettings
from galvae.model.posterior import Posterior
from galvae.moments import adaptive_moments, luminance
from galvae.training.fit import fit
from galvae.verify.copies import turned
from galvae.verify.measure import verify
from galvae.verify.measured import Found, Measured, Reference
from galvae.verify.page import FIGURES, PAGE
from galvae.verify.summary import angle_from_z, summarize

WINDOW, FIELD = 64, 112
SIGMA = 0.2 * (WINDOW - 1) / 2  # of the generator's ellipse, window pixels
HALF = (WINDOW - 1) / 2
FEW = CatalogSettings(looks=2)  # what errors come out at is not asked here


def galaxies(count, *, seed=0, side=FIELD):
    """Ellipses whose blue end is the way they look, uint8 (count, side, side, 3), and their truth."""
    rng = np.random.default_rng(seed)
    way, ratio = rng.uniform(0, 2 * np.pi, count), rng.uniform(0.35, 0.9, count)
    dx, dy = rng.uniform(-3, 3, (2, count))
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    fields = []
    for w, q, a, b in zip(way, ratio, dx, dy, strict=True):
        along = (x - a) * np.cos(w) + (y - b) * np.sin(w)
        across = (y - b) * np.cos(w) - (x - a) * np.sin(w)
        light = np.exp(-0.5 * (along**2 + (across / q) ** 2) / SIGMA**2)
        lean = 0.4 * np.tanh(along / SIGMA)
        fields.append(light[..., None] * (0.5 + np.stack([-lean, 0 * lean, lean], -1)))
    truth = {"orientation": np.degrees(way) % 180, "axis_ratio": ratio, "dx": dx, "dy": dy}
    return np.round(np.array(fields) * 255).astype(np.uint8), truth


class Measures(nn.Module):
    """Measures what it is shown: centre, axis and the blue end; tells it as the pose, or hides all of it in z."""

    def __init__(self, *, hides=False, axial=False):
        super().__init__()
        self.hides, self.axial = hides, axial

    def forward(self, view):
        axis = torch.linspace(-1, 1, WINDOW)
        y, x = torch.meshgrid(axis, axis, indexing="ij")
        images = view.images(torch.stack([x.reshape(-1), y.reshape(-1)], -1)).permute(0, 2, 3, 1).numpy()
        found = adaptive_moments(luminance(images))
        way = found.angle.copy()
        if not self.axial:
            along = x.numpy() * np.cos(way)[:, None, None] + y.numpy() * np.sin(way)[:, None, None]
            lean = images[..., 2] - images[..., 0]
            way[(lean * along).sum((1, 2)) < 0] += np.pi
        centre = np.stack([found.x, found.y], 1) / HALF - 1
        # What it is shown was turned about the window's centre; what it says is about the upright window.
        turn, back = view.angle.numpy(), rotation(-view.angle).numpy()
        way, axis, centre = way - turn, found.angle - turn, np.einsum("bi,bij->bj", centre, back)
        nothing = np.zeros_like(way)
        told = np.stack([nothing, nothing, nothing, found.axis_ratio], 1)
        if self.hides:
            told = np.column_stack([axis, centre, found.axis_ratio])
            way, centre = nothing, 0 * centre
        content, way, centre = (torch.from_numpy(value).float() for value in (told, way, centre))
        pose = Pose(-way, -(centre[:, None] @ rotation(-way))[:, 0])
        small = torch.full_like(content, 1e-6)[:, None]
        return Posterior(
            torch.zeros(len(way), 1), content[:, None], small, pose.theta[:, None], small[..., 0],
            pose.shift[:, None], small[..., :2],
        )  # fmt: skip


@pytest.fixture
def measured(knowing, make_store, tmp_path, monkeypatch):
    """A function: what verify finds on forty galaxies with the given encoder, and its store's truth."""
    fields, truth = galaxies(40)
    store = make_store(tmp_path / "store", fields)

    def make(encoder, *, trained_on=(), **options):
        vae = knowing(torch.zeros(1), torch.zeros(1, 2), torch.zeros(1, 4), window=WINDOW).float()
        vae.encoder = encoder
        description = {"trained_on": np.array(trained_on, np.uint64)}
        monkeypatch.setattr("galvae.verify.measure.load_model", lambda run, device: (vae, description))
        return verify(["run"], store, settings={"run": FEW}, quiet=True, **options)["run"][0]

    make.store, make.truth = store, truth
    return make


def test_who_knows_passes_everything(measured):
    found = measured(Measures())
    assert found["galaxies"] == 40
    assert 10 < found["elongated"] < 40
    assert found["unmeasured"] == 0
    for name in ("axis", "turn_elongated", "turn_round", "turn_axis_elongated"):
        assert found[name]["p84"] < 0.5, name
    assert found["centre"]["p84"] < 0.02
    assert found["size"]["p84"] < 0.02
    assert found["move"]["p84"] < 0.02
    assert found["turn_size"]["p84"] < 0.01
    assert found["axis"]["beyond_30"] == found["turn_elongated"]["flips"] == found["turn_round"]["flips"] == 0
    assert found["z_drift"] < 0.05


def test_who_hides_the_pose_in_z_passes_the_axis_and_fails_the_turn(measured):
    found = measured(Measures(hides=True))
    assert found["axis"]["p84"] < 0.5
    assert found["axis"]["beyond_30"] == 0
    assert found["move"]["p84"] < 0.02
    assert found["turn_elongated"]["median"] > 45
    assert 0.25 < found["turn_elongated"]["flips"] < 0.75
    assert found["z_drift"] > 0.5


def test_who_knows_the_axis_but_not_the_way_flips(measured):
    """Of half the galaxies; the axis itself turns rightly."""
    found = measured(Measures(axial=True))
    assert found["turn_axis_elongated"]["p84"] < 0.5
    assert 0.25 < found["turn_elongated"]["flips"] < 0.75


def test_truth_is_found_by_identifier_and_in_original_pixels(measured, tmp_path):
    """Whatever the order of the table; one that is wrong by 40 degrees and 2 pixels shows."""
    from astropy.table import Table

    table = Table({"id": measured.store.column("id"), **measured.truth})[::-1]
    table.write(tmp_path / "truth.ecsv")
    found = measured(Measures(), truth=tmp_path / "truth.ecsv")
    assert found["axis"]["p84"] < 0.5
    assert found["centre"]["p84"] < 0.02
    assert found["moments"]["axis"]["p84"] < 0.5
    assert found["moments"]["centre"]["p84"] < 0.05
    table["orientation"] += 40
    table["dx"] += 2
    table.write(tmp_path / "wrong.ecsv")
    found = measured(Measures(), truth=tmp_path / "wrong.ecsv")
    assert found["axis"]["median"] == pytest.approx(40, abs=0.2)
    assert found["axis"]["beyond_30"] == 1
    assert found["centre"]["median"] == pytest.approx(2, abs=0.02)
    assert found["moments"]["axis"]["median"] == pytest.approx(40, abs=0.2)
    table[:-1].write(tmp_path / "short.ecsv")
    with pytest.raises(ValueError, match="no row for galaxy 1000"):
        measured(Measures(), truth=tmp_path / "short.ecsv")


def test_only_galaxies_not_trained_on_count(measured):
    from galvae.data.split import identifier_hashes

    hashes = identifier_hashes(measured.store.column("id"))
    assert measured(Measures(), trained_on=hashes[:25])["galaxies"] == 15
    assert measured(Measures(), limit=7)["galaxies"] == 7
    with pytest.raises(ValueError, match="no galaxy that run did not train on"):
        measured(Measures(), trained_on=hashes)


def test_runs_are_measured_on_the_same_galaxies_known_to_none(measured, monkeypatch):
    from galvae.data.split import identifier_hashes

    hashes = identifier_hashes(measured.store.column("id"))
    measured(Measures(), limit=1)
    vae, description = galvae.verify.measure.load_model("run", device="cpu")
    known = {"a": hashes[:25], "b": hashes[20:30], "c": hashes[25:]}
    monkeypatch.setattr(
        galvae.verify.measure, "load_model", lambda run, device: (vae, {**description, "trained_on": known[run]})
    )
    found = verify(["a", "b"], measured.store, settings=dict.fromkeys("ab", FEW), quiet=True)
    assert list(found) == ["a", "b"]
    assert found["a"][0] == found["b"][0]
    assert found["a"][0]["galaxies"] == 10
    with pytest.raises(ValueError, match="no galaxy that a and c did not train on"):
        verify(["a", "c"], measured.store, quiet=True)


@pytest.mark.parametrize("quarter", [0, 1, 2, 3])
def test_turned_by_quarters_and_moved_by_whole_pixels_is_exact(quarter):
    """NumPy turns clockwise where row 0 is at the bottom; the content is moved first."""
    fields = np.zeros((2, 21, 21, 3), np.uint8)
    fields[:, 6:15, 6:15] = np.random.default_rng(0).integers(0, 256, (2, 9, 9, 3))
    offset = np.array([[3.0, -2.0], [0.0, 4.0]])
    found = turned(torch.from_numpy(fields), np.full(2, quarter * np.pi / 2), offset)
    for number, (dx, dy) in enumerate(offset.astype(int)):
        wanted = np.rot90(np.roll(fields[number], (dy, dx), (0, 1)), -quarter)
        assert found[number].numpy() == pytest.approx(wanted / 255, abs=1e-5)


def test_turning_hardly_blurs():
    """Of a nucleus hardly wider than pixels, linearly 0.88 of its squared light is left."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:33, :33] - 16.0
    place = rng.uniform(-3, 3, (40, 2, 1, 1))
    fields = 0.1 + 0.8 * np.exp(-0.5 * ((x - place[:, 0]) ** 2 + (y - place[:, 1]) ** 2) / 1.1**2)
    fields = torch.from_numpy(np.repeat(fields[..., None], 3, 3)).float()
    found = turned(fields, rng.uniform(0, 2 * np.pi, 40), rng.uniform(-3, 3, (40, 2)))
    kept = ((found - 0.1) ** 2).sum((1, 2, 3)) / ((fields - 0.1) ** 2).sum((1, 2, 3))
    assert kept.numpy() == pytest.approx(1, abs=0.05)


def answers(count, **changes):
    flat = {name: np.zeros(count) for name in ("theta", "p_alt", "orientation", "axis_ratio")}
    flat |= {"explained": np.ones(count), "flags": np.zeros(count, int), "sigma": np.full(count, 5.0)}
    flat |= {name: np.ones(count) for name in ("theta_err", "orientation_err", "axis_ratio_err", "sigma_err")}
    flat |= {
        "centre": np.zeros((count, 2)),
        "covariance": np.tile(np.eye(2), (count, 1, 1)),
        "z": np.arange(2.0 * count).reshape(count, 2),
    }
    return Found(**{**flat, **changes})


def reference(ratio, **changes):
    count = len(ratio)
    flat = {"orientation": np.zeros(count), "centre": np.zeros((count, 2)), "second": np.zeros(count)}
    flat |= {"sigma": np.full(count, 5.0), "kind": np.full(count, "")}
    return Reference(axis_ratio=np.array(ratio), **{**flat, **changes})


def figures_of(start, end, reference, *, turn=None, first=None, second=None):
    count = len(start.theta)
    turn, one = np.zeros(count) if turn is None else turn, np.arange(count) + 1.0
    first, second = first or start, second or end
    measured = Measured(np.arange(count), start, end, first, second, reference, turn, np.zeros((count, 2)), one, one)
    return summarize(measured)


def test_what_is_not_said_is_a_failure_and_counted():
    nothing = np.array([np.nan, 0, 0, 0])
    start = answers(4, orientation=nothing, theta=nothing, centre=np.stack([nothing, nothing], 1))
    found = figures_of(start, answers(4), reference([0.4, 0.4, 0.9, np.nan]))
    assert (found["elongated"], found["unmeasured"]) == (2, 1)
    assert found["axis"] == {"median": 0, "p84": 0, "missing": 1, "beyond_30": 0.5}
    assert found["turn_elongated"] == {"median": 0, "p84": 0, "missing": 1, "flips": 0.5}
    assert found["turn_round"]["flips"] == 0
    assert found["centre"]["missing"] == found["move"]["missing"] == 1


def test_a_model_that_says_nothing_fails_altogether():
    nothing = np.full(2, np.nan)
    start = answers(2, orientation=nothing, theta=nothing, centre=np.stack([nothing, nothing], 1))
    found = figures_of(start, start, reference([0.4, 0.4]))
    assert found["axis"]["beyond_30"] == found["turn_elongated"]["flips"] == 1
    assert np.isnan(found["axis"]["median"])
    assert found["axis"]["missing"] == 2


@given(turn=st.floats(0, 360), theta=st.floats(0, 360), wrong=st.floats(-179, 179))
def test_the_turn_is_over_360_degrees_and_the_axis_modulo_180(turn, theta, wrong):
    start = answers(1, theta=np.array([theta]), orientation=np.array([theta % 180]))
    after = theta + turn + wrong
    end = answers(1, theta=np.array([after % 360]), orientation=np.array([after % 180]))
    found = figures_of(start, end, reference([0.4]), turn=np.array([turn]))
    assert found["turn_elongated"]["median"] == pytest.approx(abs(wrong), abs=1e-6)
    axial = min(abs(wrong), 180 - abs(wrong))
    assert found["turn_axis_elongated"]["median"] == pytest.approx(axial, abs=1e-6)


def test_the_table_says_what_is_missing(measured, monkeypatch):
    found = measured(Measures(), limit=10)
    found["axis"]["missing"] = 3
    monkeypatch.setattr("galvae.verify.measure.verify", lambda *args, **options: {"run": (found, None)})
    arguments = ["verify", "run", str(measured.store.path)]
    lines = CliRunner().invoke(app, arguments, catch_exceptions=False).stdout.splitlines()
    (axis,) = [line for line in lines if line.startswith("axis against")]
    (centre,) = [line for line in lines if line.startswith("centre against")]
    assert axis.endswith("deg, 3 missing")
    assert centre.endswith(" px")
    result = CliRunner().invoke(app, [*arguments, "--json"], catch_exceptions=False)
    assert json.loads(result.stdout) == {"run": found}


def test_errors_that_hold_cover_as_often_as_they_say():
    """Normal errors of every size, in every bin: 68 and 95 percent; flips of theta apart, and said."""
    count, rng = 20_000, np.random.default_rng(0)
    size = rng.uniform(0.1, 3, count)
    covariance = size[:, None, None] ** 2 * np.array([[4.0, 1.0], [1.0, 1.0]])
    turn = rng.uniform(0, 360, count)

    def exposure(turn):
        theta = (turn + size * rng.normal(size=count)) % 360
        noise = np.einsum("bij,bj->bi", np.linalg.cholesky(covariance), rng.normal(size=(count, 2)))
        sigma = 20 + size * rng.normal(size=count)
        return answers(
            count, theta=theta, theta_err=size, centre=noise, covariance=covariance, sigma=sigma, sigma_err=size
        )  # fmt: skip

    first, second = exposure(np.zeros(count)), exposure(turn)
    flips = np.arange(count) % 50 == 0
    second = second._replace(theta=np.where(flips, second.theta + 180, second.theta) % 360, p_alt=0.3 * flips)
    ratio, shape_size = rng.uniform(0.2, 1, count), 0.01 * size
    shape = answers(
        count, orientation=(size * rng.normal(size=count)) % 180, orientation_err=size,
        axis_ratio=ratio + shape_size * rng.normal(size=count), axis_ratio_err=shape_size,
    )  # fmt: skip
    found = figures_of(shape, shape, reference(ratio), turn=turn, first=first, second=second)
    for name, figures in found["coverage"].items():
        everything = [figures, *(one for bins in figures["bins"].values() for one in bins)]
        for one in everything:
            assert one["68"] == pytest.approx(0.683, abs=0.03), name
            assert one["95"] == pytest.approx(0.954, abs=0.03), name
        for bins in figures["bins"].values():
            assert sum(one["galaxies"] for one in bins) == figures["galaxies"]
    assert found["coverage"]["theta"]["galaxies"] == (~flips).sum()
    assert found["rivals"]["exposures_flipped"] == pytest.approx(flips.mean())
    assert found["rivals"]["of_those_flagged"] == 1


def test_z_that_knows_the_angle_is_found_out():
    rng = np.random.default_rng(0)
    axis, noise = rng.uniform(0, np.pi, 400), rng.normal(size=(400, 5))
    assert angle_from_z(noise, axis) < 0.02
    noise[:, 2] += 3 * np.cos(2 * axis)
    noise[:, 3] += 3 * np.sin(2 * axis)
    assert angle_from_z(noise, axis) > 0.8
    assert angle_from_z(noise[:10], axis[:10]) is None


@pytest.fixture(scope="module")
def run(store, tiny_recipe, tmp_path_factory):
    path = tmp_path_factory.mktemp("verify") / "run"
    fit(store, tiny_recipe(), path, device=torch.device("cpu"), quiet=True)
    return path


def test_the_page_holds_its_figures_and_pictures(run, store, tmp_path):
    out = tmp_path / "page"
    arguments = ["verify", str(run), str(store.path), "-o", str(out), "-q", "--limit", "8"]
    assert CliRunner().invoke(app, arguments, catch_exceptions=False).exit_code == 0
    page = (out / PAGE).read_text()
    pictures = sorted(path.name for path in out.glob("*.png"))
    assert pictures == ["coverage.png", "kept.png", "lost.png", "turns.png", "worst.png"]
    assert all(f'src="{name}"' in page for name in pictures)
    assert "axis against adaptive moments" in page
    assert list(json.loads((out / FIGURES).read_text())) == [str(run)]


def test_what_is_verified_is_the_catalog_that_is_asked_for(run, store):
    words = ["verify", str(run), str(store.path), "-q", "--json", "--limit", "8"]
    plain, again, looked = (
        json.loads(CliRunner().invoke(app, [*words, *more], catch_exceptions=False).stdout)[str(run)]
        for more in ((), ("--set", "catalog.refine=true"), ("--set", "catalog.refine=false"))
    )
    assert plain == again
    assert plain["explained"] != looked["explained"]
