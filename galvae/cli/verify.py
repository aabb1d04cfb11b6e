"""``galvae verify``: what to ask of a run before believing its catalog."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from galvae.cli.options import Device, Json, Overwrite, Quiet, json_text, print_result


def verify(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    store: Annotated[Path, typer.Argument(help="An image store.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE.json", help="Write the figures.")
    ] = None,
    truth: Annotated[Path | None, typer.Option(help="A table of true orientation, axis_ratio, dx, dy by id.")] = None,
    against: Annotated[
        Path | None, typer.Option(help="Another run, measured on the same galaxies: known to neither.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many galaxies.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Of the turns and moves.")] = 0,
    device: Device = "auto",
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Axis, centre and the turn test, on galaxies that the run was not trained on."""
    from galvae.files import check_output, write_atomically

    if output:
        check_output(output, (".json",), overwrite=overwrite)

    from galvae.data.store import ImageStore
    from galvae.training.trainer import choose_device
    from galvae.verify import verify as measure

    runs = [run] if against is None else [run, against]
    found = measure(
        runs, ImageStore(store),
        truth=truth, limit=limit, seed=seed, device=choose_device(device), quiet=quiet,
    )  # fmt: skip
    if output:
        write_atomically(output, json_text(found, indent=1) + "\n")
    print_result(found, _table(found, "the truth" if truth else "adaptive moments"), as_json=as_json)


def _table(found: dict[str, dict[str, Any]], reference: str) -> str:
    first = next(iter(found.values()))
    lines = [
        f"{first['galaxies']} galaxies not trained on, {first['elongated']} of them elongated (axis ratio < 0.7);"
        f" {first['unmeasured']} without an axis ratio to tell by; median / 84th percentile",
        f"{'':44}" + "".join(f"{name:>36}" for name in found),
    ]

    def row(label: str, *path: str, unit: str = "") -> None:
        lines.append(f"{label:44}" + "".join(f"{_cell(figures, path, unit):>36}" for figures in found.values()))

    row(f"axis against {reference}, elongated", "axis", unit="deg")
    row("  beyond 30 deg", "axis", "beyond_30", unit="%")
    row(f"axis ratio against {reference}", "axis_ratio")
    row(f"centre against {reference}", "centre", unit="px")
    row("turn test: theta over 360 deg, elongated", "turn_elongated", unit="deg")
    row("  flipped", "turn_elongated", "flips", unit="%")
    row("turn test: theta over 360 deg, round", "turn_round", unit="deg")
    row("turn test: axis, elongated", "turn_axis_elongated", unit="deg")
    row("turn test: centre", "move", unit="px")
    row("turn test: z drift over z's spread", "z_drift")
    return "\n".join(lines)


def _cell(figures: dict[str, Any], path: tuple[str, ...], unit: str) -> str:
    value: Any = figures
    for key in path:
        value = None if value is None else value[key]
    if value is None:
        return "-"
    if isinstance(value, dict):
        missing = f", {value['missing']} missing" if value["missing"] else ""
        return f"{value['median']:.2f} / {value['p84']:.2f} {unit}{missing}"
    return f"{100 * value:.0f} %" if unit == "%" else f"{value:.2f}"
