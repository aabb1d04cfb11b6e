"""Stages made one from another: what is whole is skipped, what is begun is gone on with, nothing is lost unasked."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple


class Stage(NamedTuple):
    """One stage of a pipeline.

    Parameters
    ----------
    name
        What it is called.
    output
        The file or folder it writes.
    is_ours
        Whether what is there was made by such a stage.
    compare
        Names what differs from what is wanted: nothing if the output is whole and the same, None if it was begun with
        the same and can be gone on with.
    make
        Makes the output, and the folders above it; given what `compare` found, None also where nothing is there.
    feeds
        Whether the stages after it are made from it.
    """

    name: str
    output: Path
    is_ours: Callable[[], bool]
    compare: Callable[[], list[str] | None]
    make: Callable[[list[str] | None], object]
    feeds: bool = True


def run_stages(stages: Sequence[Stage], *, overwrite: bool = False) -> Iterator[tuple[str, Path, bool]]:
    """Make what is not whole, yielding each stage's name, its output, and whether it had to be made.

    Raises
    ------
    FileExistsError
        Before the first stage: if something else lies where a stage writes, or, without `overwrite`, if a stage would
        have to be made again.
    """
    found = _found(stages, overwrite)
    fresh = False
    for stage in stages:
        changed = stage.compare() if fresh and _is_there(stage.output) else found[stage.name]
        made = changed != []
        if made:
            stage.make(changed)
        fresh = fresh or (made and stage.feeds)
        yield stage.name, stage.output, made


def _found(stages: Sequence[Stage], overwrite: bool) -> dict[str, list[str] | None]:
    """What each stage's output differs in; refuses what must not be replaced."""
    found: dict[str, list[str] | None] = {}
    fresh = ""
    for stage in stages:
        changed = None
        if _is_there(stage.output):
            if not stage.is_ours():
                raise FileExistsError(
                    f"{stage.output}: lies where the stage {stage.name} writes, but is not of its making; "
                    f"move it or choose another output"
                )
            changed = [f"output of {fresh}"] if fresh else stage.compare()
            if changed and not overwrite:
                raise FileExistsError(
                    f"{stage.output}: the stage {stage.name} was done with other {', '.join(changed)}; "
                    f"choose another output, or add --overwrite to do it again"
                )
        found[stage.name] = changed
        if changed != [] and stage.feeds:
            fresh = fresh or stage.name
    return found


def _is_there(path: Path) -> bool:
    return any(path.iterdir()) if path.is_dir() else path.exists()


def holds(folder: Path, *names: str) -> bool:
    """Whether one of these files is in a folder."""
    return any((folder / name).is_file() for name in names)


def refuse_inside(folder: Path, example: str) -> None:
    """Refuse to write into a folder that is a store or a run itself.

    Raises
    ------
    FileExistsError
        If it is one; the message names `example`, a folder to write to instead.
    """
    for what, names in {"an image store": ("store.json", "plan.json"), "a run": ("model.json",)}.items():
        if holds(folder, *names):
            raise FileExistsError(f"{folder}: is {what} itself; choose another folder, such as {example}")


def read_json(path: Path) -> dict[str, Any]:
    """What a JSON file holds; nothing if it is not there."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def differing(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Names of the entries of `now`, and of those of its tables, that are otherwise in `before`."""
    names = []
    for key, value in now.items():
        old = before.get(key)
        if isinstance(value, dict) and isinstance(old, dict):
            names += [f"{key}.{name}" for name in old | value if old.get(name) != value.get(name)]
        elif old != value:
            names.append(key)
    return names
