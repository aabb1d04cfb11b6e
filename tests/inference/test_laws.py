"""Laws that do not depend on training: the decoder's own image, written to a file and ingested, is catalogued rightly.

The pose is told to the encoder; what is tested is everything else: readers, fields, windows, the canonical frame, the
affine map, the sky. The oracle is photutils on the pixels of the file.
"""

import math
from dataclasses import replace

import astropy.units as u
import numpy as np
import pytest
import torch
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from photutils.morphology import data_properties
from PIL import Image

from galvae.data.ingest import ingest
from galvae.data.prepare import frame
from galvae.data.settings import IngestSettings
from galvae.data.store import ImageStore
from galvae.geometry import Pose, move_pose, pixel_grid, to_image, turn_pose
from galvae.inference.canonical import decode_images
from galvae.inference.catalog import infer_batch, infer_columns
from galvae.inference.derotated import resample
from galvae.inference.infer import infer
from galvae.inference.looks import look_again
from galvae.inference.model import Model
from galvae.inference.oddities import explained
from galvae.inference.settings import CatalogSettings
from galvae.inference.tables import sky_columns
from galvae.model.polar import PolarEncoder
from galvae.model.settings import ModelSettings
from galvae.windows import TIMES, View

SIZES = [212, 423, 424, 64, 65]
DESCRIPTION = {"trained_on": np.array([], np.uint64)}
CATALOG = CatalogSettings(refine=False, looks=2, batch=3)


