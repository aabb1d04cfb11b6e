"""``galvae train``: fit a spatial-VAE to an image store."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from galvae.cli.options import Changes, Json, Overwrite, Quiet, RecipeName, chosen_recipe, refuse_existing


def train(
    store: Annotated[Path, typer.Argument(help="An image store, from galvae ingest.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="RUN", help="Run folder to write.")],
    recipe: RecipeName = None,
    changes: Changes = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the run's checkpoint.")] = False,
    max_steps: Annotated[int | None, typer.Option(min=1, help="Stop after so many steps.")] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train a spatial-VAE: store -> run folder (model, metrics)."""
    refuse_existing(output, overwrite, resume=resume)
    own = output / "recipe.toml"
    settings = chosen_recipe(recipe, changes, default=str(own) if resume and own.is_file() else None)

    from galvae.data.store import ImageStore
    from galvae.progress import say
    from galvae.training.checkpoint import STATE
    from galvae.training.fit import Stopped, fit
    from galvae.training.trainer import choose_device

    try:
        last = fit(
            ImageStore(store), settings, output,
            device=choose_device(device), resume=resume, max_steps=max_steps, quiet=quiet,
        )  # fmt: skip
    except BaseException as error:
        if not isinstance(error, Exception) and (output / STATE).is_file():
            again = [word for word in sys.argv[1:] if word not in ("--resume", "--overwrite")]
            say(f"stopped; what is done is saved. To go on: {shlex.join(['galvae', *again, '--resume'])}")
        if isinstance(error, Stopped):
            raise typer.Exit(128 + error.number) from None
        raise
    if as_json:
        import json

        print(json.dumps({"run": str(output), **last}))
    else:
        print(f"{output}: {last['step']} steps, pseudo-ELBO of galaxies held out {last['validation_elbo']:.1f} nats")
