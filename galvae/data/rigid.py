"""Rigid bodies in a molecule that is known in two conformations, and the screw by which one turns about the other."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.linalg import eigh
from scipy.ndimage import median_filter
from scipy.spatial.distance import cdist
from scipy.spatial.transform import Rotation

BOND = 5.0
"""C-alpha atoms further apart than so many Angstrom are not neighbours in a chain (3.8 are)."""

_STRETCH = 21
_ROUNDS = 50


@dataclass(frozen=True)
class Screw:
    """A rigid motion: a turn about an axis, and a shift along it (Chasles' theorem).

    Parameters
    ----------
    axis
        Unit vector, shape (3,).
    point
        A point on the axis, Angstrom, shape (3,).
    angle
        Radians in (0, pi], counter-clockwise where the axis points at the viewer.
    shift
        Along the axis, Angstrom.
    """

    axis: np.ndarray
    point: np.ndarray
    angle: float
    shift: float

    @classmethod
    def of(cls, rotation: np.ndarray, move: np.ndarray) -> Screw:
        """The screw of ``x -> rotation @ x + move``.

        Raises
        ------
        ValueError
            If it turns by less than a degree: its axis is not to be told.
        """
        turn = Rotation.from_matrix(rotation).as_rotvec()
        angle = float(np.linalg.norm(turn))
        if angle < np.radians(1):
            raise ValueError(
                f"no hinge: one body turns by {np.degrees(angle):.2f} degrees against the other; give two "
                f"conformations that differ"
            )
        axis = turn / angle
        shift = float(axis @ move)
        across = move - shift * axis
        return cls(axis, (across + np.cross(axis, across) / np.tan(angle / 2)) / 2, angle, shift)

    def apply(self, points: np.ndarray, share: np.ndarray) -> np.ndarray:
        """Points (A, 3), each moved by its share (A,) of the screw."""
        turn = Rotation.from_rotvec(np.outer(share * self.angle, self.axis))
        return turn.apply(points - self.point) + self.point + np.outer(share * self.shift, self.axis)


def superpose(points: np.ndarray, onto: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rotation (3, 3) and move (3,) for which ``points @ rotation.T + move`` lies nearest to `onto`, both (A, 3).

    References
    ----------
    Kabsch 1976, Acta Cryst. A32, 922.
    """
    mean, mean_onto = points.mean(0), onto.mean(0)
    left, _, right = np.linalg.svd((points - mean).T @ (onto - mean_onto))
    # A mirror image may fit better; molecules have a handedness.
    sign = np.sign(np.linalg.det(left @ right))
    rotation = (left * [1, 1, sign] @ right).T
    return rotation, mean_onto - rotation @ mean


def misfit(points: np.ndarray, onto: np.ndarray, body: np.ndarray) -> np.ndarray:
    """Distance of each point from where it should be when those of `body` (a mask) are superposed, shape (A,)."""
    rotation, move = superpose(points[body], onto[body])
    return np.linalg.norm(points @ rotation.T + move - onto, axis=1)


def chains(*conformations: np.ndarray) -> list[slice]:
    """Unbroken chains: they end where neighbours are further apart than :data:`BOND` in any conformation."""
    lengths = np.max([np.linalg.norm(np.diff(atoms, axis=0), axis=1) for atoms in conformations], axis=0)
    ends = [0, *(np.flatnonzero(lengths > BOND) + 1), len(lengths) + 1]
    return [slice(int(start), int(end)) for start, end in pairwise(ends)]


def two_bodies(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Which of two rigid bodies each residue belongs to, told from two conformations alone.

    Distances within a body are kept, those between the bodies change: the matrix of changes is two blocks of nothing on
    the diagonal and much beside it, whose lowest eigenvector has one sign in each body. Then each residue goes to the
    body whose motion takes it nearer to its place, until none changes; what wavers within a stretch of 21 residues, as
    near the axis, goes with most of them.

    Parameters
    ----------
    before, after
        C-alpha atoms of the same residues, Angstrom, shape (A, 3).

    Returns
    -------
    ndarray
        True for the residues of the smaller body, shape (A,).

    Raises
    ------
    ValueError
        If there are no two bodies of three residues or more.
    """
    change = np.abs(cdist(before, before) - cdist(after, after))
    _, lowest = eigh(change, subset_by_index=[0, 0])
    body = lowest[:, 0] > 0
    for _ in range(_ROUNDS):
        _check(body)
        nearer = misfit(before, after, body) < misfit(before, after, ~body)
        if (nearer == body).all():
            break
        body = nearer
    for chain in chains(before, after):
        body[chain] = median_filter(body[chain].astype(np.uint8), _STRETCH, mode="nearest")
    _check(body)
    return body if 2 * body.sum() <= len(body) else ~body


def _check(body: np.ndarray) -> None:
    smaller = min(body.sum(), (~body).sum())
    if smaller < 3:
        raise ValueError(
            f"no hinge: of two rigid bodies in {len(body)} residues one would have {smaller}; give two conformations "
            f"of which one part turned"
        )
