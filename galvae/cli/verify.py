"""``galvae verify``: what to ask of a run before believing its catalog."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from galvae.cli.options import (
    Changes,
    Device,
    Json,
    Overwrite,
    Quiet,
    RunFolder,
    catalog_settings,
    json_text,
    print_result,
)
from galvae.runs import run_name, run_path


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
    changes: Changes = None,
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

    runs = [run, *(against or ())]
    settings = {str(one): catalog_settings(one, None, changes) for one in runs}

    from galvae.data.store import ImageStore
    from galvae.device import choose_device
    from galvae.verify.measure import verify as measure
    from galvae.verify.text import as_text

    images = ImageStore(store)
    measured = measure(
        runs, images, settings=settings,
        truth=truth, copies=(ImageStore(copies), moves) if copies else None, label=label, table=table,
        limit=limit, seed=seed, device=choose_device(device), quiet=quiet,
    )  # fmt: skip
    name_of = run_name if len({*map(run_name, runs)}) == len(runs) else str
    found = {name_of(path): figures for path, (figures, _) in measured.items()}
    text = as_text(found, "the truth" if truth else "adaptive moments")
    if output:
        from galvae.verify.page import FIGURES, write_page

        output.mkdir(parents=True, exist_ok=True)
        path, (figures, details) = next(iter(measured.items()))
        write_page(output, name_of(path), figures, details, images, text=text)
        write_atomically(output / FIGURES, json_text(found, indent=1) + "\n")
    print_result(found, text, as_json=as_json)
