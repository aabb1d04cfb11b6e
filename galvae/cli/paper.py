"""``galvae paper``: the experiments of Bepler et al. 2019, each figure beside theirs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from galvae.cli.options import Device, Json, Overwrite, Quiet, print_result, say_how_to_go_on


def paper(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder of data, runs and results.")],
    experiments: Annotated[
        list[str] | None, typer.Argument(metavar="[EXPERIMENT...]", help="mnist, hinge, galaxy-zoo, em; all if none.")
    ] = None,
    scale: Annotated[str, typer.Option(help="quick: small; paper: the paper's own sizes, for a GPU.")] = "quick",
    mnist: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder of MNIST's idx files.")] = None,
    integrin: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder of two conformations (PDB).")] = None,
    galaxies: Annotated[Path | None, typer.Option(metavar="ZIP", help="Galaxy Zoo's JPEGs; simulated without.")] = None,
    only: Annotated[
        str | None, typer.Option(metavar="PATTERN", help="Only runs of such names: hinge-spatial-z1-s0, 'hinge-*-s0'.")
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(min=0.1, help="Stop after so many; the same command goes on.")
    ] = None,
    device: Device = "auto",
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run the experiments of Bepler et al. 2019: data, trainings, figures, and a table beside the paper's."""
    from galvae.files import check_output
    from galvae.stages import holds

    check_output(output, overwrite=True)  # what is done already is not done again
    if output.is_dir() and any(output.iterdir()) and not holds(output, "results.ecsv"):
        raise FileExistsError(f"{output}: holds something else than galvae paper makes; choose another output")

    from galvae.device import choose_device
    from galvae.paper.data import Sources
    from galvae.paper.experiments import EXPERIMENTS, select_jobs
    from galvae.paper.results import TABLE
    from galvae.paper.work import run_paper
    from galvae.progress import say

    names = list(experiments or EXPERIMENTS)
    for name in names:
        if name not in EXPERIMENTS:
            raise ValueError(f"no experiment {name!r}; there are {', '.join(EXPERIMENTS)}")
    if scale not in ("quick", "paper"):
        raise ValueError(f"--scale {scale}: expected quick or paper")
    wanted, where = select_jobs(names, scale, only), choose_device(device)
    with say_how_to_go_on(output, add=()):
        finished = run_paper(
            wanted, output, scale=scale, sources=Sources(mnist, integrin, galaxies), device=where, minutes=minutes,
            overwrite=overwrite, quiet=quiet,
        )  # fmt: skip
    if not finished:
        same = "the same command, without --overwrite," if overwrite else "the same command"
        say(f"{minutes:g} minutes are over: {same} goes on from here")
    print_result({"results": str(output / TABLE), "finished": finished}, str(output / TABLE), as_json=as_json)
