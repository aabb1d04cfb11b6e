"""``galvae info``: what something is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from galvae.cli.options import Json, print_result


def info(
    path: Annotated[Path, typer.Argument(help="A store, a run folder or a catalog.")], as_json: Json = False
) -> None:
    """Say what a store, run or catalog is, in a screenful."""
    from galvae.info import describe

    found = describe(path)
    print_result(found, "\n".join(f"{name + ':':14} {_words(value)}" for name, value in found.items()), as_json=as_json)


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{count} {key}" for key, count in value.items()) or "none"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
