"""Readers: one module for each format, behind one contract.

Planning (:func:`galvae.data.readers.plan.plan`) lists :class:`Item` s, small and picklable, one for each
galaxy, in an order that never varies. Each format's module has ``load(place, settings) -> Cutout``, which
raises ``ValueError`` or ``OSError`` with the reason where an input gives no galaxy. The format is chosen by
what a file holds, not by its ending.
"""

from __future__ import annotations

from importlib import import_module

from galvae.data.readers.base import Cutout, Item, Place
from galvae.data.settings import IngestSettings

__all__ = ["Cutout", "Item", "Place", "load"]


def load(item: Item, settings: IngestSettings) -> Cutout:
    """Read the pixels of one galaxy.

    Raises
    ------
    ValueError, OSError
        With the reason, where it cannot be read.
    """
    return import_module(f"galvae.data.readers.{item.reader}").load(item.place, settings)
