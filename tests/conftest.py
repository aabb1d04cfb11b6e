"""What the tests of the model, the training and the inference share: simple galaxies, a tiny store, a tiny recipe;
networks that know: an encoder that says the pose it is told, a generator that draws an elliptical Gaussian."""

import gc
import json
import math
import signal
from copy import deepcopy
from functools import reduce
from itertools import islice
from operator import getitem

import numpy as np
import pytest
import torch
from hypothesis import settings
from torch import nn

from galvae.data.store import SCHEMAS, ImageStore, part_path, part_summary, write_part
from galvae.geometry import Pose, pixel_grid, to_object
from galvae.model.posterior import Posterior
from galvae.model.settings import ModelSettings
from galvae.model.vae import SpatialVAE
from galvae.recipe import Recipe, validate

settings.register_profile("galvae", deadline=None)
settings.load_profile("galvae")
torch.set_num_threads(1)
COLOURS = torch.tensor([0.85, 0.7, 0.45], dtype=torch.float64)


def merge(tables, changes):
    return {**tables, **{name: {**tables.get(name, {}), **table} for name, table in changes.items()}}


@pytest.fixture(scope="session", autouse=True)
def ctrl_c():
    """Commands that are started hear Ctrl-C, even where the suite itself was started in the background, deaf to it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish():
    """What is imported by now lives on: who collects garbage, as writing tables does, need not look through it."""
    gc.collect()
    gc.freeze()


def draw_quickly(run, output, **_):
    """In the place of what draws a run's figures, which takes longer than a tiny training."""
    output.mkdir(parents=True, exist_ok=True)
    (output / "curves.png").write_bytes(b"")
    return [output / "curves.png"]


@pytest.fixture
def undrawn(monkeypatch):
    """No figures but an empty one."""
    monkeypatch.setattr("galvae.inference.figures.plot_run", draw_quickly)


@pytest.fixture(scope="session")
def tiny_recipe():
    """A function: a recipe that trains in a second, with changes of some tables."""

    def make(**changes) -> Recipe:
        tables = {
            "ingest": {"field": 28, "window": 16, "crop_sigma": 2.0},
            "model": {"latents": 3, "generator_units": 24, "encoder_units": 24, "shift_sigma": 2.0},
            "train": {"epochs": 3, "batch": 8, "learning_rate": 1e-3, "pixels": 64, "validation": 0.2},
            "catalog": {"batch": 7, "looks": 2},
        }
        return validate(merge(tables, changes), "test")

    return make


@pytest.fixture(scope="session")
def make_store():
    """A function: a finished store at `path` of fields (N, F, F, C), its columns those of an unscaled cutout."""

    def make(path, images, *, ids=None, ingest=None, part=25, **columns) -> ImageStore:
        count, side = images.shape[:2]
        given = {
            "id": np.arange(1000, 1000 + count) if ids is None else np.asarray(ids),
            "source": np.array([f"{k}.png" for k in range(count)]),
            "size": np.full((count, 2), side, np.int32),
            "affine": np.tile([[1.0, 0, 0], [0, 1.0, 0]], (count, 1, 1)),
            "pixel_scale": np.full(count, np.nan),
            "wcs": np.full(count, ""),
            "flags": np.zeros(count, np.int32),
            "window": np.zeros((count, 2), np.int32),
            "bands": np.full(count, ""),
            "stretch": np.full(count, np.nan, np.float32),
            **columns,
        }
        path.mkdir(parents=True)
        starts = range(0, count, part)
        for number, start in enumerate(starts):
            rows = slice(start, start + part)
            write_part(part_path(path, number), images[rows], {k: v[rows] for k, v in given.items()}, [])
        summaries = [part_summary(part_path(path, number)) for number in range(len(starts))]
        pixels = "normalised" if images.dtype == np.float32 else "colour" if images.shape[3] == 3 else "grey"
        table = {"pixels": pixels, "field": side, "window": 16, "oversample": 1, "crop": "random", **(ingest or {})}
        description = {
            "schema": SCHEMAS[images.dtype.name],
            "shape": list(images.shape[1:]),
            "dtype": images.dtype.name,
            "ingest": table,
            "columns": list(given),
            "parts": [{key: part[key] for key in ("galaxies", "skipped", "digest")} for part in summaries],
        }
        (path / "store.json").write_text(json.dumps(description))
        return ImageStore(path)

    return make


@pytest.fixture(scope="session")
def spoiled():
    """A function: of a JSON value, every copy in which one thing is gone or something else, each with its name."""

    def paths(value, path=()):
        for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
            yield (*path, key)
            yield from paths(value[key], (*path, key))

    def spoil(value):
        for *way, last in paths(value):
            for wrong in ("gone", None, -1, "x", [], {}):
                copy = deepcopy(value)
                owner = reduce(getitem, way, copy)
                if wrong == "gone":
                    del owner[last]
                else:
                    owner[last] = wrong
                yield f"{'.'.join(map(str, (*way, last)))} {wrong}", copy

    return spoil


