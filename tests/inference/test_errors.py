"""The errors of the catalog carry what is not known, and the flags say so."""

import math

import numpy as np
import pytest
import torch

from galvae.flags import Flag
from galvae.geometry import Pose, rotation, to_image
from galvae.inference.catalog import infer_batch, infer_columns
from galvae.inference.errors import circular_std, content_error, shift_error
from galvae.inference.model import Model
from galvae.inference.settings import CatalogSettings
from galvae.model.posterior import Posterior
from galvae.model.settings import ModelSettings
from galvae.model.vae import SpatialVAE

DESCRIPTION = {"trained_on": np.array([], np.uint64)}
PLAIN = CatalogSettings(refine=False, looks=2)
ELONGATED = [0.4, 0.0, 0.0, 0.5]


@pytest.fixture(autouse=True)
def double_precision():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def inferred(vae, *, count=1, settings=PLAIN):
    fields = np.full((count, 80, 80, 3), 0.2)
    found = infer_batch(vae, fields, np.arange(count), oversample=1, settings=settings)
    return found


def rivals(theta, weight, std):
    theta = torch.tensor([theta])
    shape = (*theta.shape, 2)
    return Posterior(
        torch.tensor([weight]).log(), torch.zeros(shape), torch.ones(shape), theta, torch.full_like(theta, std),
        torch.zeros(shape), torch.ones(shape),
    )  # fmt: skip


@pytest.mark.parametrize("std", [0.01, 0.3, 1.0])
def test_circular_std_of_one_hypothesis_is_its_own(std):
    assert circular_std(rivals([17.3], [1.0], std)).item() == pytest.approx(std, rel=1e-9)


def test_circular_std_of_a_mixture_by_monte_carlo():
    q = rivals([0.2, 1.5, -2.0], [0.6, 0.3, 0.1], 0.25)
    torch.manual_seed(0)
    which = torch.multinomial(q.log_weight.exp()[0], 200_000, replacement=True)
    theta = q.theta[0, which] + 0.25 * torch.randn(200_000)
    length = torch.hypot(theta.cos().mean(), theta.sin().mean())
    assert circular_std(q).item() == pytest.approx(math.sqrt(-2 * math.log(length)), rel=0.01)


def columns_of(vae, make_store, path, *, count=1, **columns):
    store = make_store(path, np.full((count, 80, 80, 3), 51, np.uint8), **columns)
    store.batches = lambda size: [(np.arange(count), store.images(slice(None)) / 255)]
    return infer_columns(vae, DESCRIPTION, store, PLAIN, quiet=True)


def test_a_decoded_image_without_a_galaxy_has_no_moments(knowing, make_store, tmp_path):
    """Without a warning; what the pose alone says is there nevertheless."""
    vae = knowing([0.1], torch.zeros(1, 2), [ELONGATED], sigma=1e-4, pedestal=0.1)
    found = columns_of(vae, make_store, tmp_path / "store")
    assert found["flags"][0] == Flag.NO_MOMENTS | Flag.AXIS_UNDEFINED
    missing = {name for name, values in found.items() if values.dtype.kind == "f" and not np.isfinite(values).all()}
    measured = {
        "theta_alt",  # for want of a rival
        "orientation",
        "orientation_err",
        "axis_ratio",
        "axis_ratio_err",
        "dx",
        "dx_err",
        "dy",
        "dy_err",
        "x",
        "y",
        "covariance",
        "semimajor_sigma",
        "semimajor_sigma_err",
        "texture",  # these are floats
    }
    lengths = ("dx", "dy", "semimajor_sigma", "scale")
    assert missing == measured | {f"{name}_arcsec{err}" for name in lengths for err in ("", "_err")}
    assert found["theta"][0] == pytest.approx(360 - math.degrees(0.1))


