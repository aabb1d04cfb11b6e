"""The paper's other two domains through every command: digits, and a stack of particles; one loop, one store."""

from __future__ import annotations

import gzip
import json
import math
import re
import struct

import mrcfile
import numpy as np
import pytest

import galvae
from galvae.cli.main import run
from galvae.data.store import ImageStore
from galvae.inference import figures

COUNT = 150
# Digits by an MLP, as the paper has it but narrower, for two epochs; particles by the network that turns with them.
COMMON = ["train.epochs=2", "train.batch=25", "train.validation=0.2", "train.learning_rate=2e-3", "catalog.looks=2"]
SETS = {
    "digits": [
        "ingest.pixels=grey", "ingest.field=28", "ingest.window=28", "ingest.crop=fixed", "ingest.crop_sigma=0",
        "model.latents=2", "model.encoder=mlp", "model.generator_units=64", "model.encoder_units=64",
        "model.likelihood=bernoulli", "model.shift_sigma=1.4", "train.pixels=0", "train.rotate_encoder=true",
        "train.optimizer=adam", "train.unbiased=true", "train.agree=0", "train.mirror=false", "train.noise=0",
    ],
    "particles": ["model.latents=3", "model.generator_units=48", "train.pixels=200"],
}  # fmt: skip
RECIPE = {"digits": "galaxy-zoo-cpu", "particles": "em-negative-stain"}


def typed(*words):
    """A command that ends well."""
    with pytest.raises(SystemExit) as stop:
        run([str(word) for word in words])
    assert not stop.value.code


def changes(name):
    return [word for change in SETS[name] + COMMON for word in ("--set", change)]


def particles(side):
    """Bright, without symmetry, at any angle, in noise: (N, side, side), and their angles."""
    rng = np.random.default_rng(0)
    theta, place = rng.uniform(0, 2 * np.pi, COUNT), rng.normal(0, 0.02 * side, (2, COUNT, 1, 1))
    y, x = (np.mgrid[:side, :side] - (side - 1) / 2)[:, None] - place
    cos, sin = np.cos(theta)[:, None, None], np.sin(theta)[:, None, None]
    u, v = (x * cos + y * sin) * 60 / side, (y * cos - x * sin) * 60 / side
    body = np.exp(-0.5 * ((u / 9) ** 2 + (v / 4) ** 2))
    knot = np.exp(-0.5 * (((u - 10) / 3) ** 2 + ((v - 3) / 3) ** 2))
    return body + knot, theta


def write_digits(folder):
    light, _ = particles(28)
    digits = np.round(255 * np.clip(light, 0, 1)).astype(np.uint8)[:, ::-1]
    for name, values in (("images-idx3", digits), ("labels-idx1", np.arange(COUNT, dtype=np.uint8) % 2)):
        head = struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape)
        (folder / f"mine-{name}-ubyte.gz").write_bytes(gzip.compress(head + values.tobytes()))
    return folder / "mine-images-idx3-ubyte.gz"


def write_particles(folder):
    light, _ = particles(60)
    noise = np.random.default_rng(1).normal(0, 0.3, light.shape)
    with mrcfile.new(folder / "mine.mrcs") as file:
        file.set_data((1000 + 50 * (light + noise)).astype(np.float32))
        file.set_image_stack()
        file.voxel_size = 4.0
    return folder / "mine.mrcs"


@pytest.fixture(scope="module", params=["digits", "particles"])
def made(request, tmp_path_factory):
    """A folder with the stages of one domain."""
    folder = tmp_path_factory.mktemp(request.param)
    source = {"digits": write_digits, "particles": write_particles}[request.param](folder)
    out = folder / "out"
    words = ["--recipe", RECIPE[request.param], *changes(request.param), "-q"]
    typed("ingest", source, "-o", out / "store", "--workers", 1, *words)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "plot_run", lambda *_, **__: ())  # it is drawn below
        typed("train", out / "store", "-o", out / "run", "--device", "cpu", *words)
    typed("catalog", out / "run", out / "store", "-o", out / "catalog.ecsv", "-q")
    return request.param, source, out


def test_the_store_is_of_one_channel(made, capsys):
    name, _, out = made
    store = ImageStore(out / "store")
    side = 28 if name == "digits" else 40
    assert (len(store), store.shape) == (COUNT, (side, side, 1))
    assert store.dtype == (np.uint8 if name == "digits" else np.float32)
    typed("info", out / "store")
    said = capsys.readouterr().out
    assert f"{side} x {side} pixels, 1 channel, {store.dtype}" in said
    assert ("4 Angstrom / pix of the original" in said) == (name == "particles")
    assert ("normalised: each image less its mean" in said) == (name == "particles")


