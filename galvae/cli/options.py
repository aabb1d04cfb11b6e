"""Options that several commands share."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from galvae.recipe import Recipe

RecipeName = Annotated[
    str | None, typer.Option("--recipe", metavar="R", help="Name of a shipped recipe, or a path.", show_default=False)
]
Changes = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="TABLE.KEY=VALUE", help="Override one key of the recipe (repeatable)."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an existing output.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def chosen_recipe(name: str | None, changes: list[str] | None, default: str | None = None) -> Recipe:
    """Load the recipe of ``--recipe`` and ``--set``; the default depends on whether CUDA is there."""
    from galvae.recipe import load_recipe

    return load_recipe(name or default or default_recipe(), changes or ())


def default_recipe() -> str:
    """``galaxy-zoo`` where there is a CUDA device, else ``galaxy-zoo-cpu``; asked without importing torch."""
    present = any(Path(path).exists() for path in ("/dev/nvidia0", "/dev/nvidiactl", "/dev/dxg"))
    return "galaxy-zoo" if present else "galaxy-zoo-cpu"


def refuse_existing(path: Path, overwrite: bool, *, resume: bool = False) -> None:
    """Refuse to write where something is, unless told to.

    Raises
    ------
    FileExistsError
        If `path` exists and neither `overwrite` nor `resume` is given.
    """
    if path.exists() and not overwrite and not resume:
        raise FileExistsError(f"{path}: already exists; choose another output or add --overwrite")


@contextmanager
def say_how_to_go_on(saved: Path, *, resume: str = "--resume") -> Iterator[None]:
    """Print the command that goes on, where Ctrl-C or SIGTERM ends the work and `saved` is there to go on from."""
    try:
        yield
    except BaseException as error:
        if not isinstance(error, Exception) and saved.exists():
            from galvae.progress import say

            again = [word for word in sys.argv[1:] if word not in ("--resume", "--overwrite")]
            command = ["galvae", *again, resume] if resume else ["galvae", *sys.argv[1:]]
            say(f"interrupted; what is done is kept. To go on: {shlex.join(command)}")
        raise
