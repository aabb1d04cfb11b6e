"""``galvae probe``: how much of a label a straight line finds in z."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from galvae.cli.options import (
    CatalogFile,
    Json,
    Overwrite,
    Quiet,
    Sheet,
    SheetStore,
    check_sheet,
    json_text,
    print_result,
    sheet_images,
)

EACH = 4  # galaxies told rightly, and as many told wrongly, of each class on the sheet


def probe(
    catalog: CatalogFile,
    table: Annotated[Path, typer.Argument(metavar="TABLE", help="Any table with labels by identifier.")],
    label: Annotated[str, typer.Option(metavar="COLUMN", help="Its column of classes.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="DIR", help="A folder for the figures, as JSON and drawn.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the folds and draws.")] = 0,
    store: SheetStore = None,
    sheet: Sheet = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Predict a label from z: cross-validated, with few labels, and beside it from what needs no z."""
    from galvae.files import check_output, write_atomically
    from galvae.stages import refuse_inside

    if output:
        check_output(output, overwrite=overwrite)
        refuse_inside(output, str(output / "probe"))
    check_sheet(store, sheet, overwrite=overwrite)

    from galvae.catalog import read_catalog
    from galvae.progress import say
    from galvae.uses.probe import examples
    from galvae.uses.probe import probe as predict
    from galvae.uses.text import probe_text

    galaxies = read_catalog(catalog)
    images = sheet_images(store, galaxies)
    found, predicted = predict(galaxies, table, label, seed=seed)
    if found["left_out"]:
        say(f"{found['left_out']} galaxies have no label of use, or no content, and are left out", quiet=quiet)
    if output:
        from galvae.plots import save
        from galvae.uses.figures import confusion, learning

        output.mkdir(parents=True, exist_ok=True)
        save(confusion(found), output / "confusion.png")
        save(learning(found), output / "learning.png")
        write_atomically(output / "probe.json", json_text(found, indent=1) + "\n")
    if images:
        import numpy as np

        from galvae.inference.sheets import save_sheet

        chosen = examples(predicted, EACH).ravel()
        titles = [f"{predicted.labels[n]}: {100 * predicted.own[n]:.0f}%, said {predicted.said[n]}" for n in chosen]
        save_sheet(
            sheet, images, galaxies, np.where(chosen < 0, -1, predicted.rows[chosen]), titles,
            heading=f"{label}: surest (left) and most wrongly told (right) of each class", columns=2 * EACH,
        )  # fmt: skip
    print_result(found, probe_text(found), as_json=as_json)
