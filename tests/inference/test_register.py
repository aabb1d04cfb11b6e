"""Registration finds the pose that made the image, and says how well the pixels tell it."""

import math

import pytest
import torch

from galvae.geometry import Pose, move_pose, pixel_grid
from galvae.inference import register as registering
from galvae.inference.background import sky
from galvae.inference.canonical import decode_canonical
from galvae.windows import View

COUNT, SIDE = 6, 128


@pytest.fixture(autouse=True)
def double_precision():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def galaxies(knowing, *, window=64, ratio=0.5, noise=0.0, oversample=1, **options):
    """A model, the pose of galaxies that it draws, their content, and views of them."""
    generator = torch.Generator().manual_seed(3)
    uniform = torch.rand(COUNT, 6, generator=generator)
    pose = Pose(2 * math.pi * uniform[:, 0], 0.2 * uniform[:, 1:3] - 0.1)
    content = torch.stack([math.pi * uniform[:, 3], *(0.1 * uniform[:, 4:].T - 0.05), torch.full((COUNT,), ratio)], 1)
    vae = knowing(pose.theta, pose.shift, content, window=window, **options)
    grid = pixel_grid(SIDE) * ((SIDE - 1) / (window - 1) / oversample)
    fields = vae.decode(pose, content, grid=grid).view(COUNT, SIDE, SIDE, 3)
    fields = fields + noise * torch.randn(fields.shape, generator=generator)
    return vae, pose, content, View.central(fields, window, oversample)


def register(vae, view, pose, content, **options):
    canonical = decode_canonical(vae, content, size=round(1.25 * vae.window))
    return registering.register(canonical, view, pose, sky(view), settings=vae.settings, **options)


def turned_off(pose, angle, length):
    """A pose that is wrong by so many degrees about the galaxy, and so many grid units."""
    direction = torch.arange(COUNT) * 1.0
    off = length * torch.stack([direction.cos(), direction.sin()], 1)
    sign = torch.where(torch.arange(COUNT) % 2 == 0, 1.0, -1.0)
    return move_pose(Pose(pose.theta + sign * math.radians(angle), pose.shift), off)


@pytest.mark.parametrize(("window", "oversample"), [(64, 1), (65, 1), (48, 2)])
def test_a_wrong_pose_is_put_right(knowing, window, oversample):
    vae, pose, content, view = galaxies(knowing, window=window, oversample=oversample)
    for angle, length in ((0.0, 0.0), (5.0, 0.03), (20.0, 0.08)):
        found = register(vae, view, turned_off(pose, angle, length), content, steps=10).pose
        assert (found.theta - pose.theta).abs().max() < math.radians(0.02)
        assert (found.shift - pose.shift).abs().max() < 0.01 / 31.5


def test_without_errors_the_pose_is_the_same(knowing):
    vae, pose, content, view = galaxies(knowing, noise=0.05)
    wrong = turned_off(pose, 5.0, 0.03)
    found, plain = register(vae, view, wrong, content), register(vae, view, wrong, content, errors=False)
    assert torch.equal(found.pose.theta, plain.pose.theta)
    assert torch.equal(found.pose.shift, plain.pose.shift)
    assert plain.covariance is None


@pytest.mark.parametrize("inferred", [(False, True), (True, False), (False, False)])
def test_what_a_model_does_not_infer_stays(knowing, inferred):
    rotation, translation = inferred
    vae, pose, content, view = galaxies(knowing)
    vae.settings = vae.settings.model_copy(update={"infer_rotation": rotation, "infer_translation": translation})
    wrong = turned_off(pose, 3.0 * rotation, 0.02 * translation)
    found = register(vae, view, wrong, content).pose
    assert torch.allclose(found.theta, pose.theta, atol=math.radians(0.02))
    assert torch.allclose(found.shift, pose.shift, atol=0.01 / 31.5)
    vae.settings = vae.settings.model_copy(update={"infer_rotation": False, "infer_translation": False})
    kept = register(vae, view, wrong, content).pose
    assert torch.equal(kept.theta, wrong.theta)
    assert torch.allclose(kept.shift, wrong.shift, atol=1e-12)


def test_the_field_beyond_the_window_counts(knowing):
    """A galaxy at the window's corner is registered as one in the middle: nothing depends on the frame."""
    vae, pose, content, view = galaxies(knowing)
    corner = View(view.fields, 64, 1, torch.full((COUNT, 2), 20.0), view.angle)
    wrong, step = turned_off(pose, 4.0, 0.03), torch.full((COUNT, 2), -20 / 31.5)
    middle = register(vae, view, wrong, content).pose
    found = register(vae, corner, move_pose(wrong, step), content).pose
    assert torch.allclose(found.theta, middle.theta, atol=1e-8)
    assert torch.allclose(found.shift, move_pose(middle, step).shift, atol=1e-8)


