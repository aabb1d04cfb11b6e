"""``galvae join``: a catalog with any other table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from galvae.cli.options import Json, Overwrite, Quiet, print_result


def join(
    catalog: Annotated[
        Path,
        typer.Argument(help="A catalog, or any table with its id, ra and dec.", show_default=False),
    ],
    other: Annotated[Path, typer.Argument(help="Any table: CSV, ECSV, FITS, VOTable, ...", show_default=False)],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="OUT", help="Joined table, format by ending.")],
    on: Annotated[str | None, typer.Option(metavar="COLUMN", help="Identifier column of OTHER.")] = None,
    radius: Annotated[float | None, typer.Option(metavar="ARCSEC", help="Largest separation on the sky.")] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Join a catalog with another table, by identifier or by separation on the sky."""
    from galvae.crossmatch import join as joined
    from galvae.files import check_output
    from galvae.progress import say
    from galvae.tableio import FORMATS, read_table, write_table

    check_output(output, FORMATS, overwrite=overwrite)
    table, summary = joined(read_table(catalog), read_table(other), on=on, radius=radius)
    write_table(table, output, overwrite=overwrite)
    for line in _lines(summary, other.name):
        say(line, quiet=quiet)
    print_result({"output": str(output), **summary}, str(output), as_json=as_json)


def _lines(summary: dict[str, Any], other: str) -> list[str]:
    matched = {side: summary[f"{side}_rows"] - summary[f"{side}_unmatched"] for side in ("catalog", "other")}
    lines = [
        f"matched {matched['catalog']} of {summary['catalog_rows']} galaxies of the catalog and "
        f"{matched['other']} of {summary['other_rows']} rows of {other}: {summary['matched_rows']} rows"
    ]
    if summary["catalog_repeated"]:
        lines.append(f"{summary['catalog_repeated']} galaxies match several rows of {other}: one row for each")
    if summary["other_repeated"]:
        lines.append(f"{summary['other_repeated']} rows of {other} match several galaxies: many-to-one")
    if summary["renamed"]:
        lines.append("renamed: " + ", ".join(f"{old} -> {new}" for old, new in summary["renamed"].items()))
    return lines