@pytest.fixture(scope="session")
def ellipses():
    """A function: smooth coloured ellipses, uint8 (N, side, side, 3), whose pose differs from one to the next."""

    def make(count, *, side=28, seed=0):
        rng = np.random.default_rng(seed)
        x, y = np.meshgrid(np.arange(side) - (side - 1) / 2, np.arange(side) - (side - 1) / 2)
        fields = np.empty((count, side, side, 3), np.uint8)
        for number in range(count):
            angle, (dx, dy) = rng.uniform(0, math.pi), rng.normal(0, 1, 2)
            u = (x - dx) * math.cos(angle) + (y - dy) * math.sin(angle)
            v = (y - dy) * math.cos(angle) - (x - dx) * math.sin(angle)
            light = np.exp(-0.5 * ((u / 3.5) ** 2 + (v / rng.uniform(1.2, 3)) ** 2))
            fields[number] = np.round(light[..., None] * [210, 180, 120] + 8)
        return fields

    return make


@pytest.fixture(scope="session")
def store(make_store, ellipses, tmp_path_factory):
    """Sixty galaxies in three parts."""
    return make_store(tmp_path_factory.mktemp("tiny") / "store", ellipses(60))


@pytest.fixture(scope="session")
def make_catalog():
    """A function: a catalog of galaxies with this content, whatever is not given being a usual value."""
    from galvae.catalog import build_catalog, contract

    def make(z, z_err=0.1, *, meta=None, **columns):
        z = np.asarray(z, float)
        count = len(z)
        given = {"id": np.arange(1000, 1000 + count), "flags": np.zeros(count, np.int32), "z": z}
        given |= {"z_err": np.broadcast_to(np.asarray(z_err, float), z.shape)}
        given |= {"explained": np.full(count, 0.9), "scale": np.full(count, 10.0), "axis_ratio": np.full(count, 0.5)}
        rows = [row for row in contract() if row["when"] == "always" and row["name"] not in given]
        return build_catalog({**given, **{row["name"]: np.zeros(count) for row in rows}, **columns}, meta=meta or {})

    return make


def comma(u):
    """Light without symmetry in the object frame: a long body and a knot off its axis, shape (..., 3)."""
    x, y = u[..., 0], u[..., 1]
    body = torch.exp(-0.5 * ((x / 0.3) ** 2 + (y / 0.14) ** 2))
    knot = torch.exp(-0.5 * (((x - 0.25) / 0.12) ** 2 + ((y - 0.15) / 0.12) ** 2))
    return torch.stack([0.6 * body + 0.1 * knot, 0.5 * body + 0.2 * knot, 0.3 * body + 0.4 * knot], -1)


@pytest.fixture(scope="session")
def draw_commas():
    """A function: one asymmetric galaxy at several poses, fields (B, side, side, 3) around windows of `window`."""

    def make(theta, shift, *, side=65, window=33):
        pose = Pose(torch.as_tensor(theta).float(), torch.as_tensor(shift).float())
        grid = pixel_grid(side) * ((side - 1) / (window - 1))
        return comma(to_object(grid, pose)).reshape(-1, side, side, 3)

    return make


class Ellipse(nn.Module):
    """An elliptical Gaussian galaxy, content = (major axis in rad, centre x, centre y, axis ratio), grid units."""

    def __init__(self, sigma, pedestal=0.0):
        super().__init__()
        self.sigma, self.pedestal = sigma, pedestal

    def forward(self, x, pose, content, pixels=None):
        u, v = to_object(x, pose).unbind(-1)
        axis, centre_x, centre_y, ratio = content[:, None].unbind(-1)
        u, v = u - centre_x, v - centre_y
        along, across = u * axis.cos() + v * axis.sin(), v * axis.cos() - u * axis.sin()
        light = torch.exp(-0.5 * (along**2 + (across / ratio) ** 2) / self.sigma**2)
        return light[..., None] * COLOURS.to(light) + self.pedestal


class Told(nn.Module):
    """Says of one galaxy after another what it was told: tensors (N, K, ...) by the names of a Posterior."""

    def __init__(self, **told):
        super().__init__()
        self.told = Posterior(**told)
        self.rows, self.last = iter(range(len(self.told.theta))), []

    def forward(self, view):
        if view.origin is None and not view.angle.any():  # else it looks again
            self.last = list(islice(self.rows, len(view)))
        return Posterior(*(value[self.last] for value in self.told.parts.values()))


@pytest.fixture(scope="session")
def knowing():
    """A function: a model of which everything is known; hypotheses have shape (N, K), or (N,) for one."""

    def make(theta, shift, content, *, window=64, weight=None, std=1e-9, content_std=None, sigma=0.2, pedestal=0.0):
        model = ModelSettings(latents=4, encoder_units=2, generator_units=2, likelihood="gaussian", noise=0.05)
        vae = SpatialVAE(model, window=window, channels=3).double()
        theta, shift, content = (torch.as_tensor(value).double() for value in (theta, shift, content))
        if theta.ndim == 1:
            theta, shift, content = theta[:, None], shift[:, None], content[:, None]
        weight = torch.ones_like(theta) / theta.shape[1] if weight is None else torch.as_tensor(weight)
        vae.encoder = Told(
            log_weight=weight.double().log(),
            content=content,
            content_std=torch.full_like(content, std) if content_std is None else torch.as_tensor(content_std).double(),
            theta=theta, theta_std=torch.full_like(theta, std), shift=shift, shift_std=torch.full_like(shift, std),
        )  # fmt: skip
        vae.generator = Ellipse(sigma, pedestal)
        return vae.requires_grad_(False)

    return make
