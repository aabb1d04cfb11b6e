"""Figures: what is drawn lies where the catalog says, axes are labelled with units, and odd input is borne."""

import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
import torch
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from PIL import Image
from typer.testing import CliRunner

from galvae import pictures, plots
from galvae.cli.main import app
from galvae.data.store import ImageStore
from galvae.flags import Flag
from galvae.inference.catalog import infer_columns
from galvae.inference.derotated import canonical_images
from galvae.inference.figures import Selection, compass, plot_run
from galvae.inference.model import Posterior, load
from galvae.sampling import contact_sheet
from galvae.training.checkpoint import load_model
from galvae.training.fit import fit

COUNTS = pytest.mark.parametrize("count", [1, 7])
STEPS = np.array([-2.0, 0, 2])


def images(*shape, seed=0):
    return np.random.default_rng(seed).random(shape)


def catalog(count, *, latents=4, sky=True):
    rng = np.random.default_rng(count)
    unknown = np.full(count, np.nan)
    arcsec = rng.normal(size=(2, count)) if sky else [unknown] * 2
    return {
        "id": np.array([f"J{number}$x_{number}" for number in range(count)]),
        "z": rng.normal(size=(count, latents)), "z_err": np.full((count, latents), 0.5),
        "theta": rng.uniform(0, 360, count), "theta_err": np.full(count, 5.0),
        "orientation": rng.uniform(0, 180, count), "orientation_err": rng.uniform(1, 50, count),
        "axis_ratio": rng.uniform(0.2, 1, count), "dx": rng.normal(size=count), "dy": rng.normal(size=count),
        "dx_arcsec": arcsec[0], "dy_arcsec": arcsec[1],
        "scale": np.full(count, 26.0), "flags": np.zeros(count, int),
        "pixel_scale": np.full(count, 0.396) if sky else unknown,
        "north": rng.uniform(0, 360, count) if sky else unknown, "east": rng.uniform(0, 360, count) if sky else unknown,
    }  # fmt: skip


def nothing_known(count):
    """A catalog whose moments failed."""
    columns = catalog(count, sky=False)
    for name in ("orientation", "orientation_err", "axis_ratio", "dx", "dy"):
        columns[name] = np.full(count, np.nan)
    return columns | {"flags": np.full(count, int(Flag.NO_MOMENTS))}


def metrics(count, *, pixels=256):
    names = ("elbo", "kl_z", "kl_pose")
    lines = [
        {"step": 10 * k, "seconds": 7.0 * k, "pixels": pixels}
        | {name: -100 / k for name in names} | {f"validation_{name}": -110 / k for name in names}
        for k in range(1, count + 1)
    ]  # fmt: skip
    return [*lines, lines[-1] | {"pixels": 4096}]


def texts(figure):
    return [text.get_text() for panel in figure.axes for text in panel.texts]


def labels(figure):
    return [label for panel in figure.axes for label in (panel.get_xlabel(), panel.get_ylabel()) if label]


def drawn(figure, path):
    plots.save(figure, path)
    with Image.open(path) as picture:
        picture.load()
        assert picture.format == "PNG"
        assert picture.width == pytest.approx(150 * figure.get_figwidth(), abs=2)
    return figure


@given(st.text("ab_$", max_size=60), st.integers(6, 40))
def test_a_long_name_keeps_both_of_its_ends(name, longest):
    short = pictures._short(name, longest)
    assert len(short) == min(len(name), longest)
    head, dots, tail = short.partition("…") if len(name) > longest else (name, "", "")
    assert name.startswith(head)
    assert name.endswith(tail)
    assert not dots or len(head) == longest // 3


def test_figures_need_neither_torch_nor_astropy():
    unwanted = {"torch", "astropy", "matplotlib.pyplot"}
    code = f"import sys, galvae.plots, galvae.pictures; assert not {unwanted} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_figure_that_fails_leaves_what_was_there(tmp_path):
    class Broken(Figure):
        def savefig(self, path, **options):
            path.write_bytes(b"half")
            raise OSError("no space left")

    path = tmp_path / "x.png"
    path.write_bytes(b"before")
    with pytest.raises(OSError, match="no space"):
        plots.save(Broken(), path)
    assert path.read_bytes() == b"before"
    assert [p.name for p in tmp_path.iterdir()] == ["x.png"]