@pytest.fixture(autouse=True)
def double_precision():
    """So that exact means 1e-6 of a pixel."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


class DoubleStore(ImageStore):
    def batches(self, size=256):
        for rows, fields in super().batches(size):
            yield rows, fields / 255


def poses(count, seed=0):
    """Poses and contents: galaxies off the centre, with centres and axes off those of the canonical frame."""
    rng = np.random.default_rng(seed)
    shift, centre = rng.uniform(-0.12, 0.12, (2, count, 2))
    content = np.column_stack([rng.uniform(0, math.pi, count), centre, rng.uniform(0.4, 0.7, count)])
    return torch.from_numpy(rng.uniform(-4, 4, count)), torch.from_numpy(shift), torch.from_numpy(content)


def scene(vae, theta, shift, content, *, size, settings):
    """What the decoder draws at the resolution of an original of size (ny, nx), row 0 at the bottom, (ny, nx, 3)."""
    ny, nx = size
    step = (
        frame(size, settings).affine[0, 0] * settings.oversample * (vae.window - 1) / 2
    )  # original pixels a grid unit
    y, x = np.mgrid[:ny, :nx]
    points = torch.from_numpy(np.stack([x - (nx - 1) / 2, y - (ny - 1) / 2], -1).reshape(-1, 2) / step)
    with torch.no_grad():
        light = vae.generator(points, Pose(theta[None], shift[None]), content[None])
    return light[0].numpy().reshape(ny, nx, 3)


def write_png(path, light):
    Image.fromarray(np.round(light[::-1] * 255).astype(np.uint8)).save(path)


def write_jpeg(path, light):
    Image.fromarray(np.round(light[::-1] * 255).astype(np.uint8)).save(path, quality=97, subsampling=0)


def write_fits(path, light):
    fits.PrimaryHDU(light.mean(-1).astype(np.float32) * 40, header=sky(light.shape[:2])).writeto(path)


def sky(size):
    """A field turned by 25 degrees with East on the left, its reference pixel off the centre."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    wcs.wcs.crval = 150.0, 2.2
    wcs.wcs.crpix = size[1] / 2 + 11, size[0] / 2 - 7
    turn, scale = math.radians(25), 0.396 / 3600
    wcs.wcs.cd = scale * np.array([[-math.cos(turn), math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    return wcs.to_header()


WRITERS = {"png": write_png, "jpg": write_jpeg, "fits": write_fits}


def read_raw(path):
    """The file's pixels with row 0 at the bottom, by no code of ours."""
    if path.suffix == ".fits":
        return fits.getdata(path).astype(float)
    return np.asarray(Image.open(path)).astype(float)[::-1].mean(-1)


def axial(a, b):
    return abs(np.remainder(a - b + 90, 180) - 90)


def catalogued(vae, folder, settings, tmp_path, catalog=CATALOG):
    ingest([folder], tmp_path / "store", settings, workers=1, quiet=True)
    store = DoubleStore(tmp_path / "store")
    columns = infer_columns(vae, DESCRIPTION, store, catalog, quiet=True)
    return store, columns | sky_columns(columns, store)


def hold_to_photutils(columns, store, folder, *, within=0.05):
    for row, source in enumerate(store.column("source")):
        oracle = data_properties(read_raw(folder / source.rpartition("/")[2]))
        x, y = oracle.centroid
        assert math.hypot(columns["x"][row] - x, columns["y"][row] - y) < within, source
        assert axial(columns["orientation"][row], oracle.orientation.value) < 0.5, source


@pytest.mark.parametrize("window", [64, 65])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("ending", WRITERS)
def test_position_and_axis_are_those_of_photutils_on_the_files_pixels(ending, size, window, knowing, tmp_path):
    settings = IngestSettings(window=window, stretch=5.0)  # for want of noise to set it by
    told = poses(3, seed=size)
    vae = knowing(*told, window=window)
    folder = tmp_path / "files"
    folder.mkdir()
    for number in range(3):
        WRITERS[ending](
            folder / f"{number}.{ending}", scene(vae, *(t[number] for t in told), size=(size, size), settings=settings)
        )
    store, columns = catalogued(vae, folder, settings, tmp_path)
    assert columns["id"].tolist() == [0, 1, 2]
    hold_to_photutils(columns, store, folder)
    assert np.allclose(columns["dx"], columns["x"] - (size - 1) / 2)
    assert np.allclose(columns["scale"], max(1, size / 128) * (window - 1) / 2)
    assert np.allclose(columns["axis_ratio"], told[2][:, 3], atol=2e-3)
    if ending != "fits":  # whose stretch changes the light, not the place
        view = View.central(torch.from_numpy(store.images(slice(None)) / 255), window)
        decoded = decode_images(vae, Pose(*told[:2]), told[2], size=window)
        seen = view.images(vae.grid).permute(0, 2, 3, 1)
        assert (seen - decoded).abs().max() < 0.03


@pytest.mark.parametrize(
    ("size", "changes"),
    [
        ((212, 300), {}),
        ((423, 301), {}),
        ((70, 424), {}),
        ((424, 424), {"field": 91}),
        ((423, 423), {"field": 107, "oversample": 2}),
        ((424, 424), {"window": 33}),
    ],
)
def test_any_shape_field_and_oversampling(size, changes, knowing, tmp_path):
    settings = IngestSettings(**{"window": 64, **changes})
    told = poses(2, seed=size[0])
    vae = knowing(*told, window=settings.window)
    folder = tmp_path / "files"
    folder.mkdir()
    for number in range(2):
        write_png(folder / f"{number}.png", scene(vae, *(t[number] for t in told), size=size, settings=settings))
    store, columns = catalogued(vae, folder, settings, tmp_path)
    hold_to_photutils(columns, store, folder)


@pytest.mark.parametrize("ending", WRITERS)
def test_refined_a_wrong_pose_is_put_right(ending, knowing, tmp_path):
    """By 0.05 pixels of the window, which is 1.7 of the file's across; 8 bits tell no more of so smooth a galaxy."""
    settings, size = IngestSettings(stretch=5.0), 212
    told = poses(3)
    vae = knowing(told[0] + 0.15, told[1] + 0.03, told[2])
    folder = tmp_path / "files"
    folder.mkdir()
    for number in range(3):
        light = scene(vae, *(t[number] for t in told), size=(size, size), settings=settings)
        WRITERS[ending](folder / f"{number}.{ending}", light)
    store, columns = catalogued(vae, folder, settings, tmp_path, CatalogSettings(looks=2))
    hold_to_photutils(columns, store, folder, within=0.05 * size / 128)
    assert columns["theta"] == pytest.approx(-np.degrees(told[0].numpy()) % 360, abs=0.1)


def test_position_on_the_sky_is_that_of_photutils_through_the_files_wcs(knowing, tmp_path):
    settings = IngestSettings(stretch=5.0)
    told = poses(3)
    vae = knowing(*told)
    folder = tmp_path / "files"
    folder.mkdir()
    for number, size in enumerate([(212, 212), (423, 423), (65, 64)]):
        write_fits(folder / f"{number}.fits", scene(vae, *(t[number] for t in told), size=size, settings=settings))
    _, columns = catalogued(vae, folder, settings, tmp_path)
    for row in range(3):
        path = folder / f"{row}.fits"
        oracle, wcs = data_properties(read_raw(path)), WCS(fits.getheader(path))
        found = SkyCoord(columns["ra"][row], columns["dec"][row], unit="deg")
        here = wcs.pixel_to_world(*oracle.centroid)
        assert found.separation(here) < 0.05 * 0.396 * u.arcsec
        along = math.radians(oracle.orientation.value)
        there = wcs.pixel_to_world(*(oracle.centroid + 5 * np.array([math.cos(along), math.sin(along)])))
        assert axial(columns["pa"][row], here.position_angle(there).deg) < 0.5
        assert columns["dx_arcsec"][row] == pytest.approx(0.396 * columns["dx"][row], rel=1e-5)


@pytest.mark.parametrize("size", [212, 423])
def test_quarter_turns_and_whole_pixel_moves_are_exact(size, knowing, tmp_path):
    """The same scene, its files turned and moved without interpolation: the catalog turns and moves, to 1e-6."""
    settings = IngestSettings()
    theta, shift, content = (t[0] for t in poses(1))
    step = frame((size, size), settings).affine[0, 0] * (64 - 1) / 2
    pixels, quarters = (13, -8), (0, 1, 2, 3)
    at = Pose(theta[None], shift[None])
    turned = [turn_pose(at, torch.tensor(k * math.pi / 2, dtype=torch.float64)) for k in quarters]
    told = [*turned, move_pose(at, torch.tensor([pixels], dtype=torch.float64) / step)]
    vae = knowing(torch.cat([p.theta for p in told]), torch.cat([p.shift for p in told]), content.expand(len(told), 4))
    light = scene(vae, theta, shift, content, size=(size, size), settings=settings)
    folder = tmp_path / "files"
    folder.mkdir()
    for k in quarters:  # row 0 is at the bottom: numpy turns clockwise
        write_png(folder / f"{k}.png", np.rot90(light, -k))
    write_png(folder / "4.png", np.roll(light, pixels[::-1], (0, 1)))
    store, columns = catalogued(vae, folder, settings, tmp_path)
    hold_to_photutils(columns, store, folder)
    dx, dy = columns["dx"], columns["dy"]
    for k, (x, y) in enumerate([(dx[0], dy[0]), (-dy[0], dx[0]), (-dx[0], -dy[0]), (dy[0], -dx[0])]):
        assert (dx[k], dy[k]) == pytest.approx((x, y), abs=1e-6)
        assert axial(columns["orientation"][k], columns["orientation"][0] + 90 * k) < 1e-6
        assert (columns["theta"][k] - columns["theta"][0] - 90 * k + 180) % 360 - 180 == pytest.approx(0, abs=1e-6)
    assert (dx[4] - dx[0], dy[4] - dy[0]) == pytest.approx(pixels, abs=1e-6)
    assert axial(columns["orientation"][4], columns["orientation"][0]) < 1e-6


def test_files_turned_by_quarters_turn_the_catalog_of_a_real_encoder(knowing, tmp_path):
    """Nobody is told anything: with any weights, what the polar network infers turns with the file."""
    settings = IngestSettings()
    told = poses(1)
    vae = knowing(*told)
    light = scene(vae, *(t[0] for t in told), size=(212, 212), settings=settings)
    folder = tmp_path / "files"
    folder.mkdir()
    for k in range(4):
        write_png(folder / f"{k}.png", np.rot90(light, -k))
    torch.manual_seed(0)
    vae.encoder = Centred(PolarEncoder(ModelSettings(latents=4, encoder="polar"), window=64, channels=3))
    _, columns = catalogued(vae, folder, settings, tmp_path)
    dx, dy = columns["dx"], columns["dy"]
    assert math.hypot(dx[0], dy[0]) > 1
    for k, (x, y) in enumerate([(dx[0], dy[0]), (-dy[0], dx[0]), (-dx[0], -dy[0]), (dy[0], -dx[0])]):
        assert (dx[k], dy[k]) == pytest.approx((x, y), abs=2e-3)
        assert (columns["theta"][k] - columns["theta"][0] - 90 * k + 180) % 360 - 180 == pytest.approx(0, abs=0.01)
        assert axial(columns["orientation"][k], columns["orientation"][0] + 90 * k) < 0.01
        assert np.allclose(columns["z"][k], columns["z"][0], atol=1e-4)


class Centred(torch.nn.Module):
    """An untrained network whose content lies where the elliptical generator draws something."""

    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder

    def forward(self, view):
        q = self.encoder(view)
        content = 0.1 * torch.tanh(q.content) + torch.tensor([1.0, 0, 0, 0.5])
        return replace(q, content=content, content_std=torch.full_like(content, 0.01))


@pytest.mark.parametrize("catalog", [CATALOG, CatalogSettings(looks=2, batch=3)])
@pytest.mark.parametrize(
    ("size", "changes"), [((300, 212), {}), ((424, 424), {"field": 192}), ((424, 424), {"field": 256, "oversample": 2})]
)
def test_what_is_seen_close_up_leaves_in_the_files_own_pixels(size, changes, catalog, knowing, tmp_path):
    """The model is told of each galaxy that it lies in the middle and fills the window as a close-up has it."""
    settings, rng = IngestSettings(window=64, **changes), np.random.default_rng(size[0])
    place, axis, ratio = np.array([rng.uniform(-14, 14, 3), rng.uniform(0, math.pi, 3), [0.4, 0.6, 0.7]])
    sigma, place = min(size) * np.array([0.06, 0.08, 0.11]), np.stack([place, place[::-1]], 1)
    content = torch.from_numpy(np.column_stack([axis, np.zeros((3, 2)), ratio]))
    vae = knowing(torch.zeros(3), torch.zeros(3, 2), content, sigma=1 / TIMES)
    vae.settings = vae.settings.model_copy(update={"scale": "moments"})
    folder = tmp_path / "files"
    folder.mkdir()
    for number in range(3):
        y, x = np.mgrid[: size[0], : size[1]]
        points = torch.from_numpy(np.stack([x - (size[1] - 1) / 2, y - (size[0] - 1) / 2], -1) - place[number])
        points = points.reshape(-1, 2) / (TIMES * sigma[number])
        light = vae.generator(points, Pose(torch.zeros(1), torch.zeros(1, 2)), content[number : number + 1])
        write_png(folder / f"{number}.png", light[0].numpy().reshape(*size, 3))
    store, columns = catalogued(vae, folder, settings, tmp_path, catalog)
    if catalog.refine:  # else the decoded galaxy is measured, of which the window's frame cuts off something
        hold_to_photutils(columns, store, folder, within=0.1)
        assert np.allclose(columns["semimajor_sigma"], sigma, rtol=0.02)
    assert np.allclose(columns["dx"], place[:, 0], atol=0.1)
    assert np.allclose(columns["dy"], place[:, 1], atol=0.1)
    assert np.allclose(columns["scale"], TIMES * sigma, rtol=0.02)
    assert np.all(columns["scale_err"] < 0.05 * columns["scale"])
    assert np.all(columns["scale_err"] > 0)
    assert np.all(columns["semimajor_sigma_err"] < 0.05 * columns["semimajor_sigma"])
    assert np.allclose(columns["axis_ratio"], ratio, atol=0.02)


@pytest.mark.parametrize("zoom", [0.6, 0.2, -0.15, -0.4])
def test_an_inferred_scale_is_as_wide_as_the_window_has_to_be(zoom, knowing):
    """A galaxy that the generator draws at one size alone, seen larger by so much: all in pixels of the field."""
    content, side = torch.tensor([[0.4, 0.0, 0.0, 0.6]]), 128
    vae, told = knowing([0.3], [[0.1, -0.05]], content), torch.full((1, 1), zoom)
    vae.encoder.told = replace(vae.encoder.told, zoom=told, zoom_std=0 * told + 1e-9, zoom_prior=0 * told)
    pose = Pose(torch.tensor([0.3]), torch.tensor([[0.1, -0.05]]), torch.tensor([zoom]))
    points = pixel_grid(side) * ((side - 1) / 63)
    view = View.central(vae.generator(points, pose, content).view(1, side, side, 3), 64)
    found = infer(vae, view)
    assert found.pose.zoom is None
    assert found.view.widths() == pytest.approx(math.exp(zoom))
    assert found.placed.sigma * found.view.widths() == pytest.approx(0.2 * math.exp(zoom) * 31.5, rel=0.01)
    place = found.view.in_field(np.stack([found.placed.x, found.placed.y], 1))
    assert place == pytest.approx(to_image(torch.zeros(1, 2), pose)[0].numpy() * 31.5, abs=0.01)
    assert explained(vae, found).item() > 0.999
    vae.settings = vae.settings.model_copy(update={"scale": "inferred"})
    vae.frame = lambda seen: replace(seen, width=None)  # as if galaxies asked for the ordinary window
    vae.encoder.rows = iter([0] * 10)
    said = look_again(vae, found, torch.zeros(1, dtype=torch.int64), CatalogSettings(looks=2))
    assert said.scale == pytest.approx(0, abs=1e-6)  # each look is told of the same scale
    assert said.theta[0] < 0.01
    vae.encoder.rows = iter([0] * 10)
    fields = (255 * view.fields).round().to(torch.uint8).numpy()
    columns = infer_batch(vae, fields, np.zeros(1, np.int64), oversample=1, settings=CatalogSettings(looks=2))
    assert columns["scale"] == pytest.approx(math.exp(zoom))
    assert np.stack([columns["dx"], columns["dy"]], 1) == pytest.approx(place, abs=0.02)
    vae.encoder.rows = iter([0] * 10)
    posterior = Model(vae, {}).encode(fields)
    assert posterior.width == pytest.approx(math.exp(zoom))
    seen = resample(fields, pixel_grid(64), 64, 1, seen=posterior)
    there = Pose(-torch.from_numpy(np.radians(posterior.theta)), torch.from_numpy(posterior.shift))
    decoded = decode_images(vae, there, torch.from_numpy(posterior.z), size=64)
    assert np.abs(decoded.numpy() - seen).max() < 0.02  # linear between pixels
