"""``galvae recipe``: list, show and locate the shipped recipes."""

from __future__ import annotations

import typer

from galvae.cli.options import Json, print_result, print_results

recipe = typer.Typer(help="List, show and locate the shipped recipes.", no_args_is_help=True)


@recipe.command("list")
def list_(as_json: Json = False) -> None:
    """Names of the shipped recipes, with what each is for."""
    from galvae.recipe import load_recipe, recipe_names

    names = recipe_names()
    width = max(map(len, names))
    print_results(
        ({"name": name, "about": load_recipe(name).about} for name in names),
        lambda found: f"{found['name']:<{width}}  {found['about']}",
        as_json=as_json,
    )


@recipe.command()
def show(name: str, as_json: Json = False) -> None:
    """Print a recipe as it is written; as JSON, with every key resolved."""
    from galvae.recipe import load_recipe, recipe_path

    text = recipe_path(name).read_text(encoding="utf-8").removesuffix("\n")
    print_result(load_recipe(name).model_dump(mode="json"), text, as_json=as_json)


@recipe.command()
def path(name: str, as_json: Json = False) -> None:
    """Print where a recipe lies, to copy it and change the copy."""
    from galvae.recipe import recipe_path

    place = str(recipe_path(name))
    print_result({"name": name, "path": place}, place, as_json=as_json)
