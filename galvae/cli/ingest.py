"""``galvae ingest``: files -> image store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from galvae.cli.options import (
    Changes,
    Json,
    Limit,
    Overwrite,
    Quiet,
    RecipeName,
    Table,
    Workers,
    chosen_recipe,
    print_result,
    say_how_to_go_on,
)


def ingest(
    sources: Annotated[list[Path], typer.Argument(metavar="SOURCE...", help="Files, folders, zip archives.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="STORE", help="Image store to write, a folder.")],
    recipe: RecipeName = None,
    changes: Changes = None,
    table: Table = None,
    workers: Workers = None,
    limit: Limit = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where an ingest was interrupted.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Make the first input that is skipped an error.")] = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Ingest cutouts (FITS, JPEG, PNG, HDF5, zip), stacks (MRC, STAR) or digits (idx): files -> image store."""
    from galvae.files import check_output

    check_output(output, overwrite=True)  # what may be there, the ingest knows best
    settings = chosen_recipe(recipe, changes).ingest

    from galvae.data.ingest import ingest as run
    from galvae.data.ingest import say_skipped, summary

    with say_how_to_go_on(output / "plan.json"):
        done = run(
            sources, output, settings,
            table=table, workers=workers, limit=limit, resume=resume, overwrite=overwrite, strict=strict,
            quiet=quiet,
        )  # fmt: skip
    say_skipped(done, quiet=as_json)
    print_result({"store": str(output), **done}, f"{output}: {summary(done)}", as_json=as_json)
