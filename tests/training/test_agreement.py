"""Two views agree: each term vanishes where, and only where, they say the same about the galaxy."""

import math
from dataclasses import replace

import pytest
import torch

from galvae.geometry import Pose, move_pose, to_image
from galvae.model.posterior import Posterior
from galvae.training.agreement import disagreement, exchanged
from galvae.windows import View

COUNT, LATENTS = 5, 3
GENERATOR = torch.Generator().manual_seed(0)


def random(*shape):
    return torch.randn(*shape, generator=GENERATOR, dtype=torch.float64)


def view_of(offset):
    """Windows of 64 in fields of 128; nothing is looked at."""
    fields = torch.zeros(len(offset), 128, 128, 3)
    return View(fields, 64, 1, offset, torch.zeros(len(offset)))


def posterior_of(pose, content, log_weight=None):
    """One hypothesis of each image, or several of the same pose and content."""
    log_weight = torch.zeros(len(content), 1) if log_weight is None else log_weight
    several = (len(content), log_weight.shape[1])
    return Posterior(
        log_weight, content[:, None].expand(*several, -1), torch.ones(*several, content.shape[1]),
        pose.theta[:, None].expand(several), torch.ones(several),
        pose.shift[:, None].expand(*several, 2), torch.ones(*several, 2),
    )  # fmt: skip


@pytest.fixture
def seen():
    """Views of two windows of each galaxy, and the poses that are right in both."""
    offset = (random(2 * COUNT, 2) * 8).round()
    view = view_of(offset)
    pose = Pose(random(COUNT), 0.3 * random(COUNT, 2))
    # Content in a window that is moved by +m is moved by -m.
    moved = move_pose(Pose(pose.theta.repeat(2), pose.shift.repeat(2, 1)), -offset / 31.5)
    return view, moved, random(COUNT, LATENTS).repeat(2, 1)


def test_views_that_say_the_same_of_a_galaxy_agree(seen):
    view, pose, content = seen
    assert disagreement(posterior_of(pose, content), view).abs().max() < 1e-9
    log_weight = random(2 * COUNT, 4).log_softmax(1)  # however the weight is spread over hypotheses that are the same
    assert disagreement(posterior_of(pose, content, log_weight), view).abs().max() < 1e-9


def test_scales_that_differ_count_as_places_do(seen):
    """The same is none, whatever it is; a tenth of it is as wrong as a place a tenth off."""
    view, pose, content = seen
    zoom = (0.1 * random(COUNT)).repeat(2)
    place = to_image(torch.zeros(1, 2, dtype=torch.float64), pose)

    def told(zoom):
        here = replace(pose, zoom=zoom)
        here = replace(here, shift=-(place @ here.linear)[:, 0])  # the origin where it was
        zoom = zoom[:, None]
        return replace(posterior_of(here, content), zoom=zoom, zoom_std=0 * zoom + 0.1, zoom_prior=0 * zoom)

    assert disagreement(told(zoom), view).abs().max() < 1e-9
    other = torch.cat([zoom[:COUNT], zoom[COUNT:] + 0.1])
    assert disagreement(told(other), view).tolist() == pytest.approx([10.0] * COUNT, rel=1e-6)


def test_a_whole_turn_is_no_disagreement(seen):
    view, pose, content = seen
    turns = 2 * math.pi * torch.arange(2 * COUNT)
    assert disagreement(posterior_of(Pose(pose.theta + turns, pose.shift), content), view).abs().max() < 1e-6


@pytest.mark.parametrize("angle", [0.02, 1.0, math.pi])
def test_the_angle_counts_as_documented_and_nothing_else_does(seen, angle):
    view, pose, content = seen
    # Turned about the object's origin, which stays where it is in the image.
    turn = torch.cat([torch.zeros(COUNT), torch.full((COUNT,), angle)])
    cos, sin = torch.cos(turn), torch.sin(turn)
    x, y = pose.shift.T
    turned = Pose(pose.theta + turn, torch.stack([x * cos - y * sin, x * sin + y * cos], 1))
    apart = 1 - math.cos(angle)
    wanted = 20 * apart + 2 * math.log1p(1000 * apart)
    found = disagreement(posterior_of(turned, content), view)
    assert torch.allclose(found, torch.full_like(found, wanted), rtol=1e-6)


def test_the_centre_and_the_content_count_as_documented(seen):
    view, pose, content = seen
    step = torch.cat([torch.zeros(COUNT, 2), torch.tensor([[0.03, -0.04]], dtype=torch.float64).expand(COUNT, 2)])
    found = disagreement(posterior_of(move_pose(pose, step), content), view)
    assert torch.allclose(found, torch.full_like(found, 1000 * 0.05**2), rtol=1e-6)
    other = content + torch.cat([torch.zeros(COUNT, LATENTS), torch.full((COUNT, LATENTS), 0.5)])
    found = disagreement(posterior_of(pose, other), view)
    assert torch.allclose(found, torch.full_like(found, LATENTS * 0.25), rtol=1e-6)


def test_undecided_views_disagree_though_they_are_equal(seen):
    view, pose, content = seen
    q = posterior_of(pose, content, torch.zeros(2 * COUNT, 2) - math.log(2))
    half = q.theta + torch.tensor([0, math.pi], dtype=torch.float64)
    assert (disagreement(replace(q, theta=half, shift=torch.zeros_like(q.shift)), view_of(view.offset * 0)) > 20).all()


def test_no_gradient_passes_through_the_weights_of_the_logarithm(seen):
    view, pose, content = seen
    logits = random(2 * COUNT, 2).requires_grad_()
    q = posterior_of(pose, content, logits.log_softmax(1))
    theta = torch.tensor([0.0, 1.0]).double().expand(2 * COUNT, 2)
    disagreement(replace(q, theta=theta, shift=torch.zeros_like(q.shift)), view_of(view.offset * 0)).sum().backward()
    weights = logits.detach().requires_grad_()
    first, second = weights.softmax(1).chunk(2)
    (20 * (first * second.flip(1)).sum() * (1 - math.cos(1))).backward()
    assert torch.allclose(logits.grad, weights.grad)


def test_content_is_exchanged_between_the_views_of_a_galaxy(seen):
    _, pose, content = seen
    other = content + torch.cat([torch.zeros(COUNT, LATENTS), torch.ones(COUNT, LATENTS)])
    assert torch.allclose(exchanged(posterior_of(pose, other)), other.roll(COUNT, 0))
