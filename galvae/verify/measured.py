"""What was measured of galaxies, and what it is held against: plain arrays."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from galvae.verify.kept import Kept


class Found(NamedTuple):
    """What a model says about N windows, with the errors of a catalog: degrees, window pixels from the window's centre.

    Parameters
    ----------
    theta, theta_err
        Direction of the canonical +x axis as displayed, shape (N,).
    p_alt
        Probability of another direction, shape (N,).
    orientation, orientation_err
        Major axis as displayed, modulo 180, shape (N,).
    axis_ratio, axis_ratio_err
        Minor over major axis, shape (N,).
    sigma, sigma_err
        Standard deviation along the major axis and how well it repeats, shape (N,).
    centre, covariance
        Right and up, shape (N, 2), and how well it repeats, shape (N, 2, 2).
    z
        Content, shape (N, Z).
    explained
        R^2 of the reconstruction about the sky, in the channel where least, shape (N,).
    flags
        What the model finds odd, shape (N,).
    """

    theta: np.ndarray
    theta_err: np.ndarray
    p_alt: np.ndarray
    orientation: np.ndarray
    orientation_err: np.ndarray
    axis_ratio: np.ndarray
    axis_ratio_err: np.ndarray
    sigma: np.ndarray
    sigma_err: np.ndarray
    centre: np.ndarray
    covariance: np.ndarray
    z: np.ndarray
    explained: np.ndarray
    flags: np.ndarray


class Reference(NamedTuple):
    """What N windows are measured against: as in :class:`Found`, NaN where there is nothing.

    Parameters
    ----------
    orientation, axis_ratio, sigma, centre
        Of the truth, which knows no sigma, or of adaptive moments.
    second
        Major axis by another definition, degrees, shape (N,): where the two agree there is an axis to agree on.
    kind
        What the truth calls them, shape (N,); empty where it does not say.
    """

    orientation: np.ndarray
    axis_ratio: np.ndarray
    sigma: np.ndarray
    centre: np.ndarray
    second: np.ndarray
    kind: np.ndarray


@dataclass(frozen=True)
class Measured:
    """N galaxies and all that was measured of them.

    Parameters
    ----------
    rows
        Which galaxies of the store, shape (N,).
    start, end
        What is said of them as they are, and turned and moved.
    first, second
        What is said of two exposures, the second one turned and moved.
    reference
        What they are measured against.
    turn, shift
        Degrees counter-clockwise, shape (N,), after a move by so many window pixels, shape (N, 2).
    brightness, snr
        Mean light in the window, above the sky, and that over the noise of its mean, shape (N,).
    moments
        What adaptive moments say, where the reference is the truth.
    kept
        What the reconstructions keep of the galaxies as they are; None where nobody looked.
    seen
        What the galaxies look like as they are and turned (:func:`galvae.verify.probe.appearance`), if it was asked.
    """

    rows: np.ndarray
    start: Found
    end: Found
    first: Found
    second: Found
    reference: Reference
    turn: np.ndarray
    shift: np.ndarray
    brightness: np.ndarray
    snr: np.ndarray
    moments: Reference | None = None
    kept: Kept | None = None
    seen: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
