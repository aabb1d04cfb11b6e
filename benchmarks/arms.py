"""How strong are the arms of simulated spirals beside those of real ones?

    galvae ingest galaxy-zoo-1/images.zip -o gz1
    python benchmarks/arms.py sdss-rgb gz1 galaxy-zoo-1/labels.csv --label class --spirals cw_spiral acw_spiral -o DIR

Spirals are simulated without neighbours and stars, and measured as the real ones of a store are: prints percentiles
(16, 50, 84, 95) of the power in two arms, open and wound, and of how much more of it winds as one letter than as the
other, in the units of the run's z (of those that it was trained on the mean is 0 and the standard deviation 1).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch

from galvae.data.store import ImageStore
from galvae.model.vae import SpatialVAE
from galvae.training.checkpoint import load_model
from galvae.verify.probe import read_labels
from galvae.windows import View

# Among the latents that are measured (galvae.structure.structure).
NUMBERS = {"two arms, open": 7, "two arms, wound": 8, "S over Z": 13}


def measured(vae: SpatialVAE, store: ImageStore, rows: np.ndarray) -> np.ndarray:
    found = []
    for part in np.array_split(rows, -(-len(rows) // 128)):
        fields = torch.from_numpy(store.images(part))
        found.append(vae.measured(View.central(fields, vae.window, store.ingest["oversample"])).numpy())
    return np.concatenate(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("store", type=Path)
    parser.add_argument("table", type=Path, help="with a column id, objid ...")
    parser.add_argument("--label", required=True)
    parser.add_argument("--spirals", nargs="+", required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("-n", type=int, default=300)
    parser.add_argument("--seed", type=int, default=90)
    parser.add_argument("--set", action="append", default=[], dest="changes")
    arguments = parser.parse_args()
    vae, _ = load_model(arguments.run)
    store = ImageStore(arguments.store)
    labels = read_labels(store, np.arange(len(store)), arguments.label, arguments.table)
    rows = np.flatnonzero(np.isin(labels, arguments.spirals))
    if not len(rows):
        parser.error(f"no galaxy of {arguments.store} is {' or '.join(arguments.spirals)} in {arguments.table}")
    found = {"real": measured(vae, store, rows)}
    alone = ["simulate.spirals=1", "simulate.ellipticals=0", "simulate.neighbours=0", "simulate.stars=0"]
    options = [part for change in [*alone, *arguments.changes] for part in ("--set", change)]
    folder, made = arguments.output / "pictures", arguments.output / "store"
    for command in (
        ["simulate", "-o", folder, "-n", arguments.n, "--seed", arguments.seed, *options],
        ["ingest", folder, "-o", made],
    ):
        subprocess.run([sys.executable, "-m", "galvae", *map(str, command), "-q"], check=True)
    simulated = ImageStore(made)
    found["simulated"] = measured(vae, simulated, np.arange(len(simulated)))
    for name, number in NUMBERS.items():
        for kind, values in found.items():
            shares = np.percentile(
                np.abs(values[:, number]) if name == "S over Z" else values[:, number], [16, 50, 84, 95]
            )
            print(f"{name:16s} {kind:10s} {len(values):5d} " + " ".join(f"{share:6.2f}" for share in shares))


if __name__ == "__main__":
    with torch.inference_mode():
        main()
