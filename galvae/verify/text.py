"""Figures as a table to read."""

from __future__ import annotations

from typing import Any

from galvae.verify.summary import COVERED

# Azimuthal orders on ellipses of the galaxy's shape, and what they are of.
WORDS = {"0": "profile", "1": "one-sided", "2": "two arms, bar", "3-4": "more arms", "5-8": "patches"}


def as_text(found: dict[str, dict[str, Any]], reference: str) -> str:
    """A column of figures for each run.

    Parameters
    ----------
    found
        Figures of :func:`galvae.verify.summary.summarize`, by run.
    reference
        What the galaxies were measured against.
    """
    first = next(iter(found.values()))
    lines = [
        f"{first['galaxies']} galaxies not trained on, {first['elongated']} of them elongated (axis ratio < 0.7);"
        f" {first['unmeasured']} without an axis ratio to tell by; median / 84th percentile",
        f"{'':52}" + "".join(f"{name if len(name) < 35 else '...' + name[-31:]:>36}" for name in found),
    ]

    def row(label: str, *path: str, unit: str = "") -> None:
        lines.append(f"{label:52}" + "".join(f"{_cell(figures, path, unit):>36}" for figures in found.values()))

    row(f"axis against {reference}, elongated", "axis", unit="deg")
    row("  where two definitions of the axis agree", "axis_clean", unit="deg")
    row("  beyond 30 deg", "axis", "beyond_30", unit="%")
    if first["moments"]:
        row("  that of adaptive moments against the truth", "moments", "axis", unit="deg")
    for kind in first["axis_by_kind"]:
        row(f"  of kind {kind}", "axis_by_kind", kind, unit="deg")
    row(f"axis ratio against {reference}", "axis_ratio")
    row("semimajor_sigma against moments, its logarithm", "size")
    row(f"centre against {reference}", "centre", unit="px")
    if first["moments"]:
        row("  that of adaptive moments against the truth", "moments", "centre", unit="px")
    row("turn test: theta over 360 deg, elongated", "turn_elongated", unit="deg")
    row("  flipped", "turn_elongated", "flips", unit="%")
    row("turn test: theta over 360 deg, round", "turn_round", unit="deg")
    row("  flipped", "turn_round", "flips", unit="%")
    row("turn test: axis, elongated", "turn_axis_elongated", unit="deg")
    row("turn test: semimajor_sigma, its logarithm", "turn_size")
    row("turn test: centre", "move", unit="px")
    row("turn test: z drift over z's spread, RMS", "z_drift")
    row("  median", "z_drift_median")
    for name, label in COVERED.items():
        row(f"within one error: {label}", "coverage", name, "68", unit="%")
        row("within two errors", "coverage", name, "95", unit="%")
    row("galaxies with a rival (p_alt above 0.1)", "rivals", "flagged", unit="%")
    row("flipped between two exposures", "rivals", "exposures_flipped", unit="%")
    row("  of those said to have a rival", "rivals", "of_those_flagged", unit="%")
    for name, unit in (("axis", "deg"), ("x", "px"), ("y", "px")):
        row(f"mean error of {name} against {reference}", "signed", name, unit=unit)
    row("axis predicted from z, R^2 (should be 0)", "angle_from_z")
    row("light explained by the reconstruction, in the channel where least", "explained", "median", unit="%")
    if first["kept"]:
        lines.append("of the light's power the reconstruction keeps, noise's own taken off")
        for order, label in WORDS.items():
            row(f"  {label} (order {order})", "kept", "around", order, "kept", unit="%")
        for cycles in first["kept"]["fine"]:
            row(f"  what is {cycles} cycles along the window", "kept", "fine", cycles, "kept", unit="%")
        row("z, nats", "kept", "nats", "sum")
    row("galaxies with none of the model's flags", "flags", "none", "share", unit="%")
    row("  turn test: theta over 360 deg", "flags", "none", "turn", unit="deg")
    row("  flipped", "flags", "none", "turn", "flips", unit="%")
    if "probe" in first:
        known = first["probe"]
        what = f"{known['column']} of {known['galaxies']} galaxies predicted"
        left_out = f", {known['left_out']} left out (no label, or one of fewer than five)" if known["left_out"] else ""
        lines.append(f"{what}{left_out}: {known['score']} (same when turned)")
        for name in [name for name, value in known.items() if isinstance(value, dict) and "score" in value]:
            row(f"  from {name}", "probe", name)
    return "\n".join(lines)


def _cell(figures: dict[str, Any], path: tuple[str, ...], unit: str) -> str:
    value: Any = figures
    for key in path:
        value = None if value is None else value[key]
    if value is None:
        return "-"
    if isinstance(value, dict) and "score" in value:
        same = value["same_when_turned"]
        return f"{value['score']:.3f}" + ("" if same is None else f" ({100 * same:.1f} %)")
    if isinstance(value, dict) and "mean" in value:
        return f"{value['mean']:.3g} +- {value['error']:.2g} {unit}"
    if isinstance(value, dict):
        missing = f", {value['missing']} missing" if value["missing"] else ""
        return f"{value['median']:.3g} / {value['p84']:.3g} {unit}{missing}"
    return f"{100 * value:.1f} %" if unit == "%" else f"{value:.3f}"
