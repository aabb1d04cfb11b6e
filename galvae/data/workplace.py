"""Where a store is made: in its own folder, or beside the one that it replaces once it is whole."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from galvae.files import SCRATCH, write_atomically

_PLAN = "plan.json"


def begin(
    store: Path, identity: str, sources: Sequence[str | Path], *, resume: bool, overwrite: bool
) -> tuple[Path, bool]:
    """Make the folder ready to work in.

    Parameters
    ----------
    store
        The folder that is wanted.
    identity
        Digest of all that decides what it will hold.
    sources
        What the user named, to be written down.
    resume
        Go on with what was begun with the same `identity`; with `overwrite`, begin again where nothing was.
    overwrite
        Replace a store that is there.

    Returns
    -------
    folder
        Where to work: `store`, or beside it where there is one to replace; then :func:`replace` it.
    fresh
        Whether it was begun now.

    Raises
    ------
    FileExistsError
        If something is there that must not be replaced.
    ValueError
        If `resume` finds only what was begun with another `identity`.
    """
    new, finished = _beside(store, "new"), (store / "store.json").is_file()
    begun = [folder for folder in (new, store) if (folder / _PLAN).is_file()]
    if store.exists() and not store.is_dir():
        raise FileExistsError(f"{store}: is a file; a store is a folder, choose another name")
    if resume and begun:
        for folder in begun:
            if json.loads((folder / _PLAN).read_text(encoding="utf-8"))["identity"] == identity:
                for scratch in folder.glob(SCRATCH):
                    scratch.unlink()
                return folder, False
        if not overwrite:
            raise ValueError(
                f"{store}: was begun with other inputs, settings, table or limit; "
                f"give the same ones to --resume, or begin again with --overwrite"
            )
    folder = store
    if store.is_dir() and any(store.iterdir()):
        if not (finished or store in begun):
            raise FileExistsError(f"{store}: is a folder of something else; choose another output")
        if not overwrite:
            raise FileExistsError(
                f"{store}: already exists{'' if finished else ', unfinished'}; choose another output or add "
                f"{'--overwrite' if finished else '--resume to go on, or --overwrite'}"
            )
        folder = new
    if new.is_dir():
        clear(new)
    folder.mkdir(parents=True, exist_ok=True)
    described = {"identity": identity, "sources": [str(source) for source in sources]}
    write_atomically(folder / _PLAN, json.dumps(described, indent=1) + "\n")
    return folder, True


def replace(folder: Path, store: Path) -> None:
    """Put a whole store where it is wanted; what else lay in the former one moves into it.

    A kill in between leaves both, and ``--resume`` then ends it.
    """
    if folder == store:
        return
    store, old = store.resolve(), _beside(store, "old")
    if store.is_dir():
        _retire(old, store)  # left by a kill
        os.replace(store, old)
    os.replace(folder, store)
    _retire(old, store)


def clear(store: Path) -> None:
    """Remove a store; store.json goes first, so that what is left is never taken for a whole one."""
    parts = sorted(store.glob("part-*.h5"))
    for path in (store / "store.json", *parts, *store.glob(SCRATCH), store / _PLAN):
        path.unlink(missing_ok=True)
    if not any(store.iterdir()):
        store.rmdir()


def _retire(old: Path, store: Path) -> None:
    if old.is_dir():
        clear(old)
        for path in list(old.glob("*")):
            os.replace(path, store / path.name)
        if old.is_dir():
            old.rmdir()


def _beside(store: Path, ending: str) -> Path:
    """A folder beside the store's own: hidden, so that no ingest takes what is in it for images."""
    store = store.resolve()
    return store.with_name(f".{store.name}.{ending}")
