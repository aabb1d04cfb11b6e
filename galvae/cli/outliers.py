"""``galvae outliers``: the most unusual galaxies of a catalog."""

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


def outliers(
    catalog: CatalogFile,
    k: Annotated[int, typer.Option("-k", min=1, help="How many galaxies.")] = 20,
    output: ListFile = None,
    store: SheetStore = None,
    sheet: Sheet = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """List the most unusual galaxies: far from others in z, badly explained, out of place, large, small; odd images."""
    from galvae.files import check_output
    from galvae.tableio import FORMATS

    if output:
        check_output(output, FORMATS, overwrite=overwrite)
    check_sheet(store, sheet, overwrite=overwrite)

    import numpy as np

    from galvae.catalog import read_catalog
    from galvae.uses.outliers import COUNTED, OF_FIELDS
    from galvae.uses.outliers import outliers as unusual
    from galvae.uses.text import as_rows, as_text

    galaxies = read_catalog(catalog)
    images = sheet_images(store, galaxies)
    found = unusual(galaxies, k=k)
    keep_list(
        found, galaxies, output, images, sheet,
        (f"{row['rank']}. {row['why']}" + (f": {row['detail']}" if row["detail"] else "") for row in found),
        heading="The most unusual galaxies", fields=np.isin(found["why"], OF_FIELDS), overwrite=overwrite, quiet=quiet,
    )  # fmt: skip
    told = {key: found.meta[key] for key in ("galaxies", "left_out")}
    text = f"{as_text(found)}\nIn the order of rarity times {COUNTED}."
    print_result({**told, "outliers": as_rows(found)}, text, as_json=as_json)
