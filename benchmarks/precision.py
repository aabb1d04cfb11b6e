"""What do bfloat16 and some of the pixels cost? The same steps in float32 with every pixel, and the gap of the ELBO.

    python benchmarks/precision.py STORE -o DIR [--recipe galaxy-zoo-cpu] [--seeds 3] [--set train.epochs=26 ...]

Trains each seed twice into DIR: ``plain-SEED`` in float32 with every pixel, ``fast-SEED`` in bfloat16 with as many
pixels as the recipe draws, each weighed by how rarely it is drawn (``train.unbiased``), so that both fit the same
bound; a run that is there and finished is not trained again, one that was begun is gone on with. A line of each run:
its ELBO of galaxies held out, of every pixel, and how far that is from the floor that pixels as probabilities set to
it (those of middle windows), in nats; at the end the gap between the two kinds as a share of that. ``galvae verify
DIR/plain-0 COPIES --against DIR/fast-0`` then compares axes and turn tests. On two cores an every-pixel run of the
default recipe takes about an hour.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from galvae.data.split import held_out
from galvae.data.store import ImageStore
from galvae.description import METRICS
from galvae.device import choose_device
from galvae.inference.evaluate import windows
from galvae.inference.figures import Selection
from galvae.paper.measure import entropy_of
from galvae.recipe import load_recipe
from galvae.stages import read_json
from galvae.training.checkpoint import DESCRIPTION, STATE, load_model
from galvae.training.fit import fit

KINDS = {"plain": ("train.precision=float32", "train.pixels=0"), "fast": ("train.precision=bfloat16",)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--recipe", default="galaxy-zoo-cpu")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], dest="changes")
    parser.add_argument("--device", default="auto")
    chosen = parser.parse_args()
    store, device = ImageStore(chosen.store), choose_device(chosen.device)
    above: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for seed in range(chosen.seeds):
        for kind, words in KINDS.items():
            run = chosen.output / f"{kind}-{seed}"
            recipe = load_recipe(chosen.recipe, [*chosen.changes, "train.unbiased=true", *words, f"train.seed={seed}"])
            if not read_json(run / DESCRIPTION).get("finished"):
                fit(store, recipe, run, device=device, resume=(run / STATE).is_file())
            vae, _ = load_model(run)
            rows = np.flatnonzero(held_out(store.column("id"), recipe.train.validation, seed=seed))
            floor = -entropy_of(windows(vae, Selection(store, rows))).sum((1, 2, 3)).mean()
            last = json.loads((run / METRICS).read_text().splitlines()[-1])
            above[kind].append(floor - last["validation_elbo"])
            told = {"steps": last["step"], "seconds": last["seconds"], "elbo": last["validation_elbo"]}
            print(json.dumps({"run": str(run), **told, "below_floor": above[kind][-1]}), flush=True)
    plain, fast = (np.array(above[kind]) for kind in KINDS)
    print(json.dumps({"gap": (fast / plain - 1).tolist(), "mean": float((fast / plain - 1).mean())}))


if __name__ == "__main__":
    main()
