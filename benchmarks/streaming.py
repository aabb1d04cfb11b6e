"""Training steps on fields that are held on the device, and on the same fields read in the background, in one run.

    python benchmarks/streaming.py STORE [--recipe galaxy-zoo-cpu] [--set train.batch=16] [--steps 24] [--rounds 8]

The two take turns, each with a model of its own. What was begun to be read in a round is waited for in its time, so
that nothing is read while the other trains. `--piece` is what is read at once; rounds of several pieces tell more.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch

from galvae.data import dataset
from galvae.data.store import ImageStore
from galvae.device import choose_device
from galvae.recipe import load_recipe
from galvae.training.trainer import Trainer


class Watched(ImageStore):
    """A store that knows whether it is being read, and how fast."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.reading, self.seconds, self.galaxies = False, 0.0, 0

    def images(self, rows) -> np.ndarray:
        self.reading, start = True, time.perf_counter()
        found = super().images(rows)
        self.reading = False
        self.seconds += time.perf_counter() - start
        self.galaxies += len(found)
        return found

    def wait(self) -> None:
        """Until nothing is read: between two pieces a reader pauses for less than a millisecond."""
        quiet = 0
        while quiet < 3:
            quiet = 0 if self.reading else quiet + 1
            time.sleep(1e-3)


def round_of(trainer: Trainer, store: Watched, steps: int) -> np.ndarray:
    """Images per second, and per second of all the processor's threads."""
    start = np.array([time.perf_counter(), time.process_time()])
    for _ in range(steps):
        trainer.take_step()
    trainer.losses.check()
    if trainer.device.type == "cuda":
        torch.cuda.synchronize()
    store.wait()
    return steps * trainer.batch / (np.array([time.perf_counter(), time.process_time()]) - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store", type=Path)
    parser.add_argument("--recipe", default="galaxy-zoo-cpu")
    parser.add_argument("--set", action="append", default=[], help="change a key of the recipe")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--steps", type=int, default=24, help="of a round")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--piece", type=float, default=dataset.PIECE / 2**20, help="MiB read at once")
    chosen = parser.parse_args()
    dataset.PIECE = int(chosen.piece * 2**20)
    device, recipe = choose_device(chosen.device), load_recipe(chosen.recipe, chosen.set)
    stores = {name: Watched(chosen.store) for name in ("held", "streamed")}
    trainers = {
        name: Trainer(store, recipe, device=device, room=0 if name == "streamed" else 2**62)
        for name, store in stores.items()
    }
    for name, trainer in trainers.items():
        round_of(trainer, stores[name], 3)
    stores["streamed"].seconds = stores["streamed"].galaxies = 0
    found = {name: [] for name in trainers}
    for number in range(chosen.rounds):
        # Whoever is second in one round is first in the next: a drift of the machine's speed touches both alike.
        for name in sorted(trainers, reverse=bool(number % 2)):
            found[name].append(round_of(trainers[name], stores[name], chosen.steps))
    trainers["streamed"].batches.close()
    read = stores["streamed"]
    held, streamed = (np.array(found[name]) for name in trainers)
    ratio, ratio_of_work = np.median(streamed / held, axis=0)
    print(json.dumps({
        "recipe": chosen.recipe, "set": chosen.set, "device": str(device), "threads": torch.get_num_threads(),
        "steps": chosen.steps, "rounds": chosen.rounds, "batch": trainers["held"].batch,
        "batches_per_piece": trainers["streamed"].training.per_piece(trainers["streamed"].batch),
        "held_images_per_second": round(np.median(held[:, 0]), 1),
        "streamed_images_per_second": round(np.median(streamed[:, 0]), 1),
        "read_images_per_second": round(read.galaxies / read.seconds, 1) if read.galaxies else None,
        "ratio": round(ratio, 3), "ratios": (streamed / held)[:, 0].round(3).tolist(),
        # On a machine that others use too, the steadier figure: the same, were nothing done side by side.
        "ratio_of_processor_time": round(ratio_of_work, 3),
    }))  # fmt: skip


if __name__ == "__main__":
    main()
