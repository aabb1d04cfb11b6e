"""``galvae simulate``: write a synthetic survey with known truth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from galvae.cli.options import Changes, Json, Overwrite, Quiet, RecipeName, Workers, chosen_recipe, print_result


def simulate(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder to write.")],
    n: Annotated[
        int | None, typer.Option("-n", min=1, help="Number of galaxies [default: the recipe's, or 600].")
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, max=2**63 - 1, help="Which survey; galaxy k is the same whatever -n.")
    ] = 0,
    recipe: RecipeName = None,
    changes: Changes = None,
    workers: Workers = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a synthetic survey with known truth: FITS cutouts in g, r, i and truth.ecsv."""
    from galvae.files import check_output

    check_output(output, overwrite=overwrite)
    settings = chosen_recipe(recipe, changes).simulate

    from galvae.data import simulate as survey

    n = n or settings.galaxies or 600
    truth = survey.simulate(output, n, seed=seed, settings=settings, workers=workers, overwrite=overwrite, quiet=quiet)
    count = {kind: int((truth["kind"] == kind).sum()) for kind in ("elliptical", "disk", "spiral")}
    table, low, high = str(output / survey.TRUTH), float(truth["mag"].min()), float(truth["mag"].max())
    print_result(
        {"survey": str(output), "truth": table, "galaxies": n, "kinds": count, "r_mag": [low, high]},
        f"{table}\n"
        f"{n} galaxies in g, r, i: {', '.join(f'{number} {kind}' for kind, number in count.items())}; "
        f"r = {low:.1f} to {high:.1f} mag",
        as_json=as_json,
    )