def test_a_centre_beyond_the_window_is_outside(knowing, make_store, tmp_path):
    vae = knowing([0.0, 0.0], [[-1.3, 0.0], [-0.9, 0.0]], [ELONGATED, ELONGATED])
    found = columns_of(vae, make_store, tmp_path / "store", count=2)
    assert ((found["flags"] & Flag.OUTSIDE) != 0).tolist() == [True, False]
    assert found["dx"] == pytest.approx([1.3 * 63 / 2, 0.9 * 63 / 2], abs=1e-3)


@pytest.mark.parametrize("theta", [0.0, 1e-20, -1e-20, 2 * math.pi, -math.pi, 1e-9])
def test_angles_lie_in_their_ranges(knowing, make_store, tmp_path, theta):
    vae = knowing([theta], torch.zeros(1, 2), [[0.0, 0, 0, 0.5]])
    found = columns_of(vae, make_store, tmp_path / "store")
    assert 0 <= found["theta"][0] < 360
    assert 0 <= found["orientation"][0] < 180


def test_the_elbo_is_its_terms(knowing):
    found = inferred(knowing([0.1], torch.zeros(1, 2), [ELONGATED]))
    assert found["elbo"] == pytest.approx(found["log_likelihood"] - found["kl_z"] - found["kl_pose"])


def test_z_err_is_that_of_all_hypotheses():
    torch.manual_seed(0)
    weight = torch.tensor([[0.6, 0.3, 0.1]])
    q = Posterior(
        weight.log(), torch.randn(1, 3, 2), 0.1 + torch.rand(1, 3, 2), torch.zeros(1, 3), torch.ones(1, 3),
        torch.zeros(1, 3, 2), torch.ones(1, 3, 2),
    )  # fmt: skip
    which = torch.multinomial(weight[0], 200_000, replacement=True)
    drawn = q.content[0, which] + q.content_std[0, which] * torch.randn(200_000, 2)
    wanted = drawn.std(0)
    assert content_error(q)[0].numpy() == pytest.approx(wanted.numpy(), rel=0.01)
    certain = Posterior(torch.tensor([[0.0, -1e9, -1e9]]), *list(vars(q).values())[1:])
    assert torch.equal(content_error(certain)[0], q.content_std[0, 0])


def mixture(theta=(0.3, 2.9, -1.0)):
    """Three hypotheses about one galaxy."""
    torch.manual_seed(0)
    shape = (1, 3, 2)
    return Posterior(
        torch.tensor([[0.6, 0.3, 0.1]]).log(), torch.zeros(shape), torch.ones(shape), torch.tensor([theta]),
        torch.full((1, 3), 0.1), torch.randn(shape), 0.1 + torch.rand(shape),
    )  # fmt: skip


CENTRE = torch.tensor([[0.3, -0.2]]).double()


def test_shift_err_is_that_of_all_hypotheses_in_the_frame_of_the_best():
    """Places of the galaxy's centre in the image, drawn, each said as a shift of the best hypothesis."""
    q = mixture()
    which = torch.multinomial(q.log_weight.exp()[0], 200_000, replacement=True)
    shift = q.shift[0, which] + q.shift_std[0, which] * torch.randn(200_000, 2)
    place = to_image(CENTRE, Pose(q.theta[0, which], shift))[:, 0]
    said = CENTRE - place @ rotation(q.theta[0, 0])
    wanted = (said - q.shift[0, 0]).square().mean(0).sqrt()
    assert shift_error(q, CENTRE)[0].numpy() == pytest.approx(wanted.numpy(), rel=0.01)
    certain = Posterior(torch.tensor([[0.0, -1e9, -1e9]]), *list(vars(q).values())[1:])
    assert torch.allclose(shift_error(certain, CENTRE)[0], q.shift_std[0, 0])