@pytest.mark.parametrize(
    ("window", "oversample", "stretch", "channels"),
    [(64, 1, 0.0, 3), (64, 1, 1.0, 3), (48, 2, 0.0, 3), (64, 1, 0.0, 1)],
)
def test_the_covariance_is_what_white_noise_does(knowing, window, oversample, stretch, channels):
    """Many exposures of one galaxy: theta scatters by the noise, as the covariance says; less where it is bright.

    And more where all channels have the same noise.
    """
    vae, pose, content, view = galaxies(knowing, window=window, oversample=oversample)
    one = torch.zeros(400, dtype=torch.long)
    generator = torch.Generator().manual_seed(0)
    noise = 0.05 * (1 - 0.7 * stretch * view.fields[one] / view.fields[0].max())
    fields = view.fields[one] + noise * torch.randn(400, SIDE, SIDE, channels, generator=generator)
    start = Pose(pose.theta[one], pose.shift[one])
    found, covariance = register(vae, View.central(fields, window, oversample), start, content[one])
    wanted = covariance.mean(0).diagonal().sqrt()
    place = found.shift - start.shift
    assert (found.theta - start.theta).std().item() == pytest.approx(wanted[0].item(), rel=0.12)
    # Theta and place about the galaxy's middle are nearly independent: the shift scatters as the place does and more.
    assert (place.std(0) > 0.85 * wanted[1:]).all()


def test_a_blank_image_leaves_the_pose_alone(knowing):
    vae, pose, content, view = galaxies(knowing)
    blank = View.central(torch.zeros_like(view.fields), 64)
    found = register(vae, blank, pose, 0 * content + torch.tensor([0.0, 0, 0, 1e-3]), steps=3)
    assert torch.isfinite(found.pose.theta).all()
    assert torch.isfinite(found.covariance).all()


def test_where_the_pixels_do_not_tell_the_place_it_stays_and_is_said_to_be_unknown(knowing):
    """Stripes may be moved along themselves: in single precision their curvature is then a matter of rounding."""
    torch.set_default_dtype(torch.float32)
    vae, _, _, view = galaxies(knowing)
    stripes = torch.sin(4 * pixel_grid(80).sum(1)).view(1, 80, 80, 1).expand(COUNT, -1, -1, 3)
    view = View.central(view.fields.float(), 64)
    pose = Pose(torch.zeros(COUNT), torch.zeros(COUNT, 2))
    found = registering.register(stripes, view, pose, sky(view), settings=vae.settings)
    assert torch.isfinite(found.pose.shift).all()
    assert torch.isfinite(found.covariance).all()
    along, across = torch.tensor([[1.0, -1.0], [1.0, 1.0]]) / math.sqrt(2)
    assert ((found.pose.shift @ along).abs() < 1e-3).all()
    of_place = found.covariance[:, 1:, 1:]
    assert torch.allclose((of_place @ along @ along).sqrt(), torch.tensor(0.1), rtol=0.2)
    assert (of_place @ across @ across < 0.01**2).all()


def test_a_flat_canonical_image_tells_nothing_of_the_pose(knowing):
    """An untaught generator: the pose stays, its errors are the largest there are, and none where none is inferred."""
    vae, pose, _, view = galaxies(knowing)
    flat = torch.full((COUNT, 80, 80, 3), 0.3)
    for inferred in ((True, True), (False, True), (True, False)):
        rotation, translation = inferred
        vae.settings = vae.settings.model_copy(update={"infer_rotation": rotation, "infer_translation": translation})
        found = registering.register(flat, view, pose, sky(view), settings=vae.settings)
        assert torch.allclose(found.pose.theta, pose.theta)
        assert torch.allclose(found.pose.shift, pose.shift, atol=1e-12)
        wanted = torch.tensor([math.pi / 4 * rotation, 0.1 * translation, 0.1 * translation]).square()
        assert torch.allclose(found.covariance, torch.diag(wanted).expand(COUNT, 3, 3))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("amplitude", [1e-8, 1e-6, 1e-5, 1e-4, 1e-3])
def test_of_a_nearly_flat_canonical_image_no_error_is_larger_than_of_a_flat_one(knowing, amplitude, dtype):
    torch.set_default_dtype(dtype)
    _, pose, _, view = galaxies(knowing, noise=0.05)
    view = View.central(view.fields.to(dtype), 64)
    pattern = 0.3 + amplitude * torch.sin(3 * pixel_grid(80) @ torch.tensor([[1.0, 0.4], [0.2, 1.5]])).prod(1)
    canonical = pattern.view(1, 80, 80, 1).expand(COUNT, -1, -1, 3)
    vae = knowing(pose.theta, pose.shift, torch.zeros(COUNT, 4), window=64)
    found = registering.register(canonical, view, pose, sky(view), settings=vae.settings)
    assert (found.covariance.diagonal(dim1=1, dim2=2).sqrt() <= 1.001 * torch.tensor(registering.UNTOLD)).all()
    assert ((found.pose.theta - pose.theta).abs() < math.pi / 4).all()
    assert (found.pose.shift - pose.shift).norm(dim=1).max() < 2 * registering.REACH


def test_a_fit_does_not_leave_its_side(knowing):
    """The inference network has said which way: what fits farther off is something else."""
    vae, pose, content, view = galaxies(knowing)
    for angle, stays in ((30.0, False), (60.0, True)):
        wrong = turned_off(pose, angle, 0.0)
        found = register(vae, view, wrong, content, steps=20).pose
        assert torch.equal(found.theta == wrong.theta, torch.full((COUNT,), stays))
        assert torch.equal((found.shift == wrong.shift).all(1), torch.full((COUNT,), stays))
