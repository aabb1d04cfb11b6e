"""A molecule with one degree of freedom: two rigid bodies that turn about a hinge, found from two conformations."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from scipy.ndimage import uniform_filter1d

from galvae.data.rigid import Screw, chains, misfit, superpose, two_bodies

LINKER = 9
"""Residues about the end of a body over which the turn grows, so that the chain is not torn."""

INTEGRIN_MEMBRANE = ((966, 1008), (1701, 1770))
"""Residues of ``shared/data/integrin`` within and behind the membrane, to leave out: PDB 5HDB, of the paper, has none.

Two thin helices with loose ends: 6% of the residues would make the frame 1.6 times as wide."""

_STEPS = np.linspace(0, 1, 21)


@dataclass(frozen=True)
class HingeMolecule:
    """Two rigid bodies joined by a hinge; conformation 0 is as the atoms lie, 1 has turned by the whole screw.

    Parameters
    ----------
    name
        What it is.
    atoms
        C-alpha atoms of conformation 0, Angstrom, shape (A, 3).
    share
        Of the screw's motion that each takes part in, (A,): 0 in one body, 1 in the other, between in the linkers.
    screw
        Motion of the one body against the other.
    rms
        Distance of conformation 1 from the one that was given, when superposed, Angstrom.
    """

    name: str
    atoms: np.ndarray
    share: np.ndarray
    screw: Screw
    rms: float

    @classmethod
    def between(cls, before: np.ndarray, after: np.ndarray, *, name: str = "molecule") -> HingeMolecule:
        """From the atoms (A, 3) of conformations 0 and 1, in the same order, each in any frame."""
        body = two_bodies(before, after)
        (rest, rest_move), (turn, turn_move) = (superpose(before[part], after[part]) for part in (~body, body))
        screw = Screw.of(rest.T @ turn, rest.T @ (turn_move - rest_move))
        share = np.empty(len(before))
        for chain in chains(before, after):
            share[chain] = uniform_filter1d(body[chain].astype(float), LINKER, mode="nearest").clip(0, 1)
        far = misfit(screw.apply(before, share), after, np.full(len(before), True))
        return cls(name, before, share, screw, float(np.sqrt((far**2).mean())))

    def at(self, conformation: float) -> np.ndarray:
        """Atoms at a conformation in 0..1, Angstrom, shape (A, 3)."""
        return self.screw.apply(self.atoms, self.share * conformation)

    def view(self, conformation: float) -> np.ndarray:
        """Atoms seen along the hinge's axis, which points at the viewer: right and up, Angstrom, shape (A, 2).

        The centroid is at the origin. About it each conformation is turned to overlay the half-way one as well as it
        can (least squares over atoms): neither body is held still, for which of them it were would be in the angle.
        """
        seen = self._seen(conformation)
        seen = seen * np.exp(1j * np.angle(np.vdot(seen, self._half_way)))
        return np.stack([seen.real, seen.imag], 1)

    @cached_property
    def radius(self) -> float:
        """Of the smallest circle about the centroid that holds all atoms at every conformation, Angstrom."""
        return max(float(np.linalg.norm(self.view(step), axis=1).max()) for step in _STEPS)

    def _seen(self, conformation: float) -> np.ndarray:
        # In the plane across the axis the screw is a turn about a point, and a turn is a complex factor.
        seen = self._plane * np.exp(1j * conformation * self.screw.angle * self.share)
        return seen - seen.mean()

    @cached_property
    def _half_way(self) -> np.ndarray:
        return self._seen(0.5)

    @cached_property
    def _plane(self) -> np.ndarray:
        axis = self.screw.axis
        right = np.cross(np.eye(3)[np.abs(axis).argmin()], axis)
        right /= np.linalg.norm(right)
        return (self.atoms - self.screw.point) @ (right + 1j * np.cross(axis, right))


def hinge_molecule(path: str | Path | None = None, *, leave_out: Sequence[tuple[int, int]] = ()) -> HingeMolecule:
    """The molecule in a folder of two PDB files, by name conformations 0 and 1, or a made-up one.

    Parameters
    ----------
    path
        Folder with two files ``*.pdb`` or ``*.pdb.gz`` of the same residues; None for the made-up molecule, a chain of
        beads in two arms that open by 100 degrees.
    leave_out
        First and last of residues to leave out, counted from 1 in the files.

    Raises
    ------
    FileNotFoundError
        If there is no such folder, or it does not hold two such files.
    ValueError
        If they are not of the same residues, or show no hinge.

    Notes
    -----
    ``shared/data/integrin`` (alphaIIb-beta3, bent and intermediate; 1,657 residues without :data:`INTEGRIN_MEMBRANE`)
    is two rigid bodies: the headpiece with alpha's thigh (alpha 1-597, beta 1-459; 1,056 residues, rms 4.0 Angstrom)
    and the legs (alpha 598-965, beta 460-692; 601 residues, rms 1.8). They turn by 174.1 degrees and shift by 4.8
    Angstrom along an axis that passes the genua, where the bodies meet, at 9.4 (alpha) and 1.3 Angstrom (beta).
    Conformation 0 is the bent model itself, conformation 1 the intermediate one up to an rms of 3.4 Angstrom, half a
    pixel of 7.2. No bond is longer than 8.2 Angstrom on the way (straight lines from place to place would crush bonds
    to 0.5). The other way round, by 185.9 degrees, the legs would run through the head: 211 pairs of residues closer
    than 3 Angstrom, against 4. With the membrane's parts all is the same to 0.3 degrees and 0.1 Angstrom.
    """
    if path is None:
        return HingeMolecule.between(*_two_arms(), name="made-up molecule of two arms")
    found = sorted(file for file in Path(path).glob("*.pdb*") if file.name.endswith((".pdb", ".pdb.gz")))
    if len(found) != 2:
        raise FileNotFoundError(
            f"{path}: {len(found)} PDB files (*.pdb, *.pdb.gz); give a folder that holds the two end points of a motion"
        )
    (names, before), (other_names, after) = (read_calphas(file) for file in found)
    if names != other_names:
        raise ValueError(f"{found[1]}: its {len(other_names)} residues are not the {len(names)} of {found[0].name}")
    kept = np.full(len(before), True)
    for first, last in leave_out:
        kept[first - 1 : last] = False
    before, after = before[kept], after[kept]
    return HingeMolecule.between(before, after, name=" to ".join(file.name.split(".pdb")[0] for file in found))


def read_calphas(path: str | Path) -> tuple[list[str], np.ndarray]:
    """The C-alpha atoms of a PDB file's first model: residues (chain, name and number), and places, Angstrom, (A, 3).

    Raises
    ------
    OSError
        If it cannot be read.
    ValueError
        If it holds fewer than two, or places that are no numbers.

    References
    ----------
    wwPDB, Atomic Coordinate Entry Format 3.3, ATOM: columns are fixed.
    """
    path = Path(path)
    names, places = [], []
    with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="ascii", errors="replace") as lines:
        for line in lines:
            if line.startswith("ENDMDL"):
                break
            # " CA " is C-alpha and "CA  " calcium; of alternative places the first is taken.
            if line.startswith("ATOM  ") and line[12:16] == " CA " and line[16] in " A":
                names.append(f"{line[21]}{line[17:20]}{line[22:27]}")
                places.append([line[30:38], line[38:46], line[46:54]])
    if len(names) < 2:
        raise ValueError(f"{path}: {len(names)} C-alpha atoms; is it a PDB file of a protein?")
    try:
        return names, np.array(places, float)
    except ValueError as error:
        raise ValueError(f"{path}: a C-alpha atom's place is no number ({error})") from error


def _two_arms() -> tuple[np.ndarray, np.ndarray]:
    """Beads of one chain in two coiled arms, 60 and 160 degrees apart, Angstrom."""
    long, short = _arm(500, 95.0, 3, 17.0), _arm(350, 75.0, 2, 13.0)
    stream = np.random.default_rng(0)
    jitter = 0.3 * stream.standard_normal((2, len(long) + len(short), 3))
    folded, opened = (np.concatenate([long[::-1], short @ _about_z(np.radians(apart)).T]) for apart in (60, 160))
    return folded + jitter[0], opened + jitter.sum(0)


def _arm(beads: int, length: float, lobes: int, width: float) -> np.ndarray:
    # A coil whose turns widen and narrow as domains do, from near the hinge at the origin out along +x.
    out = (np.arange(beads) + 0.5) / beads
    radius = 2 + (width - 2) * np.abs(np.sin(np.pi * lobes * out)) ** 0.7
    turn = np.cumsum(3.7 / radius)
    return np.stack([length * out, radius * np.cos(turn), radius * np.sin(turn)], 1)


def _about_z(angle: float) -> np.ndarray:
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