def test_curves_of_weighted_pixels_show_no_bound_of_training(tmp_path):
    lines = [line | {"elbo": -9e4} for line in metrics(60)]
    figure = drawn(plots.curves(lines, window=64, weighted=True), tmp_path / "curves.png")
    top, *rest = figure.axes
    held_out, whole = top.get_lines()
    assert held_out.get_ydata() == pytest.approx([line["validation_elbo"] for line in lines[:-1]])
    assert whole.get_ydata() == pytest.approx([-110 / 60])
    assert top.get_ylim()[0] > -110
    assert [len(panel.get_lines()) for panel in rest] == [3, 3]
    (named,) = [panel.get_legend() for panel in figure.axes if panel.get_legend()]
    assert [text.get_text().split(",")[0] for text in named.get_texts()] == ["training", "held out", "held out"]


@pytest.mark.parametrize("count", [1, 3, 60])
def test_curves_show_every_epoch_in_nats(count, tmp_path):
    lines = metrics(count)
    figure = drawn(plots.curves(lines, window=64), tmp_path / "curves.png")
    assert "256 random" in figure.get_suptitle()
    top = figure.axes[0]
    training, held_out, whole = top.get_lines()
    assert training.get_ydata() == pytest.approx([line["elbo"] for line in lines[:-1]])
    assert held_out.get_ydata() == pytest.approx([line["validation_elbo"] for line in lines[:-1]])
    assert whole.get_xydata() == pytest.approx(np.array([[10 * count, -110 / count]]))
    assert [panel.get_ylabel().splitlines() for panel in figure.axes] == [
        [name, "(nats per galaxy)"] for name in ("pseudo-ELBO", "KL of z", "KL of pose")
    ]
    (above,) = top.child_axes
    unit = above.get_xlabel()
    size = {"time in training (s)": 1, "time in training (min)": 60}[unit]
    seconds = size * np.array([float(tick.get_text()) for tick in above.get_xticklabels()])
    assert seconds == pytest.approx(0.7 * above.get_xticks())


def test_times_do_not_crowd_where_training_was_slow(tmp_path):
    lines = [line | {"seconds": line["seconds"] + 300 * (line["step"] >= 10)} for line in metrics(60)]
    figure = drawn(plots.curves(lines, window=64), tmp_path / "curves.png")
    (above,) = figure.axes[0].child_axes
    boxes = [label.get_window_extent() for label in above.get_xticklabels()]
    assert len(boxes) > 3
    assert not any(one.overlaps(other) for one, other in pairwise(boxes))


def test_curves_bear_a_loss_that_is_not_finite_and_say_when_every_pixel_is_used(tmp_path):
    lines = [line | {"validation_elbo": np.nan} for line in metrics(20, pixels=4096)]
    figure = drawn(plots.curves(lines, window=64, objective="ELBO"), tmp_path / "curves.png")
    assert "all 4,096 pixels" in figure.get_suptitle()
    assert figure.axes[0].get_ylabel().startswith("ELBO")
    assert len(figure.axes[0].get_lines()) == 2


@pytest.mark.parametrize(("count", "channels"), [(1, 3), (2, 1), (7, 3)])
def test_reconstructions_lie_in_original_pixels_with_row_0_at_the_bottom(count, channels, tmp_path):
    shown = images(count, 14, 14, channels)
    figure = drawn(pictures.reconstructions(shown, shown[::-1], shown, catalog(count)), tmp_path / "r.png")
    first, residual = (figure.axes[k].get_images()[0] for k in (0, 3))
    assert first.origin == residual.origin == "lower"
    # The outer pixels' centres are half-width `scale` = 26 from the middle: a pixel is 4.
    assert first.get_extent() == pytest.approx([-28, 28, -28, 28])
    assert np.asarray(first.get_array())[..., 0] == pytest.approx(shown[0, ..., 0], abs=1 / 255)
    assert np.asarray(residual.get_array()) == pytest.approx((shown[0] - shown[-1]).mean(-1))
    assert any(label.startswith("residual") for label in labels(figure))


