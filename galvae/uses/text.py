"""What a catalog is used for, as text and as plain values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from astropy.table import Table

from galvae.flags import Flag

MISSING = (
    "The catalog has no colours, magnitudes or concentrations; galvae verify --label measures colours on the images."
)


def as_rows(table: Table) -> list[dict[str, Any]]:
    """Rows of a table as plain values by name."""
    columns = {name: np.asarray(table[name]).tolist() for name in table.colnames}
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def as_text(table: Table) -> str:
    """A table to read: columns of which nothing is known are left out, flags are named."""
    rows = as_rows(table)
    names = [name for name in table.colnames if any(row[name] == row[name] for row in rows)]
    return aligned([names, *([_cell(name, row[name]) for name in names] for row in rows)])


def _cell(name: str, value: Any) -> str:
    if name == "flags":
        return (Flag(value).name or "").lower().replace("|", " ")
    if isinstance(value, float):
        return f"{value:.5f}" if name in ("ra", "dec") else f"{value:.4g}"
    return str(value)


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as they must be, numbers to the right, the last one to the left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    last = len(widths) - 1
    return "\n".join(
        "  ".join(cell.ljust(width) if number == last else cell.rjust(width)
                  for number, (cell, width) in enumerate(zip(row, widths, strict=True))).rstrip()
        for row in rows
    )  # fmt: skip


def probe_text(found: dict[str, Any]) -> str:
    """What :func:`galvae.uses.probe.probe` finds, to read."""
    classes = found["classes"]
    counts = ", ".join(f"{name} {count}" for name, count in classes.items())
    sources = {"z": "z"} | ({"form": ", ".join(found["beside"])} if "form" in found else {})
    rows = [["balanced accuracy", *sources.values()]]
    rows += [["all labels, cross-validated", *(f"{found[s]['score']:.3f} +- {found[s]['error']:.3f}" for s in sources)]]
    for points in zip(*(found[source]["learning"] for source in sources), strict=True):
        told = [f"{one['score']:.3f} +- {one['spread']:.3f}" for one in points]
        rows.append([f"{points[0]['labels']} labels, mean and spread", *told])
    table = [["label \\ predicted from z", *classes]]
    table += [
        [name, *(f"{count:.0f}" for count in line)]
        for name, line in zip(classes, found["z"]["confusion"], strict=True)
    ]  # fmt: skip
    first = f"{found['label']} of {found['galaxies']} galaxies: {counts}; by chance {found['chance']:.3f}"
    return "\n".join([first, aligned(rows), aligned(table), MISSING])
