"""The errors of the catalog carry what is not known, and the flags say so."""

import math

import numpy as np
import pytest
import torch

from galvae.covariance import widths
from galvae.flags import Flag
from galvae.geometry import Pose, rotation, to_image
from galvae.inference.canonical import _half_width
from galvae.inference.catalog import infer_batch, infer_columns
from galvae.inference.errors import circular_std, content_error, shift_error
from galvae.inference.model import Model
from galvae.inference.settings import CatalogSettings
from galvae.model.posterior import Posterior
from galvae.model.settings import ModelSettings
from galvae.model.vae import SpatialVAE

DESCRIPTION = {"trained_on": np.array([], np.uint64)}
MANY = CatalogSettings(samples=400, sample_size=32)
ELONGATED = [0.4, 0.0, 0.0, 0.5]


@pytest.fixture(autouse=True)
def double_precision():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def inferred(vae, *, count=1, settings=MANY):
    fields = np.full((count, 80, 80, 3), 0.2)
    found = infer_batch(vae, fields, np.arange(count), oversample=1, settings=settings)
    return found | dict(zip(("dx_err", "dy_err"), widths(found["covariance"]).T, strict=True))


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


def test_two_rivals_are_a_large_error_of_theta(knowing):
    theta, none = [[0.3, 0.3 + math.pi]], torch.zeros(1, 2, 2)
    content = torch.tensor([[ELONGATED, ELONGATED]])
    for weight, low, high in (([0.5, 0.5], 179, 180.001), ([0.8, 0.2], 50, 90), ([0.999, 0.001], 1, 6)):
        found = inferred(knowing(theta, none, content, weight=[weight]))
        assert low < found["theta_err"][0] < high
        # Half a turn apart they agree about the axis.
        assert found["orientation_err"][0] < 1e-3


def test_rivals_a_quarter_turn_apart_leave_the_axis_open(knowing):
    content = torch.tensor([[ELONGATED, ELONGATED]])
    found = inferred(knowing([[0.3, 0.3 + math.pi / 2]], torch.zeros(1, 2, 2), content, weight=[[0.6, 0.4]]))
    assert found["orientation_err"][0] > 30
    assert found["theta_err"][0] > 30


def test_errors_are_those_of_pose_and_content_together(knowing):
    """Each adds: of the axis theta's and the canonical axis's, of the centre the shift's and the canonical centre's."""
    std = {"theta": 0.06, "axis": 0.08, "shift": 0.02, "centre": 0.03}
    content_std = torch.tensor([[[std["axis"], std["centre"], std["centre"], 1e-9]]])
    vae = knowing([1.0], [[0.05, 0.1]], [ELONGATED], content_std=content_std)
    vae.encoder.told.theta_std.fill_(std["theta"])
    vae.encoder.told.shift_std.fill_(std["shift"])
    found = inferred(vae)
    assert found["orientation_err"][0] == pytest.approx(math.degrees(math.hypot(0.06, 0.08)), rel=0.12)
    assert found["theta_err"][0] == pytest.approx(math.degrees(0.06), rel=1e-6)
    # The centre also swings about the origin as theta varies, by 0.06 of its distance of 0.11.
    for name in ("dx_err", "dy_err"):
        assert found[name][0] == pytest.approx(math.hypot(0.02, 0.03) * 63 / 2, rel=0.15)
    assert found["axis_ratio_err"][0] < 1e-3
    assert np.allclose(found["z_err"][0], content_std[0, 0])


def columns_of(vae, make_store, path, *, count=1, **columns):
    store = make_store(path, np.full((count, 80, 80, 3), 51, np.uint8), **columns)
    store.batches = lambda size: [(np.arange(count), store.images(slice(None)) / 255)]
    return infer_columns(vae, DESCRIPTION, store, CatalogSettings(looks=60), quiet=True)


def test_a_round_galaxys_axis_is_undefined(knowing, make_store, tmp_path):
    """Its canonical axis turns with every draw of z: the error says so, and the flag."""
    contents = [[0.4, 0, 0, 0.5], [0.4, 0, 0, 0.97], [0.4, 0, 0, 0.97]]
    content_std = torch.full((3, 1, 4), 0.01)
    content_std[1, 0, 3] = 0.05  # its axis ratio crosses one: major and minor axes change places
    vae = knowing([0.1, 0.2, 0.3], torch.zeros(3, 2), contents, content_std=content_std)
    found = columns_of(vae, make_store, tmp_path / "store", count=3)
    assert found["orientation_err"][0] < 3
    assert found["orientation_err"][1] > 30
    undefined = (found["flags"] & Flag.AXIS_UNDEFINED) != 0
    assert undefined.tolist() == [False, True, True]
    assert ((found["flags"] & (Flag.NO_MOMENTS | Flag.OUTSIDE | Flag.TRAINED_ON)) == 0).all()