def test_the_axis_runs_through_the_centre_at_the_orientation():
    columns = catalog(4)
    columns["flags"][1] = Flag.AXIS_UNDEFINED
    columns["orientation"][2] = np.nan
    shown = images(4, 8, 8, 3)
    figure = pictures.reconstructions(shown, shown, shown, columns)
    for number in (0, 1, 3):
        *halves, centre = figure.axes[4 * number].get_lines()[:3]
        x, y = columns["dx"][number], columns["dy"][number]
        assert centre.get_xydata() == pytest.approx(np.array([[x, y]]))
        for half in halves:
            away = half.get_xydata() - [x, y]
            angle = np.degrees(np.arctan2(away[:, 1], away[:, 0]))
            assert np.sin(np.radians(angle - columns["orientation"][number])) == pytest.approx(0, abs=1e-9)
            assert half.get_linestyle() == (":" if number == 1 else "-")
    assert len(figure.axes[8].get_lines()) == 1, "only the scale bar"


@given(st.floats(1e-3, 1e4), st.floats(0.01, 10))
def test_the_scale_bar_is_as_long_as_it_says(scale, pixel_scale):
    columns = catalog(1) | {"scale": np.array([scale]), "pixel_scale": np.array([pixel_scale])}
    panel = Figure().subplots()
    half = scale * 8 / 7
    pictures._draw_scale(panel, columns["pixel_scale"][0], half)
    (bar,), (text,) = panel.get_lines(), panel.texts
    length = np.ptp(bar.get_xdata())
    assert 0.28 * half <= length <= 0.7001 * half
    assert float(text.get_text().removesuffix("″")) == pytest.approx(length * pixel_scale, rel=1e-5)


@COUNTS
def test_without_a_wcs_there_is_no_compass_and_the_bar_counts_pixels(count, tmp_path):
    shown = images(count, 8, 8, 3)
    figure = drawn(pictures.reconstructions(shown, shown, shown, nothing_known(count)), tmp_path / "r.png")
    assert sum("px" in text for text in texts(figure)) == count
    assert not {"N", "E"} & set(texts(figure))


@given(st.floats(0, 360), st.booleans())
def test_the_compass_points_north_and_east(north, mirrored):
    panel = Figure().subplots()
    east = north - 90 if mirrored else north + 90
    pictures._draw_compass(panel, north, east, 10.0)
    places = {text.get_text(): text for text in panel.texts}
    arrows = [text for text in panel.texts if not text.get_text()]
    for name, angle, arrow in (("N", north, arrows[0]), ("E", east, arrows[1])):
        tip, foot = np.array(arrow.xy), np.array(arrow.xyann)
        way = np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle))])
        assert (tip - foot) / np.linalg.norm(tip - foot) == pytest.approx(way)
        assert (np.abs(places[name].get_position()) < 10).all(), "inside the image"


@pytest.mark.parametrize(("parity", "east"), [(-1, 120), (1, 300)])
def test_the_compass_is_that_of_the_wcs_and_silent_without_one(parity, east):
    """North at 30 degrees: East is a quarter turn on as the sky is seen, a quarter back where it is mirrored."""
    north = np.radians(30)
    right, up = np.array([np.cos(north), np.sin(north)]), parity * np.array([np.sin(north), -np.cos(north)])
    cd = {"CD1_1": up[0], "CD1_2": up[1], "CD2_1": right[0], "CD2_2": right[1]}
    cards = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 20.0, "CRVAL2": 5.0, "CRPIX1": 9.0, "CRPIX2": 9.0}
    header = fits.Header(cards | {name: value * 1e-4 for name, value in cd.items()}).tostring()
    found = np.array(compass(np.array([header, ""]), np.array([[17, 17], [9, 9]])))
    assert found[:, 0] == pytest.approx([30, east], abs=1e-3)
    assert np.isnan(found[:, 1]).all()


@COUNTS
def test_canonical_views_show_the_canonical_direction(count, tmp_path):
    columns, shown = catalog(count), images(count, 9, 9, 3)
    figure = drawn(pictures.canonical_views(shown, shown, shown, columns), tmp_path / "c.png")
    arrows = figure.axes[0].texts
    ways = np.array([np.subtract(arrow.xy, arrow.xyann) for arrow in arrows])
    assert np.degrees(np.arctan2(*ways.T[::-1])) % 360 == pytest.approx(columns["theta"])
    assert [tick.get_text() for tick in figure.axes[0].get_xticklabels()] == list(columns["id"])
    feet = np.array([arrow.xyann for arrow in arrows])
    assert feet == pytest.approx(np.array([[4 + 11 * k, 4] for k in range(count)])), "2 pixels lie between 9 and 9"