def test_rivals_that_agree_about_the_centre_are_no_error_of_the_shift():
    """Whatever their theta: the object's origin, far from the centre, swings about it."""
    theta = torch.tensor([[0.3, 2.9, -1.0]])
    shift = CENTRE[:, None] - torch.tensor([0.1, 0.4]) @ rotation(theta)
    q = Posterior(*list(vars(mixture()).values())[:3], theta, torch.zeros(1, 3), shift, torch.full((1, 3, 2), 0.01))
    assert torch.allclose(shift_error(q, CENTRE), torch.tensor([0.01]))
    assert (shift_error(q, torch.zeros(1, 2)) > 0.1).all()


def test_hypotheses_of_other_scales_that_agree_about_the_centre_are_no_error_of_the_shift():
    """And where they agree about the shift alone they are."""
    theta, zoom = torch.tensor([[0.3, 2.9, -1.0]]), torch.tensor([[0.2, -0.2, 0.1]])
    shift = CENTRE[:, None] - torch.tensor([0.1, 0.4]) @ Pose(theta, None, zoom).linear
    first = list(vars(mixture()).values())[:3]
    scale = zoom, torch.zeros(1, 3), torch.zeros(1, 3)
    q = Posterior(*first, theta, torch.zeros(1, 3), shift, torch.zeros(1, 3, 2), *scale)
    assert shift_error(q, CENTRE).max() < 1e-9
    apart = Posterior(*first, 0 * theta, torch.zeros(1, 3), shift[:, :1].expand(1, 3, 2), torch.zeros(1, 3, 2), *scale)
    assert shift_error(apart, CENTRE).max() > 0.05


def test_a_model_measures_the_centre_that_its_shift_err_is_about(knowing):
    theta = torch.tensor([[0.3, 2.9]])
    shift = CENTRE[:, None] - torch.tensor([0.1, 0.15]) @ rotation(theta)
    content = torch.tensor([[[0.4, *CENTRE[0], 0.5]] * 2])
    vae = knowing(theta, shift, content, weight=[[0.6, 0.4]], std=0.01)
    found = Model(vae, {}).encode(np.zeros((1, 80, 80, 3), np.uint8), refine=False)
    assert found.shift_err[0] == pytest.approx([0.01, 0.01], rel=0.05)


def test_errors_of_the_centre_go_through_any_affine_map(knowing, make_store, tmp_path):
    vae = knowing([[-0.5]] * 2, torch.zeros(2, 1, 2), torch.tensor([[ELONGATED]] * 2))
    vae.encoder.told.shift_std.copy_(torch.tensor([0.05, 0.005]))
    plain = columns_of(vae, make_store, tmp_path / "plain")["covariance"][0]
    linear = np.array([[2.0, -1.0], [0.5, 1.5]])
    affine = np.concatenate([linear, [[7.0], [-4.0]]], axis=1)[None]
    found = columns_of(vae, make_store, tmp_path / "store", affine=affine)
    assert found["covariance"][0] == pytest.approx(linear @ plain @ linear.T)
    assert found["dx_err"] == pytest.approx(np.sqrt(found["covariance"][:, 0, 0]))
    assert found["dy_err"] == pytest.approx(np.sqrt(found["covariance"][:, 1, 1]))


def test_decoding_in_pieces_is_decoding(monkeypatch):
    torch.manual_seed(0)
    settings = ModelSettings(latents=3, generator_units=16, encoder_units=8)
    vae = SpatialVAE(settings, window=16, channels=3).eval().requires_grad_(False)
    fields = torch.randint(0, 256, (5, 20, 20, 3), dtype=torch.uint8).numpy() / 255

    def everything():
        return infer_batch(vae, fields, np.arange(5), oversample=1, settings=PLAIN)

    whole = everything()
    monkeypatch.setattr("galvae.inference.canonical.PIECE", 5 * 16 * 7)
    for name, values in everything().items():
        assert np.allclose(values, whole[name], rtol=1e-9, equal_nan=True), name
    most = []
    vae.generator.register_forward_hook(lambda module, given, result: most.append(given[0].shape[1]))
    everything()
    assert max(most) == 7
