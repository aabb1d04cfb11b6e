"""The same galaxies once more, turned and moved by known amounts before any window is cut."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from galvae.data.store import ImageStore
from galvae.geometry import pixel_grid, pixels_to_grid, rotation
from galvae.labels import read_by_id
from galvae.windows import as_float


@dataclass(frozen=True)
class Copies:
    """Second views of N galaxies: their content is moved, then turned about the middle of the cutout.

    Parameters
    ----------
    turn
        Degrees counter-clockwise as displayed, shape (N,).
    shift
        Right and up, window pixels, shape (N, 2).
    images
        Their fields, where they were ingested from files of their own: a store, and which rows of it, shape (N,).
    """

    turn: np.ndarray
    shift: np.ndarray
    images: tuple[ImageStore, np.ndarray] | None = None

    def of(self, fields: Tensor, part: np.ndarray, oversample: int) -> Tensor:
        """The copies of the galaxies `part`, of which the `fields` (B, F, F, C) are at hand."""
        if self.images:
            store, rows = self.images
            return torch.from_numpy(store.images(rows[part])).to(fields.device)
        return turned(fields, np.radians(self.turn[part]), self.shift[part] * oversample)


def random_copies(count: int, *, move: float, seed: int) -> Copies:
    """Copies to be made from the fields, turned by any angle and moved by up to `move` window pixels in x and in y."""
    random = np.random.default_rng(seed)
    return Copies(random.uniform(0, 360, count), random.uniform(-move, move, (count, 2)))


def ingested_copies(again: ImageStore, table: str | Path, store: ImageStore, rows: np.ndarray) -> Copies:
    """Copies that were made as files and ingested into a store of their own.

    Parameters
    ----------
    again
        Their store.
    table
        How they were made: columns ``id``, ``turn`` (degrees counter-clockwise as displayed, about the middle of the
        cutout) and ``dx``, ``dy`` (a move before it, right and up, pixels of the original).
    store, rows
        The galaxies as they are.

    Raises
    ------
    ValueError
        If a galaxy, or a column, is missing, or the copies are of another scale.
    """
    for key in ("pixels", "invert", "field", "oversample"):
        if again.ingest.get(key) != store.ingest.get(key):
            raise ValueError(
                f"{again.path}: was ingested with {key} = {again.ingest.get(key)}, but {store.path} with "
                f"{store.ingest.get(key)}; ingest the copies as the galaxies were"
            )
    made = rows_of(table, ("turn", "dx", "dy"), store.column("id")[rows])
    place = {str(identifier): number for number, identifier in enumerate(again.column("id"))}
    ids = [str(identifier) for identifier in store.column("id")[rows]]
    absent = [identifier for identifier in ids if identifier not in place]
    if absent:
        raise ValueError(
            f"{again.path}: holds no copy of galaxy {absent[0]} and {len(absent) - 1} others of {store.path}"
        )
    shift = np.stack([made["dx"], made["dy"]], 1) / window_pixel(store, rows)[:, None]
    return Copies(made["turn"], shift, (again, np.array([place[identifier] for identifier in ids])))


def rows_of(
    path: str | Path, columns: tuple[str, ...], ids: np.ndarray, *, text: tuple[str, ...] = ()
) -> dict[str, np.ndarray]:
    """Number columns of a table, and those of `text`, empty where there is none, for the galaxies of these identifiers.

    Raises
    ------
    ValueError
        If a galaxy, or a column, is missing.
    """
    table, place = read_by_id(path, columns)
    absent = [identifier for identifier in ids if str(identifier) not in place]
    if absent:
        raise ValueError(f"{path}: no row for galaxy {absent[0]} and {len(absent) - 1} others of the store")
    chosen = table[[place[str(identifier)] for identifier in ids]]
    numbers = {name: np.ma.filled(np.ma.asarray(chosen[name]).astype(float), np.nan) for name in columns}
    known = [name for name in text if name in table.colnames]
    nothing = {name: np.full(len(ids), "") for name in text if name not in known}
    return numbers | nothing | {name: np.ma.filled(np.ma.asarray(chosen[name]).astype(str), "") for name in known}


def window_pixel(store: ImageStore, rows: np.ndarray) -> np.ndarray:
    """Original pixels that a window pixel covers, shape (N,)."""
    affine = store.column("affine")[rows][:, :, :2]
    return np.sqrt(np.abs(np.linalg.det(affine))) * store.ingest["oversample"]


def turned(fields: Tensor, angle: np.ndarray, offset: np.ndarray) -> Tensor:
    """Fields whose content is moved by `offset` field pixels (N, 2) and then turned by `angle` radians (N,), as floats.

    Cubic: linear interpolation would blur a nucleus that is hardly wider than pixels.
    """
    values = as_float(fields).permute(0, 3, 1, 2)
    angle, move = (torch.from_numpy(value).to(values) for value in (angle, pixels_to_grid(offset, fields.shape[1])))
    points = pixel_grid(fields.shape[1]).to(values) @ rotation(-angle) - move[:, None]
    found = functional.grid_sample(
        values, points.unflatten(1, values.shape[2:]), mode="bicubic", padding_mode="border", align_corners=True
    )
    found = found if fields.is_floating_point() else found.clamp(0, 1)
    return found.permute(0, 2, 3, 1).contiguous()