@pytest.mark.parametrize(("count", "latents", "moments"), [(1, 1, True), (7, 2, False), (7, 50, True)])
def test_latents_are_drawn_whatever_is_known(count, latents, moments, tmp_path):
    order = np.arange(min(latents, 6))
    strips = images(len(order), len(STEPS), 5, 5, 3)
    columns = catalog(count, latents=latents)
    if not moments:
        columns |= {"axis_ratio": np.full(count, np.nan), "z": np.full((count, latents), 0.1)}
    shown = {number: images(5, 5, 3) for number in plots.representatives(columns["z"])}
    figure = drawn(plots.latents(columns, shown, strips, order, STEPS), tmp_path / "l.png")
    assert any("nats" in label for label in labels(figure))
    assert any("standard deviations" in label for label in labels(figure))
    (points,) = figure.axes[1].collections
    assert len(points.get_offsets()) == count


@given(st.integers(1, 30), st.integers(1, 5), st.integers(0, 99))
def test_principal_components_keep_the_plane_and_name_its_share(count, latents, seed):
    z = np.random.default_rng(seed).normal(size=(count, latents)) * np.arange(1, latents + 1)
    scores, share = plots.principal_components(z)
    total = ((z - z.mean(0)) ** 2).sum()
    assert (scores**2).sum(0) == pytest.approx(share * total, abs=1e-9)
    assert share[0] >= share[1] >= 0
    assert share.sum() <= 1 + 1e-12
    if latents <= 2:  # nothing is lost: distances are kept
        a, b = (np.linalg.norm(v[:, None] - v, axis=-1) for v in (z, scores))
        assert a == pytest.approx(b, abs=1e-9)
    chosen = plots.representatives(z)
    assert len(set(chosen)) == len(chosen) <= plots.CELLS**2


def test_a_galaxy_without_latents_is_left_out_of_the_plane():
    z = np.random.default_rng(0).normal(size=(9, 3))
    z[4] = np.nan
    scores, _ = plots.principal_components(z)
    assert np.isnan(scores[4]).all()
    assert np.delete(scores, 4, 0) == pytest.approx(plots.principal_components(np.delete(z, 4, 0))[0])
    assert 4 not in plots.representatives(z)


def test_the_divergence_of_a_latent_is_torchs():
    columns = catalog(30)
    normal = torch.distributions.Normal
    expected = torch.distributions.kl_divergence(
        normal(torch.from_numpy(columns["z"]), torch.from_numpy(columns["z_err"])), normal(0.0, 1.0)
    )
    assert plots.latent_kl(columns["z"], columns["z_err"]) == pytest.approx(expected.mean(0).numpy())


@COUNTS
@pytest.mark.parametrize("sky", [True, False])
def test_orientations_are_labelled_with_units(count, sky, tmp_path):
    figure = drawn(plots.orientation(catalog(count, sky=sky), note="7 galaxies"), tmp_path / "o.png")
    unit = "arcsec" if sky else "original pixels"
    assert [label for label in labels(figure) if label.startswith(("dx", "dy"))] == [
        f"dx, right of the cutout's centre ({unit})", f"dy, above it ({unit})",
    ]  # fmt: skip
    assert all("deg" in panel.get_xlabel() for panel in figure.axes[:2])
    assert figure.axes[2].get_ylabel() == "orientation_err (deg, 90: random)"
    (steps,) = figure.axes[0].patches[-1:]
    assert steps.get_data().values.sum() == count


@COUNTS
def test_orientations_bear_galaxies_without_moments(count, tmp_path):
    figure = drawn(plots.orientation(nothing_known(count)), tmp_path / "o.png")
    assert figure.axes[1].patches[-1].get_data().values.sum() == 0


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_the_contact_sheet_holds_every_image_upright(channels):
    shown = images(5, 4, 4, channels)
    sheet = contact_sheet(shown, columns=3, gap=1)
    assert sheet.shape == (9, 14, 3)
    fourth = shown[3] if channels == 3 else shown[3].mean(-1, keepdims=True).repeat(3, -1)
    assert sheet[5:9, 0:4] == pytest.approx(np.round(fourth[::-1] * 255))
    assert (sheet[4] == 255).all()
    assert (sheet[5:, 10:] == 255).all()


