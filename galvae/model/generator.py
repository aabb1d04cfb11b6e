"""Generator networks: latents (and coordinates) to the parameters of each pixel's distribution."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from galvae.geometry import Pose
from galvae.model.precision import Mixed
from galvae.model.thin import affine, tanh_layers, thin


class SpatialGenerator(Mixed):
    """MLP that decodes one pixel from its object-frame coordinate and the content vector.

    The first layer is the sum of a projection of the coordinate, per pixel, and one of the content, once per
    image: the concatenation of Bepler et al. 2019 (section 2.1) without repeating z over the pixels.

    Parameters
    ----------
    latents
        Length Z of the content vector.
    outputs
        Parameters per pixel.
    units, layers
        Width and number of hidden layers, tanh.
    waves
        How many plane waves of the coordinate, sine and cosine, are given beside it, so that detail is learned early
        (random Fourier features, Tancik et al. 2020); none in the paper. Their frequencies are normal, with a standard
        deviation of 1.5 periods per half window.
    """

    def __init__(self, latents: int, outputs: int, *, units: int, layers: int, waves: int = 0) -> None:
        super().__init__()
        self.coordinates = nn.Linear(2 + 2 * waves, units)
        self.register_buffer("frequencies", 2 * math.pi * 1.5 * torch.randn(2, waves) if waves else None)
        self.content = nn.Linear(latents, units, bias=False)
        self.hidden = nn.ModuleList(nn.Linear(units, units) for _ in range(layers - 1))
        self.output = nn.Linear(units, outputs)

    @torch.no_grad()
    def magnify(self, zoom: Tensor) -> None:
        """Draw from now on at ``exp(zoom)`` times the coordinates what is drawn at them now."""
        self.coordinates.weight[:, :2] *= (-zoom).exp()
        if self.frequencies is not None:
            self.frequencies *= (-zoom).exp()

    def forward(self, x: Tensor, pose: Pose, content: Tensor, pixels: Tensor | None = None) -> Tensor:
        """Pixel parameters, shape (B, P, outputs).

        The first layer is linear in the object's coordinates ``x @ R(theta) + shift`` (eq. 2): each image's pose goes
        into that layer's weights, so that there are no coordinates of each pixel to compute or to differentiate.

        Parameters
        ----------
        x
            Image coordinates, grid units, shape (P, 2) or (B, P, 2).
        pose, content
            Of B images, content of shape (B, Z); one pose, or one content, serves them all.
        pixels
            Not used: where the pixels are is all that matters.
        """
        turn, weight = pose.linear, self.coordinates.weight.mT
        offset, projected = pose.shift @ weight[:2] + self.coordinates.bias, self.content(content)
        one_pose = len(offset) == 1  # what comes of coordinates is then made once for all images
        # Near 1 neighbouring bfloat16 are a quarter of a pixel apart: coordinates keep their precision.
        hidden = affine(x, turn @ weight[:2], offset if one_pose else offset + projected)
        if self.frequencies is not None:
            phase = affine(x, turn @ self.frequencies, pose.shift @ self.frequencies)
            # In float32 half of a step on a GPU; processors' trainings were measured in float32.
            with self.mixed_on_a_gpu(x.device):
                hidden = hidden + torch.cat([torch.sin(phase), torch.cos(phase)], -1) @ weight[2:]
        if one_pose:
            hidden = hidden + projected[:, None]
        with self.mixed(x.device):
            hidden = tanh_layers(hidden if self.precision is None else hidden.to(self.precision), self.hidden)
        return thin(self.output, hidden.to(self.output.weight.dtype))


class VanillaGenerator(nn.Module):
    """The baseline of Bepler et al. 2019 (section 4.1): all pixels decoded from z alone.

    Parameters
    ----------
    latents
        Length Z of the content vector.
    outputs
        Parameters per pixel.
    size
        Pixels along a side of the window.
    units, layers
        Width and number of hidden layers, tanh.
    """

    def __init__(self, latents: int, outputs: int, *, size: int, units: int, layers: int) -> None:
        super().__init__()
        widths = [latents, *[units] * layers]
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.output = nn.Linear(units, size * size * outputs)
        self.outputs = outputs

    def forward(self, x: Tensor, pose: Pose, content: Tensor, pixels: Tensor | None = None) -> Tensor:
        """Pixel parameters, shape (B, P, outputs), of all pixels or of the `pixels` (B, P) asked for; at any pose."""
        hidden = content
        for layer in self.hidden:
            hidden = torch.tanh(layer(hidden))
        image = self.output(hidden).view(len(content), -1, self.outputs)
        return image if pixels is None else image.gather(1, pixels[..., None].expand(-1, -1, self.outputs))
