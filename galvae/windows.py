"""Windows of fields: where the model looks, turned and moved on the device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from galvae.geometry import Pose, pixel_grid, rotation, to_image
from galvae.quantiles import lower_median

# Half of a close-up's width over its galaxy's size, and bounds of it over half of the field's.
TIMES, NARROWEST, WIDEST = 1.7, 0.14, 0.5
# What is brighter than what lies opposite, by so much of a galaxy's peak, is none of it.
BESIDE = 0.1
# Standard deviations, grid units, of the windows under which a centroid is measured, one after the other.
NARROWING = (0.5, 0.4, 0.3, 0.22, 0.22, 0.22, 0.22)
# One that is so narrow from the beginning finds what is nearest to the middle. That is the galaxy meant where it is so
# far from what a wider one finds, and so bright beside it.
NARROW, ELSEWHERE, FAINTEST = 0.22, 0.1, 0.15


def as_float(fields: Tensor) -> Tensor:
    """Display values in [0, 1] of uint8 ones; floats as they are."""
    return fields / 255 if fields.dtype == torch.uint8 else fields


def principal_variances(shape: Tensor) -> tuple[Tensor, Tensor]:
    """Variances along the major and the minor axis of second moments xx, yy, xy (B, 3), shape (B,)."""
    middle, off = (shape[:, 0] + shape[:, 1]) / 2, torch.hypot((shape[:, 0] - shape[:, 1]) / 2, shape[:, 2])
    return middle + off, middle - off


@dataclass(frozen=True)
class View:
    """Windows of B fields; the pixels around a window may be looked at too.

    Parameters
    ----------
    fields
        uint8, or floats; shape (B, F, F, C), row 0 at the bottom.
    window
        Pixels along a side of the window.
    oversample
        Field pixels per window pixel.
    offset
        Centre of the window from the centre of the field, (x right, y up) in field pixels, shape (B, 2).
    angle
        An inference network is shown the content turned counter-clockwise by this about the window's centre, radians,
        shape (B,). What it answers is about the *upright* window nevertheless.
    origin
        Where an inference network that has a place to look from looks first, grid units of the window, shape (B, 2);
        the centroid, nearest to the middle, where not given.
    display
        Pixels are display values, in [0, 1] as floats: what is darker or brighter is cut, and was when they were made.
    width
        Of each window over the ordinary one's, of `oversample` field pixels per window pixel, shape (B,); 1 where not
        given.
    """

    fields: Tensor
    window: int
    oversample: int
    offset: Tensor
    angle: Tensor
    origin: Tensor | None = None
    display: bool = True
    width: Tensor | None = None

    @classmethod
    def central(cls, fields: Tensor, window: int, oversample: int = 1, *, display: bool = True) -> View:
        """The upright windows in the middle: what a catalog is made from."""
        zero = torch.zeros(len(fields), 2, device=fields.device)
        return cls(fields, window, oversample, zero, zero[:, 0], display=display)

    def about(self, pose: Pose) -> View:
        """The same windows, where the inference network looks about a pose that was inferred before."""
        origin = to_image(torch.zeros_like(pose.shift[:1]), pose)[:, 0]
        return replace(self, angle=pose.theta, origin=origin)

    def carried(self, pose: Pose, other: View) -> Pose:
        """A pose that was inferred in other windows of the same fields, in these: the origin stays where it is."""
        if self.width is other.width and self.offset is other.offset:
            return pose
        assert pose.zoom is None  # what was inferred has windows as wide as that says
        place = to_image(torch.zeros_like(pose.shift[:1]), pose) * other._half() + other.offset[:, None]
        origin = (place - self.offset[:, None]) / self._half()
        return replace(pose, shift=-(origin @ rotation(pose.theta))[:, 0])

    def scaled(self, pose: Pose) -> tuple[View, Pose]:
        """Windows as wide as the objects' own frames, about the same middles, and in these a pose without a zoom.

        None is wider than the field; of a frame that is, the pose is then wrong by the rest.
        """
        if pose.zoom is None:
            return self, pose
        width = pose.zoom.exp() * (1 if self.width is None else self.width)
        width = torch.minimum(width, self.widest().width / WIDEST)
        return replace(self, width=width, origin=None), replace(pose, zoom=None)

    def some(self, which: Tensor | slice) -> View:
        """Those of the windows."""
        return self._each(lambda part: part[which])

    def to(self, device: torch.device | str) -> View:
        """The same windows on a device."""
        return self._each(lambda part: part.to(device))

    def _each(self, change: Callable[[Tensor], Tensor]) -> View:
        parts = {name: getattr(self, name) for name in ("fields", "offset", "angle", "origin", "width")}
        return replace(self, **{name: part if part is None else change(part) for name, part in parts.items()})

    def __len__(self) -> int:
        return len(self.fields)

    @property
    def values(self) -> Tensor:
        """Pixel values of the fields, display values in [0, 1], shape (B, C, F, F)."""
        # torch.compile has no way into a cached_property, and itself computes what is common once.
        return self._as_values() if torch.compiler.is_compiling() else self._values

    @cached_property
    def _values(self) -> Tensor:
        return self._as_values()

    def _as_values(self) -> Tensor:
        return as_float(self.fields.permute(0, 3, 1, 2).contiguous())

    def of(self, values: Tensor) -> View:
        """The same windows of other fields: pixel values (B, C, F, F), which all views made from it share."""
        return replace(self, fields=values.permute(0, 2, 3, 1))

    def noisier(self, grain: Tensor) -> View:
        """The same windows of fields to which `grain` (B, C, F, F) is added."""
        values = self.values + grain
        return self.of(values.clamp_(0, 1) if self.display else values)

    @property
    def middle(self) -> Tensor:
        """The window's centre from the field's, grid units of the window, shape (B, 2)."""
        return self.offset / self._half()[..., 0]

    def _half(self) -> Tensor:
        """Half of each window's width, field pixels, shape (B, 1, 1) or (1, 1, 1)."""
        ordinary = (self.window - 1) / 2 * self.oversample
        return ordinary * (self.offset.new_ones(1) if self.width is None else self.width)[:, None, None]

    def close_up(self) -> View:
        """Windows as wide as their galaxies ask for, about their centroids, wherever these windows are.

        Half of the width is 1.7 times the major-axis standard deviation of the galaxy's matched Gaussian
        (:mod:`galvae.moments`), from 0.14 to 0.5 of the field's half-width: turned, moved and magnified with the
        galaxy, the window is the same of the same galaxy.
        """
        with torch.no_grad():
            whole = self.widest()
            centre, shape = whole.matched()
            width = whole.width * (TIMES * principal_variances(shape)[0].sqrt()).clamp(NARROWEST / WIDEST, 1)
            return replace(self, offset=centre * whole._half()[:, 0], width=width, origin=None)

    def widest(self) -> View:
        """The widest windows that galaxies may have, half of the field, in the middle."""
        ordinary = (self.window - 1) / 2 * self.oversample / ((self.fields.shape[1] - 1) / 2)
        width = torch.full_like(self.offset[:, 0], WIDEST / ordinary)
        return replace(self, offset=torch.zeros_like(self.offset), width=width, origin=None)

    def matched(
        self, *, steps: int = 16, beside: float = BESIDE, noises: float = 2, narrowing: Sequence[float] = NARROWING
    ) -> tuple[Tensor, Tensor]:
        """Centroid (B, 2) and second moments xx, yy, xy (B, 3) of each galaxy's matched Gaussian there, grid units.

        That of :func:`galvae.moments.adaptive_moments`, on the device, of light from which what lies beside the galaxy
        is taken: where, in the mean of 3 x 3 pixels, it is brighter than the light opposite by about the share `beside`
        of the galaxy's peak and so many times a pixel's noise (`noises`). A galaxy that has no such Gaussian is as it
        was when that was found out. With `narrowing` as :meth:`centroid` has it.
        """
        n, grid = self.window, pixel_grid(self.window, device=self.fields.device)
        centre = self.centroid(narrowing, nearest=True)
        level, noise = self.sky()
        light, axis = (self.sample(grid + centre[:, None]).mean(-1) - level).unflatten(1, (n, n)), grid[:n, 0]
        # Pixel by pixel the brighter of two noisy ones would always be the one to go.
        smooth = functional.avg_pool2d(light[:, None], 3, 1, 1, count_include_pad=False)[:, 0]
        peak = torch.minimum(smooth, smooth.flip(1, 2)).amax((1, 2), keepdim=True).clamp(min=1e-6)
        brighter = (smooth - smooth.flip(1, 2) - noises * noise[..., None]) / peak
        light = light - (light - light.flip(1, 2)) * (brighter / beside - 0.5).clamp(0, 1)
        powers = torch.stack([torch.ones_like(axis), axis.square()])
        every = torch.stack([torch.ones_like(axis), axis])[:, None].expand(-1, len(self), -1)
        size = torch.full_like(centre[:, 0], 0.15**2)
        shape = torch.stack([size, size, torch.zeros_like(size)], 1)  # xx, yy, xy
        for _ in range(steps):
            xx, yy, xy = (element[:, None] for element in shape.unbind(1))
            det = xx * yy - xy.square()
            # The exponent is a product of three powers of y and three of x.
            left = torch.stack([every[0], axis * xy / det, -0.5 * axis.square() * xx / det], 2)
            right = torch.stack([-0.5 * axis.square() * yy / det, every[1], every[0]], 1)
            weighted = (left @ right).exp_().mul_(light)
            sums = powers @ weighted @ powers.mT  # of y^i x^j
            total = sums[:, 0, 0]
            mixed = ((weighted @ axis) @ axis) / total
            second = torch.stack([sums[:, 0, 1] / total, sums[:, 1, 0] / total, mixed], 1)
            good = (total > 0) & (second[:, 0] * second[:, 1] - second[:, 2].square() > 1e-8)
            good &= (second[:, :2] > 0).all(1) & (second[:, 0] + second[:, 1] < 0.5)
            # Under its own matched weight an object shows half its covariance, and half an offset of its centre.
            shape = torch.where(good[:, None], 2 * second, shape)
        first = torch.stack([weighted.sum(1) @ axis, weighted.sum(2) @ axis], 1) / total[:, None]
        off = torch.where(total[:, None] > 0, 2 * first, 0)
        off = off * (0.2 / torch.linalg.vector_norm(off, dim=1, keepdim=True).clamp(min=0.2))
        return (centre + off).clamp(-0.9, 0.9), shape

    def sky(self) -> tuple[Tensor, Tensor]:
        """Median of the channels' mean in the field's outermost pixels, and their scatter about it, shape (B, 1)."""
        return _level_and_scatter(self.values.mean(1))

    def noise(self) -> Tensor:
        """That scatter of each channel, shape (B, C): a grey level at least, as a turned file makes its border up.

        Of what is not display values it is a thousandth of all pixels' own scatter at least.
        """
        values = self.values.flatten(0, 1)
        _, scatter = _level_and_scatter(values)
        scatter = scatter.clamp(min=1 / 255) if self.display else scatter.maximum(1e-3 * values.std((1, 2))[:, None])
        return scatter.view(len(self), -1)

    def in_field(self, place: np.ndarray) -> np.ndarray:
        """Places from the middles of these windows in their pixels, from the field's in the ordinary window's, (B, 2).

        Covariances (B, 2, 2) of places go through ``width`` alone, twice.
        """
        return self.offset.cpu().double().numpy() / self.oversample + self.widths()[:, None] * place

    def widths(self) -> np.ndarray:
        """The windows' widths over the ordinary one's, shape (B,)."""
        return np.ones(len(self)) if self.width is None else self.width.cpu().double().numpy()

    def centroid(self, narrowing: Sequence[float] = NARROWING, *, nearest: bool = False) -> Tensor:
        """Centre of light under a Gaussian window that follows it and narrows, grid units, shape (B, 2).

        The standard deviations that it has one after the other are `narrowing`, grid units. With `nearest` the one
        nearer to the middle is taken where two are to be seen, a galaxy and a star, say: where a Gaussian that is
        narrow from the beginning comes to rest elsewhere, nearer, under at least 0.15 of the light.
        """
        with torch.no_grad():  # as a decorator it would keep torch.compile out
            return self._centroid(narrowing, nearest)

    def _centroid(self, narrowing: Sequence[float], nearest: bool) -> Tensor:
        size = self.window // 2
        coarse = pixel_grid(size, device=self.fields.device)
        light = self.sample(coarse.expand(len(self), -1, -1)).mean(-1)
        light = (light - light.median(1, keepdim=True).values).clamp(min=0).unflatten(1, (size, size))
        axis = coarse[:size, 0].to(light)
        centre, total = _followed(light, axis, narrowing)
        if nearest:
            other, there = _followed(light, axis, [NARROW] * 4 + [width for width in narrowing if width <= NARROW])
            apart, far, near = (torch.linalg.vector_norm(way, dim=1) for way in (other - centre, centre, other))
            found = (apart > ELSEWHERE) & (near < far) & (there > FAINTEST * total)
            centre = torch.where(found[:, None], other, centre)
        return centre

    def sample(self, points: Tensor) -> Tensor:
        """Pixel values at points of the upright window, bilinear; beyond the field its nearest border pixel.

        Parameters
        ----------
        points
            In grid units of the window, shape (B, P, 2) or (P, 2).

        Returns
        -------
        Tensor
            Shape (B, P, C).
        """
        half_field = (self.fields.shape[1] - 1) / 2
        grid = (points * self._half() + self.offset[:, None, :]) / half_field
        found = functional.grid_sample(self.values, grid[:, :, None], padding_mode="border", align_corners=True)
        return found[..., 0].mT

    def in_pixels(self, points: Tensor) -> Tensor:
        """Points of the upright window, (B, P, 2) or (P, 2), grid units, in the field's pixels from its first one."""
        return points * self._half() + self.offset[:, None, :] + (self.fields.shape[1] - 1) / 2

    def pixel_width(self) -> Tensor:
        """Of the fields' pixels, grid units, shape (B, 1, 1) or (1, 1, 1)."""
        return 1 / self._half()

    def averaging(self, points: Tensor) -> Tensor:
        """Share of white noise's standard deviation that is left at points (B, P, 2) between pixels, shape (B, P).

        In windows of their own width it is what sums over many of their pixels show: where these are smaller than the
        field's, neighbours are alike, and each counts for more noise than it has.
        """
        if self.width is not None:
            return (1 / (self.width * self.oversample).clamp(max=1))[:, None].expand(points.shape[:2])
        beside = self.in_pixels(points) % 1
        return (beside.square() + (1 - beside).square()).prod(2).sqrt()

    def images(self, grid: Tensor) -> Tensor:
        """The windows turned by ``angle``, shape (B, C, n, n), for the window's pixel grid, shape (n * n, 2)."""
        turned = grid @ rotation(-self.angle)
        return self.sample(turned).mT.reshape(len(self), -1, self.window, self.window)


