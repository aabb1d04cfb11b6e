"""The installed version."""

from __future__ import annotations

from functools import cache


@cache
def version() -> str:
    """Version of galvae as installed; ``0+unknown`` in a tree that is not."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    try:
        return installed("galvae")
    except PackageNotFoundError:
        return "0+unknown"
