"""Recipes: one TOML file of values is one whole run, and an unknown key is an error."""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from galvae.data.settings import IngestSettings, SimulateSettings
from galvae.inference.settings import CatalogSettings
from galvae.model.settings import ModelSettings
from galvae.settings import Settings
from galvae.training.settings import TrainSettings


class Recipe(Settings):
    """A validated recipe: the tables of a run, every key resolved."""

    about: str = ""
    simulate: SimulateSettings = Field(default_factory=SimulateSettings)
    ingest: IngestSettings = Field(default_factory=IngestSettings)
    model: ModelSettings = Field(default_factory=ModelSettings)
    train: TrainSettings = Field(default_factory=TrainSettings)
    catalog: CatalogSettings = Field(default_factory=CatalogSettings)

    def to_toml(self) -> str:
        """Text that :func:`load_recipe` reads back to an equal recipe."""
        tables = self.model_dump(mode="json")
        lines = [f"about = {_toml(tables.pop('about'))}"]
        for name, table in tables.items():
            lines += ["", f"[{name}]", *(f"{key} = {_toml(value)}" for key, value in table.items())]
        return "\n".join(lines) + "\n"


def shipped_data(kind: str) -> Path:
    """The folder of shipped ``pipelines`` or ``catalogs``, in a wheel or in a source checkout."""
    inside = Path(__file__).parent / "_data" / kind
    return inside if inside.is_dir() else Path(__file__).parents[1] / kind


def recipe_names() -> list[str]:
    """Bare names of the shipped recipes."""
    folder = shipped_data("pipelines")
    return sorted(path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.toml"))


def recipe_path(name: str | Path) -> Path:
    """Where a recipe lies: a shipped one by bare name, any other by path.

    Raises
    ------
    FileNotFoundError
        If `name` is neither, with the nearest shipped name.
    """
    shipped = shipped_data("pipelines") / f"{name}.toml"
    if shipped.is_file():
        return shipped
    if Path(name).is_file():
        return Path(name)
    raise FileNotFoundError(
        f"no recipe {str(name)!r}{_nearest(str(name), recipe_names())}; shipped are "
        f"{', '.join(recipe_names())}, and a path to a .toml file is taken too"
    )


def load_recipe(name: str | Path, changes: Sequence[str] = (), *, only: str | None = None) -> Recipe:
    """Read and validate a recipe.

    Parameters
    ----------
    name
        Bare name of a shipped recipe, or a path.
    changes
        Overrides as typed after ``--set``: ``table.key=value``, the value in TOML or a bare word.
    only
        Of the file take this table alone, whatever the others hold; to change another is refused.

    Raises
    ------
    FileNotFoundError
        If there is no such recipe.
    ValueError
        If the file is not TOML, or a key or a value is not one of ours; the message names the key and the
        nearest right one.
    """
    path = recipe_path(name)
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not a TOML file ({error}); see galvae recipe show galaxy-zoo") from None
    if only is not None:
        tables = {name: table for name, table in tables.items() if name == only}
    recipe = validate(tables, str(path))
    for change in changes:
        key, equals, value = change.partition("=")
        table, dot, name_in_table = key.strip().partition(".")
        if not (equals and dot and name_in_table):
            raise ValueError(f"--set {change}: expected table.key=value, for example train.epochs=10")
        if not isinstance(tables.setdefault(table, {}), dict):
            raise ValueError(f"--set {change}: {table} is not a table; expected table.key=value")
        tables[table][name_in_table] = _value(value.strip())
    if changes:
        recipe = validate(tables, " ".join(f"--set {change}" for change in changes))
    for change in changes:
        if only is not None and not change.strip().startswith(f"{only}."):
            raise ValueError(f"--set {change}: changes nothing here, where [{only}] alone counts; leave it out")
    return recipe


def validate(tables: dict[str, Any], where: str) -> Recipe:
    """Turn plain tables into a recipe; `where` names them in errors."""
    try:
        return Recipe.model_validate(tables)
    except ValidationError as error:
        raise ValueError(f"{where}: {_explain(error)}") from None


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _toml(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _nearest(word: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f" (did you mean {near[0]}?)" if near else ""


def _explain(error: ValidationError) -> str:
    first = error.errors()[0]
    place = [str(part) for part in first["loc"]]
    key = ".".join(place[:2])
    if first["type"] == "extra_forbidden":
        owner = Recipe.model_fields if len(place) == 1 else Recipe.model_fields[place[0]].default_factory.model_fields
        right = _nearest(place[-1], list(owner)) or f"; its keys are {', '.join(owner)}"
        return f"unknown key {key}{right}"
    told = first["msg"].removeprefix("Value error, ")
    got = "" if isinstance(first["input"], dict) else f" = {first['input']!r}"  # not a whole table
    return f"{key}{got}: {told[0].lower()}{told[1:]}"
