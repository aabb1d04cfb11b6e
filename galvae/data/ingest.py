"""The engine of ``galvae ingest``: sources -> image store, part by part, in parallel, resumable."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from galvae.cores import cores
from galvae.data.contrast import darker_inside
from galvae.data.identity import digest_of
from galvae.data.part import make_part
from galvae.data.pool import ready_workers, run_in_processes
from galvae.data.readers.base import ROWS, Item
from galvae.data.readers.plan import plan
from galvae.data.settings import FLOATS, IngestSettings
from galvae.data.store import SCHEMAS, ImageStore, cause_of, part_path, part_summary
from galvae.data.workplace import begin, clear, replace
from galvae.files import write_atomically
from galvae.progress import Progress, say
from galvae.version import version

if TYPE_CHECKING:
    import numpy as np

    from galvae.data.table import Matched

_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,18}")


def ingest(
    sources: Sequence[str | Path], store: str | Path, settings: IngestSettings, *,
    table: str | Path | None = None, workers: int | None = None, limit: int | None = None,
    resume: bool = False, overwrite: bool = False, strict: bool = False, quiet: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Make an image store from files.

    The store's datasets depend neither on `workers` nor on whether the work was interrupted and resumed.

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
        Processes; where not given, as many as this process may use cores.
    limit
        Take only the first so many galaxies.
    resume
        Make only the parts that an interrupted ingest left undone.
    overwrite
        Replace an existing store, once the new one is whole.
    strict
        Make the first input that is skipped an error.
    quiet
        No progress.

    Returns
    -------
    dict
        ``galaxies``, ``skipped``, ``reasons`` (for each, how many and the first) and ``unmatched`` (how many
        galaxies without a row in `table`; None without one).

    Raises
    ------
    FileNotFoundError, FileExistsError, OSError
        If a source is not there or cannot be read, or a store is there already.
    ValueError
        If nothing can be ingested, or `resume` finds other inputs or settings than it began with.
    """
    store = Path(store)
    if settings.crop == "fixed" and settings.window > settings.field:
        raise ValueError(
            f"ingest.window = {settings.window} does not fit ingest.field = {settings.field}; "
            f"with ingest.crop = 'fixed' the window must lie inside the field"
        )
    if len(settings.bands) > 3:
        raise ValueError(f"ingest.bands = {', '.join(settings.bands)}: a composite has one to three bands, for R, G, B")
    workers = workers or cores()
    if workers > 1:
        ready_workers("galvae.data.part", "galvae.data.readers.pictures")
    items, matched = _planned(sources, settings, table=table, limit=limit)
    made_from = _identity(items, matched, settings)
    folder, fresh = begin(store, made_from, sources, resume=resume, overwrite=overwrite)
    columns = _labels(items, settings) | (matched.columns if matched else {})
    try:
        parts = _make_parts(folder, items, columns, settings, workers=workers, strict=strict, quiet=quiet)
        done = _finish(folder, parts, settings, sources, table, matched)
    except ValueError:
        if fresh:
            clear(folder)
        raise
    replace(folder, store)
    if settings.pixels in FLOATS and darker_inside(ImageStore(store)):
        say(
            f"warning: {store}: the middles of the images are darker than their borders; centre and axis are those of "
            f"what is brighter: ingest with --set ingest.invert={str(not settings.invert).lower()}"
        )
    return done


