"""``galvae plot``: figures of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from galvae.cli.options import Device, Json, Overwrite, Quiet, RunFolder, catalog_settings, print_results


def plot(
    run: RunFolder,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="A folder for the figures.")],
    store: Annotated[Path | None, typer.Argument(help="An image store: its galaxies are shown too.")] = None,
    device: Device = "auto",
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Draw training curves and the prior; with a store also reconstructions, canonical views, latents, orientations."""
    from galvae.files import check_output
    from galvae.stages import refuse_inside

    check_output(output, overwrite=True)  # other pictures may be there
    refuse_inside(output, str(output / "figures"))

    from galvae.data.store import ImageStore
    from galvae.device import choose_device
    from galvae.inference.figures import plot_run

    images = None if store is None else ImageStore(store)
    drawn = plot_run(
        run, output, store=images, settings=catalog_settings(run, None, None), device=choose_device(device),
        overwrite=overwrite, quiet=quiet,
    )  # fmt: skip
    print_results(({"figure": str(path)} for path in drawn), lambda result: result["figure"], as_json=as_json)
