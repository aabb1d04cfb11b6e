"""Options that several commands share."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from galvae.runs import run_names, run_path

if TYPE_CHECKING:
    import numpy as np
    from astropy.table import Table

    from galvae.data.store import ImageStore
    from galvae.inference.settings import CatalogSettings
    from galvae.recipe import Recipe

RecipeName = Annotated[
    str | None, typer.Option("--recipe", metavar="R", help="Name of a shipped recipe, or a path.", show_default=False)
]
Changes = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="TABLE.KEY=VALUE", help="Override one key of the recipe (repeatable)."),
]
RunFolder = Annotated[
    Path,
    typer.Argument(metavar="RUN", parser=run_path, help=f"A run folder, or a shipped run: {', '.join(run_names())}."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an existing output.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
Table = Annotated[
    Path | None,
    typer.Option(metavar="T", help="Table with RA, Dec, pixel scale, labels, joined by id or file name."),
]
Workers = Annotated[int | None, typer.Option(min=1, help="Processes (default: as many as cores).")]
Limit = Annotated[int | None, typer.Option(min=1, help="Take only the first N galaxies.")]
CatalogFile = Annotated[Path, typer.Argument(metavar="CATALOG", help="A catalog, from galvae catalog.")]
SheetStore = Annotated[
    Path | None, typer.Option("--store", metavar="STORE", help="The store of the catalog's images, for --sheet.")
]
ListFile = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write the table, format by ending.")
]
Sheet = Annotated[
    Path | None,
    typer.Option("--sheet", metavar="FILE.png", help="Draw the galaxies, turned by theta and centred; needs --store."),
]


def print_result(result: Any, text: str, *, as_json: bool) -> None:
    """Print a result on standard output, as JSON or as text."""
    print(json_text(result) if as_json else text)


def print_results(results: Iterable[dict[str, Any]], line: Callable[[dict[str, Any]], str], *, as_json: bool) -> None:
    """Print several results: each as a line of text as soon as it is there, or all as one JSON list at the end."""
    if as_json:
        print(json_text(list(results)))
    else:
        for result in results:
            print(line(result), flush=True)


def json_text(value: Any, **options: Any) -> str:
    """JSON, null where there is a number that JSON does not have."""
    return json.dumps(json.loads(json.dumps(value), parse_constant=lambda _: None), **options)


def chosen_recipe(name: str | None, changes: list[str] | None, default: str | None = None) -> Recipe:
    """Load the recipe of ``--recipe`` and ``--set``; the default depends on whether CUDA is there."""
    from galvae.recipe import load_recipe

    return load_recipe(name or default or default_recipe(), changes or ())


def catalog_settings(run: Path, recipe: str | None, changes: list[str] | None) -> CatalogSettings:
    """The ``[catalog]`` table of ``--recipe`` or else of the run's own recipe, with ``--set``."""
    from galvae.recipe import load_recipe

    own = run / "recipe.toml"
    name = own if recipe is None and own.is_file() else recipe or default_recipe()
    return load_recipe(name, changes or (), only="catalog").catalog


def default_recipe() -> str:
    """``galaxy-zoo`` where torch will find a CUDA device, else ``galaxy-zoo-cpu``; asked without importing it."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1")
    present = any(Path(path).exists() for path in ("/dev/nvidia0", "/dev/nvidiactl", "/dev/dxg"))
    return "galaxy-zoo" if present and not hidden and not _torch_version().endswith("+cpu") else "galaxy-zoo-cpu"


def _torch_version() -> str:
    try:
        return version("torch")
    except PackageNotFoundError:
        return ""


def check_sheet(store: Path | None, sheet: Path | None, *, overwrite: bool) -> None:
    """Refuse a contact sheet that could not be written, or a store without one."""
    from galvae.files import check_output

    if (store is None) != (sheet is None):
        raise ValueError("--store and --sheet go together: where the images are, and the picture to make of them")
    if sheet:
        check_output(sheet, (".png",), overwrite=overwrite)


def sheet_images(store: Path | None, catalog: Table) -> ImageStore | None:
    """The store of ``--store``, if it is given, which must be the catalog's."""
    if store is None:
        return None
    from galvae.data.store import ImageStore
    from galvae.uses.content import check_same_store

    images = ImageStore(store)
    check_same_store(images, catalog)
    return images


def keep_list(
    found: Table, catalog: Table, output: Path | None, images: ImageStore | None, sheet: Path | None,
    titles: Iterable[str], *, heading: str, first: tuple[str, ...] = (), fields: np.ndarray | None = None,
    overwrite: bool, quiet: bool,
) -> None:  # fmt: skip
    """Write a list of a catalog's galaxies, and draw them, after some `first` ones, where that is asked for.

    `fields` is of :func:`galvae.inference.sheets.save_sheet`.
    """
    from galvae.progress import say
    from galvae.tableio import write_table

    if repeated := len(catalog) - len(set(catalog["id"].tolist())):
        say(f"{repeated} rows have the identifier of one before, which counts; they are left out", quiet=quiet)
    if found.meta["left_out"]:
        say(f"{found.meta['left_out']} galaxies have no content and are left out", quiet=quiet)
    if output:
        write_table(found, output, overwrite=overwrite)
    if images and sheet:
        from galvae.inference.sheets import save_sheet
        from galvae.uses.content import rows_of

        rows = rows_of(catalog, [*first, *found["id"]])
        save_sheet(sheet, images, catalog, rows, [*titles], heading=heading, fields=fields)


@contextmanager
def say_how_to_go_on(
    saved: Path, *, without: Collection[str] = ("--resume", "--overwrite"), add: Sequence[str] = ("--resume",)
) -> Iterator[None]:
    """Print the command that goes on, where Ctrl-C or SIGTERM ends the work and `saved` is there to go on from."""
    try:
        yield
    except BaseException as error:
        if not isinstance(error, Exception) and saved.exists():
            from galvae.progress import say

            command = ["galvae", *(word for word in sys.argv[1:] if word not in without), *add]
            say(f"interrupted; what is done is kept. To go on: {shlex.join(command)}")
        raise