def _make_parts(
    store: Path, items: Sequence[Item], columns: Mapping[str, np.ndarray], settings: IngestSettings, *,
    workers: int, strict: bool, quiet: bool,
) -> list[Path]:  # fmt: skip
    """Make the parts of a store that are not there yet; where all of them lie."""
    size = min(256, max(16, -(-len(items) // 16)))
    starts = range(0, len(items), size)
    parts = {part_path(store, number): slice(start, start + size) for number, start in enumerate(starts)}
    todo = {path: rows for path, rows in parts.items() if not path.is_file()}
    integers = all(_is_int64(item.id) for item in items if item.reader != "unreadable")
    jobs = (
        (
            (path, items[rows], settings),
            {"integer_ids": integers, "table": {k: values[rows] for k, values in columns.items()}, "strict": strict},
        )
        for path, rows in todo.items()
    )
    with Progress("ingest", sum(len(items[rows]) for rows in todo.values()), quiet=quiet) as progress:
        for count in run_in_processes(make_part, jobs, workers=workers):
            progress.advance(count)
    return list(parts)


def _mark_duplicates(items: list[Item]) -> None:
    """Make every item whose id was met before unreadable, with that reason."""
    first: dict[str, int] = {}
    for number, item in enumerate(items):
        if item.reader != "unreadable" and first.setdefault(item.id, number) != number:
            reason = f"duplicate id: {item.id} is first in {items[first[item.id]].source}"
            items[number] = item._replace(reader="unreadable", place=(reason,))


def _is_int64(name: str) -> bool:
    return bool(_INTEGER.fullmatch(name)) and -(2**63) <= int(name) < 2**63


def identity(
    sources: Sequence[str | Path], settings: IngestSettings, *,
    table: str | Path | None = None, limit: int | None = None,
) -> str:  # fmt: skip
    """Digest of all that decides what a store holds, as :func:`ingest` with the same arguments records it."""
    return _identity(*_planned(sources, settings, table=table, limit=limit), settings)


def _identity(items: Sequence[Item], matched: Matched | None, settings: IngestSettings) -> str:
    return digest_of(items, settings) + (f"+{matched.digest}" if matched else "")


def _planned(
    sources: Sequence[str | Path], settings: IngestSettings, *, table: str | Path | None, limit: int | None
) -> tuple[list[Item], Matched | None]:
    items = plan(sources, settings, limit=limit)
    _mark_duplicates(items)
    if not table:
        return items, None
    from galvae.data.table import match_table

    return items, match_table(table, items, settings)


def _labels(items: Sequence[Item], settings: IngestSettings) -> dict[str, np.ndarray]:
    """What inputs that hold many galaxies say of each."""
    if not any(item.reader in ROWS for item in items):
        return {}
    from galvae.data.table import labels

    return labels(items, settings)


def _finish(
    store: Path, parts: Sequence[Path], settings: IngestSettings, sources: Sequence[str | Path],
    table: str | Path | None, matched: Matched | None,
) -> dict[str, Any]:  # fmt: skip
    """Describe the finished parts in store.json; what they hold as a whole."""
    found = [part_summary(path) for path in parts]
    galaxies = sum(part["galaxies"] for part in found)
    skipped = [pair for part in found for pair in part["why"]]
    if not galaxies:
        source, reason = skipped[0]
        others = f", and {len(skipped) - 1} more" if len(skipped) > 1 else ""
        raise ValueError(f"none of {len(skipped)} inputs could be ingested: {source}: {reason}{others}")
    side = settings.field * settings.oversample
    description = {
        "schema": SCHEMAS[settings.dtype],
        "galvae": version(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "shape": [side, side, settings.channels],
        "dtype": settings.dtype,
        "planes": [],
        "ingest": settings.model_dump(mode="json"),
        "sources": [str(source) for source in sources],
        "table": str(table) if table else None,
        "columns": next(part["columns"] for part in found if part["galaxies"]),
        "galaxies": galaxies,
        "skipped": len(skipped),
        "parts": [{key: part[key] for key in ("galaxies", "skipped", "digest")} for part in found],
    }
    write_atomically(store / "store.json", json.dumps(description, indent=1) + "\n")
    reasons: dict[str, dict[str, Any]] = {}
    for source, reason in skipped:
        told = reasons.setdefault(cause_of(reason), {"count": 0, "first": f"{source}: {reason}"})
        told["count"] += 1
    unmatched = matched.unmatched if matched else None
    return {"galaxies": galaxies, "skipped": len(skipped), "reasons": reasons, "unmatched": unmatched}


def say_skipped(done: dict[str, Any], *, quiet: bool = False) -> None:
    """Why :func:`ingest` skipped what it skipped, a line for each reason."""
    for cause, told in done["reasons"].items():
        say(f"skipped {told['first']}" if told["count"] == 1 else f"skipped {told['count']}: {cause}", quiet=quiet)
    if done["skipped"]:
        say("each is listed in the store's skipped table", quiet=quiet)


def summary(done: dict[str, Any]) -> str:
    """One line about what :func:`ingest` returned."""
    galaxies, skipped, unmatched = done["galaxies"], done["skipped"], done["unmatched"]
    share = skipped / (galaxies + skipped)
    text = f"{galaxies} galaxies, {skipped} skipped"
    text += f" ({share:.0%} of the inputs: galvae info says why)" if share > 0.05 else ""
    return text + (f", {unmatched} without a row in the table" if unmatched else "")
