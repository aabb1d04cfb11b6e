"""``galvae simulate``: write a synthetic survey with known truth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from galvae.cli.options import Changes, Overwrite, Quiet, RecipeName, chosen_recipe


def simulate(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder to write.")],
    n: Annotated[
        int | None, typer.Option("-n", min=1, help="Number of galaxies [default: the recipe's, or 600].")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Which survey; galaxy k is the same whatever -n.")] = 0,
    recipe: RecipeName = None,
    changes: Changes = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; they do not change the files.")] = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Write a synthetic survey with known truth: FITS cutouts in g, r, i and truth.ecsv."""
    settings = chosen_recipe(recipe, changes).simulate

    from galvae.data import simulate as survey

    n = n or settings.galaxies or 600

    truth = survey.simulate(output, n, seed=seed, settings=settings, workers=workers, overwrite=overwrite, quiet=quiet)
    count = {kind: int((truth["kind"] == kind).sum()) for kind in ("elliptical", "disk", "spiral")}
    print(output / survey.TRUTH)
    print(
        f"{n} galaxies in g, r, i: {', '.join(f'{number} {kind}' for kind, number in count.items())}; "
        f"r = {truth['mag'].min():.1f} to {truth['mag'].max():.1f} mag"
    )
