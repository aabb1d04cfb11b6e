"""Looking again depends on the pose alone, not on how the galaxy lay; rivals are named."""

import math

import pytest
import torch

from galvae.geometry import Pose, pixel_grid, rotation, to_image
from galvae.inference.infer import infer, rival
from galvae.model.polar import PolarEncoder
from galvae.model.posterior import Posterior
from galvae.model.settings import ModelSettings
from galvae.windows import View


@pytest.fixture(scope="module")
def polar():
    torch.manual_seed(0)
    return PolarEncoder(ModelSettings(latents=4, encoder="polar"), window=64, channels=3).requires_grad_(False)


def test_about_a_pose_the_same_is_seen_however_the_galaxy_lies(polar, draw_commas):
    """Poses of one galaxy: about its own pose each image gives the same posterior, relative to that pose."""
    theta, shift = torch.tensor([0.4, 2.0, -1.1]), torch.tensor([[0.1, -0.05], [-0.2, 0.1], [0.0, 0.15]])
    fields = draw_commas(theta.tolist(), shift.tolist(), side=128, window=64)
    found = polar(View.central(fields, 64).about(Pose(theta, shift)))
    assert (found.log_weight - found.log_weight[:1]).abs().max() < 2e-3
    assert (found.content - found.content[:1]).abs().max() < 2e-3
    off = found.theta - theta[:, None]
    assert torch.cos(off - off[:1]).min() > math.cos(1e-3)
    true = to_image(torch.zeros(1, 2), Pose(theta, shift))
    first = to_image(torch.zeros(1, 2), Pose(found.theta[:, 0], found.shift[:, 0]))
    off = (first - true) @ rotation(theta)
    assert (off - off[:1]).abs().max() < 1e-3


def test_the_view_about_a_pose_starts_at_its_origin_and_axis():
    pose = Pose(torch.tensor([0.7]), torch.tensor([[0.2, -0.1]]))
    view = View.central(torch.zeros(1, 128, 128, 3), 64).about(pose)
    assert torch.equal(view.angle, pose.theta)
    assert torch.allclose(view.origin, to_image(torch.zeros(1, 2), pose)[:, 0])


def test_refining_finds_the_pose_of_the_pixels(knowing):
    torch.set_default_dtype(torch.float64)
    try:
        pose, content = Pose(torch.tensor([0.6]), torch.tensor([[0.05, -0.1]])), torch.tensor([[0.3, 0.0, 0.02, 0.5]])
        vae = knowing(pose.theta, pose.shift, content)
        image = vae.decode(pose, content, grid=pixel_grid(128) * (127 / 63)).view(1, 128, 128, 3)
        wrong = [knowing(pose.theta + 0.1, pose.shift + 0.02, content) for _ in range(2)]
        view = View.central(image, 64)
        plain, refined = infer(wrong[0], view, refine=False), infer(wrong[1], view)
        assert plain.fitted.light is None
        assert plain.pose.theta.item() == pytest.approx(0.7)
        assert refined.pose.theta.item() == pytest.approx(0.6, abs=1e-3)
        assert torch.allclose(refined.content, plain.content, rtol=1e-14)
    finally:
        torch.set_default_dtype(torch.float32)


def posterior_of(theta, weight):
    theta, weight = torch.tensor([theta]), torch.tensor([weight])
    none = torch.zeros(*theta.shape, 2)
    return Posterior(weight.log(), none, none, theta, 0 * theta, none, none)


def test_rivals_are_named_with_all_their_weight():
    theta, probability = rival(posterior_of([0.1, 3.2, 3.4, 0.2, 1.7], [0.4, 0.2, 0.1, 0.2, 0.1]), torch.tensor([0.1]))
    assert theta.item() == pytest.approx(3.2)
    assert probability.item() == pytest.approx(0.3)


def test_one_hypothesis_has_no_rival():
    for posterior in (posterior_of([0.1], [1.0]), posterior_of([0.1, 0.2 + 2 * math.pi], [0.6, 0.4])):
        theta, probability = rival(posterior, torch.tensor([0.1]))
        assert math.isnan(theta.item())
        assert probability.item() == 0
