"""A recipe from beginning to end: stages whose output records the same inputs and settings are skipped.

What is compared is the provenance that every stage writes anyway.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import Any

from galvae.files import write_atomically
from galvae.recipe import Recipe
from galvae.stages import Stage, differing, holds, read_json, refuse_inside, run_stages


def run_recipe(
    recipe: Recipe, sources: Sequence[Path], directory: str | Path, *,
    table: str | Path | None = None, workers: int | None = None, limit: int | None = None,
    device: str = "auto", overwrite: bool = False, quiet: bool = False,
) -> Iterator[tuple[str, Path, bool]]:  # fmt: skip
    """Run the stages of a recipe, yielding each stage's name, its output, and whether it had to be made.

    Parameters
    ----------
    recipe
        Everything that is chosen. With ``simulate.galaxies`` above zero and no `sources`, a survey is simulated first.
    sources
        Files, folders, archives to ingest.
    directory
        Gets ``survey/`` (if simulated), ``store/``, ``run/``, ``catalog.ecsv`` and ``figures/``, which is also copied
        into ``run/``. It can be moved with all that is in it.
    table
        A table that astropy reads, joined to what is ingested by identifier or file name.
    workers
        Processes that simulate and ingest; where not given, as many as this process may use cores.
    limit
        Ingest only the first so many galaxies.
    device
        Where to train and infer.
    overwrite
        Make again what was made with other settings or from other inputs.
    quiet
        No progress.

    Raises
    ------
    FileExistsError
        Before the first stage: if `directory` is a store or a run, if something else lies where a stage writes, or,
        without `overwrite`, if a stage would have to be made again.
    ValueError
        If there is nothing to ingest.
    """
    directory = Path(directory)
    refuse_inside(directory, f"{directory}-all")
    if not sources and not recipe.simulate.galaxies:
        raise ValueError("no SOURCE, and the recipe simulates no survey (simulate.galaxies = 0); name files to ingest")
    survey = directory / "survey"
    stages = [] if sources else [_simulate(recipe, survey, workers, quiet)]
    inputs = {"table": table, "limit": limit}
    stages += [
        _ingest(recipe, sources or [survey], directory / "store", inputs, workers, quiet),
        _train(recipe, directory, device, quiet),
        _catalog(recipe, directory, device, quiet),
        _plot(recipe, directory, device, quiet),
    ]
    yield from run_stages(stages, overwrite=overwrite)


def _simulate(recipe: Recipe, survey: Path, workers: int | None, quiet: bool) -> Stage:
    from galvae.data.simulate import TRUTH, simulate

    def _compare() -> list[str]:
        from galvae.tableio import read_ecsv_meta

        wanted = {"simulate": recipe.simulate.model_dump(mode="json"), "n": recipe.simulate.galaxies, "seed": 0}
        return differing(read_ecsv_meta(survey / TRUTH), wanted)

    def _make(changed: list[str] | None) -> None:
        n, settings = recipe.simulate.galaxies, recipe.simulate
        simulate(survey, n, settings=settings, workers=workers, overwrite=bool(changed), quiet=quiet)

    return Stage("simulate", survey, partial(holds, survey, TRUTH), _compare, _make)


def _ingest(
    recipe: Recipe, sources: Sequence[Path], store: Path, inputs: dict[str, Any], workers: int | None, quiet: bool
) -> Stage:
    from galvae.data.ingest import identity, ingest, say_skipped

    def _compare() -> list[str] | None:
        described = read_json(store / "store.json")
        if read_json(store / "plan.json").get("identity") == identity(sources, recipe.ingest, **inputs):
            return [] if described else None
        return differing(described, {"ingest": recipe.ingest.model_dump(mode="json")}) or ["sources, table or limit"]

    def _make(changed: list[str] | None) -> None:
        resume = bool(changed) or (store / "plan.json").is_file()
        ours = not store.parent.exists()
        try:
            done = ingest(
                sources, store, recipe.ingest, **inputs,
                workers=workers, resume=resume, overwrite=bool(changed), quiet=quiet,
            )  # fmt: skip
        except ValueError:
            with suppress(OSError):  # where something has been ingested before
                if ours:
                    store.parent.rmdir()
            raise
        say_skipped(done)

    return Stage("ingest", store, partial(holds, store, "store.json", "plan.json"), _compare, _make)


def _train(recipe: Recipe, directory: Path, device: str, quiet: bool) -> Stage:
    from galvae.data.store import ImageStore
    from galvae.device import choose_device
    from galvae.inference.oddities import calibrate
    from galvae.training.checkpoint import DESCRIPTION, STATE, load_tensors
    from galvae.training.fit import fit
    from galvae.training.run import trained_recipe

    run = directory / "run"

    def _compare() -> list[str] | None:
        described = read_json(run / DESCRIPTION) or load_tensors(run / STATE)[1]
        before = {"store": described.get("store"), **described.get("recipe", {})}
        now = {"store": ImageStore(directory / "store").digest, **trained_recipe(recipe)}
        return differing(before, now) or ([] if "typical" in described and described["finished"] else None)

    def _make(changed: list[str] | None) -> None:
        resume = changed is None and (run / STATE).is_file()
        store = ImageStore(directory / "store")
        where = choose_device(device)
        fit(store, recipe, run, device=where, resume=resume, quiet=quiet)
        calibrate(run, store, device=where, quiet=quiet)

    return Stage("train", run, partial(holds, run, DESCRIPTION, STATE), _compare, _make)


def _catalog(recipe: Recipe, directory: Path, device: str, quiet: bool) -> Stage:
    from galvae.data.store import ImageStore
    from galvae.device import choose_device
    from galvae.inference.tables import make_catalog, provenance
    from galvae.tableio import read_ecsv_meta

    run, catalog = directory / "run", directory / "catalog.ecsv"

    @cache
    def _meta() -> dict[str, Any]:
        return read_ecsv_meta(catalog)

    def _compare() -> list[str]:
        return differing(_meta(), provenance(run, ImageStore(directory / "store"), recipe.catalog))

    def _make(changed: list[str] | None) -> None:
        store = ImageStore(directory / "store")
        where = str(choose_device(device))
        make_catalog(run, store, recipe.catalog, catalog, device=where, overwrite=bool(changed), quiet=quiet)

    return Stage("catalog", catalog, lambda: "model_digest" in _meta(), _compare, _make, feeds=False)


def _plot(recipe: Recipe, directory: Path, device: str, quiet: bool) -> Stage:
    from galvae.data.store import ImageStore
    from galvae.device import choose_device
    from galvae.inference import figures as drawn
    from galvae.training.checkpoint import MODEL, digest

    run, figures, described = directory / "run", directory / "figures", directory / "figures" / "figures.json"

    def _wanted() -> dict[str, Any]:
        return {
            "model": digest(run / MODEL), "store": ImageStore(directory / "store").digest,
            "catalog": recipe.catalog.model_dump(mode="json"),
        }  # fmt: skip

    def _compare() -> list[str] | None:
        before = read_json(described)
        names = before.get("figures", [])
        if not names or not all((at / name).is_file() for at in (figures, run / "figures") for name in names):
            return None
        return differing(before, _wanted())

    def _make(changed: list[str] | None) -> None:
        figures.mkdir(exist_ok=True)
        write_atomically(described, "{}\n")  # until all are drawn
        store = ImageStore(directory / "store")
        where = choose_device(device)
        drawing = drawn.plot_run(
            run, figures, store=store, settings=recipe.catalog, device=where, overwrite=True, quiet=quiet
        )  # fmt: skip
        names = [path.name for path in drawing]
        (run / "figures").mkdir(exist_ok=True)
        for name in names:
            shutil.copyfile(figures / name, run / "figures" / name)
        write_atomically(described, json.dumps({**_wanted(), "figures": names}, indent=1) + "\n")

    return Stage("plot", figures, described.is_file, _compare, _make, feeds=False)
