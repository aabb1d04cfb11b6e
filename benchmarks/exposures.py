"""Do the errors hold between two real exposures, and against the truth? Simulated, through the commands alone.

    python benchmarks/exposures.py RUN -o DIR [-n 400] [--seed 21] [--set simulate.KEY=VALUE ...]

Each galaxy is drawn twice, the second time by a camera that was turned and moved, each time with the noise of an
exposure of its own: no pixel is resampled, none is noisier than the sky made it. (``galvae verify`` must do with one
exposure of real galaxies, to which it adds noise.) Then ``galvae ingest`` and ``galvae catalog`` of both; printed is
how often one error and two contain what they are about, and the catalog of the first against the truth. The catalog
has no covariance of dx and dy, so theirs is left out.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np
from astropy.table import Table

from galvae.data.simulate import write_cutout
from galvae.data.survey import field
from galvae.data.truth import truth_of, truth_table
from galvae.recipe import load_recipe

NUMBERS = ("theta", "theta_err", "dx", "dx_err", "dy", "dy_err", "orientation", "orientation_err")


def covers(pull: np.ndarray) -> str:
    pull = np.abs(pull[np.isfinite(pull)])
    return f"{(pull < 1).mean():4.0%} {(pull < 2).mean():4.0%} of {len(pull)}"


def spread(values: np.ndarray, unit: str) -> str:
    values = np.abs(values[np.isfinite(values)])
    return f"{np.median(values):.3f} / {np.percentile(values, 84):.3f} {unit} of {len(values)}"


def galvae(*arguments: str | Path) -> None:
    subprocess.run([sys.executable, "-m", "galvae", *map(str, arguments)], check=True)


def difference(a: np.ndarray, b: np.ndarray, period: float) -> np.ndarray:
    return (a - b + period / 2) % period - period / 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("-n", type=int, default=400)
    parser.add_argument("--seed", type=int, default=21)
    parser.add_argument("--move", type=float, default=10.0, help="up to so many pixels in x and in y")
    parser.add_argument("--set", action="append", default=[], dest="changes")
    arguments = parser.parse_args()
    settings = load_recipe("galaxy-zoo-cpu", arguments.changes, only="simulate").simulate
    random = np.random.default_rng(arguments.seed)
    turn = random.uniform(0, 360, arguments.n)
    move = random.uniform(-arguments.move, arguments.move, (arguments.n, 2))
    folders = [arguments.output / name for name in ("first", "second")]
    for folder in folders:
        folder.mkdir(parents=True)
    truth = []
    for number in range(arguments.n):
        seen = field(number, seed=arguments.seed, settings=settings)
        write_cutout(folders[0], seen, exposure=0)
        write_cutout(folders[1], seen.turned(turn[number], tuple(move[number])), exposure=1)
        truth.append(truth_of(seen))
    catalogs = []
    for folder in folders:
        galvae("ingest", folder, "-o", folder.with_suffix(".store"), "-q")
        galvae("catalog", arguments.run, folder.with_suffix(".store"), "-o", folder.with_suffix(".ecsv"), "-q")
        catalogs.append(Table.read(folder.with_suffix(".ecsv")))
    report(*catalogs, truth_table(truth, {}), turn, move)


def report(first: Table, second: Table, truth: Table, turn: np.ndarray, move: np.ndarray) -> None:
    known = [{str(name): number for number, name in enumerate(table["id"])} for table in (first, second, truth)]
    both = [name for name in known[0] if name in known[1]]
    first, second, truth, turn, move = (
        table[[place[name] for name in both]]
        for place, table in zip([*known, known[2], known[2]], (first, second, truth, turn, move), strict=True)
    )
    value = [{name: np.ma.filled(table[name], np.nan).astype(float) for name in NUMBERS} for table in (first, second)]
    a, b = value
    theta = difference(b["theta"] - a["theta"], turn, 360)
    flipped = ~(np.abs(theta) <= 90)
    print(f"theta between exposures: {spread(theta[~flipped], 'deg')}; flipped {flipped.mean():.1%}")
    pull = np.where(flipped, np.nan, theta / np.hypot(a["theta_err"], b["theta_err"]))
    print(f"  within errors: {covers(pull)}")
    q = np.asarray(truth["axis_ratio"])
    for low, high in ((0, 0.4), (0.4, 0.55), (0.55, 0.7), (0.7, 0.85), (0.85, 1.01)):
        print(f"    axis ratio {low}-{high}: {covers(pull[(q >= low) & (q < high)])}")
    cos, sin = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    x = b["dx"] - (cos * a["dx"] - sin * a["dy"] + move[:, 0])
    y = b["dy"] - (sin * a["dx"] + cos * a["dy"] + move[:, 1])
    of_x = np.sqrt((cos * a["dx_err"]) ** 2 + (sin * a["dy_err"]) ** 2 + b["dx_err"] ** 2)
    of_y = np.sqrt((sin * a["dx_err"]) ** 2 + (cos * a["dy_err"]) ** 2 + b["dy_err"] ** 2)
    print(f"centre between exposures: {spread(np.hypot(x, y), 'original px')}")
    print(f"  within errors: dx {covers(x / of_x)}, dy {covers(y / of_y)}")
    off = np.hypot(a["dx"] - truth["dx"], a["dy"] - truth["dy"])
    print(f"centre against truth: {spread(off, 'original px')}")
    axis = difference(a["orientation"], np.asarray(truth["orientation"]), 180)
    for kind in np.unique(truth["kind"]):
        which = (truth["kind"] == kind) & (q < 0.7)
        every = truth["kind"] == kind
        print(
            f"{kind}, elongated: axis against truth {spread(axis[which], 'deg')}, "
            f"mean {np.nanmean(axis[which]):+.3f} +- {np.nanstd(axis[which]) / np.sqrt(which.sum()):.3f}; "
            f"within errors {covers((axis / a['orientation_err'])[which])}; all axis ratios "
            f"{covers((axis / a['orientation_err'])[every])}"
        )
    print(f"elongated: axis against truth {spread(axis[q < 0.7], 'deg')}")


if __name__ == "__main__":
    main()
