"""Figures from galaxies measured again: how far off, how far apart, how often within the errors."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from galvae.angles import difference
from galvae.inference.oddities import MODEL_FLAGS
from galvae.verify.kept import what_is_kept
from galvae.verify.measured import Found, Measured, Reference

ELONGATED = 0.7
# Two definitions of a galaxy's axis that differ by less, degrees, leave one to be right about.
AGREE = 3.0
RATIOS = (0.0, 0.4, 0.55, 0.7, 0.85, 1.01)
# What intervals are checked of.
COVERED = {
    "theta": "theta between two exposures",
    "dx": "dx between two exposures",
    "dy": "dy between two exposures",
    "orientation": "axis against the reference",
    "axis_ratio": "axis ratio against moments",
    "size": "semimajor_sigma between two exposures",
}


def summarize(measured: Measured) -> dict[str, Any]:
    """Figures of a run.

    Returns
    -------
    dict
        ``galaxies``, ``elongated`` (axis ratio of the reference below 0.7), ``unmeasured`` (without one) and, as median
        and 84th percentile: ``axis``, ``axis_clean`` (where two definitions of the axis agree), ``axis_ratio``,
        ``size`` (the logarithm of ``semimajor_sigma``; of adaptive moments, where the reference is the truth) and
        ``centre`` against the reference; ``turn_elongated`` and ``turn_round`` (theta, over 360 degrees),
        ``turn_axis_elongated`` (orientation, modulo 180), ``turn_size`` (the logarithm of the size between the copies),
        ``move`` (the centre between the copies) and ``z_drift`` (RMS and median change of z over its spread). Galaxies
        of which the model or the reference says nothing are counted as ``missing``, and among those beyond 30 degrees
        and flipped.

        ``axis_by_kind``: of each ``kind`` of the truth. ``moments``: ``axis`` and ``centre`` of adaptive moments, where
        the reference is the truth. ``signed``: mean errors of axis (elongated galaxies, where two
        definitions agree) and centre with their standard errors, those beyond 30 degrees and 3 pixels left out.
        ``coverage``: how often intervals of one and of two errors contain what they are about, by axis ratio,
        brightness, signal-to-noise ratio and kind: of ``theta`` (where it is not flipped), ``dx``, ``dy`` and ``size``
        between two exposures, of ``orientation`` against the reference where two definitions agree, of ``axis_ratio``
        against adaptive moments. ``rivals``: how many galaxies have one (``p_alt`` above 0.1), how many of two
        exposures are flipped, and how many of those had been said to have a rival. ``angle_from_z``: how well z
        predicts the axis, which it must not (R^2 of its cosine and sine). ``explained``: R^2 of the reconstruction
        about the sky, in the channel where least. ``flags``: how galaxies with each of the model's flags fare.
        ``kept``: what the reconstructions keep, see :func:`galvae.verify.kept.what_is_kept`.
    """
    start, end, reference, turn = measured.start, measured.end, measured.reference, measured.turn
    long, round_ = reference.axis_ratio < ELONGATED, reference.axis_ratio >= ELONGATED
    signed = difference(start.orientation, reference.orientation, 180)
    axis = np.abs(signed)
    clean = np.abs(difference(reference.second, reference.orientation, 180)) < AGREE
    theta = np.abs(difference(end.theta - start.theta, turn, 360))
    axial = np.abs(difference(end.orientation - start.orientation, turn, 180))
    moments = reference if measured.moments is None else measured.moments
    drift = ((end.z - start.z) ** 2).sum(1)
    spread = ((start.z - start.z.mean(0)) ** 2).sum(1).mean()
    return {
        "galaxies": len(turn),
        "elongated": int(long.sum()),
        "unmeasured": int((~long & ~round_).sum()),
        "axis": {**figures(axis[long]), "beyond_30": float((~(axis[long] <= 30)).mean())} if long.any() else None,
        "axis_clean": figures(axis[long & clean]),
        "axis_by_kind": {kind: figures(axis[long & (reference.kind == kind)]) for kind in kinds(reference)},
        "axis_ratio": figures(np.abs(start.axis_ratio - reference.axis_ratio)[long | round_]),
        "size": figures(np.abs(np.log(start.sigma / moments.sigma))) if np.isfinite(moments.sigma).any() else None,
        "centre": figures(np.hypot(*(start.centre - reference.centre).T)),
        "moments": _moments(measured.moments, reference, long),
        "turn_elongated": _turns(theta[long]),
        "turn_round": _turns(theta[round_]),
        "turn_axis_elongated": figures(axial[long]),
        "turn_size": figures(np.abs(np.log(end.sigma / start.sigma))),
        "move": figures(np.hypot(*off_course(measured.start, measured.end, measured).T)),
        "z_drift": float(np.sqrt(drift.mean() / spread)) if spread > 0 else None,
        "z_drift_median": float(np.sqrt(np.median(drift) / spread)) if spread > 0 else None,
        "coverage": coverage(measured, clean),
        "rivals": _rivals(measured),
        "signed": {
            "axis": _mean(signed[long & clean], within=30),
            **{
                name: _mean(values, within=3)
                for name, values in zip("xy", (start.centre - reference.centre).T, strict=True)
            },
        },
        "angle_from_z": angle_from_z(start.z[clean & long], np.radians(reference.orientation[clean & long])),
        "explained": {
            "median": float(np.median(start.explained)), "p16": float(np.percentile(start.explained, 16))
        },
        "flags": flagged(measured, theta, np.where(long, axis, np.nan)),
        "kept": None if measured.kept is None else what_is_kept(measured.kept),
    }  # fmt: skip


def coverage(measured: Measured, clean: np.ndarray) -> dict[str, Any]:
    """How often intervals of one and of two errors hold: of all galaxies, and by bins; see :func:`summarize`."""
    first, second = measured.first, measured.second
    moments = measured.reference if measured.moments is None else measured.moments
    theta = np.abs(difference(second.theta - first.theta, measured.turn, 360))
    same = theta <= 90
    moved, turn = off_course(first, second, measured), np.radians(measured.turn)
    cos, sin = np.cos(turn), np.sin(turn)
    rotation = np.stack([np.stack([cos, -sin], -1), np.stack([sin, cos], -1)], -2)
    both = rotation @ first.covariance @ rotation.swapaxes(1, 2) + second.covariance
    pulls = {
        "theta": np.where(same, theta / np.hypot(first.theta_err, second.theta_err), np.nan),
        **dict(zip(("dx", "dy"), (np.abs(moved) / np.sqrt(np.diagonal(both, axis1=1, axis2=2))).T, strict=True)),
        "orientation": np.where(
            clean,
            np.abs(difference(measured.start.orientation, measured.reference.orientation, 180))
            / measured.start.orientation_err,
            np.nan,
        ),
        # The truth of a simulated galaxy is that before the point spread function.
        "axis_ratio": np.abs(measured.start.axis_ratio - moments.axis_ratio) / measured.start.axis_ratio_err,
        "size": np.abs(second.sigma - first.sigma) / np.hypot(first.sigma_err, second.sigma_err),
    }
    by = {
        "axis_ratio": (measured.reference.axis_ratio, RATIOS),
        "brightness": (measured.brightness, _quarters(measured.brightness)),
        "snr": (measured.snr, _quarters(measured.snr)),
    }
    found = {}
    for name, pull in pulls.items():
        bins = {
            key: [
                {"from": float(low), "to": float(high), **_covered(pull[(values >= low) & (values < high)])}
                for low, high in pairwise(edges)
            ]
            for key, (values, edges) in by.items()
        }
        named = kinds(measured.reference)
        if named:
            bins["kind"] = [{"kind": kind, **_covered(pull[measured.reference.kind == kind])} for kind in named]
        found[name] = {**_covered(pull), "bins": bins}
    return found


def kinds(reference: Reference) -> list[str]:
    """What the truth calls galaxies."""
    return [str(kind) for kind in np.unique(reference.kind) if kind]


def flagged(measured: Measured, theta: np.ndarray, axis: np.ndarray) -> dict[str, Any]:
    """Of each flag of the model, of any and of none: the share of galaxies, and how they fare.

    `theta` and `axis` are errors in degrees, shape (N,), the latter of elongated galaxies, else NaN.
    """
    flags = measured.start.flags
    chosen = {flag.name: (flags & flag) != 0 for flag in MODEL_FLAGS} | {"any": flags != 0, "none": flags == 0}
    return {
        name: {
            "share": float(mask.mean()),
            "turn": _turns(theta[mask]) if mask.any() else None,
            "axis": figures(axis[mask]) if mask.any() else None,
        }
        for name, mask in chosen.items()
    }


def angle_from_z(z: np.ndarray, axis: np.ndarray) -> float | None:
    """R^2 of the cosine and sine of twice the axis (radians, shape (N,)) by ridge regression on z, cross-validated.

    None for fewer than 50 galaxies, or where all have the same axis. What is no better than the mean is 0 or less.
    """
    wanted = np.stack([np.cos(2 * axis), np.sin(2 * axis)], 1)
    spread = ((wanted - wanted.mean(0)) ** 2).sum()
    if len(z) < 50 or spread == 0:
        return None
    from sklearn.linear_model import RidgeCV
    from sklearn.model_selection import cross_val_predict

    guessed = cross_val_predict(RidgeCV(np.logspace(-2, 5, 15)), z, wanted, cv=5)
    return float(1 - ((guessed - wanted) ** 2).sum() / spread)


def figures(values: np.ndarray) -> dict[str, float]:
    """Median, 84th percentile and how many are missing."""
    kept = values[np.isfinite(values)]
    if not len(kept):
        return {"median": float("nan"), "p84": float("nan"), "missing": len(values)}
    return {"median": float(np.median(kept)), "p84": float(np.percentile(kept, 84)), "missing": len(values) - len(kept)}


def _moments(moments: Reference | None, reference: Reference, long: np.ndarray) -> dict[str, Any] | None:
    if moments is None:
        return None
    axis = np.abs(difference(moments.orientation, reference.orientation, 180))[long]
    return {"axis": figures(axis), "centre": figures(np.hypot(*(moments.centre - reference.centre).T))}


def _mean(values: np.ndarray, *, within: float) -> dict[str, float]:
    """Mean of what is `within` so much of 0, its standard error, and what share is not (another galaxy's)."""
    values = values[np.isfinite(values)]
    kept = values[np.abs(values) <= within]
    if len(kept) < 2:
        return {"mean": float("nan"), "error": float("nan"), "left_out": float("nan")}
    error = float(kept.std(ddof=1) / np.sqrt(len(kept)))
    return {"mean": float(kept.mean()), "error": error, "left_out": 1 - len(kept) / len(values)}


def off_course(start: Found, end: Found, measured: Measured) -> np.ndarray:
    """How far the centres of the turned and moved are from where they should be, window pixels, shape (N, 2)."""
    cos, sin = np.cos(np.radians(measured.turn)), np.sin(np.radians(measured.turn))
    x, y = (start.centre + measured.shift).T
    return end.centre - np.stack([x * cos - y * sin, x * sin + y * cos], 1)


def _turns(values: np.ndarray) -> dict[str, float]:
    return {**figures(values), "flips": float((~(values <= 90)).mean()) if len(values) else float("nan")}


def _covered(pull: np.ndarray) -> dict[str, Any]:
    pull = pull[np.isfinite(pull)]
    if not len(pull):
        return {"galaxies": 0, "68": None, "95": None}
    return {"galaxies": len(pull), "68": float((pull < 1).mean()), "95": float((pull < 2).mean())}


def _quarters(values: np.ndarray) -> np.ndarray:
    edges = np.nanpercentile(values, [0, 25, 50, 75, 100])
    edges[-1] = np.nextafter(edges[-1], np.inf)
    return edges


def _rivals(measured: Measured) -> dict[str, Any]:
    said = np.maximum(measured.first.p_alt, measured.second.p_alt) > 0.1
    theta = np.abs(difference(measured.second.theta - measured.first.theta, measured.turn, 360))
    flipped = ~(theta <= 90)
    return {
        "flagged": float((measured.start.p_alt > 0.1).mean()),
        "exposures_flipped": float(flipped.mean()),
        "of_those_flagged": float(said[flipped].mean()) if flipped.any() else None,
    }
