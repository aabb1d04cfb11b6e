"""Laws of the inference networks, whatever their weights: turned and moved content, and the augmentation's angle."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from galvae.geometry import pixel_grid, rotation
from galvae.model.mlp import MLPEncoder
from galvae.model.polar import ANGLES, RADII, Polar, PolarEncoder, _Wrapped
from galvae.model.settings import ModelSettings
from galvae.windows import View

SIDE, WINDOW, COLUMNS = 128, 64, 32
THETA, SHIFT = 0.4, (0.15, -0.1)


def difference(a, b):
    """Of angles, wrapped."""
    return torch.remainder(a - b + math.pi, 2 * math.pi) - math.pi


@pytest.fixture(scope="module")
def polar():
    torch.manual_seed(0)
    return PolarEncoder(ModelSettings(latents=4, encoder="polar"), window=WINDOW, channels=3).requires_grad_(False)


@pytest.fixture(scope="module")
def upright(draw_commas):
    return draw_commas([THETA], [SHIFT], side=SIDE, window=WINDOW)


@pytest.fixture(scope="module")
def before(polar, upright):
    return polar(View.central(upright, WINDOW))


def deviation(found, wanted, *, roll, turn):
    """How far a posterior is from another one's hypotheses rolled and turned: of weights, angle, content, shift."""
    rolled = {name: value.roll(roll, 1) for name, value in wanted.parts.items()}
    return {
        "weights": (found.log_weight - rolled["log_weight"]).abs().max(),
        "theta": difference(found.theta, rolled["theta"] - turn).abs().max(),
        "content": (found.content - rolled["content"]).abs().max(),
        "content_std": (found.content_std / rolled["content_std"]).log().abs().max(),
        "shift": (found.shift - rolled["shift"]).abs().max(),
        "shift_std": (found.shift_std / rolled["shift_std"]).log().abs().max(),
    }


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_polar_posterior_rolls_exactly_with_quarter_turns(polar, upright, before, quarters):
    # Row 0 is at the bottom, so numpy's and torch's rot90 turn clockwise as displayed.
    turned = torch.rot90(upright, -quarters, (1, 2))
    found = polar(View.central(turned, WINDOW))
    off = deviation(found, before, roll=quarters * COLUMNS // 4, turn=quarters * math.pi / 2)
    assert max(off.values()) < 1e-4


@pytest.mark.parametrize("columns", [1, 3, 13])
def test_polar_posterior_rolls_with_any_turn(polar, draw_commas, before, columns):
    turn = columns * 2 * math.pi / COLUMNS
    found = polar(View.central(draw_commas([THETA - turn], [SHIFT], side=SIDE, window=WINDOW), WINDOW))
    off = deviation(found, before, roll=columns, turn=turn)
    unrolled = deviation(found, before, roll=0, turn=0)
    assert max(off.values()) < 0.01
    assert all(off[name] < 0.1 * unrolled[name] for name in off)


@pytest.mark.parametrize("pixels", [(1, 0), (3, -2), (-5, 4)])
def test_polar_posterior_follows_moved_content(polar, upright, before, pixels):
    found = polar(View.central(upright.roll(pixels[::-1], (1, 2)), WINDOW))
    moved = torch.tensor(pixels) * 2 / (WINDOW - 1)
    shift = before.shift - (moved @ rotation(before.theta))
    # The centroid's last iterations leave some hundredths of a pixel: nothing against the hypotheses' differences.
    assert (found.shift - shift).abs().max() < 0.01 < 0.1 * moved.norm() + 0.01
    assert (found.content - before.content).abs().max() < 0.05 * before.content.std(1).max()
    assert (found.log_weight - before.log_weight).abs().max() < 0.05 * before.log_weight.std(1).max()
    assert (found.theta - before.theta).abs().max() < 2e-3


@pytest.mark.parametrize("columns", [1, 8, 21])
def test_polar_augmentation_gives_the_same_hypotheses_of_the_upright_window(polar, upright, before, columns):
    turn = torch.tensor([columns * 2 * math.pi / COLUMNS])
    found = polar(View(upright, WINDOW, 1, torch.zeros(1, 2), turn))
    assert max(deviation(found, before, roll=columns, turn=0).values()) < 1e-4


class Knows(nn.Module):
    """A network's last layer in place of the whole polar one: it points where the light is lopsided to.

    Turned content turns the phase of the light's first harmonic along with it.
    """

    def forward(self, seen):
        light = seen.reshape(len(seen), -1, RADII, ANGLES)[:, 0].sum(1)
        column = torch.arange(ANGLES) * (2 * math.pi / ANGLES)
        towards = torch.atan2((light * column.sin()).sum(1), (light * column.cos()).sum(1))
        away = difference(towards[:, None], column)
        out = torch.zeros(len(seen), 2 * 1 + 7, ANGLES)
        out[:, 0] = -100 * away.square()
        out[:, 1] = torch.atanh((away / (math.pi / ANGLES)).clamp(-0.999, 0.999))
        return out


TURNS = [0.0, 0.3, 1.1, 2.0, -2.7, 5.5]


def test_polar_augmentation_gives_the_pose_of_the_upright_window_if_it_is_known(draw_commas):
    settings = ModelSettings(latents=1, encoder="polar")
    encoder = PolarEncoder(settings, window=WINDOW, channels=3).requires_grad_(False)
    encoder.rings, encoder.around = nn.ModuleList(), nn.ModuleList()
    encoder.flat, encoder.output = nn.Identity(), Knows()
    poses = torch.linspace(-3, 3, len(TURNS))
    fields = draw_commas(poses, torch.tensor([SHIFT]).expand(len(TURNS), 2), side=SIDE, window=WINDOW)
    turned = encoder(View(fields, WINDOW, 1, torch.zeros(len(TURNS), 2), torch.tensor(TURNS)))
    theta, shift = turned.draw(turned.best())[0].theta, turned.draw(turned.best())[0].shift
    # Up to where this network thinks that the object's +x axis is, one constant of the galaxy.
    gauge = difference(theta, poses)
    assert difference(gauge, gauge[0]).abs().max() < 5e-3
    # The stub says that the centroid is the object's origin: the same place in the image whatever the turn.
    centre = -(shift[:, None] @ rotation(theta).mT)[:, 0]
    upright = View.central(fields, WINDOW).centroid()
    assert torch.allclose(centre, upright, atol=1e-5)


class Measures(nn.Module):
    """An MLP's last layer in place of the whole one: theta from second moments, the direction from third ones."""

    def __init__(self, inferred):
        super().__init__()
        self.inferred = inferred

    def forward(self, window):
        light = window.reshape(len(window), 3, -1).sum(1)
        grid = pixel_grid(WINDOW)
        weight = (light / light.sum(1, keepdim=True))[..., None]
        away = grid - (weight * grid).sum(1, keepdim=True)
        cov = (weight[..., None] * away[..., None] * away[:, :, None]).sum(1)
        axis = 0.5 * torch.atan2(2 * cov[:, 0, 1], cov[:, 0, 0] - cov[:, 1, 1])
        along = (away * torch.stack([axis.cos(), axis.sin()], -1)[:, None]).sum(-1)
        axis = torch.where((weight[..., 0] * along**3).sum(1) > 0, axis, axis + math.pi)
        out = torch.zeros(len(window), 2 * self.inferred)
        out[:, 1] = -axis
        return out


def test_mlp_augmentation_gives_the_pose_of_the_upright_window_if_it_is_known(draw_commas):
    encoder = MLPEncoder(ModelSettings(latents=1, infer_translation=False), window=WINDOW, channels=3)
    encoder.hidden, encoder.output = nn.ModuleList(), Measures(2)
    poses = torch.linspace(-3, 3, len(TURNS))
    fields = draw_commas(poses, torch.zeros(len(TURNS), 2), side=SIDE, window=WINDOW)
    found = encoder(View(fields, WINDOW, 1, torch.zeros(len(TURNS), 2), torch.tensor(TURNS)))
    gauge = difference(found.theta[:, 0], poses)
    assert difference(gauge, gauge[0]).abs().max() < 5e-3


def test_mlp_sees_the_window_and_splits_its_outputs():
    torch.manual_seed(0)
    encoder = MLPEncoder(ModelSettings(latents=4, encoder_units=9), window=8, channels=2)
    fields = torch.rand(3, 12, 12, 2)
    q = encoder(View.central(fields, 8))
    hidden = fields[:, 2:10, 2:10].permute(0, 3, 1, 2).flatten(1)
    for layer in encoder.hidden:
        hidden = torch.tanh(layer(hidden))
    mean, log_std = encoder.output(hidden).chunk(2, 1)
    for found, columns in ((q.content, slice(0, 4)), (q.theta[..., None], slice(4, 5)), (q.shift, slice(5, 7))):
        assert torch.allclose(found[:, 0], mean[:, columns], atol=1e-5)
    for found, columns in (
        (q.content_std, slice(0, 4)),
        (q.theta_std[..., None], slice(4, 5)),
        (q.shift_std, slice(5, 7)),
    ):
        assert torch.allclose(found[:, 0], log_std[:, columns].exp(), atol=1e-5)
    assert torch.equal(q.log_weight, torch.zeros(3, 1))


@pytest.mark.parametrize(("rotate", "move"), [(False, True), (True, False), (False, False)])
def test_mlp_leaves_at_exactly_zero_what_is_not_inferred(rotate, move):
    """Equation 5: also under augmentation, whose angle must not leak into a pose that is held fixed."""
    settings = ModelSettings(latents=4, encoder_units=9, infer_rotation=rotate, infer_translation=move)
    encoder = MLPEncoder(settings, window=8, channels=1)
    q = encoder(View(torch.rand(3, 12, 12, 1), 8, 1, torch.zeros(3, 2), torch.tensor([0.5, 1.0, 2.0])))
    pose, _ = q.draw(q.best(), torch.ones(3, 1, 7))
    assert torch.equal(pose.theta, torch.zeros(3)) is not rotate
    assert torch.equal(pose.shift, torch.zeros(3, 2)) is not move
    assert encoder.output.out_features == 2 * (4 + rotate + 2 * move)


@pytest.mark.parametrize("pad", [1, 2, 6])
def test_angles_are_continued_as_torch_does_it(pad):
    """Both ways, where the ends overlap too."""
    seen = torch.randn(2, 3, 8, dtype=torch.float64, requires_grad=True)
    wanted = nn.functional.pad(seen, (pad, pad), mode="circular")
    assert torch.equal(_Wrapped.apply(seen, pad), wanted)
    assert torch.autograd.gradcheck(lambda x: _Wrapped.apply(x, pad), seen)


def test_what_is_looked_at_stretched_is_an_inclined_disk_seen_from_above():
    """Circles that are stretched as the disk is lie along its isophotes."""
    n, ratio, angle = 65, 0.6, 0.5
    grid = pixel_grid(n)
    turn = rotation(torch.tensor(angle))
    own = grid @ turn.mT / torch.tensor([1.0, ratio])
    fields = torch.exp(-0.5 * own.square().sum(1) / 0.3**2).view(1, n, n, 1)
    net = Polar(1, channels=1)
    view = replace(View.central(fields, n), origin=torch.zeros(1, 2))
    stretch = turn.mT @ torch.diag(torch.tensor([1.0, ratio])) @ turn
    plain, stretched = (net.around_centre(view, stretch=one)[0][0, 0] for one in (None, stretch[None]))
    assert stretched.std(1).max() < 0.01 < plain.std(1).max()
