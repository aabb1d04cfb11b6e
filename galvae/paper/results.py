"""The table: every quantity of every experiment beside what the paper says of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from astropy.table import Table

from galvae.files import whole
from galvae.paper.experiments import EXPERIMENTS, Job, Scale, jobs
from galvae.paper.measure import Value, mean_of
from galvae.stages import read_json
from galvae.training.run import trained_recipe

SCALES: tuple[Scale, ...] = ("quick", "paper")
# What the experiments leave; the last two in a run folder: what was measured, and what was found on each test image.
TABLE, PAGE, RESULT, FOUND = "results.ecsv", "paper.md", "result.json", "test.npz"
NOT_YET = "not yet run at this scale"

_DESCRIPTIONS = {
    "experiment": "Of pipelines/paper", "data": "What was trained and tested on",
    "source": "What that was made from", "model": "Kind of model",
    "latents": "Z of the experiment", "quantity": "What was measured",
    "paper": "The paper's figure; NaN: it gives none",
    "says": "What the paper says, and where", "ours": "Mean over seeds; NaN: not yet run at this scale",
    "ours_err": "Standard error over seeds; NaN where there is one", "lowest": "Lowest of the seeds",
    "images_err": "Standard error over the test images", "seeds": "How many", "scale": "quick, or the paper's",
    "steps": "Of training", "device": "Trained on", "seconds": "Of training, mean over seeds",
}  # fmt: skip


class Claim(NamedTuple):
    """What the paper says of a quantity: a number (NaN where it gives none), and words with where."""

    value: float
    says: str


_TABLE_1 = {
    ("spatial", 1, "|r| of z1, conformation"): 0.95, ("spatial", 1, "|r| of z1, rotation"): 0.01,
    ("spatial", 1, "|r| of theta, conformation"): 0.01, ("spatial", 1, "|r| of theta, rotation"): 0.92,
    ("vanilla", 1, "|r| of z1, conformation"): 0.00, ("vanilla", 1, "|r| of z1, rotation"): 0.18,
    ("vanilla", 2, "|r| of z1, conformation"): 0.09, ("vanilla", 2, "|r| of z1, rotation"): 0.02,
    ("vanilla", 2, "|r| of z2, conformation"): 0.07, ("vanilla", 2, "|r| of z2, rotation"): 0.04,
}  # fmt: skip
_AS_IN_FIGURE_2 = ("mnist", "mnist-turned", "mnist-moved")


def claim(experiment: str, data: str, model: str, latents: int, quantity: str) -> Claim:
    """What the paper says of a row."""
    says = ""
    if experiment == "hinge":
        row = model.removesuffix(", some pixels"), latents, quantity
        if row in _TABLE_1:
            return Claim(_TABLE_1[row], "Table 1")
        if model == "spatial" and quantity.startswith("test ELBO above vanilla"):
            says = f"{'slightly' if '2' in quantity else 'far'} above 0 (section 4.3; appendix, Fig. 4)"
    if experiment == "mnist" and data in _AS_IN_FIGURE_2:
        if model == "spatial" and latents <= 3 and quantity in ("test ELBO above fixed", "test ELBO above vanilla"):
            says = "above 0 for few latents (Fig. 2)"
        if model == "spatial" and quantity == "test ELBO above vanilla, Z + 3":
            says = "about 0 (appendix, Fig. 1)"
        if model == "spatial" and quantity == "test ELBO above spatial, wide priors":
            says = "about 0 (appendix, Figs. 2 and 3)"
    if experiment == "em" and model.startswith("spatial"):
        if quantity == "training ELBO above test ELBO":
            says = "does not grow with Z (appendix, Fig. 6)"
        if quantity == "structure of the background":
            says = "less where the mean is not negative (section 4.4)"
    return Claim(np.nan, says)


def folder_of(job: Job, output: Path, scale: Scale) -> Path:
    """Where a training lies, and its result."""
    return output / scale / job.experiment / job.name


def results(output: Path, names: Sequence[str], scale: Scale) -> Iterator[tuple[Job, dict[str, Any]]]:
    """Every training of some experiments at a scale with its result, empty where there is none of today's recipe."""
    for name in names:
        for job in jobs(name, scale):
            found = read_json(folder_of(job, output, scale) / RESULT)
            same = found.get("made_from", {}).get("recipe") == trained_recipe(job.recipe)
            images = folder_of(job, output, scale) / FOUND
            yield job, {**found, "found": str(images)} if same and images.is_file() else {}


def as_table(output: Path, names: Sequence[str] = tuple(EXPERIMENTS)) -> Table:
    """All rows of some experiments at both scales, as far as they are run."""
    rows: list[dict[str, Any]] = []
    for scale in SCALES:
        for name in names:
            rows += _rows(name, scale, [(job, result) for job, result in results(output, [name], scale)])
    table = Table(rows=rows, names=list(_DESCRIPTIONS))
    for name, text in _DESCRIPTIONS.items():
        table[name].description = text
    table["seconds"].unit = "s"
    return table


