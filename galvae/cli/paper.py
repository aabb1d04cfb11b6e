"""``galvae paper``: the experiments of Bepler et al. 2019, each figure beside theirs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from galvae.cli.options import Device, Json, Overwrite, Quiet, print_result


def paper(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder of data, runs and results.")],
    experiments: Annotated[
        list[str] | None, typer.Argument(metavar="[EXPERIMENT...]", help="mnist, hinge, galaxy-zoo, em; all if none.")
    ] = None,
    scale: Annotated[str, typer.Option(help="quick: small; paper: the paper's own sizes, for a GPU.")] = "quick",
    mnist: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder of MNIST's idx files.")] = None,
    integrin: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder of two conformations (PDB).")] = None,
    galaxies: Annotated[Path | None, typer.Option(metavar="ZIP", help="Galaxy Zoo's JPEGs; simulated without.")] = None,
    minutes: Annotated[
        float | None, typer.Option(min=0.1, help="Stop after so many; the same command goes on.")
    ] = None,
    device: Device = "auto",
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run the experiments of Bepler et al. 2019: data, trainings, figures, and a table beside the paper's."""
    import shutil

    from galvae.files import check_output
    from galvae.stages import holds

    check_output(output, overwrite=True)  # what is done already is not done again
    if output.is_dir() and any(output.iterdir()) and not holds(output, "results.ecsv"):
        raise FileExistsError(f"{output}: holds something else than galvae paper makes; choose another output")

    from galvae.device import choose_device
    from galvae.paper.data import Sources
    from galvae.paper.experiments import EXPERIMENTS
    from galvae.paper.figures import draw
    from galvae.paper.results import TABLE, as_table, write
    from galvae.paper.work import OutOfTime, run_experiment
    from galvae.progress import say

    names = list(experiments or EXPERIMENTS)
    for name in names:
        if name not in EXPERIMENTS:
            raise ValueError(f"no experiment {name!r}; there are {', '.join(EXPERIMENTS)}")
    if scale not in ("quick", "paper"):
        raise ValueError(f"--scale {scale}: expected quick or paper")
    sources = Sources(mnist, integrin, galaxies)
    where = choose_device(device)
    output.mkdir(parents=True, exist_ok=True)
    for name in names if overwrite else ():
        shutil.rmtree(output / scale / name, ignore_errors=True)
    write(output, as_table(output))
    finished = True
    try:
        for name in names:
            done = run_experiment(
                name, output, scale=scale, sources=sources, device=where, minutes=minutes, quiet=quiet
            )  # fmt: skip
            for _ in done:
                write(output, as_table(output))
            draw(name, output, scale=scale, sources=sources, device=where)
    except OutOfTime:
        finished = False
        say(f"{minutes:g} minutes are over: the same command goes on from here")
    table = as_table(output)
    write(output, table)
    summary = {"results": str(output / TABLE), "rows": len(table), "finished": finished}
    print_result(summary, f"{output / TABLE}: {len(table)} rows", as_json=as_json)