def test_a_decoded_image_without_a_galaxy_has_no_moments(knowing, make_store, tmp_path):
    """Without a warning; what the pose alone says is there nevertheless."""
    vae = knowing([0.1], torch.zeros(1, 2), [ELONGATED], sigma=1e-4, pedestal=0.1)
    found = columns_of(vae, make_store, tmp_path / "store")
    assert found["flags"][0] == Flag.NO_MOMENTS | Flag.AXIS_UNDEFINED
    missing = {name for name, values in found.items() if values.dtype.kind == "f" and not np.isfinite(values).all()}
    measured = {
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
    }
    assert missing == measured | {"dx_arcsec", "dy_arcsec", "dx_arcsec_err", "dy_arcsec_err"}
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


@pytest.mark.parametrize("count", [2, 4, 8, 16, 60])
def test_half_widths_of_few_draws_are_not_too_small(count):
    values = np.random.default_rng(0).normal(size=(count, 20_000))
    assert _half_width(values).mean() == pytest.approx(1, abs=0.02)
    values[:, 1::2] = np.nan
    assert np.isnan(_half_width(values)[1::2]).all()


def test_half_widths_leave_out_what_is_missing():
    values = np.random.default_rng(0).normal(size=(16, 40_000))
    values[4:] = np.nan
    assert _half_width(values).mean() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("samples", [2, 4, 8, 16])
def test_errors_do_not_depend_on_the_number_of_draws(knowing, samples):
    """In the root mean square, of the axis as of the centre."""
    count, std = 400, 0.05
    vae = knowing(torch.zeros(count), torch.zeros(count, 2), torch.tensor(ELONGATED).expand(count, 4))
    vae.encoder.told.theta_std.fill_(std)
    vae.encoder.told.shift_std.fill_(std)
    found = inferred(vae, count=count, settings=CatalogSettings(samples=samples, sample_size=24))
    assert np.sqrt((found["orientation_err"] ** 2).mean()) == pytest.approx(math.degrees(std), rel=0.1)
    assert found["dx_err"].mean() == pytest.approx(std * 63 / 2, rel=0.1)


def test_z_err_is_that_of_all_hypotheses():
    torch.manual_seed(0)
    weight = torch.tensor([[0.6, 0.3, 0.1]])
    q = Posterior(
        weight.log(), torch.randn(1, 3, 2), 0.1 + torch.rand(1, 3, 2), torch.zeros(1, 3), torch.ones(1, 3),
        torch.zeros(1, 3, 2), torch.ones(1, 3, 2),
    )  # fmt: skip
    which = torch.multinomial(weight[0], 200_000, replacement=True)
    drawn = q.content[0, which] + q.content_std[0, which] * torch.randn(200_000, 2)
    wanted = (drawn - q.content[0, 0]).square().mean(0).sqrt()
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


def test_a_model_measures_the_centre_that_its_shift_err_is_about(knowing):
    theta = torch.tensor([[0.3, 2.9]])
    shift = CENTRE[:, None] - torch.tensor([0.1, 0.15]) @ rotation(theta)
    content = torch.tensor([[[0.4, *CENTRE[0], 0.5]] * 2])
    vae = knowing(theta, shift, content, weight=[[0.6, 0.4]], std=0.01)
    found = Model(vae, {}).encode(np.zeros((1, 80, 80, 3), np.uint8))
    assert found.shift_err[0] == pytest.approx([0.01, 0.01], rel=0.05)


def test_errors_of_the_centre_carry_their_covariance(knowing):
    """The shift's along the object's axes, turned: long and thin at 30 degrees in the image."""
    vae = knowing([-math.radians(30)], torch.zeros(1, 2), [[0.0, 0, 0, 0.5]])
    vae.encoder.told.shift_std.copy_(torch.tensor([0.05, 0.005]))
    found = inferred(vae)["covariance"][0] / (63 / 2) ** 2
    turn = rotation(torch.tensor(math.radians(30))).numpy().T
    assert found == pytest.approx(turn @ np.diag([0.05**2, 0.005**2]) @ turn.T, abs=0.15 * 0.05**2)
    assert np.linalg.eigvalsh(found) == pytest.approx([0.005**2, 0.05**2], rel=0.4)


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
        return infer_batch(vae, fields, np.arange(5), oversample=1, settings=CatalogSettings(looks=2))

    whole = everything()
    monkeypatch.setattr("galvae.inference.canonical.PIECE", 5 * 16 * 7)
    for name, values in everything().items():
        assert np.allclose(values, whole[name], rtol=1e-9, equal_nan=True), name
    most = []
    vae.generator.register_forward_hook(lambda module, given, result: most.append(given[0].shape[1]))
    everything()
    assert max(most) == 7
