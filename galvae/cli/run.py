"""``galvae run``: a recipe from beginning to end."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from galvae.cli.options import (
    Changes,
    Device,
    Json,
    Limit,
    Overwrite,
    Quiet,
    Table,
    Workers,
    print_results,
    say_how_to_go_on,
)


def run(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="Name of a shipped recipe, or a path.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder for everything.")],
    sources: Annotated[list[Path] | None, typer.Argument(metavar="[SOURCE...]", help="Files to ingest.")] = None,
    changes: Changes = None,
    table: Table = None,
    workers: Workers = None,
    limit: Limit = None,
    device: Device = "auto",
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run the stages of a recipe in order; those that are unchanged are skipped, unfinished ones gone on with."""
    from galvae.files import check_output
    from galvae.pipeline import run_recipe
    from galvae.recipe import load_recipe

    settings = load_recipe(recipe, changes or ())
    check_output(output, overwrite=True)  # what may be there, each stage knows
    with say_how_to_go_on(output, without=(), add=()):
        stages = run_recipe(
            settings, sources or [], output,
            table=table, workers=workers, limit=limit, device=device, overwrite=overwrite, quiet=quiet,
        )  # fmt: skip
        print_results(
            ({"stage": stage, "output": str(path), "made": made} for stage, path, made in stages),
            lambda done: f"{done['stage']:9} {done['output']}{'' if done['made'] else '  (unchanged)'}",
            as_json=as_json,
        )
