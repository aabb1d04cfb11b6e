"""What artifacts do to a field shows in its texture, and how the camera was held does not."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from galvae.catalog import contract
from galvae.flags import TEXTURE
from galvae.texture import texture
from galvae.windows import View

SIDE = 64


def fields(count=6, *, side=SIDE, seed=0, alike=False):
    """Round galaxies in a sky with noise, uint8, in three channels that differ in noise alone."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    galaxy = 150 * np.exp(-0.5 * (np.hypot(x, y) / (side / 14)) ** 2)
    noise = random.normal(0, 4, (count, side, side, 1 if alike else 3))
    return 20 + galaxy[..., None] + noise + np.zeros(3)


def stored(values):
    return torch.from_numpy(np.clip(np.round(values), 0, 255).astype(np.uint8))


def told(values, **options):
    found = texture(View.central(stored(values), len(values[0]) // 2, 2, **options)).numpy()
    return dict(zip(TEXTURE, found.T, strict=True))


@pytest.mark.parametrize("side", [SIDE, 57, 16])
def test_quarter_turns_and_mirrors_change_nothing(side):
    random = np.random.default_rng(1)
    values = fields(side=side) + 40 * (random.random((6, side, side, 3)) > 0.98)
    values[:, : side // 5, : side // 3] += 30
    first = told(values)
    for changed in (np.rot90(values, 1, (1, 2)), values[:, ::-1], values.swapaxes(1, 2)):
        again = told(changed)
        for name in TEXTURE:
            assert again[name] == pytest.approx(first[name], abs=1e-3), name


def test_each_field_is_told_by_itself():
    values = fields()
    alone = told(values[2:3])
    for name, found in told(values).items():
        assert found[2] == pytest.approx(alone[name][0], abs=1e-5)


def rays(values):
    values[:, 5:12, 40] += 200
    values[:, 50, 3:14] += 200
    return values


def painted(values):
    values[:, 5:15, 5:50] = 20
    return values


def white(values):
    values[:, 5:8, 30:33] = 255
    return values


def haze(values):
    y, x = np.mgrid[:SIDE, :SIDE]
    return values + (x + y)[..., None] / 2


def edge(values):
    values[:, :, : SIDE // 4] += 60
    return values


def moved(values, shift):
    """One channel of those of one sky, so that noise says nothing."""
    alike = fields(alike=True)
    alike[..., 0] = np.roll(alike[..., 0], shift, 2)
    return alike


def dragged(values, axes):
    return ndimage.uniform_filter1d(values, 5, axes[0]) if len(axes) == 1 else _diagonal(values)


def _diagonal(values):
    return np.mean([np.roll(values, (step, step), (1, 2)) for step in range(-2, 3)], 0)


@pytest.mark.parametrize(
    ("name", "artifact"),
    [
        ("noise", lambda values: 3 * values),
        ("sharp", rays),
        ("flat", painted),
        ("white", white),
        ("uneven", haze),
        ("uneven", edge),
        ("step", edge),
        ("streaked", lambda values: dragged(values, (1,))),
        ("streaked", lambda values: dragged(values, (2,))),
        ("streaked", lambda values: dragged(values, (1, 2))),
        ("smooth", lambda values: ndimage.gaussian_filter(values, (0, 1, 1, 0))),
        ("misregistered", lambda values: moved(values, 4)),
        ("parted", lambda values: moved(values, 4)),
    ],
)
def test_an_artifact_shows_in_its_number(name, artifact):
    usual = told(fields(alike=name in ("misregistered", "parted")))[name]
    found = told(artifact(fields()))[name]
    assert found.min() > usual.max() + 0.1


def test_noise_is_what_neighbours_differ_by():
    values = fields()
    around = np.hypot(*np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2) > 0.45 * (SIDE - 1) / 2
    seen = stored(values).numpy().astype(float)
    differ = np.abs(ndimage.convolve(seen, -np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]])[None, ..., None]))
    inner = differ[:, 1:-1, 1:-1][:, around[1:-1, 1:-1]]
    wanted = np.log((np.median(inner, 1).mean(1) + 1) / 255)
    assert told(values)["noise"] == pytest.approx(wanted, abs=0.02)


def test_channels_are_parted_by_so_many_pixels_less_what_the_weight_holds_back():
    parted = [np.exp(told(moved(None, shift))["parted"]).mean() - 0.2 for shift in (0, 1, 2, 3)]
    assert parted[0] < 0.05
    assert np.diff(parted) == pytest.approx(parted[1], rel=0.1)
    assert 0.6 < parted[1] < 1


def test_catalogs_name_its_numbers_in_their_order():
    told = {row["name"]: row for row in contract()}["texture"]
    assert ", ".join(TEXTURE) in told["description"]
    assert int(told["shape"]) == len(TEXTURE)


def test_one_channel_is_like_itself():
    found = texture(View.central(stored(fields()[..., :1]), SIDE // 2, 2)).numpy()
    assert found[:, TEXTURE.index("misregistered")] == pytest.approx(np.log(0.02))
    assert found[:, TEXTURE.index("parted")] == pytest.approx(np.log(0.2))


@pytest.mark.parametrize("value", [0, 90, 255])
def test_fields_of_one_value_have_a_texture_too(value):
    assert all(np.isfinite(found).all() for found in told(np.full((2, SIDE, SIDE, 3), value)).values())


def test_of_fields_that_are_small_or_have_a_unit_nothing_is_said():
    small = texture(View.central(stored(fields(side=15)), 7, 2))
    flux = texture(View.central(torch.from_numpy(fields()), SIDE // 2, 2, display=False))
    for found in (small, flux):
        assert found.shape == (6, len(TEXTURE))
        assert found.isnan().all()
