"""``galvae verify``: what to ask of a run before believing its catalog."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from galvae.cli.options import Device, Json, Overwrite, Quiet, RunFolder, json_text, print_result
from galvae.runs import run_path


def verify(
    run: RunFolder,
    store: Annotated[Path, typer.Argument(help="An image store.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="A folder for a page, pictures and the figures."),
    ] = None,
    truth: Annotated[Path | None, typer.Option(help="A table of true orientation, axis_ratio, dx, dy by id.")] = None,
    against: Annotated[
        list[Path] | None,
        typer.Option(metavar="RUN", parser=run_path, help="Another run on the same galaxies, known to none."),
    ] = None,
    copies: Annotated[
        Path | None,
        typer.Option(metavar="STORE", help="The same galaxies, turned and moved as files and ingested again."),
    ] = None,
    moves: Annotated[
        Path | None,
        typer.Option(metavar="TABLE", help="How: id, dx, dy (moved first, original pixels), turn (deg)."),
    ] = None,
    label: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Predict this column from z, and from what needs no model.")
    ] = None,
    table: Annotated[
        Path | None, typer.Option(metavar="T", help="Where it is, if it was not joined when the store was ingested.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many galaxies.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Of the turns, moves and noise.")] = 0,
    device: Device = "auto",
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Axis, centre, the turn test, whether errors hold: on galaxies that the run was not trained on."""
    from galvae.files import check_output, write_atomically
    from galvae.stages import refuse_inside

    if (copies is None) != (moves is None):
        raise ValueError("--copies and --moves go together: a store, and the table of how its galaxies were moved")
    if table and not label:
        raise ValueError("--table without --label; name the column to predict")
    if output:
        check_output(output, overwrite=overwrite)
        refuse_inside(output, str(output / "verify"))

    from galvae.data.store import ImageStore
    from galvae.training.trainer import choose_device
    from galvae.verify.measure import verify as measure

    images = ImageStore(store)
    measured = measure(
        [run, *(against or ())], images,
        truth=truth, copies=(ImageStore(copies), moves) if copies else None, label=label, table=table,
        limit=limit, seed=seed, device=choose_device(device), quiet=quiet,
    )  # fmt: skip
    found = {name: figures for name, (figures, _) in measured.items()}
    text = _table(found, "the truth" if truth else "adaptive moments")
    if output:
        from galvae.verify.page import FIGURES, write_page

        output.mkdir(parents=True, exist_ok=True)
        name, (figures, details) = next(iter(measured.items()))
        write_page(output, name, figures, details, images, text=text)
        write_atomically(output / FIGURES, json_text(found, indent=1) + "\n")
    print_result(found, text, as_json=as_json)


def _table(found: dict[str, dict[str, Any]], reference: str) -> str:
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
    for kind in first["axis_by_kind"]:
        row(f"  of kind {kind}", "axis_by_kind", kind, unit="deg")
    row(f"axis ratio against {reference}", "axis_ratio")
    row(f"centre against {reference}", "centre", unit="px")
    row("turn test: theta over 360 deg, elongated", "turn_elongated", unit="deg")
    row("  flipped", "turn_elongated", "flips", unit="%")
    row("turn test: theta over 360 deg, round", "turn_round", unit="deg")
    row("  flipped", "turn_round", "flips", unit="%")
    row("turn test: axis, elongated", "turn_axis_elongated", unit="deg")
    row("turn test: centre", "move", unit="px")
    row("turn test: z drift over z's spread, RMS", "z_drift")
    row("  median", "z_drift_median")
    for name, label in (("theta", "theta"), ("dx", "dx"), ("dy", "dy"), ("orientation", "axis")):
        row(f"within one error: {label}", "coverage", name, "68", unit="%")
        row("within two errors", "coverage", name, "95", unit="%")
    row("galaxies with a rival (p_alt above 0.1)", "rivals", "flagged", unit="%")
    row("flipped between two exposures", "rivals", "exposures_flipped", unit="%")
    row("  of those said to have a rival", "rivals", "of_those_flagged", unit="%")
    for name, unit in (("axis", "deg"), ("x", "px"), ("y", "px")):
        row(f"mean error of {name} against {reference}", "signed", name, unit=unit)
    row("axis predicted from z, R^2 (should be 0)", "angle_from_z")
    row("light explained by the reconstruction", "explained", "median", unit="%")
    row("galaxies with none of the model's flags", "flags", "none", "share", unit="%")
    row("  turn test: theta over 360 deg", "flags", "none", "turn", unit="deg")
    row("  flipped", "flags", "none", "turn", "flips", unit="%")
    if "probe" in first:
        known = first["probe"]
        what = f"{known['column']} of {known['galaxies']} galaxies predicted"
        lines.append(f"{what}: {known['score']} (same when turned)")
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
