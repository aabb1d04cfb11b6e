"""``galvae winding``: teach a run which way arms wind."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from galvae.cli.options import Device, Json, Overwrite, Quiet, RunFolder, print_result


def winding(
    run: RunFolder,
    store: Annotated[Path, typer.Argument(help="An image store of the labelled galaxies, from galvae ingest.")],
    label: Annotated[str, typer.Option(metavar="COLUMN", help="Column of classes.")],
    s: Annotated[str, typer.Option("--s", metavar="CLASS", help="The class whose arms wind as an S, as displayed.")],
    z: Annotated[str, typer.Option("--z", metavar="CLASS", help="That whose arms wind as a Z.")],
    armless: Annotated[
        list[str] | None,
        typer.Option(metavar="CLASS", help="One without arms, of which it learns that it cannot tell (repeatable)."),
    ] = None,
    table: Annotated[
        Path | None, typer.Option(metavar="T", help="Table with the column, if it was not joined at ingest.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the training.")] = 0,
    device: Device = "auto",
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Teach a run which way arms wind, from labelled galaxies: its catalogs then have the column winding."""
    from galvae.data.store import ImageStore
    from galvae.device import choose_device
    from galvae.files import check_output
    from galvae.runs import run_name
    from galvae.training.checkpoint import load_model
    from galvae.training.winding import WINDING, handedness, learn_winding, save_winding, told
    from galvae.verify.probe import read_labels

    if (name := run_name(run)) != str(run):
        raise ValueError(
            f"{name}: comes with galvae and stays as it is; copy {run} and teach the copy, with --overwrite"
        )
    load_model(run)  # a run it must be
    images = ImageStore(store)
    labels = read_labels(images, range(len(images)), label, table)
    rows, sense = handedness(labels, s=s, z=z, armless=armless or ())
    if (run / WINDING).exists() and not overwrite:
        raise FileExistsError(f"{run}: was taught already ({WINDING}); add --overwrite to teach it anew")
    check_output(run / WINDING, (".safetensors",), overwrite=overwrite)
    learned = learn_winding(images, rows, sense, seed=seed, device=choose_device(device), quiet=quiet)
    found = {"column": label, "s": s, "z": z, "armless": armless or [], "seed": seed, **told(learned.odds, sense)}
    save_winding(run, learned.winding, found)
    print_result(
        {"winding": str(run / WINDING), **found},
        f"{run / WINDING}: of {found['galaxies']} galaxies with arms {100 * found['right']:.1f} +- "
        f"{100 * found['right_err']:.1f} % told rightly by networks that were not shown them",
        as_json=as_json,
    )
