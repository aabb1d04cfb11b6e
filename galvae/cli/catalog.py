"""``galvae catalog``: run and store to an astropy table."""

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
    RecipeName,
    RunFolder,
    catalog_settings,
    print_result,
)


def catalog(
    run: RunFolder,
    store: Annotated[Path, typer.Argument(help="An image store, from galvae ingest.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="CATALOG", help="Ends in .ecsv, .fits, .vot, .parquet or .h5.")
    ],
    recipe: RecipeName = None,
    changes: Changes = None,
    device: Device = "auto",
    flat: Annotated[bool, typer.Option("--flat", help="z_00, z_01 ... instead of vector columns.")] = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write the catalog of a store: latents, orientation, centre, sky position, each with its error."""
    from galvae.files import check_output
    from galvae.tableio import FORMATS

    check_output(output, FORMATS, overwrite=overwrite)
    settings = catalog_settings(run, recipe, changes)

    from galvae.data.store import ImageStore
    from galvae.device import choose_device
    from galvae.inference.tables import make_catalog

    where = str(choose_device(device))
    made = make_catalog(
        run, ImageStore(store), settings, output, device=where, flat=flat, overwrite=overwrite, quiet=quiet
    )
    print_result({"catalog": str(output), **made}, f"{output}: {made['galaxies']} galaxies", as_json=as_json)
