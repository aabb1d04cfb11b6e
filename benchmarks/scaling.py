"""Cost of training against the number of galaxies, the window and Z: images a second and resident memory.

    python benchmarks/scaling.py [STORE] [--galaxies 1000 10000 100000 1000000] [--windows 32 64 128 256]
                                 [--latents 2 20 200] [--recipe galaxy-zoo-cpu] [--steps 8]

Each case is a process of its own, and trains on some steps after a first one. More galaxies than STORE holds are its
parts linked again and again, under the same identifiers: a store that is larger than memory is read in the background.
``begin_seconds`` is what comes before the first step. Without a STORE, and for the windows, images are noise.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from roofline import noise_store, take_steps

from galvae.data.store import ImageStore, part_path
from galvae.device import choose_device
from galvae.recipe import load_recipe
from galvae.training.trainer import Trainer


def linked(store: Path, folder: Path, galaxies: int) -> Path:
    """A store of at least so many galaxies: the parts of another, linked as often as it takes."""
    description = json.loads((store / "store.json").read_text())
    parts, once = [], [part for part in description["parts"] if part["galaxies"]]
    while sum(part["galaxies"] for part in parts) < galaxies:
        number = len(parts)
        which = description["parts"].index(once[number % len(once)])
        os.symlink(part_path(store.resolve(), which), part_path(folder, number))
        parts.append(description["parts"][which])
    (folder / "store.json").write_text(json.dumps({**description, "parts": parts}))
    return folder


def case(store: Path, recipe: str, changes: list[str], steps: int) -> dict[str, Any]:
    start = time.perf_counter()
    trainer = Trainer(ImageStore(store), load_recipe(recipe, changes), device=choose_device())
    trainer.take_step()
    begin = time.perf_counter() - start
    seconds = take_steps(trainer, steps)
    held = trainer.training.held
    trainer.batches.close()
    memory = Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]
    return {
        "images_per_second": round(steps * trainer.batch / seconds, 1), "begin_seconds": round(begin, 2),
        "resident_GB": round(int(memory) * 1024 / 1e9, 3), "held": held,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path, nargs="?")
    parser.add_argument("--recipe", default="galaxy-zoo-cpu")
    parser.add_argument("--galaxies", type=int, nargs="*", default=[1_000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--windows", type=int, nargs="*", default=[32, 64, 128, 256])
    parser.add_argument("--latents", type=int, nargs="*", default=[2, 20, 200])
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--case", nargs="*", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.case is not None:
        print(json.dumps(case(chosen.store, chosen.recipe, chosen.case, chosen.steps)))
        return

    def measure(name: str, value: int, store: Path, *changes: str) -> None:
        words = [store, "--recipe", chosen.recipe, "--steps", chosen.steps, "--case", *changes]
        done = subprocess.run(
            [sys.executable, __file__, *map(str, words)], check=True, stdout=subprocess.PIPE, text=True
        )
        print(json.dumps({"against": name, "value": value, **json.loads(done.stdout)}), flush=True)

    batch = load_recipe(chosen.recipe).train.batch
    with tempfile.TemporaryDirectory() as scratch:

        def folder(name: str) -> Path:
            path = Path(scratch, name)
            path.mkdir()
            return path

        store = chosen.store
        if store is None:
            store = noise_store(folder("noise"), galaxies=1000, field=128, crop="random").path
        for count in chosen.galaxies:
            measure("galaxies", count, linked(store, folder(f"galaxies{count}"), count))
        for window in chosen.windows:
            field = 2 * window
            made = noise_store(folder(f"window{window}"), galaxies=2 * batch + 60, field=field, crop="random").path
            changes = f"ingest.window={window}", f"ingest.field={field}", f"train.pixels={window**2 * 3 // 64}"
            measure("window", window, made, *changes)
        for latents in chosen.latents:
            measure("latents", latents, store, f"model.latents={latents}")


if __name__ == "__main__":
    main()
