"""What the paper's experiments are: which recipes on which data, and what of the results stands in the table."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Literal, NamedTuple

from galvae.recipe import Recipe, load_recipe

Scale = Literal["quick", "paper"]


class Job(NamedTuple):
    """One training and its measures.

    Parameters
    ----------
    experiment, data, model
        Names of the experiment, of its data and of the kind of model.
    latents, seed
        Z of the experiment, and the seed of initial parameters, order and noise.
    recipe
        Resolved.
    """

    experiment: str
    data: str
    model: str
    latents: int
    seed: int
    recipe: Recipe

    @property
    def name(self) -> str:
        """Of its run folder."""
        model = re.sub(r"\W+", "-", self.model)
        return f"{self.data}-{model}-z{self.latents}-s{self.seed}"


@dataclass(frozen=True)
class Experiment:
    """An experiment: every model on every one of its data, with every Z and every seed of a scale.

    Parameters
    ----------
    recipe
        The shipped recipe, to the letter of the paper.
    data
        What each of its data (:mod:`galvae.paper.data`) changes in the recipe.
    models
        What each kind of model changes.
    measures
        What is measured of each run on images that it was not trained on (:mod:`galvae.paper.measure`).
    latents
        Values of Z at each scale.
    quick
        What the small scale changes.
    briefly
        What it changes of data besides, before what a kind of model changes; and of a kind of model, after that.
    seeds
        How many, at each scale.
    only
        Models of some values of Z alone.
    more
        Latents that a model has beyond Z.
    large
        Models of the paper's scale alone: of all data, or of some, as ``data, model``.
    """

    recipe: str
    data: Mapping[str, Sequence[str]]
    models: Mapping[str, Sequence[str]]
    measures: Sequence[str]
    latents: Mapping[Scale, Sequence[int]]
    quick: Sequence[str]
    seeds: Mapping[Scale, int]
    briefly: Mapping[str, Sequence[str]] = field(default_factory=dict)
    only: Mapping[str, Sequence[int]] = field(default_factory=dict)
    more: Mapping[str, int] = field(default_factory=dict)
    large: Sequence[str] = ()


FIXED = (
    "model.infer_rotation=false", "model.infer_translation=false", "train.rotate_encoder=false",
    "train.freeze_content=0",
)  # fmt: skip
VANILLA = ("model.generator=vanilla", *FIXED, "train.pixels=0")
# Our inference network instead of the paper's, trained as it is best (docs/pose.md): it has no preferred angle, and
# always a place.
OURS = (
    "model.encoder=polar", "model.infer_translation=true", "model.theta_prior=uniform",
    f"model.theta_sigma={math.pi}", "model.content_prior=fitted", "train.rotate_encoder=true",
    "train.freeze_content=0", "train.optimizer=muon", "train.learning_rate=1e-2", "train.schedule=cosine",
    "train.batch=50",
)  # fmt: skip
# Of OURS where pixels are normal, and where they are probabilities: two views must agree.
AGREE_NORMAL, AGREE = "train.agree=0.02", "train.agree=2.0"
# Of EM by Muon: at twice that rate our mean held above 0 went dark, where it has no slope to come back by.
GENTLY = "train.learning_rate=5e-3"

# At every scale: numbers as the device is fast with, of which the paper says nothing.
EVERYWHERE = ("train.precision=auto",)

# Of which a few minutes are enough to see something: steps that reach in hundreds what Adam does in thousands.
SOON = (
    "train.optimizer=muon", "train.learning_rate=1e-2", "train.schedule=cosine", "train.pixels=128",
)  # fmt: skip

EXPERIMENTS: Mapping[str, Experiment] = {
    "mnist": Experiment(
        recipe="paper/mnist",
        data={
            "mnist": [f"model.theta_sigma={math.pi / 8}"],
            "mnist-turned": [],
            "mnist-moved": [],
            "mnist-moved-canvas": ["ingest.field=108", "ingest.window=108", "model.shift_sigma=14"],
        },
        models={
            "spatial": [], "fixed": FIXED, "vanilla": VANILLA, "vanilla, Z + 3": VANILLA,
            "ours": (*OURS, AGREE),
            "spatial, wide priors": [f"model.theta_sigma={math.pi}", "model.shift_sigma=14"],
        },
        measures=["elbo"],
        latents={"quick": [2], "paper": [2, 3, 5, 10, 20, 50]},
        quick=["train.epochs=3", *SOON],
        briefly={
            # Upright digits are drawn well without a pose, too: what a pose brings shows late.
            "mnist": ["train.epochs=12", "train.learning_rate=3e-3", "train.pixels=64"],
            # Of those that are moved far there is little to see in most images.
            "mnist-moved": ["train.epochs=8", "train.learning_rate=3e-3", "train.pixels=64"],
            "ours": ["train.epochs=1", "train.pixels=128"],
            "mnist-moved-canvas": ["ingest.window=54", "ingest.oversample=2", "model.shift_sigma=7"],
        },
        seeds={"quick": 1, "paper": 3},
        more={"vanilla, Z + 3": 3},
        large=["spatial, wide priors", "mnist-moved-canvas, vanilla, Z + 3", "mnist-moved-canvas, ours"],
    ),
    "hinge": Experiment(
        recipe="paper/hinge",
        data={"hinge": [], "hinge-clear": []},
        models={
            "spatial": [], "vanilla": VANILLA,
            "ours": (*OURS, AGREE_NORMAL, "model.shift_sigma=1.0", "train.epochs=3"),
            # What two cores do in hours: all else as the paper has it.
            "spatial, some pixels": ["train.pixels=256"],
        },
        measures=["elbo", "truth"],
        latents={"quick": [1, 2], "paper": [1, 2]},
        quick=["train.epochs=4", "train.learning_rate=5e-4", "train.pixels=256"],
        briefly={"hinge-clear": ["train.epochs=8", "train.learning_rate=1e-3"]},
        seeds={"quick": 1, "paper": 3},
        only={"spatial": [1], "ours": [1], "spatial, some pixels": [1]},
        large=["spatial, some pixels", "hinge-clear, vanilla", "hinge-clear, ours"],
    ),
    "galaxy-zoo": Experiment(
        recipe="paper/galaxy-zoo",
        data={"galaxies": []},
        models={"spatial": [], "ours": (*OURS, AGREE)},
        measures=["elbo", "floor", "sharpness"],
        latents={"quick": [20, 50, 100], "paper": [20, 50, 100]},
        quick=["train.epochs=2", "train.pixels=256"],
        seeds={"quick": 1, "paper": 1},
    ),
    "em": Experiment(
        recipe="paper/em",
        data={"antibody": []},
        models={
            "spatial": [],
            "spatial, unit std": ["model.noise=1.0"],
            "spatial, fixed std": ["model.noise=0.8"],  # that of the noise, where the signal to noise is 0.5
            "spatial, mean above 0": ["model.nonnegative=true"],
            "ours": (*OURS, AGREE_NORMAL, GENTLY),
            "ours, mean above 0": (*OURS, AGREE_NORMAL, GENTLY, "model.nonnegative=true"),
        },
        measures=["elbo", "background"],
        latents={"quick": [20], "paper": [20]},
        quick=["train.epochs=4", *SOON, GENTLY],
        briefly={kind: ["train.epochs=2", "train.pixels=256"] for kind in ("ours", "ours, mean above 0")},
        seeds={"quick": 1, "paper": 1},
    ),
}  # fmt: skip


def jobs(name: str, scale: Scale) -> Iterator[Job]:
    """The trainings of an experiment at a scale; each seed's come before the next one's."""
    experiment = EXPERIMENTS[name]
    small, briefly = (experiment.quick, experiment.briefly) if scale == "quick" else ((), {})
    for seed, latents, data, model in itertools.product(
        range(experiment.seeds[scale]), experiment.latents[scale], experiment.data, experiment.models
    ):
        wanted = latents in experiment.only.get(model, [latents])
        if wanted and (scale == "paper" or not {model, f"{data}, {model}"} & set(experiment.large)):
            words = [*EVERYWHERE, *small, *experiment.data[data], *briefly.get(data, ())]
            words += [*experiment.models[model], *briefly.get(model, ())]
            words += [f"model.latents={latents + experiment.more.get(model, 0)}", f"train.seed={seed}"]
            yield Job(name, data, model, latents, seed, load_recipe(experiment.recipe, words))


def select_jobs(names: Sequence[str], scale: Scale, only: str | None = None) -> dict[str, list[Job]]:
    """The trainings of some experiments, by experiment; of those whose names match a pattern (``*``, ``?``), if any.

    Raises
    ------
    ValueError
        If there are none of such names.
    """
    every = {name: list(jobs(name, scale)) for name in names}
    found = {
        name: [job for job in some if fnmatchcase(job.name, "*" if only is None else only)]
        for name, some in every.items()
    }
    found = {name: some for name, some in found.items() if some}
    if not found:
        there = [job.name for some in every.values() for job in some]
        others = f", and {len(there) - 4} more" if len(there) > 4 else ""
        raise ValueError(f"--only {only}: no run is called so; there are {', '.join(there[:4])}{others}")
    return found
