"""A store as training sees it: fields on the device where they fit, read in the background where they do not."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from itertools import chain, count
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from galvae.data.ahead import ahead
from galvae.data.store import ImageStore
from galvae.keyed import shuffled

# Bytes that are read at once, where fields are not held: three times as many are in memory, one in use and two ahead.
# A constant, for the order of an epoch depends on it: one told by the memory that is free would not come again.
PIECE = 128 * 2**20


class Fields:
    """Fields of some galaxies of a store.

    Parameters
    ----------
    store
        Where they are.
    rows
        Which ones, indices into the store.
    device
        Where batches are wanted.
    room
        Hold them on the device if they take at most so many bytes; None for half of the memory that is free there.
    """

    def __init__(self, store: ImageStore, rows: np.ndarray, *, device: torch.device, room: int | None = None) -> None:
        self.store, self.rows, self.device = store, rows, device
        self.index = torch.from_numpy(rows).to(device)
        self._held: Tensor | None = None
        if len(rows) * self.bytes_each <= (_room(device) if room is None else room):
            self._held = torch.empty((len(rows), *store.shape), dtype=getattr(torch, store.dtype.name), device=device)
            for start in range(0, len(rows), 512):
                part = store.images(rows[start : start + 512])
                self._held[start : start + 512] = torch.from_numpy(part).to(device)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def held(self) -> bool:
        """Whether they are on the device."""
        return self._held is not None

    @property
    def bytes_each(self) -> int:
        """Bytes of a field."""
        return int(np.prod(self.store.shape)) * self.store.dtype.itemsize

    def stream(self, pieces: Iterable[Sequence[Tensor]]) -> Generator[tuple[Tensor, Tensor], None, None]:
        """Batches in the order given: positions (B,) and fields (B, F, F, C), both on the device.

        Parameters
        ----------
        pieces
            Batches of positions on the CPU, those together that are read at once where fields are not held. The next
            two pieces are then read while one is in use.

        Raises
        ------
        OSError
            If a part of the store cannot be read: when the piece that needs it is due.
        """
        if self._held is not None:
            for piece in pieces:
                together = self._pinned(torch.cat(tuple(piece))).to(self.device, non_blocking=True)
                for which in together.split([*map(len, piece)]):
                    yield which, self._held[which]
            return
        with closing(ahead(self._read, pieces)) as read:
            # No name for a batch here: it would keep its piece in memory while the next one is waited for.
            yield from map(self._sent, chain.from_iterable(read))

    def _read(self, piece: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
        together, sizes = torch.cat(tuple(piece)), [*map(len, piece)]
        fields = torch.from_numpy(self.store.images(self.rows[together.numpy()]))
        return [*zip(self._pinned(together).split(sizes), self._pinned(fields).split(sizes), strict=True)]

    def _sent(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        which, fields = batch
        return which.to(self.device, non_blocking=True), fields.to(self.device, non_blocking=True)

    def _pinned(self, values: Tensor) -> Tensor:
        # From pinned memory alone is a copy to a device not waited for.
        return values.pin_memory() if self.device.type == "cuda" else values

    def per_piece(self, size: int) -> int:
        """How many batches of `size` galaxies are read at once."""
        return max(1, PIECE // (size * self.bytes_each))

    def in_order(self, size: int, *, share: slice = slice(None)) -> Generator[tuple[Tensor, Tensor], None, None]:
        """All our galaxies, or a share of them, in batches of `size`, the last one smaller; see :meth:`stream`."""
        batches, per_piece = torch.arange(len(self))[share].split(size), self.per_piece(size)
        return self.stream(batches[at : at + per_piece] for at in range(0, len(batches), per_piece))


class Batches:
    """The batches of a training: of each epoch's order, what is left of which by whole batches is left out.

    The order depends on the seed, the epoch, how many galaxies there are and `pool` alone, and says what the shuffle
    guarantees: :func:`galvae.keyed.shuffled`.

    Parameters
    ----------
    data
        The galaxies to train on.
    size
        Galaxies of a batch.
    seed
        Of the order.
    share
        Which galaxies of each batch are loaded and given, where several processes divide it: ``slice(rank, None, n)``.

    Attributes
    ----------
    per_epoch
        How many there are in an epoch.
    pool
        Within how many galaxies the order is shuffled: all where they are held, else those that are read at once.
        Another one is another training, so a run that goes on sets that with which it began.
    """

    def __init__(self, data: Fields, size: int, *, seed: int, share: slice = slice(None)) -> None:
        self.data, self.size, self.seed, self.share = data, size, seed, share
        self.per_epoch = len(data) // size
        self.pool = len(data) if data.held else data.per_piece(size) * size
        self._coming, self._stream = -1, data.stream(())

    def order(self, epoch: int) -> Tensor:
        """Positions among the galaxies of `data`, on the CPU, shape (per_epoch, size)."""
        order = shuffled(len(self.data), pool=self.pool, seed=self.seed, epoch=epoch)
        return order[: self.per_epoch * self.size].view(-1, self.size)

    def at(self, step: int) -> tuple[Tensor, Tensor]:
        """Positions and fields of our share of a step's batch; those of the steps after it are read meanwhile."""
        if step != self._coming:
            self.close()
            self._stream = self.data.stream(self._pieces(step))
        self._coming = -1  # where this one cannot be read
        found = next(self._stream)
        self._coming = step + 1
        return found

    def _pieces(self, step: int) -> Iterator[Tensor]:
        epoch, place = divmod(step, self.per_epoch)
        for later in count(epoch):
            yield from self.order(later)[place:, self.share].split(self.data.per_piece(self.size))
            place = 0

    def close(self) -> None:
        """Read no further; another call of `at` begins anew."""
        self._coming = -1
        self._stream.close()


def _room(device: torch.device) -> int:
    """Half of the memory that is free, in bytes."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] // 2
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable")) * 1024
        return free // (2 * int(os.environ.get("LOCAL_WORLD_SIZE", 1)))  # those that torchrun started load theirs too
    except (OSError, StopIteration):  # not Linux: take half of all as free
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 4
