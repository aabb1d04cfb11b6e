"""Simulated negative-stain particles of an antibody: three lobes on flexible hinges (Bepler et al. 2019, 4.4)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path

import numpy as np
from astropy.table import Table
from scipy.ndimage import gaussian_filter

from galvae.data.density import gaussians, turned
from galvae.data.particles import check_stack, simulate_stack

COLUMNS: dict[str, tuple[str, str]] = {
    "theta": (
        "deg",
        "by which the antibody is turned, counter-clockwise as displayed with row 0 at the bottom, [0, 360); at 0 Fc "
        "points down",
    ),
    "x": ("pix", "the antibody's centre of mass, right of the image's centre"),
    "y": ("pix", "the antibody's centre of mass, above the image's centre"),
    "fab_1": ("deg", "between the left Fab and up, at theta = 0"),
    "fab_2": ("deg", "between the right Fab and up, at theta = 0"),
    "background": ("", "standard deviation of the uneven stain over the image, in that of the noise"),
}
"""Name of each column -> (unit, description)."""

WIDTH = 260.0
"""Angstrom along a side of the image."""

# Domains of a lobe, Angstrom outwards from the hinge and across: two pairs, about a dimple.
_FAB = np.array([(37, -12), (37, 12), (69, -12), (69, 12)], float)
_FC = np.array([(34, -15), (34, 15), (64, -11), (64, 11)], float)
_DOMAIN = 11.0


@dataclass(frozen=True)
class AntibodyView:
    """How an antibody is seen: flat on the carbon film, Fabs and Fc in the plane.

    Parameters
    ----------
    size
        Pixels along a side, of 260 Angstrom together.
    snr
        Variance of the antibody's noise-free image over its pixels, averaged over Fab angles, in units of that of the
        noise, which is 1.
    fab
        Smallest and largest angle of a Fab to the line that goes on from Fc, degrees.
    stain
        Standard deviation of the uneven stain, in that of the noise.
    stain_scale
        Standard deviation of the Gaussian that smooths it, pixels.
    """

    size: int = 40
    snr: float = 0.5
    fab: tuple[float, float] = (30.0, 100.0)
    stain: float = 0.3
    stain_scale: float = 5.0

    @property
    def pixel_size(self) -> float:
        """Angstrom."""
        return WIDTH / self.size

    def image(self, theta: float, x: float, y: float, fab_1: float, fab_2: float) -> np.ndarray:
        """The antibody alone, as :data:`COLUMNS` says: (size, size) float32, row 0 at the bottom."""
        return self._scale * self._density(theta, x, y, fab_1, fab_2)

    def background(self, draw: np.random.Generator) -> np.ndarray:
        """Uneven stain, a smooth normal field about 0 that knows nothing of the particle: (size, size)."""
        margin = self._reach  # no edge is seen
        white = draw.standard_normal((self.size + 2 * margin,) * 2)
        inner = slice(margin, margin + self.size)
        smooth = gaussian_filter(white, self.stain_scale, radius=margin)[inner, inner]
        return self.stain / self._damping * smooth

    @property
    def _reach(self) -> int:
        return int(4 * self.stain_scale + 0.5)

    @cached_property
    def _damping(self) -> float:
        margin = self._reach
        impulse = np.zeros((2 * margin + 1,) * 2)
        impulse[margin, margin] = 1
        return float(np.linalg.norm(gaussian_filter(impulse, self.stain_scale, radius=margin)))

    @cached_property
    def _scale(self) -> np.float32:
        angles = product(np.linspace(*self.fab, 5), repeat=2)
        return np.float32(np.sqrt(self.snr / np.mean([self._density(0, 0, 0, *pair).var() for pair in angles])))

    def _density(self, theta: float, x: float, y: float, fab_1: float, fab_2: float) -> np.ndarray:
        points = np.concatenate([turned(_FC, -90), turned(_FAB, 90 + fab_1), turned(_FAB, 90 - fab_2)])
        points = turned(points - points.mean(0), theta) / self.pixel_size + [x, y]
        return gaussians(points, size=self.size, sigma=_DOMAIN / self.pixel_size)


def simulate_antibody(
    path: str | Path,
    n: int = 13_526,
    *,
    view: AntibodyView | None = None,
    move_sigma: float = 2.0,
    seed: int = 0,
    overwrite: bool = False,
    quiet: bool = False,
) -> Table:
    """Write `n` noisy images of antibodies, and beside them the truth.

    Both Fab angles and the turn are uniform and independent; the noise is white and normal, of standard deviation 1;
    protein is bright. Image k is the same whatever `n`.

    Parameters
    ----------
    path
        The stack, ``NAME.mrcs``; the truth is ``NAME.ecsv`` beside it.
    n
        Number of images.
    view
        How it is seen.
    move_sigma
        Standard deviation of the centre of mass about the image's centre, in x and in y, pixels.
    seed
        Which set.
    overwrite
        Replace earlier files.
    quiet
        Show no progress.

    Returns
    -------
    astropy.table.Table
        The truth, as written: :data:`COLUMNS`, after ``id``.

    Raises
    ------
    ValueError, OSError
        If it cannot be made (see :func:`galvae.data.particles.check_stack`).
    """
    path, view = check_stack(path, n, seed, overwrite=overwrite), view or AntibodyView()
    low, high = view.fab
    if low > high or view.size < 8 or view.snr <= 0 or min(view.stain, move_sigma) < 0 or view.stain_scale <= 0:
        raise ValueError(
            f"{path}: got {view}, move_sigma {move_sigma}; give Fab angles low <= high, at least 8 pixels, an snr and "
            f"a stain_scale above 0, a stain and a move_sigma of 0 or more"
        )

    def one(draw: np.random.Generator) -> tuple[tuple[float, ...], np.ndarray]:
        theta, (x, y) = 360 * draw.random(), move_sigma * draw.standard_normal(2)
        pose = (theta, x, y, *(low + (high - low) * draw.random(2)))
        uneven = view.background(draw)
        return (*pose, uneven.std()), view.image(*pose) + uneven

    meta = {
        "snr": view.snr, "fab": [low, high], "move_sigma": move_sigma, "stain": view.stain,
        "stain_scale": view.stain_scale,
    }  # fmt: skip
    return simulate_stack(
        path, "antibody", n, one,
        columns=COLUMNS, size=view.size, pixel_size=view.pixel_size, meta=meta, seed=seed, quiet=quiet,
    )  # fmt: skip
