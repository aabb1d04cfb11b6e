"""Files that are either absent, or as before, or whole."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole(path: str | Path) -> Iterator[Path]:
    """A path to write to, beside the one wanted: moved into place when the block ends, removed when it fails.

    The path that is given ends as `path` does, in lower case, for writers that look at a file's ending. It begins
    with a dot, and :data:`SCRATCH` matches it, so that what a killed process left can be found.
    """
    path = Path(path)
    scratch = path.with_name(f".{path.name}.{os.getpid()}.tmp{path.suffix.lower()}")
    try:
        yield scratch
        os.replace(scratch, path)
    finally:
        scratch.unlink(missing_ok=True)


SCRATCH = ".*.tmp*"
"""Pattern of the names that :func:`whole` gives."""
