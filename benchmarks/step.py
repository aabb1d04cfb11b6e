"""Seconds and memory of a training step: every pixel against some of them, in one run.

    python benchmarks/step.py [--recipe paper/galaxy-zoo] [--pixels 512] [--steps 3]

Each case runs in a process of its own, on noise: what is in the images does not matter for the cost.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np


def make_store(folder: Path, *, galaxies: int, field: int, crop: str) -> None:
    from galvae.data.store import part_path, part_summary, write_part

    random = np.random.default_rng(0)
    images = random.integers(0, 256, (galaxies, field, field, 3), np.uint8)
    columns = {"id": np.arange(galaxies), "window": np.zeros((galaxies, 2), np.int32)}
    write_part(part_path(folder, 0), images, columns, [])
    description = {
        "schema": 1, "shape": [field, field, 3], "ingest": {"oversample": 1, "crop": crop},
        "columns": list(columns), "parts": [part_summary(part_path(folder, 0))],
    }  # fmt: skip
    (folder / "store.json").write_text(json.dumps(description))


def measure(store: Path, recipe: str, pixels: int, steps: int) -> dict[str, float]:
    import torch

    from galvae.data.store import ImageStore
    from galvae.device import choose_device
    from galvae.recipe import load_recipe
    from galvae.training.trainer import Trainer

    device = choose_device("auto")
    settings = load_recipe(recipe, [f"train.pixels={pixels}", "train.freeze_content=0"])
    trainer = Trainer(ImageStore(store), settings, device=device)
    trainer.take_step()
    start = time.perf_counter()
    for _ in range(steps):
        trainer.take_step()
    trainer.check()
    if device.type == "cuda":
        torch.cuda.synchronize()
    seconds = (time.perf_counter() - start) / steps
    return {
        "pixels": pixels or trainer.window**2,
        "images": trainer.batch,
        "seconds_per_step": seconds,
        "resident_GB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", default="paper/galaxy-zoo")
    parser.add_argument("--pixels", type=int, default=512)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--store", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.store:
        print(json.dumps(measure(chosen.store, chosen.recipe, chosen.pixels, chosen.steps)))
        return
    from galvae.recipe import load_recipe

    ingest = load_recipe(chosen.recipe).ingest
    with tempfile.TemporaryDirectory() as folder:
        make_store(Path(folder), galaxies=160, field=ingest.field, crop=ingest.crop)
        found = []
        for pixels in (0, chosen.pixels):
            command = [sys.executable, __file__, "--store", folder, "--recipe", chosen.recipe]
            done = subprocess.run(
                [*command, "--pixels", str(pixels), "--steps", str(chosen.steps)],
                check=True, stdout=subprocess.PIPE, text=True,
            )  # fmt: skip
            found.append(json.loads(done.stdout))
            print(json.dumps({"recipe": chosen.recipe, **found[-1]}))
    ratio = found[0]["seconds_per_step"] / found[1]["seconds_per_step"]
    print(json.dumps({"every_pixel_over_some": round(ratio, 2)}))


if __name__ == "__main__":
    main()
