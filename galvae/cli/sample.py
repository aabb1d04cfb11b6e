"""``galvae sample`` and ``galvae interpolate``: pictures out of a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from galvae.cli.options import Overwrite, refuse_existing

Output = Annotated[Path, typer.Option("--output", "-o", metavar="OUT", help="Ends in .png, .fits or .npy.")]
Size = Annotated[int | None, typer.Option(min=2, help="Pixels along a side; the window's by default.")]


def sample(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    output: Output,
    n: Annotated[int, typer.Option("-n", min=1, help="How many.")] = 64,
    seed: Annotated[int, typer.Option(min=0, help="The same seed, the same galaxies.")] = 0,
    size: Size = None,
    overwrite: Overwrite = False,
) -> None:
    """Draw galaxies from the prior, at theta = 0 and shift = 0."""
    refuse_existing(output, overwrite)

    from galvae.inference.model import load
    from galvae.sampling import save_images

    save_images(output, load(run).sample(n, seed=seed, size=size))
    print(output)


def interpolate(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    store: Annotated[Path, typer.Argument(help="An image store.")],
    first: Annotated[str, typer.Argument(metavar="ID1", help="Identifier of a galaxy in the store.")],
    second: Annotated[str, typer.Argument(metavar="ID2", help="Identifier of another.")],
    output: Output,
    steps: Annotated[int, typer.Option(min=2, help="Images, both ends included.")] = 8,
    size: Size = None,
    overwrite: Overwrite = False,
) -> None:
    """Decode the line between the content vectors of two galaxies."""
    refuse_existing(output, overwrite)

    from galvae.data.store import ImageStore
    from galvae.inference.checks import check_fits
    from galvae.inference.model import Model
    from galvae.sampling import interpolate as line
    from galvae.sampling import save_images
    from galvae.training.checkpoint import load_model

    vae, description = load_model(run)
    model, images = Model(vae, description), ImageStore(store)
    check_fits(vae, description, images)
    ends = model.encode(images.images(images.rows_of([first, second])), oversample=images.ingest["oversample"])
    save_images(output, line(model, *ends.z, steps=steps, size=size), columns=steps)
    print(output)
