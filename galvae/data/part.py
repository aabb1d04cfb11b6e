"""One part of a store: each of its galaxies read, composed, laid on its field, and written."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from galvae.data.errorpage import is_error_page
from galvae.data.pixels import pixels_of
from galvae.data.prepare import fixed_window, frame, normalised, to_field
from galvae.data.readers import load
from galvae.data.readers.base import Cutout, Item
from galvae.data.settings import FLOATS, IngestSettings
from galvae.data.store import write_part
from galvae.flags import Flag

_LEAST = 8
# What may come from a server that answers with a page; digits drawn with a pen look like one.
_SERVED = ("pictures", "hdf5")


def make_part(
    path: Path, items: Sequence[Item], settings: IngestSettings, *,
    integer_ids: bool, table: Mapping[str, np.ndarray], strict: bool,
) -> int:  # fmt: skip
    """Make one part of a store.

    Parameters
    ----------
    path
        Where to write it.
    items
        Its galaxies.
    settings
        The ``[ingest]`` table.
    integer_ids
        Store the ids as int64.
    table
        Columns from elsewhere than the images, a value for each item; ``ra``, ``dec`` and ``pixel_scale`` among
        them are used where an image does not say.
    strict
        Raise for the first input that gives no galaxy, instead of listing it as skipped.

    Returns
    -------
    int
        How many inputs it is made of.

    Raises
    ------
    ValueError
        With `strict`, what was skipped and why.
    """
    fields: list[np.ndarray] = []
    rows: list[dict[str, Any]] = []
    kept: list[int] = []
    skipped: list[tuple[str, str]] = []
    for index, item in enumerate(items):
        known = {name: values[index] for name, values in table.items() if name in ("ra", "dec", "pixel_scale")}
        try:
            field, row = make_galaxy(item, settings, known)
        except (ValueError, OSError, MemoryError) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            if strict:
                raise ValueError(f"{item.source}: {reason}") from None
            skipped.append((item.source, reason))
        else:
            fields.append(field)
            rows.append(row)
            kept.append(index)
    columns: dict[str, Any] = {"id": np.array([int(row["id"]) for row in rows], np.int64)} if integer_ids else {}
    for name in rows[0] if rows else ():
        columns.setdefault(name, np.array([row[name] for row in rows]))
    if rows:
        columns |= {name: values[kept] for name, values in table.items() if name.startswith("table/")}
    write_part(path, fields, columns, skipped)
    return len(items)


def make_galaxy(
    item: Item, settings: IngestSettings, known: Mapping[str, float] | None = None
) -> tuple[np.ndarray, dict[str, Any]]:
    """Read one galaxy and lay it on its field.

    Parameters
    ----------
    item
        Where it is.
    settings
        The ``[ingest]`` table.
    known
        ``ra``, ``dec`` in degrees and ``pixel_scale`` in arcseconds from the user's table, NaN where not
        known; what the image itself says stands.

    Returns
    -------
    field
        Of the settings' type, shape (F, F, C), row 0 at the bottom.
    row
        Its columns, by name.

    Raises
    ------
    ValueError, OSError
        With the reason, where it gives no galaxy.
    """
    cutout = load(item, settings)
    ny, nx = cutout.size
    if min(ny, nx) < _LEAST:
        raise ValueError(f"{nx}x{ny} pixels show no galaxy; at least {_LEAST} along a side are wanted")
    for name, value in (known or {}).items():
        if np.isfinite(value) and not np.isfinite(getattr(cutout, name)):
            setattr(cutout, name, float(value))
    # Servers send colours; what is kept in grey may well be digits, which a page's letters are, too.
    served = item.reader in _SERVED and settings.pixels == "colour" and cutout.shrunk == 1
    if served and cutout.pixels.dtype == np.uint8 and is_error_page(cutout.pixels):
        raise ValueError("text or a plot rendered as a picture (a server's message, say), not a galaxy")
    pixels, told, flags = pixels_of(cutout, settings)
    if (pixels[0] == pixels[0, 0]).all() and (pixels == pixels[0, 0]).all():
        raise ValueError("every pixel has the same value")
    where = frame(cutout.size, settings)
    if where.covers > min(where.size):
        flags |= Flag.PADDED
    field = to_field(pixels, where)
    if settings.pixels in FLOATS:
        background = settings.pixels == "background-subtracted"
        field, told["mean"], told["std"] = normalised(field, where, background=background)
    row = {
        "id": item.id,
        "source": item.source,
        "size": np.array(where.size, np.int32),
        "affine": where.affine,
        "pixel_scale": cutout.pixel_scale,
        "wcs": cutout.wcs or (_north_up(cutout) if settings.north_up else ""),
        "flags": np.int32(flags),
        "window": np.array(fixed_window(item.id, settings) if settings.crop == "fixed" else (0, 0), np.int32),
        **told,
    }
    return field, row


def _north_up(cutout: Cutout) -> str:
    """Header of a TAN projection with North up and East left, the galaxy's position at the cutout's centre."""
    if not all(map(math.isfinite, (cutout.ra, cutout.dec, cutout.pixel_scale))):
        return ""
    from astropy.wcs import WCS

    ny, nx = cutout.size
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    wcs.wcs.crval = cutout.ra, cutout.dec
    wcs.wcs.crpix = (nx + 1) / 2, (ny + 1) / 2
    wcs.wcs.cdelt = -cutout.pixel_scale / 3600, cutout.pixel_scale / 3600
    wcs.wcs.radesys = "ICRS"
    return wcs.to_header_string()
