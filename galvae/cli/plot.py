"""``galvae plot``: figures of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from galvae.cli.options import Overwrite, Quiet


def plot(
    run: Annotated[Path, typer.Argument(help="A run folder, from galvae train.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="A folder for the figures.")],
    store: Annotated[Path | None, typer.Argument(help="An image store: its galaxies are shown too.")] = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Draw training curves and the prior; with a store also reconstructions, canonical views, latents, orientations."""
    from galvae.data.store import ImageStore
    from galvae.inference.figures import plot_run

    images = None if store is None else ImageStore(store)
    for path in plot_run(run, output, store=images, overwrite=overwrite, quiet=quiet):
        print(path)
