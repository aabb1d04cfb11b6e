"""``galvae train``: fit a spatial-VAE to an image store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from galvae.cli.options import (
    Changes,
    Device,
    Json,
    Overwrite,
    Quiet,
    RecipeName,
    chosen_recipe,
    print_result,
    say_how_to_go_on,
)

if TYPE_CHECKING:
    import torch

    from galvae.data.store import ImageStore
    from galvae.inference.settings import CatalogSettings


def train(
    store: Annotated[Path, typer.Argument(help="An image store, from galvae ingest.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="RUN", help="Run folder to write.")],
    recipe: RecipeName = None,
    changes: Changes = None,
    device: Device = "auto",
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the run's checkpoint.")] = False,
    max_steps: Annotated[int | None, typer.Option(min=1, help="Stop after so many steps.")] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train a spatial-VAE: store -> run folder (model, metrics, figures)."""
    from galvae.files import check_output
    from galvae.stages import holds

    check_output(output, overwrite=overwrite or resume)
    if output.is_dir() and any(output.iterdir()) and not holds(output, "recipe.toml", "model.json"):
        raise FileExistsError(f"{output}: holds something else than a training; choose another output")
    own = output / "recipe.toml"
    settings = chosen_recipe(recipe, changes, default=str(own) if resume and own.is_file() else None)

    from galvae.data.store import ImageStore
    from galvae.device import choose_device
    from galvae.inference.oddities import calibrate
    from galvae.model.settings import bound
    from galvae.training.checkpoint import STATE
    from galvae.training.fit import fit
    from galvae.training.team import team_of

    images = ImageStore(store)
    with say_how_to_go_on(output / STATE), team_of(choose_device(device)) as (team, where):
        last = fit(images, settings, output, device=where, team=team, resume=resume, max_steps=max_steps, quiet=quiet)
    if not team.leads:
        return
    held_out = f"{bound(settings.model.likelihood)} of galaxies held out {last['validation_elbo']:.1f} nats"
    print_result({"run": str(output), **last}, f"{output}: {last['step']} steps, {held_out}", as_json=as_json)
    calibrate(output, images, device=where, quiet=quiet)
    _draw(output, images, settings.catalog, where, quiet)


def _draw(run: Path, images: ImageStore, settings: CatalogSettings, device: torch.device, quiet: bool) -> None:
    """Leave the figures in the run folder; the training is worth keeping without them."""
    import shlex

    from galvae.progress import say

    figures = run / "figures"
    again = shlex.join(["galvae", "plot", str(run), str(images.path), "-o", str(figures), "--overwrite"])
    try:
        from galvae.inference.figures import plot_run

        drawing = plot_run(
            run, figures, store=images, settings=settings, device=device, overwrite=True, quiet=quiet
        )  # fmt: skip
        for _ in drawing:
            pass
    except Exception as error:
        say(f"{figures}: not all drawn ({type(error).__name__}: {error}); the training is whole. To draw: {again}")
    except BaseException:
        say(f"interrupted; the training is whole, its figures are not. To draw them: {again}")
        raise
