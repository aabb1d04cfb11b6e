"""The engine of ``galvae ingest``: sources -> image store, part by part, in parallel, resumable."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import os
import re
import signal
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait as wait_for
from pathlib import Path
from typing import Any

from galvae.data.galaxy import make_part
from galvae.data.readers.base import Item
from galvae.data.readers.plan import plan
from galvae.data.settings import IngestSettings
from galvae.data.store import SCHEMA, part_path, read_part_summary, write_atomically
from galvae.data.table import SourceTable
from galvae.progress import Progress, say
from galvae.version import __version__

_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,18}")


def ingest(
    sources: Sequence[str | Path],
    store: str | Path,
    settings: IngestSettings,
    *,
    table: str | Path | None = None,
    workers: int | None = None,
    limit: int | None = None,
    resume: bool = False,
    overwrite: bool = False,
    strict: bool = False,
    quiet: bool = False,
) -> dict[str, Any]:
    """Make an image store from files.

    The store's datasets do not depend on `workers`, nor on whether the work was interrupted and resumed.

    Parameters
    ----------
    sources
        Files, folders and zip archives.
    store
        Folder to write.
    settings
        The ``[ingest]`` table.
    table
        A table that astropy reads, joined by identifier or file name.
    workers
        Processes; as many as this process may use cores where not given.
    limit
        Take the first so many galaxies.
    resume
        Make only the parts that an interrupted ingest left undone.
    overwrite
        Replace an existing store.
    strict
        Make the first input that is skipped an error.
    quiet
        No progress.

    Returns
    -------
    dict
        ``galaxies``, ``skipped``, ``reasons`` (a count of each), ``unmatched`` (galaxies without a row in `table`).

    Raises
    ------
    FileNotFoundError, FileExistsError, OSError
        If a source is not there or cannot be read, or a store is there already.
    ValueError
        If nothing could be ingested, or `resume` finds other inputs or settings than the ones it began with.
    """
    store = Path(store)
    if settings.crop == "fixed" and settings.window > settings.field:
        raise ValueError(
            f"ingest.window = {settings.window} is larger than ingest.field = {settings.field}; with crop = 'fixed' the "
            f"window must fit the field"
        )
    items = plan(sources, settings, limit=limit, exclude=store)
    rows = SourceTable.read(table, settings).match(items) if table else None
    integer = _all_integers(items)
    size = min(256, max(16, -(-len(items) // 16)))
    starts = range(0, len(items), size)
    seen, duplicates = {}, {}
    for index, item in enumerate(items):
        if item.reader != "unreadable" and seen.setdefault(item.id, index) != index:
            duplicates[index] = f"duplicate id {item.id}, first in {items[seen[item.id]].source}"
    del seen

    def part(number: int) -> tuple[Any, ...]:
        chosen = range(starts[number], min(starts[number] + size, len(items)))
        batch = [
            Item("unreadable", items[k].id, items[k].source, (duplicates[k],)) if k in duplicates else items[k]
            for k in chosen
        ]
        extra = rows.rows(chosen) if rows else None
        return part_path(store, number), batch, settings, integer, extra, strict

    identity = _digest(items, settings, rows)
    made_here = _begin(store, identity, sources, resume=resume, overwrite=overwrite)
    todo = [number for number in range(len(starts)) if not part_path(store, number).is_file()]
    try:
        with Progress("ingest", len(items), quiet=quiet) as progress:
            progress.advance(0)
            progress.done = len(items) - sum(len(part(number)[1]) for number in todo)
            for number in _run(part, todo, workers=_cores() if workers is None else workers):
                progress.advance(len(part(number)[1]))
    except ValueError:
        _clear(store, made_here)
        raise
    summaries = [read_part_summary(part_path(store, number)) for number in range(len(starts))]
    galaxies = sum(summary["galaxies"] for summary in summaries)
    reasons = Counter(_kind_of(reason) for summary in summaries for _, reason in summary["skipped"])
    skipped = sum(reasons.values())
    if not galaxies:
        _clear(store, made_here)
        raise ValueError(
            f"none of {skipped} inputs could be ingested: "
            + "; ".join(f"{count} x {reason}" for reason, count in reasons.most_common(3))
        )
    description = {
        "schema": SCHEMA,
        "galvae": __version__,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "shape": [settings.field * settings.oversample] * 2 + [3],
        "dtype": "uint8",
        "ingest": settings.model_dump(mode="json"),
        "sources": [str(source) for source in sources],
        "table": str(table) if table else None,
        "columns": summaries[0]["columns"],
        "galaxies": galaxies,
        "skipped": skipped,
        "parts": [
            {"galaxies": s["galaxies"], "skipped": len(s["skipped"]), "digest": s["digest"]} for s in summaries
        ],
    }
    write_atomically(store / "store.json", json.dumps(description, indent=1) + "\n")
    return {
        "galaxies": galaxies,
        "skipped": skipped,
        "reasons": dict(reasons.most_common()),
        "unmatched": rows.unmatched if rows else 0,
    }