def test_the_catalog_is_whole(made):
    name, _, out = made
    catalog = galvae.read_catalog(out / "catalog.ecsv")
    assert len(catalog) == COUNT
    assert str(catalog["id"][0]) == ("mine-images_0" if name == "digits" else "000001@mine.mrcs")
    assert np.isfinite(catalog["theta"]).all()
    assert np.isfinite(catalog["elbo"]).all()
    assert np.isfinite(catalog["z"]).all()
    for column in ("ra", "pa", "dx_arcsec"):
        assert np.isnan(catalog[column]).all()
    store = ImageStore(out / "store")
    np.testing.assert_allclose(catalog["scale"].value, 13.5 if name == "digits" else 1.5 * 39 / 2)
    assert not (store.column("flags") & (galvae.Flag.GREY | galvae.Flag.CLIPPED)).any()


def test_arrays_are_encoded_as_the_catalog_says(made):
    name, _, out = made
    store, model = ImageStore(out / "store"), galvae.load(out / "run")
    catalog = galvae.read_catalog(out / "catalog.ecsv")
    images = store.images(range(5))
    found = model.encode(images)
    np.testing.assert_allclose(found.z, catalog["z"][:5], atol=1e-3)
    assert model.decode(found).shape == images.shape
    if name == "particles":
        with pytest.raises(ValueError, match="trained on normalised pixels: pass finite floats"):
            model.encode(np.zeros((1, 40, 40, 1), np.uint8))


def test_pictures_are_drawn_of_either(made, tmp_path):
    _, _, out = made
    typed("plot", out / "run", out / "store", "-o", tmp_path / "figures", "-q")
    assert len(list((tmp_path / "figures").glob("*.png"))) == 6
    typed("sample", out / "run", "-o", tmp_path / "s.png", "-n", 4)
    first, second = ImageStore(out / "store").column("id")[:2]
    typed("interpolate", out / "run", out / "store", first, second, "-o", tmp_path / "i.png", "--steps", 3)


def test_verify_measures_either(made, tmp_path, capsys):
    name, _, out = made
    label = ["--label", "label"] if name == "digits" else []
    typed("verify", out / "run", out / "store", "-o", tmp_path / "v", "--limit", 60, "-q", *label)
    capsys.readouterr()
    figures = json.loads((tmp_path / "v" / "verify.json").read_text())
    [figures] = figures.values()
    assert figures["galaxies"] > 15
    assert math.isfinite(figures["turn_elongated"]["median"])
    if label:
        assert figures["probe"]["column"] == "label"


def test_a_run_of_galaxies_knows_nothing_of_either(made, tmp_path, capsys):
    _, _, out = made
    with pytest.raises(SystemExit) as stop:
        run(["catalog", "sdss-rgb", str(out / "store"), "-o", str(tmp_path / "c.ecsv")])
    assert stop.value.code == 2
    assert "ingest with the recipe of the run" in capsys.readouterr().err


@pytest.mark.parametrize("dark", [False, True])
def test_dark_particles_are_warned_of_until_they_are_inverted(dark, tmp_path, capsys):
    path = write_particles(tmp_path)
    with mrcfile.open(path, "r+") as file:
        file.data[:] *= -1 if dark else 1
    for invert in (False, True):
        words = ["--recipe", "em-negative-stain", "--set", f"ingest.invert={str(invert).lower()}", "--workers", 1, "-q"]
        typed("ingest", path, "-o", tmp_path / f"s{invert}", *words)
        warned = f"darker than their borders; .*: ingest with --set ingest.invert={str(dark).lower()}"
        assert bool(re.search(warned, capsys.readouterr().err)) == (dark != invert)


@pytest.mark.parametrize("command", ["ingest", "run"])
def test_a_bad_stack_is_one_line_and_what_is_there_stays(command, tmp_path, capsys):
    path = write_particles(tmp_path)
    words = ["--recipe", "em-negative-stain", "--workers", 1, "-q"]
    store = tmp_path / "out" / "store"
    typed("ingest", path, "-o", store, "--limit", 20, *words)
    before = {file: file.read_bytes() for file in (tmp_path / "out").rglob("*") if file.is_file()}
    path.write_bytes(path.read_bytes()[:100_000])
    words = {
        "ingest": ["ingest", path, "-o", store, *words],
        "run": ["run", "em-negative-stain", path, "-o", tmp_path / "out"],
    }
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        run([*map(str, words[command]), "--overwrite"])
    said = capsys.readouterr()
    assert (stop.value.code, said.out, said.err.count("\n")) == (2, "", 1)
    assert "mine.mrcs: holds 6 of the 150 images that its header claims" in said.err
    assert before == {file: file.read_bytes() for file in (tmp_path / "out").rglob("*") if file.is_file()}


def test_a_stack_in_one_command(tmp_path, capsys, undrawn):
    """As a user has it: the recipe's name and the stack; and again, with nothing left to do."""
    write_particles(tmp_path)
    words = ["run", "em-negative-stain", tmp_path / "mine.mrcs", "-o", tmp_path / "out", *changes("particles")]
    words += ["--limit", 60, "--workers", 1, "--device", "cpu", "-q"]
    typed(*words)
    assert capsys.readouterr().out.count("unchanged") == 0
    typed(*words)
    assert capsys.readouterr().out.count("unchanged") == 4
