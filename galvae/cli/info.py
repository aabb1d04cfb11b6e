"""``galvae info``: what something is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from galvae.cli.options import Json


def info(
    path: Annotated[Path, typer.Argument(help="A store, a run folder or a catalog.")], as_json: Json = False
) -> None:
    """Say what a store, run or catalog is, in a screenful."""
    from galvae.info import describe

    found = describe(path)
    if as_json:
        import json

        print(json.dumps(found))
        return
    for name, value in found.items():
        if isinstance(value, dict):
            value = ", ".join(f"{count} {key}" for key, count in value.items()) or "none"
        elif isinstance(value, list):
            value = ", ".join(map(str, value))
        print(f"{name + ':':14} {value}")
