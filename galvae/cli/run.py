"""``galvae run``: a recipe from beginning to end."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from galvae.cli.options import Changes, Overwrite, Quiet, say_how_to_go_on


def run(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="Name of a shipped recipe, or a path.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder for everything.")],
    sources: Annotated[list[Path] | None, typer.Argument(metavar="[SOURCE...]", help="Files to ingest.")] = None,
    changes: Changes = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Run the stages of a recipe in order; those that are unchanged are skipped, unfinished ones gone on with."""
    from galvae.pipeline import run_recipe
    from galvae.recipe import load_recipe

    settings = load_recipe(recipe, changes or ())
    with say_how_to_go_on(output, resume=""):
        for stage, path, made in run_recipe(
            settings, sources or [], output, device=device, overwrite=overwrite, quiet=quiet
        ):
            print(f"{stage:9} {path}{'' if made else '  (unchanged)'}", flush=True)
