"""Laws of the pose: what must come out when content is turned or moved by a known amount."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from galvae.geometry import Pose, move_pose, pixel_grid, rotation, to_image, to_object, turn_pose
from galvae.moments import adaptive_moments
from galvae.windows import View

angles = st.floats(-10, 10)
shifts = st.tuples(st.floats(-0.4, 0.4), st.floats(-0.4, 0.4))


def pose(theta, shift):
    return Pose(torch.tensor([theta], dtype=torch.float64), torch.tensor([shift], dtype=torch.float64))


def comma(u):
    """A light distribution without symmetry in the object frame: a long body and a knot off its axis."""
    x, y = u[..., 0], u[..., 1]
    body = torch.exp(-0.5 * ((x / 0.3) ** 2 + (y / 0.14) ** 2))
    return body + 0.5 * torch.exp(-0.5 * (((x - 0.25) / 0.12) ** 2 + ((y - 0.15) / 0.12) ** 2))


def draw(at, n=65):
    return comma(to_object(pixel_grid(n).double(), at))[0].reshape(n, n)


def test_grid_has_outer_pixel_centres_at_one_and_row_zero_at_the_bottom():
    grid = pixel_grid(5).reshape(5, 5, 2)
    assert grid[0, 0].tolist() == [-1, -1]
    assert grid[0, -1].tolist() == [1, -1]
    assert grid[-1, 0].tolist() == [-1, 1]
    with pytest.raises(ValueError, match="2 x 2"):
        pixel_grid(1)


@given(angles)
def test_rotation_turns_row_vectors_counter_clockwise(theta):
    turned = torch.tensor([1.0, 0.0], dtype=torch.float64) @ rotation(torch.tensor(theta, dtype=torch.float64))
    assert torch.allclose(turned, torch.tensor([math.cos(theta), math.sin(theta)], dtype=torch.float64))


@given(angles, shifts, shifts)
def test_to_image_inverts_to_object(theta, shift, point):
    at, point = pose(theta, shift), torch.tensor([point], dtype=torch.float64)
    assert torch.allclose(to_object(to_image(point, at), at), point, atol=1e-12)


@given(angles, shifts)
def test_object_x_axis_appears_at_minus_theta(theta, shift):
    ends = torch.tensor([[0.0, 0.0], [1.0, 0.0]], dtype=torch.float64)
    start, end = to_image(ends, pose(theta, shift))[0]
    x, y = (end - start).tolist()
    assert math.isclose(math.remainder(math.atan2(y, x) + theta, 2 * math.pi), 0, abs_tol=1e-9)


@given(angles, shifts, angles)
def test_turned_content_is_the_turned_pose(theta, shift, gamma):
    """The image of the turned pose, read where a point turns to, is the image of the pose at the point."""
    at, turn = pose(theta, shift), torch.tensor([gamma], dtype=torch.float64)
    x = torch.tensor([[0.3, -0.2], [0.1, 0.7]], dtype=torch.float64)
    assert torch.allclose(to_object(x @ rotation(turn[0]), turn_pose(at, turn)), to_object(x, at), atol=1e-12)


@given(angles, shifts, shifts)
def test_moved_content_is_the_moved_pose(theta, shift, offset):
    at, offset = pose(theta, shift), torch.tensor([offset], dtype=torch.float64)
    x = torch.tensor([[0.3, -0.2], [0.1, 0.7]], dtype=torch.float64)
    assert torch.allclose(to_object(x + offset, move_pose(at, offset)), to_object(x, at), atol=1e-12)


@pytest.mark.parametrize("gamma", [0.0, 0.4, math.pi / 2, 2.5, -1.2])
def test_a_turned_window_shows_the_turned_pose(gamma):
    """Augmentation turns content the way the pose says: the law whose sign once cost a day."""
    at, angle = pose(0.7, (0.1, -0.05)), torch.tensor([gamma])
    field = (draw(at) * 150).round().to(torch.uint8)[None, :, :, None].expand(1, 65, 65, 3)
    seen = View(field, 65, 1, torch.zeros(1, 2), angle).images(pixel_grid(65))[0, 0]
    wanted = draw(turn_pose(at, angle)) * 150 / 255
    inside = (pixel_grid(65).norm(dim=1) < 0.95).reshape(65, 65)
    assert (seen - wanted)[inside].abs().max() < 0.012


def test_a_moved_window_shows_content_moved_the_other_way():
    at = pose(0.7, (0.1, -0.05))
    field = (draw(at, 97) * 150).round().to(torch.uint8)[None, :, :, None].expand(1, 97, 97, 3)
    seen = View(field, 65, 1, torch.tensor([[5.0, -3.0]]), torch.zeros(1)).images(pixel_grid(65))[0, 0]
    assert torch.equal((seen * 255).round().to(torch.uint8), field[0, 13:78, 21:86, 0])


@pytest.mark.parametrize(("field", "window", "oversample"), [(128, 64, 1), (128, 65, 1), (91, 64, 1), (128, 64, 2)])
def test_central_windows_are_centred(field, window, oversample):
    ramp = torch.arange(field).to(torch.uint8)
    fields = torch.stack([ramp.expand(field, field), ramp[:, None].expand(field, field)], -1)[None]
    x, y = (View.central(fields, window, oversample).images(pixel_grid(window))[0] * 255).double()
    assert math.isclose(x.mean(), (field - 1) / 2, abs_tol=1e-3)
    assert math.isclose(y.mean(), (field - 1) / 2, abs_tol=1e-3)
    assert math.isclose(x[0, 1] - x[0, 0], oversample, abs_tol=1e-3)
    assert math.isclose(y[1, 0] - y[0, 0], oversample, abs_tol=1e-3)


@given(st.floats(-3, 3), shifts)
def test_centre_and_axis_of_an_image_follow_the_pose(theta, shift):
    def bar(u):
        return torch.exp(-0.5 * ((u[..., 0] / 0.2) ** 2 + (u[..., 1] / 0.1) ** 2))

    at = pose(theta, shift)
    image = bar(to_object(pixel_grid(65).double(), at))[0].reshape(65, 65).numpy()
    found = adaptive_moments(image[None])
    x, y = to_image(torch.zeros(1, 2, dtype=torch.float64), at)[0, 0].tolist()
    assert np.allclose([found.x[0] - 32, found.y[0] - 32], [32 * x, 32 * y], atol=0.01)
    assert abs(math.remainder(found.angle[0] + theta, math.pi)) < 1e-3
    assert math.isclose(found.axis_ratio[0], 0.5, abs_tol=1e-3)
