"""``galvae recipe``: list, show and locate the shipped recipes."""

from __future__ import annotations

import typer

recipe = typer.Typer(help="List, show and locate the shipped recipes.", no_args_is_help=True)


@recipe.command("list")
def list_() -> None:
    """Names of the shipped recipes, with what each is for."""
    from galvae.recipe import load_recipe, recipe_names

    names = recipe_names()
    width = max(map(len, names))
    for name in names:
        print(f"{name:<{width}}  {load_recipe(name).about}")


@recipe.command()
def show(name: str) -> None:
    """Print a recipe as it is written."""
    from galvae.recipe import recipe_path

    print(recipe_path(name).read_text(encoding="utf-8"), end="")


@recipe.command()
def path(name: str) -> None:
    """Print where a recipe lies, to copy it and change the copy."""
    from galvae.recipe import recipe_path

    print(recipe_path(name))
