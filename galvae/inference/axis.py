"""How well the pixels tell a galaxy's axis: a sandwich estimate from what the model leaves over."""

from __future__ import annotations

import torch
from torch import Tensor

from galvae.geometry import Pose, rotation, to_image
from galvae.inference.canonical import Placement
from galvae.inference.register import REACH, sampled, with_slopes
from galvae.windows import View

# What is left over of a galaxy is correlated over blocks of so many window pixels.
BLOCK = 7


def axis_sandwich(canonical: Tensor, view: View, pose: Pose, placed: Placement) -> Tensor:
    """Standard deviation of the axis, radians, shape (B,): ``H^-1 S H^-1`` (Huber 1967) of a shear along it.

    The image is read in the frame of the galaxy's axes. There a shear ``(x, y) -> (x + g y, y + g x)`` turns an ellipse
    of axis ratio q by ``g (1 + q^2) / (1 - q^2)``: unlike a rotation it is known of round galaxies too, and their axis
    is not. H is the curvature of the sum of squares by the shear and the centre; S the sum of outer products of scores
    over blocks of 7 x 7 pixels, because residuals are not noise and neighbours are correlated, each block with the one
    opposite the centre, because arms and bars leave the same on both sides.

    Parameters
    ----------
    canonical
        Canonical images of B galaxies, shape (B, n, n, C).
    view
        Their windows.
    pose
        Registered poses.
    placed
        Where the galaxies lie; NaN where it is.
    """
    half = (view.window - 1) / 2
    blocks = 2 * -(-int(REACH * half) // BLOCK)
    side = blocks * BLOCK
    steps = (torch.arange(side, device=canonical.device) - (side - 1) / 2) / half
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    grid = torch.stack([x.reshape(-1), y.reshape(-1)], 1)
    inside = (grid.square().sum(1) <= REACH**2).to(grid.dtype)
    turn = rotation(torch.as_tensor(placed.axis).nan_to_num().to(grid))
    points = placed.centre.nan_to_num()[:, None] + grid @ turn
    image, along_x, along_y = sampled(with_slopes(canonical), points)
    residual = (view.sample(to_image(points, pose)).mT - image) * inside
    slopes = torch.stack([along_x, along_y], -1) @ turn.mT[:, None]
    slope_x, slope_y = (slopes * inside[:, None]).unbind(-1)
    jacobian = torch.stack([slope_x * grid[:, 1] + slope_y * grid[:, 0], slope_x, slope_y], 1)
    flat = jacobian.flatten(2)
    inverse = torch.linalg.inv(flat @ flat.mT + 1e-9 * torch.eye(3, device=grid.device))
    score = (jacobian * residual[:, None]).sum(2).unflatten(2, (blocks, BLOCK, blocks, BLOCK)).sum((3, 5))
    pairs = (score + score.flip(2, 3))[:, :, : blocks // 2].flatten(2)
    shear = (inverse @ (pairs @ pairs.mT) @ inverse)[:, 0, 0].sqrt()
    q = torch.as_tensor(placed.axis_ratio).to(grid)
    return shear * (1 + q**2) / (1 - q**2).clamp(min=1e-6)
