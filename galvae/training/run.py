"""The folder of a training: what it records, and how to go on from it."""

from __future__ import annotations

import json
import math
import resource
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from galvae.description import METRICS
from galvae.files import write_atomically
from galvae.recipe import Recipe
from galvae.stages import differing
from galvae.training.checkpoint import DESCRIPTION, load_state, save_model, save_state
from galvae.training.losses import Diverged
from galvae.training.trainer import Trainer
from galvae.version import version


def trained_recipe(recipe: Recipe) -> dict[str, Any]:
    """What of a recipe a training depends on, as the run folder records it; not how fast its steps are."""
    return recipe.model_dump(mode="json", include={"ingest", "model", "train"}, exclude={"train": {"compile", "chunk"}})


class RunFolder:
    """A run folder, the training that fills it, and its clock; :func:`galvae.training.fit.fit` lists what it raises.

    Only the process that leads writes.
    """

    def __init__(self, path: Path, trainer: Trainer) -> None:
        self.path, self.trainer = path, trainer
        self._origin = {"recipe": trained_recipe(trainer.recipe), "store": trainer.store.digest}
        self._lines: list[dict[str, Any]] = []
        self._spent = 0.0
        # Another run that is there stays as it is until this one is saved.
        self.replaces = (path / DESCRIPTION).is_file()

    def load(self) -> None:
        """Put the training where it was saved, if that is of the same store and recipe."""
        trainer = self.trainer
        state = load_state(self.path, trainer.vae, trainer.optimizers)
        if state["store"] != self._origin["store"]:
            raise ValueError(
                f"{self.path}: was trained on another store than {trainer.store.path}; "
                f"resume with the one it began with"
            )
        before, now = state["recipe"], self._origin["recipe"]
        for key in differing(before, now):
            table, _, name = key.partition(".")
            raise ValueError(
                f"{self.path}: was begun with {key} = {before[table].get(name)}, not {now[table].get(name)}; resume "
                f"without --recipe and --set, or begin again with --overwrite"
            )
        self.replaces = False
        # The order of the galaxies is the run's, whether or not they fit in memory today.
        trainer.batches.pool = state.get("pool", len(trainer.training))
        trainer.step, self._spent, self._lines = state["step"], state["seconds"], state["metrics"]
        trainer.sums += torch.tensor(state["sums"], dtype=torch.float64, device=trainer.device)

    def begin(self) -> None:
        """Start the clock; write the recipe and the metrics so far where no other run is replaced."""
        self._start = time.monotonic() - self._spent
        if not self.replaces and self.trainer.team.leads:
            self._open()

    def _open(self) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        write_atomically(self.path / "recipe.toml", self.trainer.recipe.to_toml())
        write_atomically(self.path / METRICS, "".join(json.dumps(line) + "\n" for line in self._lines))

    def save(self) -> None:
        """Write what going on needs, and the model as it is; neither if a parameter is not finite."""
        trainer = self.trainer
        if not trainer.is_finite():
            raise Diverged(f"a parameter is not finite before step {trainer.step}; lower train.learning_rate")
        if not trainer.team.leads:
            return
        progress = {
            "step": trainer.step, "seconds": time.monotonic() - self._start, "sums": trainer.sums.tolist(),
            "pool": trainer.batches.pool, "metrics": self._lines, **self._origin,
        }  # fmt: skip
        save_state(self.path, trainer.vae, trainer.optimizers, progress)
        if self.replaces:
            (self.path / DESCRIPTION).unlink()  # killed here, no mixture of two runs passes for one
            self._open()
            self.replaces = False
        self._save_model(finished=False)

    def end_epoch(self) -> dict[str, Any]:
        """Measure as is trained, on as many pixels and as precisely; the epoch's line of the metrics."""
        line = self._measure(pixels=self.trainer.recipe.train.pixels, precision=self.trainer.precision)
        self._lines.append(line)
        return line

    def end(self) -> dict[str, Any]:
        """Measure every pixel, in float32, and write the model; going on does not keep this line of the metrics."""
        line = self._measure(pixels=0, precision=None)
        # The model is last: what says that it is finished has its last line.
        if self.trainer.team.leads:
            self._save_model(finished=self.trainer.step == self.trainer.steps)
        return line

    def _save_model(self, *, finished: bool) -> None:
        date = datetime.now(UTC).isoformat(timespec="seconds")
        told = {
            "galvae": version(), **self._origin, "steps": self.trainer.step, "finished": finished, "date": date,
            "precision": str(self.trainer.precision or torch.float32).removeprefix("torch."),
        }  # fmt: skip
        save_model(self.path, self.trainer.vae, told, trained_on=self.trainer.trained_on)

    def _measure(self, *, pixels: int, precision: torch.dtype | None) -> dict[str, Any]:
        trainer, seconds = self.trainer, time.monotonic() - self._start
        unit = 1 if sys.platform == "darwin" else 1024
        held_out = trainer.validate(pixels=pixels, precision=precision)
        terms = trainer.means() | {f"validation_{name}": value for name, value in held_out.items()}
        line = {
            "epoch": -(-trainer.step // trainer.steps_per_epoch), "step": trainer.step,
            "seconds": round(seconds, 3), "images_per_second": round(trainer.step * trainer.batch / seconds, 1),
            **{name: value if math.isfinite(value) else None for name, value in terms.items()},  # as JSON has it
            "pixels": pixels or trainer.window**2,
            "resident_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit,
            "device_bytes": torch.cuda.max_memory_allocated(trainer.device) if trainer.device.type == "cuda" else 0,
        }  # fmt: skip
        if not self.replaces and trainer.team.leads:
            with (self.path / METRICS).open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        return line