def _rows(name: str, scale: Scale, found: Iterable[tuple[Any, dict[str, Any]]]) -> list[dict[str, Any]]:
    groups: dict[tuple[str, str, int], list[dict[str, Any]]] = defaultdict(list)
    for job, result in found:
        groups[job.data, job.model, job.latents] += [result] if result else []
    rows = []
    for (data, model, latents), done in groups.items():
        head = {"experiment": name, "data": data, "model": model, "latents": latents, "scale": scale}
        if not done:
            rows.append(_row(head, NOT_YET, Claim(np.nan, ""), [], []))
            continue
        for quantity in done[0]["values"]:
            values = [result["values"][quantity] for result in done if quantity in result["values"]]
            rows.append(_row(head, quantity, claim(name, data, model, latents, quantity), values, done))
        if model in ("spatial", "ours"):
            rows += _compared(head, groups, done)
    return rows


def _compared(
    head: Mapping[str, Any], groups: Mapping[tuple[str, str, int], list[dict[str, Any]]], done: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """By how much a model's test ELBO is above that of each other one on the same data, seed by seed."""
    rows = []
    for (data, other, latents), others in groups.items():
        same_z = latents == head["latents"] or (head["experiment"], latents) == ("hinge", 2)
        if data != head["data"] or other == head["model"] or not same_z or not others:
            continue
        values = [_above(mine, its) for mine in done for its in others if mine["seed"] == its["seed"]]
        if not values:
            continue
        which = f"{other} (Z = {latents})" if latents != head["latents"] else other
        quantity = f"test ELBO above {which}"
        said = claim(head["experiment"], head["data"], head["model"], head["latents"], quantity)
        rows.append(_row(head, quantity, said, values, done))
    return rows


def _above(one: Mapping[str, Any], other: Mapping[str, Any]) -> Value:
    """By how much one run's test ELBO is above another's, image by image: both saw the same."""
    mine, its = (_elbos(path, path.stat().st_mtime_ns) for path in (Path(one["found"]), Path(other["found"])))
    return mean_of(mine - its)


@cache
def _elbos(path: Path, changed: int) -> np.ndarray:
    """Of each test image; kept, for the table is made again after every run, and compares each with many."""
    with np.load(path) as found:
        return found["elbo"]


def _row(
    head: Mapping[str, Any], quantity: str, said: Claim, values: Sequence[Sequence[float]], done: list[dict[str, Any]]
) -> dict[str, Any]:
    numbers, errors = np.array(values, float).reshape(-1, 2).T
    count = len(numbers)
    nothing = {"ours": np.nan, "ours_err": np.nan, "lowest": np.nan, "images_err": np.nan, "seconds": np.nan}
    measured = {
        "ours": numbers.mean(), "lowest": numbers.min(), "images_err": float(np.mean(errors)),
        "ours_err": numbers.std(ddof=1) / np.sqrt(count) if count > 1 else np.nan,
        "seconds": float(np.mean([result["seconds"] for result in done])),
    } if count else nothing  # fmt: skip
    row = {
        **head, **measured, "quantity": quantity, "paper": said.value, "says": said.says, "seeds": count,
        "steps": done[0]["steps"] if done else 0, "device": done[0]["device"] if done else "",
        "source": done[0]["source"] if done else "",
    }  # fmt: skip
    return {name: row[name] for name in _DESCRIPTIONS}


def write(output: Path, table: Table) -> None:
    """The table as ECSV, and as a page in Markdown."""
    with whole(output / TABLE) as scratch:
        table.write(scratch, format="ascii.ecsv")
    with whole(output / PAGE) as scratch:
        scratch.write_text(page(table), encoding="utf-8")


def page(table: Table) -> str:
    """A page of the manual: a section for each experiment, a table for each scale."""
    told = (
        "`galvae paper -o DIR` makes this page and `results.ecsv`; errors are standard errors over the seeds, or over "
        "the test images where there is one seed, which say nothing of how well trainings repeat."
    )
    lines = ["# The paper's experiments, run by galvae", "", told, ""]
    for name in dict.fromkeys(table["experiment"]):
        lines += [f"## {name}", ""]
        for scale in SCALES:
            part = table[(table["experiment"] == name) & (table["scale"] == scale)]
            run = part[part["seeds"] > 0]
            if not len(run):
                lines += [f"Scale `{scale}`: {NOT_YET}.", ""]
                continue
            missing = len(part) - len(run)
            head = f"Scale `{scale}`, of {', '.join(sorted(set(run['source'])))}, "
            head += f"on {', '.join(sorted(set(run['device'])))}"
            lines += [head + (f"; {missing} trainings {NOT_YET}" if missing else "") + ":", ""]
            lines += ["| data | model | Z | quantity | the paper | galvae | seeds, lowest | steps, seconds |"]
            lines += ["|---|---|---|---|---|---|---|---|"]
            lines += [_line(row) for row in run]
            lines += [""]
    return "\n".join(lines)


def _line(row: Any) -> str:
    said = row["says"] if np.isnan(row["paper"]) else f"{row['paper']:.2f} ({row['says']})"
    error = row["ours_err"] if np.isfinite(row["ours_err"]) else row["images_err"]
    ours = f"{row['ours']:.3f}" + (f" ± {error:.3f}" if np.isfinite(error) else "")
    cells = (
        row["data"], row["model"], row["latents"], row["quantity"], said, ours, f"{row['seeds']}, {row['lowest']:.3f}",
        f"{row['steps']}, {row['seconds']:.0f}",
    )  # fmt: skip
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"
