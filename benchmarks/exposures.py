"""Do the errors hold between two real exposures, and against the truth? Simulated, through the commands alone.

    python benchmarks/exposures.py RUN -o DIR [-n 400] [--seed 21] [--set simulate.KEY=VALUE ...]

Each galaxy is drawn twice, the second time by a camera that was turned and moved, each time with the noise of an
exposure of its own: no pixel is resampled, none is noisier than the sky made it. (``galvae verify`` must do with one
exposure of real galaxies, to which it adds noise.) Then ``galvae ingest`` and ``galvae catalog`` of both. What is
printed and written to DIR/exposures.json is what ``galvae verify`` says, but that every pixel is one of the originals;
the turn test is between the exposures. The catalog has no covariance of dx and dy, so theirs is left out.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from functools import reduce
from operator import or_
from pathlib import Path

import numpy as np
from astropy.table import Table

from galvae.data.simulate import write_cutout
from galvae.data.survey import field
from galvae.data.truth import truth_of, truth_table
from galvae.inference.oddities import MODEL_FLAGS
from galvae.recipe import load_recipe
from galvae.verify.measured import Found, Measured, Reference
from galvae.verify.summary import summarize
from galvae.verify.text import as_text


def galvae(*arguments: str | Path) -> None:
    subprocess.run([sys.executable, "-m", "galvae", *map(str, arguments)], check=True)


def catalog_of(run: str, folder: Path) -> Table:
    galvae("ingest", folder, "-o", folder.with_suffix(".store"), "-q")
    galvae("catalog", run, folder.with_suffix(".store"), "-o", folder.with_suffix(".ecsv"), "-q")
    return Table.read(folder.with_suffix(".ecsv"))


def said(catalog: Table) -> Found:
    """What a catalog says, lengths in original pixels."""
    value = {name: np.ma.filled(catalog[name].astype(float), np.nan) for name in catalog.colnames if name != "id"}
    variance = np.stack([value["dx_err"], value["dy_err"]], 1) ** 2
    names = ("theta", "theta_err", "p_alt", "orientation", "orientation_err", "axis_ratio")
    unchecked = np.full(len(catalog), np.nan)  # the truth's axis ratio is that before the point spread function
    return Found(
        *(value[name] for name in names), unchecked, value["semimajor_sigma"], value["semimajor_sigma_err"],
        np.stack([value["dx"], value["dy"]], 1), variance[:, :, None] * np.eye(2),
        np.asarray(catalog["z"]), value["explained"], np.asarray(catalog["flags"]) & int(reduce(or_, MODEL_FLAGS)),
    )  # fmt: skip


def compare(first: Table, second: Table, truth: Table, turn: np.ndarray, move: np.ndarray) -> Measured:
    """Galaxies in both catalogs; `turn` (deg), then `move` (original pixels), are of all in the truth."""
    known = [np.asarray(table["id"]).astype(str) for table in (first, second, truth)]
    both = np.intersect1d(*known[:2])
    one, other, rows = (np.argsort(ids)[np.searchsorted(np.sort(ids), both)] for ids in known)
    start, end, truth, turn = said(first[one]), said(second[other]), truth[rows], turn[rows]
    axis, place = np.asarray(truth["orientation"]), np.stack([truth["dx"], truth["dy"]], 1)
    unknown = np.full(len(truth), np.nan)
    kind = np.asarray(truth["kind"]).astype(str)
    reference = Reference(axis, np.asarray(truth["axis_ratio"]), unknown, place, axis, kind)
    # Turned first and moved then is moved first, by that turned back.
    cos, sin = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    x, y = move[rows].T
    shift = np.stack([cos * x + sin * y, cos * y - sin * x], 1)
    brightness, snr = 10 ** (-0.4 * np.asarray(truth["mag"])), np.asarray(truth["snr"])
    return Measured(rows, start, end, start, end, reference, turn, shift, brightness, snr)


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
    catalogs = [catalog_of(arguments.run, folder) for folder in folders]
    figures = {arguments.run: summarize(compare(*catalogs, truth_table(truth, {}), turn, move))}
    (arguments.output / "exposures.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    print(as_text(figures, "the truth"))


if __name__ == "__main__":
    main()