def _followed(light: Tensor, axis: Tensor, narrowing: Sequence[float]) -> tuple[Tensor, Tensor]:
    """Centre (B, 2) of light (B, n, n) under Gaussians that follow it from the middle, and the light under the last."""
    size = len(axis)
    centre = light.new_zeros(len(light), 2)
    for width in narrowing:
        # Of x and of y: their product is the weight.
        weights = torch.exp(-0.5 * ((axis - centre[..., None]) / width).square())
        of_x, of_y = torch.stack([weights, weights * axis], 2).unbind(1)  # (B, 2, size)
        sums = of_y @ light @ of_x.mT  # of y^i x^j
        total = sums[:, 0, 0] + 1e-12 * size**2  # no light has its centre in the middle
        centre = torch.stack([sums[:, 0, 1], sums[:, 1, 0]], 1) / total[:, None]
        centre = centre.clamp(-0.9, 0.9)
    return centre, total


def _level_and_scatter(planes: Tensor) -> tuple[Tensor, Tensor]:
    """Median of the outermost pixels of (N, F, F), and their scatter about it, shape (N, 1)."""
    edge = max(1, planes.shape[1] // 32)
    sides = [planes[:, :edge], planes[:, -edge:], planes[:, :, :edge], planes[:, :, -edge:]]
    border = torch.cat([side.flatten(1) for side in sides], 1)
    level = lower_median(border)
    return level, 1.4826 * lower_median((border - level).abs())
