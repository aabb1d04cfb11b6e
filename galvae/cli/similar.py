"""``galvae similar``: the galaxies most like one."""

from __future__ import annotations

from typing import Annotated

import typer

from galvae.cli.options import (
    CatalogFile,
    Json,
    ListFile,
    Overwrite,
    Quiet,
    Sheet,
    SheetStore,
    check_sheet,
    keep_list,
    print_result,
    sheet_images,
)


def similar(
    catalog: CatalogFile,
    identifier: Annotated[str, typer.Argument(metavar="ID", help="Identifier of a galaxy in the catalog.")],
    k: Annotated[int, typer.Option("-k", min=1, help="How many galaxies.")] = 10,
    output: ListFile = None,
    store: SheetStore = None,
    sheet: Sheet = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """List the galaxies that are nearest to one in z, and how many errors they are apart."""
    from galvae.files import check_output
    from galvae.tableio import FORMATS

    if output:
        check_output(output, FORMATS, overwrite=overwrite)
    check_sheet(store, sheet, overwrite=overwrite)

    from galvae.catalog import read_catalog
    from galvae.uses.similar import similar as nearest
    from galvae.uses.text import as_rows, as_text

    galaxies = read_catalog(catalog)
    images = sheet_images(store, galaxies)
    found = nearest(galaxies, identifier, k=k)
    keep_list(
        found, galaxies, output, images, sheet, ["asked about", *(f"{d:.2f}" for d in found["distance"])],
        heading=f"Nearest to {identifier} in z", first=(identifier,), overwrite=overwrite, quiet=quiet,
    )  # fmt: skip
    told = {key: found.meta[key] for key in ("query", "latents", "left_out")} | {"similar": as_rows(found)}
    text = f"{as_text(found)}\napart: in errors of z, root mean square; two exposures of one galaxy are about 1 apart."
    print_result(told, text, as_json=as_json)
