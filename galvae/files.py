"""Files that are either absent, or as before, or whole."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

_NEEDS = {".parquet": ("pandas", "pyarrow")}


@contextmanager
def whole(path: str | Path) -> Iterator[Path]:
    """A path to write to, beside the one wanted: moved into place when the block ends, removed when it fails.

    The path that is given ends as `path` does, in lower case, for writers that look at a file's ending. It begins
    with a dot, and :data:`SCRATCH` matches it, so that what a killed process left can be found.

    Raises
    ------
    OSError
        If it cannot be written; the message names `path`.
    """
    path = Path(path)
    scratch = path.with_name(f".{path.name}.{os.getpid()}.tmp{path.suffix.lower()}")
    try:
        yield scratch
        os.replace(scratch, path)
    except OSError as error:
        if error.filename not in (None, scratch, str(scratch)):
            raise  # about another file
        reason = (error.strerror or str(error)).replace(scratch.name, path.name)
        raise OSError(f"{path}: cannot be written: {reason}") from error
    finally:
        scratch.unlink(missing_ok=True)


SCRATCH = ".*.tmp*"
"""Pattern of the names that :func:`whole` gives."""


def write_atomically(path: Path, text: str) -> None:
    """Write a text file so that it is either absent, or as before, or whole."""
    with whole(path) as scratch:
        scratch.write_text(text, encoding="utf-8")


def check_output(path: str | Path, endings: Collection[str] = (), *, overwrite: bool = False) -> None:
    """Refuse an output that could not be written, or must not be, before any work is done for it.

    Parameters
    ----------
    path
        A file; without `endings`, a folder, which is made with those above it.
    endings
        What the name of a file may end in, lower case.
    overwrite
        Whether something may be there. An empty folder always may.

    Raises
    ------
    ValueError
        If the ending is none of these, or its format needs a package that is not installed.
    OSError
        If something is there, or is of the other kind, or the folder to write in is not there or not to be written to.
    """
    path = Path(path)
    ending = path.suffix.lower()
    if endings and ending not in endings:
        raise ValueError(
            f"{path}: cannot be written as {ending or 'a name without ending'}; use one of {', '.join(endings)}"
        )
    absent = [name for name in _NEEDS.get(ending, ()) if endings and find_spec(name) is None]
    if absent:
        raise ValueError(
            f"{path}: {ending} needs {' and '.join(absent)}, not installed here: pip install {' '.join(absent)}, "
            f"or use another of {', '.join(endings)}"
        )
    if endings and (path.absolute().parent / "store.json").is_file():
        raise FileExistsError(f"{path}: lies in an image store; write it beside that")
    if path.exists() and path.is_dir() == bool(endings):
        raise FileExistsError(f"{path}: is a {'folder; name a file' if endings else 'file; name a folder'}")
    if path.exists() and not overwrite and not (path.is_dir() and not any(path.iterdir())):
        raise FileExistsError(f"{path}: already exists; choose another output or add --overwrite")
    if endings and not path.parent.is_dir():
        raise FileNotFoundError(f"{path}: there is no folder {path.parent}; make it first")
    inside = path.absolute().parent if endings else path.absolute()
    ground = next(folder for folder in (inside, *inside.parents) if folder.exists())
    if not ground.is_dir():
        raise NotADirectoryError(f"{path}: {ground} is a file; choose another output")
    if not os.access(ground, os.W_OK | os.X_OK):
        raise PermissionError(f"{path}: the folder {ground} may not be written to; choose another output")
