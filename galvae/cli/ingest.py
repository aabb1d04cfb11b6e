"""``galvae ingest``: files -> image store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from galvae.cli.options import Changes, Json, Overwrite, Quiet, RecipeName, chosen_recipe, say_how_to_go_on


def ingest(
    sources: Annotated[list[Path], typer.Argument(metavar="SOURCE...", help="Files, folders, zip archives.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="STORE", help="Image store to write, a folder.")],
    recipe: RecipeName = None,
    changes: Changes = None,
    table: Annotated[
        Path | None,
        typer.Option(metavar="T", help="Table with RA, Dec, pixel scale, labels, joined by id or file name."),
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes (default: as many as cores).")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Take only the first N galaxies.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where an ingest was interrupted.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Make the first input that is skipped an error.")] = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Ingest galaxy cutouts (FITS, JPEG, PNG, HDF5, zip): files -> image store."""
    settings = chosen_recipe(recipe, changes).ingest

    from galvae.data.ingest import ingest as run
    from galvae.data.ingest import summary
    from galvae.progress import say

    with say_how_to_go_on(output / "plan.json"):
        done = run(
            sources, output, settings,
            table=table, workers=workers, limit=limit, resume=resume, overwrite=overwrite, strict=strict,
            quiet=quiet,
        )  # fmt: skip
    if as_json:
        import json

        print(json.dumps({"store": str(output), **done}))
        return
    for cause, told in done["reasons"].items():
        say(f"skipped {told['first']}" if told["count"] == 1 else f"skipped {told['count']}: {cause}")
    if done["skipped"]:
        say("each is listed in the store's skipped table")
    print(f"{output}: {summary(done)}")
