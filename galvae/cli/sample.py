"""``galvae sample`` and ``galvae interpolate``: pictures out of a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from galvae.cli.options import Device, Json, Overwrite, Quiet, RunFolder, print_result

if TYPE_CHECKING:
    import numpy as np

Output = Annotated[Path, typer.Option("--output", "-o", metavar="OUT", help="Ends in .png, .fits or .npy.")]
Size = Annotated[int | None, typer.Option(min=2, help="Pixels along a side; the window's by default.")]

# --quiet is taken, as by every command that writes, though there is no progress to silence here.


def sample(
    run: RunFolder,
    output: Output,
    n: Annotated[int, typer.Option("-n", min=1, help="How many.")] = 64,
    seed: Annotated[int, typer.Option(min=0, help="The same seed, the same galaxies.")] = 0,
    size: Size = None,
    device: Device = "auto",
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Draw galaxies from the prior, at theta = 0 and shift = 0."""
    from galvae.files import check_output
    from galvae.sampling import IMAGES, save_images

    check_output(output, IMAGES, overwrite=overwrite)

    from galvae.device import choose_device
    from galvae.inference.model import load

    model = load(run, device=str(choose_device(device)))
    images = model.sample(n, seed=seed, size=size)
    save_images(output, images, display=model.display)
    _say_written(output, images, as_json)


def interpolate(
    run: RunFolder,
    store: Annotated[Path, typer.Argument(help="An image store.")],
    first: Annotated[str, typer.Argument(metavar="ID1", help="Identifier of a galaxy in the store.")],
    second: Annotated[str, typer.Argument(metavar="ID2", help="Identifier of another.")],
    output: Output,
    steps: Annotated[int, typer.Option(min=2, help="Images, both ends included.")] = 8,
    size: Size = None,
    device: Device = "auto",
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Decode the line between the content vectors of two galaxies."""
    from galvae.files import check_output
    from galvae.sampling import IMAGES, save_images
    from galvae.sampling import interpolate as line

    check_output(output, IMAGES, overwrite=overwrite)

    from galvae.data.store import ImageStore
    from galvae.device import choose_device
    from galvae.inference.checks import check_fits
    from galvae.inference.model import Model
    from galvae.training.checkpoint import load_model

    vae, description = load_model(run, device=choose_device(device))
    model, images = Model(vae, description), ImageStore(store)
    check_fits(vae, description, images)
    ends = model.encode(images.images(images.rows_of([first, second])), oversample=images.ingest["oversample"])
    found = line(model, *ends.z, steps=steps, size=size)
    save_images(output, found, columns=steps, display=model.display)
    _say_written(output, found, as_json)


def _say_written(output: Path, images: np.ndarray, as_json: bool) -> None:
    count, size = images.shape[:2]
    print_result({"output": str(output), "images": count, "size": size}, str(output), as_json=as_json)
