"""A recipe from beginning to end: stages whose output records the same inputs and settings are skipped.

What is compared is the provenance that every stage writes anyway.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from galvae.recipe import Recipe


def run_recipe(
    recipe: Recipe, sources: Sequence[Path], directory: str | Path, *, device: str = "auto", quiet: bool = False
) -> Iterator[tuple[str, Path, bool]]:
    """Run the stages of a recipe, yielding each stage's name, its output, and whether it had to be made.

    Parameters
    ----------
    recipe
        Everything that is chosen. With ``simulate.galaxies`` above zero and no `sources`, a survey is simulated first.
    sources
        Files, folders, archives to ingest.
    directory
        Gets ``survey/`` (if simulated), ``store/``, ``run/``, ``catalog.ecsv`` and ``figures/``.
    device
        Where to train and infer.
    quiet
        No progress.

    Raises
    ------
    ValueError
        If there is nothing to ingest.
    """
    directory = Path(directory)
    if not sources and not recipe.simulate.galaxies:
        raise ValueError("no SOURCE, and the recipe simulates no survey (simulate.galaxies = 0); name files to ingest")
    directory.mkdir(parents=True, exist_ok=True)
    if not sources:
        survey = directory / "survey"
        yield "simulate", survey, _simulate(recipe, survey, quiet)
        sources = [survey]
    yield "ingest", directory / "store", _ingest(recipe, sources, directory / "store", quiet)
    yield "train", directory / "run", _train(recipe, directory / "store", directory / "run", device, quiet)
    catalog = directory / "catalog.ecsv"
    yield "catalog", catalog, _catalog(recipe, directory / "run", directory / "store", catalog, device, quiet)
    yield "plot", directory / "figures", _plot(directory, quiet)


def _simulate(recipe: Recipe, survey: Path, quiet: bool) -> bool:
    from galvae.data import simulate
    from galvae.tableio import read_table

    wanted = recipe.simulate.model_dump(mode="json")
    if (survey / simulate.TRUTH).is_file() and read_table(survey / simulate.TRUTH).meta.get("simulate") == wanted:
        return False
    simulate.simulate(
        survey, recipe.simulate.galaxies, settings=recipe.simulate, overwrite=survey.exists(), quiet=quiet
    )
    return True


def _ingest(recipe: Recipe, sources: Sequence[Path], store: Path, quiet: bool) -> bool:
    from galvae.data.ingest import identity, ingest

    described = _json(store / "plan.json")
    same = described.get("identity") == identity(sources, recipe.ingest)
    if same and (store / "store.json").is_file():
        return False
    ingest(sources, store, recipe.ingest, resume=same, overwrite=not same and store.exists(), quiet=quiet)
    return True


def _train(recipe: Recipe, store: Path, run: Path, device: str, quiet: bool) -> bool:
    from galvae.data.store import ImageStore
    from galvae.training.checkpoint import STATE
    from galvae.training.fit import fit, trained_recipe
    from galvae.training.trainer import choose_device

    images, described = ImageStore(store), _json(run / "model.json")
    same = described.get("store") == images.digest and described.get("recipe") == trained_recipe(recipe)
    if same and described["finished"]:
        return False
    if not same and run.exists():
        shutil.rmtree(run)
    fit(images, recipe, run, device=choose_device(device), resume=same and (run / STATE).is_file(), quiet=quiet)
    return True


def _catalog(recipe: Recipe, run: Path, store: Path, catalog: Path, device: str, quiet: bool) -> bool:
    from galvae.catalog import read_catalog, write_catalog
    from galvae.data.store import ImageStore
    from galvae.inference.tables import make_catalog, provenance
    from galvae.training.trainer import choose_device

    images = ImageStore(store)
    if catalog.is_file():
        meta = read_catalog(catalog).meta
        if all(meta.get(key) == value for key, value in provenance(run, images, recipe.catalog).items()):
            return False
    table = make_catalog(run, images, recipe.catalog, device=str(choose_device(device)), quiet=quiet)
    write_catalog(table, catalog, overwrite=True)
    return True


def _plot(directory: Path, quiet: bool) -> bool:
    from galvae.data.store import ImageStore
    from galvae.inference.figures import plot_run

    figures, model = directory / "figures", directory / "run" / "model.safetensors"
    made = sorted(figures.glob("*.png"))
    if made and min(path.stat().st_mtime for path in made) > model.stat().st_mtime:
        return False
    store = ImageStore(directory / "store")
    list(plot_run(directory / "run", figures, store=store, overwrite=True, quiet=quiet))
    return True


def _json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
