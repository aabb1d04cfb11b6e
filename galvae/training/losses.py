"""Losses that are not finite: found some steps later, so that steps need not wait for the host."""

from __future__ import annotations

import torch
from torch import Tensor

from galvae.data.store import ImageStore
from galvae.training.team import Team


class Diverged(ValueError):
    """The loss of a step is not finite."""


class Losses:
    """The losses of steps that have not been looked at yet.

    Parameters
    ----------
    store
        Whose galaxies they are of.
    batch
        How many galaxies a step has, of all processes.
    team
        The processes that train together: they look at the same steps.
    """

    def __init__(self, store: ImageStore, batch: int, team: Team) -> None:
        self.store, self.batch, self.team = store, batch, team
        self._steps: list[tuple[int, Tensor, Tensor]] = []

    def __len__(self) -> int:
        return len(self._steps)

    def note(self, step: int, galaxy: Tensor, elbo: Tensor) -> None:
        """Keep those of a step, with each one's index in the store."""
        self._steps.append((step, galaxy, elbo))

    def check(self) -> None:
        """Look at them.

        Raises
        ------
        Diverged
            If one is not finite: says which step and which galaxies.
        """
        looked, self._steps = self._steps, []
        found = [(step, galaxy[~torch.isfinite(elbo)].unique().tolist()) for step, galaxy, elbo in looked]
        if not self.team.any(any(rows for _, rows in found)):
            return
        found = self.team.gathered([(step, rows) for step, rows in found if rows])
        first = min(step for step, _ in found)
        rows = sorted({row for step, rows in found if step == first for row in rows})
        ids = self.store.column("id")[rows]
        named = ", ".join(map(str, ids[:5])) + (f" and {len(ids) - 5} more" if len(ids) > 5 else "")
        raise Diverged(
            f"the loss is not finite at step {first} for {len(ids)} of {self.batch} galaxies "
            f"({named}); lower train.learning_rate, or look at these images"
        )
