"""``galvae train``: fit a spatial-VAE to an image store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from galvae.cli.options import (
    Changes,
    Json,
    Overwrite,
    Quiet,
    RecipeName,
    chosen_recipe,
    refuse_existing,
    say_how_to_go_on,
)


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
    from galvae.training.checkpoint import STATE
    from galvae.training.fit import fit
    from galvae.training.trainer import choose_device

    with say_how_to_go_on(output / STATE):
        last = fit(
            ImageStore(store), settings, output,
            device=choose_device(device), resume=resume, max_steps=max_steps, quiet=quiet,
        )  # fmt: skip
    if as_json:
        import json

        print(json.dumps({"run": str(output), **last}))
    else:
        print(f"{output}: {last['step']} steps, pseudo-ELBO of galaxies held out {last['validation_elbo']:.1f} nats")
