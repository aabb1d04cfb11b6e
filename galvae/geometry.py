"""Pixel grid, pose, and the way between image and object frame.

The generator is evaluated at ``u = x @ R(theta) + shift`` for each pixel coordinate ``x`` (row vectors), with
``R(theta) = [[cos, sin], [-sin, cos]]``: rotate, then shift (Bepler et al. 2019, eq. 2). Where the scale is inferred,
too, it is ``u = x @ R(theta) exp(-zoom) + shift``. Coordinates are in grid units: x from -1 (left) to +1 (right) and y
from -1 (bottom) to +1 (top) at the *centres* of the outer pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Pose:
    """Where an object lies: the coordinate transform of its image.

    Parameters
    ----------
    theta
        Rotation angle in radians, unbounded, shape (B,). The object's +x axis appears at ``-theta``.
    shift
        Offset in the **object** frame in grid units, shape (B, 2). It is not an offset in the image.
    zoom
        ln of how much wider than the image's the object's frame is, shape (B,); None where no scale is inferred.
    """

    theta: Tensor
    shift: Tensor
    zoom: Tensor | None = None

    @property
    def linear(self) -> Tensor:
        """``R(theta) exp(-zoom)``, shape (B, 2, 2)."""
        turn = rotation(self.theta)
        return turn if self.zoom is None else turn * (-self.zoom).exp()[..., None, None]


def pixel_grid(n: int, *, device: torch.device | str | None = None) -> Tensor:
    """Coordinates of the pixels of an n x n image, row 0 at the bottom, row-major.

    Returns
    -------
    Tensor
        (x right, y up) in grid units, shape (n * n, 2).

    Raises
    ------
    ValueError
        If `n` is below 2: one pixel has no extent.
    """
    if n < 2:
        raise ValueError(f"an image needs at least 2 x 2 pixels, got {n}")
    axis = torch.linspace(-1, 1, n, device=device)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    return torch.stack([x.reshape(-1), y.reshape(-1)], dim=-1)


def pixels_to_grid(length: Tensor | float, n: int) -> Tensor | float:
    """A length in window pixels as grid units of an n x n window."""
    return length * 2.0 / (n - 1)


def rotation(theta: Tensor) -> Tensor:
    """``R(theta)`` for row vectors: ``x @ R`` turns x counter-clockwise by theta; shape (..., 2, 2)."""
    cos, sin = torch.cos(theta), torch.sin(theta)
    return torch.stack([torch.stack([cos, sin], -1), torch.stack([-sin, cos], -1)], -2)


def to_object(x: Tensor, pose: Pose) -> Tensor:
    """Object-frame coordinates ``x @ R(theta) exp(-zoom) + shift`` of image coordinates (Bepler et al. 2019, eq. 2).

    Parameters
    ----------
    x
        Image coordinates in grid units, shape (P, 2) or (B, P, 2).
    pose
        B poses.

    Returns
    -------
    Tensor
        Shape (B, P, 2), grid units of the object frame.
    """
    return x @ pose.linear + pose.shift[:, None, :]


def to_image(points: Tensor, pose: Pose) -> Tensor:
    """Image coordinates ``(c - shift) @ R(theta)^T exp(zoom)`` of object points; the inverse of :func:`to_object`.

    Parameters
    ----------
    points
        Object-frame points in grid units, shape (P, 2) or (B, P, 2).
    pose
        B poses.

    Returns
    -------
    Tensor
        Shape (B, P, 2), grid units of the image.
    """
    image = (points - pose.shift[:, None, :]) @ rotation(pose.theta).mT
    return image if pose.zoom is None else image * pose.zoom.exp()[:, None, None]


def turn_pose(pose: Pose, angle: Tensor) -> Pose:
    """The pose of the same content turned counter-clockwise by `angle` about the window's centre.

    ``theta -> theta - angle``, the shift is unchanged; so the pose of the *unturned* image, from a pose inferred
    on a turned copy, is ``turn_pose(pose, -angle)``.
    """
    return replace(pose, theta=pose.theta - angle)


def move_pose(pose: Pose, offset: Tensor) -> Pose:
    """The pose of the same content moved by `offset` (grid units, shape (B, 2)): ``shift - offset @ R(theta)``.

    Where there is a zoom ``shift - offset @ R(theta) exp(-zoom)``.
    """
    return replace(pose, shift=pose.shift - (offset[:, None, :] @ pose.linear)[:, 0])
