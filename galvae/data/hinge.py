"""Simulated particles of a molecule with one degree of freedom, turned in the plane (Bepler et al. 2019, 4.3)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from astropy.table import Table

from galvae.data.density import gaussians, turned
from galvae.data.molecule import HingeMolecule, hinge_molecule
from galvae.data.particles import check_stack, simulate_stack

COLUMNS: dict[str, tuple[str, str]] = {
    "conformation": ("", "of the hinge, from 0 to 1"),
    "theta": (
        "deg",
        "by which the molecule is turned about the image's centre, counter-clockwise as displayed with row 0 at the "
        "bottom, [0, 360)",
    ),
}
"""Name of each column -> (unit, description)."""

_MARGIN = 2.5
_STEPS = np.linspace(0, 1, 21)


@dataclass(frozen=True)
class HingeView:
    """How a molecule is seen: along its hinge's axis, the centroid at the image's centre.

    Parameters
    ----------
    molecule
        What is seen.
    size
        Pixels along a side.
    snr
        Variance of the noise-free image over its pixels, averaged over conformations, in units of that of the noise,
        which is 1.
    sigma
        Standard deviation of the Gaussian that each residue is seen as, pixels.
    """

    molecule: HingeMolecule
    size: int = 40
    snr: float = 0.1
    sigma: float = 1.0

    @cached_property
    def pixel_size(self) -> float:
        """Angstrom: all atoms, at every conformation and turn, stay 2.5 sigma within the frame."""
        return self.molecule.radius / (self.size / 2 - _MARGIN * self.sigma)

    def image(self, conformation: float, theta: float) -> np.ndarray:
        """Without noise, turned by `theta` degrees counter-clockwise: (size, size) float32, row 0 at the bottom."""
        return self._scale * self._density(conformation, theta)

    @cached_property
    def _scale(self) -> np.float32:
        variance = np.mean([self._density(step, 0.0).var() for step in _STEPS])
        return np.float32(np.sqrt(self.snr / variance))

    def _density(self, conformation: float, theta: float) -> np.ndarray:
        points = turned(self.molecule.view(conformation) / self.pixel_size, theta)
        return gaussians(points, size=self.size, sigma=self.sigma)


def simulate_hinge(
    path: str | Path,
    n: int = 20_000,
    *,
    molecule: HingeMolecule | None = None,
    size: int = 40,
    snr: float = 0.1,
    sigma: float = 1.0,
    conformations: tuple[float, float] = (0.0, 1.0),
    seed: int = 0,
    overwrite: bool = False,
    quiet: bool = False,
) -> Table:
    """Write `n` noisy projections of a hinged molecule, and beside them the truth.

    Conformations and turns are uniform and independent; the noise is white and normal, of standard deviation 1, about a
    background of 0. Image k is the same whatever `n`.

    Parameters
    ----------
    path
        The stack, ``NAME.mrcs``; the truth is ``NAME.ecsv`` beside it.
    n
        Number of images.
    molecule
        What is seen; the made-up one of :func:`galvae.data.molecule.hinge_molecule` if None.
    size
        Pixels along a side.
    snr
        Signal to noise, as :class:`HingeView` defines it. The paper does not say its own. At 0.1 the likeliest of all
        turns and conformations of the integrin are 1.4 degrees off (median), and correlate with the truth to 0.999 and
        0.993: the paper's 0.92 and 0.95 are then a matter of the model, not of the noise.
    sigma
        Of a residue's Gaussian, pixels.
    conformations
        Lowest and highest.
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
    path = check_stack(path, n, seed, overwrite=overwrite)
    low, high = conformations
    if not 0 <= low <= high <= 1 or size < 8 or snr <= 0 or sigma <= 0:
        raise ValueError(
            f"{path}: got conformations {low} to {high}, size {size}, snr {snr}, sigma {sigma}; give 0 <= low <= high "
            f"<= 1, at least 8 pixels, and an snr and a sigma above 0"
        )
    view = HingeView(molecule or hinge_molecule(), size=size, snr=snr, sigma=sigma)

    def one(draw: np.random.Generator) -> tuple[tuple[float, float], np.ndarray]:
        pose = low + (high - low) * draw.random(), 360 * draw.random()
        return pose, view.image(*pose)

    meta = {
        "molecule": view.molecule.name, "hinge_angle": float(np.degrees(view.molecule.screw.angle)),
        "snr": snr, "sigma": sigma, "conformations": [low, high],
    }  # fmt: skip
    return simulate_stack(
        path, "hinge", n, one,
        columns=COLUMNS, size=size, pixel_size=view.pixel_size, meta=meta, seed=seed, quiet=quiet,
    )  # fmt: skip
