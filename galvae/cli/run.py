"""``galvae run``: a recipe from beginning to end."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from galvae.cli.options import Changes, Quiet


def run(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="Name of a shipped recipe, or a path.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder for everything.")],
    sources: Annotated[list[Path] | None, typer.Argument(metavar="[SOURCE...]", help="Files to ingest.")] = None,
    changes: Changes = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    quiet: Quiet = False,
) -> None:
    """Run the stages of a recipe in order; those that are unchanged are skipped."""
    from galvae.pipeline import run_recipe
    from galvae.recipe import load_recipe

    for stage, path, made in run_recipe(
        load_recipe(recipe, changes or ()), sources or [], output, device=device, quiet=quiet
    ):
        print(f"{stage:9} {path}{'' if made else '  (unchanged)'}", flush=True)