def test_prior_is_drawn_with_few_samples_and_latents(tmp_path):
    figure = drawn(pictures.prior(images(3, 6, 6, 3), images(1, 3, 6, 6, 3), [0], STEPS), tmp_path / "p.png")
    assert any("standard deviations of its prior" in label for label in labels(figure))


@pytest.mark.parametrize("quarter", [0, 1, 2, 3])
def test_taking_the_pose_off_turns_the_image_back(quarter):
    fields = np.random.default_rng(0).integers(0, 256, (1, 9, 9, 3), np.uint8)
    nothing = np.zeros((1, 2))
    posterior = Posterior(
        nothing, nothing, np.array([90.0 * quarter]), nothing[:, 0], nothing, nothing, nothing, np.ones(1)
    )
    turned = canonical_images(fields, posterior, window=9)
    # Clockwise as displayed is counter-clockwise to rot90, which counts rows from the top.
    assert turned[0] == pytest.approx(np.rot90(fields[0], quarter) / 255, abs=1e-5)


@pytest.fixture(scope="module")
def run(store, tiny_recipe, tmp_path_factory):
    path = tmp_path_factory.mktemp("plots") / "run"
    fit(store, tiny_recipe(), path, device=torch.device("cpu"), quiet=True)
    return path


def test_galaxies_selected_are_inferred_as_in_the_whole_catalog(run, store, tiny_recipe):
    vae, description = load_model(run)
    settings, rows = tiny_recipe().catalog, np.array([41, 3, 17])
    whole = infer_columns(vae, description, store, settings, quiet=True)
    some = infer_columns(vae, description, Selection(store, rows), settings, quiet=True)
    for name, values in some.items():
        np.testing.assert_allclose(values, whole[name][rows], rtol=1e-3, atol=1e-4) if values.dtype.kind == "f" else (
            np.testing.assert_array_equal(values, whole[name][rows])
        )


def test_the_command_writes_the_figures_and_names_them(run, store, tmp_path):
    names = ["curves", "prior", "reconstructions", "canonical", "latents", "orientation"]
    before = sorted(run.rglob("*"))
    arguments = ["plot", str(run), str(store.path), "-o", str(tmp_path / "figures"), "-q"]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    paths = [tmp_path / "figures" / f"{name}.png" for name in names]
    assert result.stdout.splitlines() == [str(path) for path in paths]
    assert result.stderr == ""
    assert sorted((tmp_path / "figures").iterdir()) == sorted(paths)
    assert sorted(run.rglob("*")) == before
    with pytest.raises(FileExistsError, match=r"curves.png: already exists.*--overwrite"):
        CliRunner().invoke(app, arguments, catch_exceptions=False)
    paths[0].write_bytes(b"old")
    assert CliRunner().invoke(app, [*arguments[:2], *arguments[3:], "--overwrite"]).exit_code == 0
    assert paths[0].read_bytes().startswith(b"\x89PNG")


def test_without_a_store_or_metrics_there_is_the_prior(run, tmp_path):
    alone = tmp_path / "alone"
    alone.mkdir()
    for name in ("model.json", "model.safetensors"):
        (alone / name).write_bytes((run / name).read_bytes())
    assert [path.name for path in plot_run(alone, tmp_path / "figures")] == ["prior.png"]


def test_one_galaxy_is_enough_and_none_is_refused(run, make_store, ellipses, tmp_path):
    one = make_store(tmp_path / "one", ellipses(1), ids=["only"])
    assert len(list(plot_run(run, tmp_path / "figures", store=one, quiet=True))) == 6
    description = (one.path / "store.json").read_text()
    (one.path / "store.json").write_text(description.replace('"galaxies": 1', '"galaxies": 0'))
    with pytest.raises(ValueError, match="without galaxies"):
        list(plot_run(run, tmp_path / "none", store=ImageStore(one.path)))
    assert not (tmp_path / "none").exists()


def test_a_store_that_the_run_does_not_take_is_refused(run, make_store, ellipses, tmp_path):
    small = make_store(tmp_path / "small", ellipses(2, side=12))
    with pytest.raises(ValueError, match="ingest with the recipe of the run"):
        list(plot_run(run, tmp_path / "figures", store=small, quiet=True))
    assert load(run).window == 16
