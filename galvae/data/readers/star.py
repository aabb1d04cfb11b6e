"""STAR: RELION's tables of particles, which name the images of stacks and what is known of each."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from galvae.data.readers import mrc
from galvae.data.readers.base import Cutout, Item
from galvae.data.settings import IngestSettings

if TYPE_CHECKING:
    from pandas import DataFrame

_NAME, _GROUP = "rlnImageName", "rlnOpticsGroup"
_WHERE = re.compile(r"(?:(\d+)@)?(.+)")


def plan(path: str, settings: IngestSettings) -> Iterator[Item]:
    """One item for each particle, in the table's order, called as the table calls it (``000001@stack.mrcs``).

    Raises
    ------
    ValueError
        If the table cannot be read, or names no images; or the settings want colours.
    """
    names = _particles(path)[_NAME].astype(str).tolist()
    mrc.check_settings(path, settings)
    for row, name in enumerate(names):
        try:
            stack, number, found = _image(path, name)
        except (ValueError, OSError) as error:
            yield Item("unreadable", name, f"{path}::{name}", (str(error),))
        else:
            yield Item("star", name, f"{number:06d}@{stack}", (path, row, stack, number - 1, found))


def load(place: tuple[str, int, str, int, mrc.Layout], settings: IngestSettings) -> Cutout:
    """Read one particle.

    Raises
    ------
    ValueError, OSError
        If it cannot be read.
    """
    return mrc.load(place[2:], settings)


def columns(path: str, settings: IngestSettings) -> dict[str, np.ndarray]:
    """All that the table says, by RELION's names, and the size of a pixel, Angstrom: its own, else the stack's."""
    particles = _particles(path)
    found = {}
    for name in particles.columns.drop(_NAME):
        values = particles[name]
        found[name] = values.to_numpy() if values.dtype.kind in "iufb" else values.astype(str).to_numpy(dtype=str)
    return found | {"pixel_size_angstrom": _pixel_size(path, particles)}


def _pixel_size(path: str, particles: DataFrame) -> np.ndarray:
    if "rlnImagePixelSize" in particles:
        return particles["rlnImagePixelSize"].to_numpy(dtype=float)
    if {"rlnDetectorPixelSize", "rlnMagnification"} <= {*particles}:  # micrometres
        detector, magnification = (
            particles[f"rln{name}"].to_numpy(float) for name in ("DetectorPixelSize", "Magnification")
        )
        return detector * 1e4 / magnification
    sizes = []
    for name in particles[_NAME].astype(str):
        try:
            sizes.append(_image(path, name)[2].pixel_size)
        except (ValueError, OSError):
            sizes.append(float("nan"))
    return np.array(sizes)


def _image(path: str, name: str) -> tuple[str, int, mrc.Layout]:
    """Stack, number from 1 and layout of the image that a table names.

    Raises
    ------
    ValueError, OSError
        If there is no such image.
    """
    match = _WHERE.fullmatch(name.strip())
    if not match:
        raise ValueError("an empty image name; expected one like 000001@stack.mrcs")
    number, stack = int(match[1] or 1), _stack(path, match[2])
    found = mrc.layout(stack)
    if not 1 <= number <= found.count:
        raise ValueError(
            f"image {number} of {stack}, which holds {found.count}; take the stack that belongs to the table"
        )
    return stack, number, found


def _stack(path: str, name: str) -> str:
    """A stack by its name: from the folder of the table, or from one above it, as from RELION's project."""
    here = Path(path).parent
    for folder in (here, *Path(path).absolute().parent.parents):
        if (folder / name).is_file():
            return str(folder / name)
    raise FileNotFoundError(f"the stack {name} lies neither in the table's folder nor, by this path, in one above it")


def _particles(path: str) -> DataFrame:
    """The table of particles, with what the table of their optics says."""
    found = os.stat(path)
    return _read(path, found.st_size, found.st_mtime_ns)


@lru_cache(maxsize=2)
def _read(path: str, size: int, changed: int) -> DataFrame:
    try:
        import pandas
        import starfile
    except ImportError:
        raise ValueError(
            f"{path}: STAR files are read by the package starfile, not installed here: pip install 'galvae[em]'"
        ) from None
    try:
        blocks = starfile.read(path, always_dict=True, parse_as_string=[_NAME])
        # What is no loop, a table of one row, is a dict.
        tables = {
            name: pandas.DataFrame(block if hasattr(block, "columns") else [block]) for name, block in blocks.items()
        }
    except Exception as error:  # its parser raises whatever it stumbles over
        why = " ".join(f"{type(error).__name__}: {error}".split())
        raise ValueError(f"{path}: not a STAR file that can be read ({why}); write it again") from None
    particles = next((table for table in tables.values() if _NAME in table.columns), None)
    if particles is None or not len(particles):
        there = ", ".join(name or "without a name" for name in tables) or "none"
        raise ValueError(
            f"{path}: no table names images by _{_NAME} (its tables: {there}); take a STAR file of particles"
        )
    optics = tables.get("optics")
    if optics is not None and _GROUP in optics.columns and _GROUP in particles.columns:
        new = [name for name in optics.columns if name not in particles.columns]
        particles = particles.merge(optics[[_GROUP, *new]], how="left", on=_GROUP, validate="many_to_one")
    return particles.reset_index(drop=True)
