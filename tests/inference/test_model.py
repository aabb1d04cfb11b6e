"""The Python face of a run: arrays in, arrays out."""

import numpy as np
import pytest
import torch

import galvae
from galvae.geometry import Pose
from galvae.inference.canonical import decode_images
from galvae.inference.catalog import infer_columns
from galvae.inference.model import Model
from galvae.inference.settings import CatalogSettings
from galvae.model.settings import ModelSettings
from galvae.model.vae import SpatialVAE
from galvae.training.checkpoint import load_model, save_model


def build(**changes):
    torch.manual_seed(0)
    settings = ModelSettings(latents=3, generator_units=16, encoder_units=16, **changes)
    return SpatialVAE(settings, window=16, channels=3).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def model():
    return Model(build(encoder="polar"), {})


@pytest.fixture(scope="module")
def images(ellipses):
    return ellipses(9)


def test_encode(model, images):
    found = model.encode(images)
    assert len(found) == 9
    assert {name: value.shape for name, value in vars(found).items()} == {
        "z": (9, 3), "z_err": (9, 3), "theta": (9,), "theta_err": (9,), "shift": (9, 2), "shift_err": (9, 2),
        "place": (9, 2), "width": (9,),
    }  # fmt: skip
    assert all(isinstance(value, np.ndarray) for value in vars(found).values())
    assert ((found.theta >= 0) & (found.theta < 360)).all()
    for other in (model.encode(images / 255), model.encode(images, batch=2)):
        for name, value in vars(other).items():
            assert np.allclose(value, getattr(found, name), atol=1e-3), name


def test_encode_is_what_the_catalog_says(store, tmp_path):
    save_model(tmp_path, build(encoder="polar"), {"recipe": {}, "store": "", "steps": 1, "finished": True})
    found = galvae.load(tmp_path).encode(store.images(slice(None)))
    columns = infer_columns(*load_model(tmp_path), store, CatalogSettings(looks=2), quiet=True)
    for name in ("z", "z_err", "theta"):
        assert np.allclose(getattr(found, name), columns[name], atol=1e-3), name


def test_decode_draws_in_the_pose_inferred(model, images):
    found = model.encode(images)
    decoded = model.decode(found)
    assert decoded.shape == (9, 16, 16, 3)
    assert decoded.dtype == np.float32
    assert ((decoded >= 0) & (decoded <= 1)).all()
    pose = Pose(torch.from_numpy(-np.radians(found.theta)).float(), torch.from_numpy(found.shift))
    wanted = decode_images(model._vae, pose, torch.from_numpy(found.z), size=16)
    assert np.allclose(decoded, wanted, atol=1e-6)
    assert not np.allclose(decoded, model.canonical(found), atol=1e-3)


def test_canonical_is_without_pose_at_any_resolution(model):
    z = np.random.default_rng(0).normal(size=(4, 3))
    small, large = model.canonical(z), model.canonical(z, size=31)
    assert large.shape == (4, 31, 31, 3)
    # 31 pixels hold the points of 16: every other one, to the corners.
    assert np.allclose(large[:, ::2, ::2], small, atol=1e-5)
    zero = Pose(torch.zeros(4), torch.zeros(4, 2))
    assert np.allclose(small, decode_images(model._vae, zero, torch.from_numpy(z).float(), size=16), atol=1e-6)


def test_samples_are_the_seeds(model):
    drawn = model.sample(5, seed=1)
    assert drawn.shape == (5, 16, 16, 3)
    assert np.array_equal(drawn, model.sample(5, seed=1))
    assert np.allclose(drawn[:3], model.sample(3, seed=1), atol=1e-6)
    assert not np.allclose(drawn, model.sample(5, seed=2), atol=1e-3)
    assert model.sample(2, size=64).shape == (2, 64, 64, 3)


def test_large_pictures_are_decoded_in_parts(model):
    assert model.sample(3, size=730).shape == (3, 730, 730, 3)


def test_oversampled_images(model, images):
    """The same light on a grid twice as fine: between its pixels, too, as it is read between them."""
    light = torch.from_numpy(images / 255).permute(0, 3, 1, 2)
    fine = torch.nn.functional.interpolate(light, size=2 * 28 - 1, mode="bilinear", align_corners=True)
    found, wanted = model.encode(fine.permute(0, 2, 3, 1).numpy(), oversample=2), model.encode(images)
    for name, value in vars(wanted).items():
        assert np.allclose(getattr(found, name), value, atol=2e-3), name


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((16, 16, 3)), r"shape \(16, 16, 3\); expected \(N, n, n, 3\) with n >= 16"),
        (np.zeros((1, 15, 15, 3)), "n >= 16"),
        (np.zeros((1, 16, 17, 3)), "n >= 16"),
        (np.zeros((1, 16, 16, 1)), r"\(N, n, n, 3\)"),
        (np.full((1, 16, 16, 3), 1.5), r"must lie in \[0, 1\]"),
        (np.full((1, 16, 16, 3), np.nan), r"must lie in \[0, 1\]"),
        (np.full((1, 16, 16, 3), 200), "pass uint8"),
        (np.zeros((0, 16, 16, 3)), "no images"),
    ],
)
def test_images_that_cannot_be_encoded(model, images, message):
    with pytest.raises(ValueError, match=message):
        model.encode(images)


def test_content_that_cannot_be_decoded(model):
    for z in (np.zeros(3), np.zeros((2, 4))):
        with pytest.raises(ValueError, match=r"expected \(N, 3\)"):
            model.canonical(z)


def test_a_vanilla_model_has_no_pose_and_one_resolution(images):
    vanilla = Model(build(generator="vanilla", infer_rotation=False, infer_translation=False), {})
    found = vanilla.encode(images)
    assert (found.theta == 0).all()
    assert (found.theta_err == 0).all()
    assert (found.shift == 0).all()
    assert np.allclose(vanilla.decode(found), vanilla.canonical(found), atol=1e-6)
    with pytest.raises(ValueError, match="16 x 16 pixels only"):
        vanilla.sample(1, size=32)


def test_the_names_at_the_top():
    assert galvae.load.__module__ == "galvae.inference.model"
    assert set(galvae.__all__) <= set(dir(galvae))
    for name in galvae.__all__:
        assert getattr(galvae, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        galvae.nonsense  # noqa: B018
