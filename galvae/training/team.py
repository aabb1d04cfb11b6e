"""Several processes that train one model on its parts of each batch: ``torchrun -m galvae train``."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor, distributed, nn

Answer = TypeVar("Answer")
# Seconds that a process has to say that another is lost, once it has found that out and saved what it can.
_LAST_WORDS = 10


class Lost(OSError):
    """Another process of the training is not there any more."""


class Team:
    """The processes of a training, of which this is one; alone it has nobody to talk to.

    The galaxies of a step are those that one process alone would take, and all that is random about a galaxy is keyed
    by it: added up, what the processes find is what one would have found, but for rounding. What talks to the
    others is to be called by all of them.

    Parameters
    ----------
    rank
        Which process this is.
    size
        How many there are.
    """

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes and speaks."""
        return self.rank == 0

    @property
    def share(self) -> slice:
        """Which galaxies of a batch are this process's."""
        return slice(self.rank, None, self.size)

    def add(self, values: Tensor) -> None:
        """Replace values by their sums over the processes.

        Raises
        ------
        Lost
            If a process has ended.
        """
        if self.size > 1:
            with _heard():
                distributed.all_reduce(values)

    def add_gradients(self, parameters: Iterable[nn.Parameter], *, share: float) -> None:
        """Replace gradients by their means over the batch, of which this process saw a share; raises as :meth:`add`."""
        if self.size == 1:
            return
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        together = torch.cat([gradient.flatten() for gradient in gradients]) * share
        self.add(together)
        for gradient, mean in zip(gradients, together.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(mean.view_as(gradient))

    def any(self, flag: bool) -> bool:
        """Whether it is so for any of the processes; raises as :meth:`add`."""
        told = torch.tensor(int(flag))
        self.add(told)
        return bool(told)

    def gathered(self, values: list[Answer]) -> list[Answer]:
        """The lists of all processes, one behind the other; raises as :meth:`add`."""
        if self.size == 1:
            return values
        told: list[list[Answer]] = [[] for _ in range(self.size)]
        with _heard():
            distributed.all_gather_object(told, values)
        return [value for part in told for value in part]

    def align(self, module: nn.Module) -> None:
        """Take over the leading process's parameters, from which rounding may have led away; raises as :meth:`add`."""
        if self.size > 1:
            with _heard():
                for tensor in module.state_dict().values():
                    distributed.broadcast(tensor, 0)


ALONE = Team()


@contextmanager
def _heard() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # torch has no class of its own for a connection that is gone
        reason = str(error).splitlines()[0]
        raise Lost(
            f"another process of this training has ended ({reason}); see its error, and go on with --resume, on as "
            f"many processes as there are"
        ) from None


@contextmanager
def team_of(device: torch.device) -> Iterator[tuple[Team, torch.device]]:
    """The processes that ``torchrun`` started, or this one alone, and the device of this one.

    Processes meet here: none goes on before all have come. CUDA devices are taken by their number on the machine,
    and talk by NCCL; CPUs by gloo. A process out of which :class:`Lost` comes has ten seconds left.
    """
    if not distributed.is_torchelastic_launched():
        yield ALONE, device
        return
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    distributed.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
    try:
        distributed.barrier()
        yield Team(distributed.get_rank(), distributed.get_world_size()), device
        with _heard():
            distributed.barrier()  # nobody hangs up on one who still listens
    except Lost:
        # Torchrun is about to end us all: what happened is said first. The group is not destroyed, which might wait for
        # the lost one; and if anything else does, the system ends us.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(_LAST_WORDS)
        raise
    except BaseException:
        distributed.destroy_process_group()
        raise
    distributed.destroy_process_group()
