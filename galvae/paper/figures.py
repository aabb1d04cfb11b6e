"""The paper's figures, drawn from what was trained here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from textwrap import fill

import numpy as np
import torch
from matplotlib.figure import Figure
from scipy.stats import norm

from galvae.paper.data import Sources, stores
from galvae.paper.experiments import EXPERIMENTS, Job, Scale
from galvae.paper.measure import Measured
from galvae.paper.results import folder_of, results
from galvae.paper.work import measured_of
from galvae.plots import save
from galvae.sampling import contact_sheet, displayed, interpolate

Strips = Sequence[tuple[str, np.ndarray]]


def draw(name: str, output: Path, *, scale: Scale, sources: Sources, device: torch.device) -> list[Path]:
    """Draw the figures of an experiment from its first seed's runs; where they are written."""
    runs = {}
    for job, result in results(output, [name], scale):
        if result and job.seed == 0:
            train, test, _ = stores(job, output / scale / "data", scale=scale, sources=sources, quiet=True)
            runs[job] = measured_of(folder_of(job, output, scale), train, test, device=device)
    paths = []
    for title, figure in _FIGURES[name](runs) if runs else ():
        paths.append(output / "figures" / f"{scale}-{title}.png")
        paths[-1].parent.mkdir(parents=True, exist_ok=True)
        save(figure, paths[-1])
    return paths


def quantiles(count: int) -> np.ndarray:
    """Values of a latent at equally spaced quantiles of its prior, shape (count,)."""
    return norm.ppf((np.arange(count) + 0.5) / count)


def _mnist(runs: Mapping[Job, Measured]) -> Iterator[tuple[str, Figure]]:
    """Fig. 3: manifolds at Z = 2 of each model on each of the data."""
    data = list(dict.fromkeys(job.data for job in runs))
    kinds = [m for m in ("vanilla", "fixed", "spatial", "ours") if any(job.model == m for job in runs)]
    figure = Figure(figsize=(1 + 2.6 * len(kinds), 0.6 + 2.6 * len(data)), layout="compressed")
    axes = figure.subplots(len(data), len(kinds), squeeze=False)
    for job, run in runs.items():
        if job.latents != 2 or job.model not in kinds:
            continue
        panel = axes[data.index(job.data), kinds.index(job.model)]
        z = np.stack(np.meshgrid(quantiles(10), quantiles(10)), -1).reshape(-1, 2)
        panel.imshow(contact_sheet(run.model.canonical(z), columns=10, gap=0))
    for row, name in zip(axes, data, strict=True):
        row[0].set_ylabel(name, fontsize=8)
    for panel, name in zip(axes[0], kinds, strict=True):
        panel.set_title(name, fontsize=9)
    for panel in axes.flat:
        panel.set(xticks=[], yticks=[], frame_on=panel.has_data())
    title = "Manifolds at Z = 2: theta = 0, shift = 0, z at equal steps of its prior's quantiles"
    figure.suptitle(fill(title, 28 * len(kinds)), fontsize=9)
    yield "mnist-manifolds", figure
    yield from _against_z(runs)


def _against_z(runs: Mapping[Job, Measured]) -> Iterator[tuple[str, Figure]]:
    """Fig. 2: test ELBO against Z."""
    latents = sorted({job.latents for job in runs})
    if len(latents) < 2:
        return
    data = list(dict.fromkeys(job.data for job in runs))
    figure = Figure(figsize=(3.2 * len(data), 3.2), layout="compressed")
    for panel, name in zip(figure.subplots(1, len(data), squeeze=False)[0], data, strict=True):
        for model in EXPERIMENTS["mnist"].models:
            points = [(job.latents, run.found["elbo"].mean()) for job, run in runs.items()
                      if (job.data, job.model) == (name, model)]  # fmt: skip
            panel.plot(*np.transpose(sorted(points)), "o-", ms=3, label=model) if points else None
        panel.set(title=name, xlabel="Z", ylabel="test ELBO, nats")
    panel.legend(fontsize=7)
    yield "mnist-elbo", figure


def _hinge(runs: Mapping[Job, Measured]) -> Iterator[tuple[str, Figure]]:
    """Fig. 4: images by conformation, and the manifolds of one latent."""
    strips: list[tuple[str, np.ndarray]] = []
    for name in dict.fromkeys(job.data for job in runs):
        own = {job: run for job, run in runs.items() if job.data == name}
        some = next(iter(own.values()))
        conformation = some.test.column("table/conformation")
        order = np.argsort(conformation)[np.linspace(0, len(conformation) - 1, 12).astype(int)]
        strips.append((f"{name}: images,\nby conformation", some.windows(order)))
        for job, run in own.items():
            if job.latents == 1:
                z = np.quantile(run.found["z"][:, 0], (np.arange(12) + 0.5) / 12)[:, None]
                strips.append((f"{name}, {job.model}:\nz1 from end to end", run.model.canonical(z)))
    yield "hinge-manifolds", strips_figure(strips, "Images, and the manifold of one latent at theta = 0")


def _galaxies(runs: Mapping[Job, Measured]) -> Iterator[tuple[str, Figure]]:
    """Fig. 5: images, and samples of each model."""
    some = next(iter(runs.values()))
    strips = [("images", some.windows(slice(24)))]
    strips += [(f"{job.model}\nZ = {job.latents}", run.model.sample(24)) for job, run in runs.items()]
    yield "galaxy-zoo-samples", strips_figure(strips, "Galaxies, and samples at theta = 0, shift = 0")


def _em(runs: Mapping[Job, Measured]) -> Iterator[tuple[str, Figure]]:
    """Fig. 6: from one image's posterior mean to another's."""
    for job, run in runs.items():
        images = run.windows(slice(8))
        strips = [
            (str(pair + 1), np.concatenate([images[[2 * pair]], interpolate(run.model, *ends, steps=8),
                                            images[[2 * pair + 1]]]))
            for pair, ends in enumerate(run.found["z"][:8].reshape(4, 2, -1))
        ]  # fmt: skip
        title = f"{job.model}: between two images (far left, far right), at theta = 0, shift = 0"
        yield f"em-{job.name}", strips_figure(strips, title)


_FIGURES: Mapping[str, Callable[[Mapping[Job, Measured]], Iterator[tuple[str, Figure]]]] = {
    "mnist": _mnist, "hinge": _hinge, "galaxy-zoo": _galaxies, "em": _em,
}  # fmt: skip


def strips_figure(strips: Strips, title: str) -> Figure:
    """Rows of pictures with a label each; what is not in [0, 1] is shown each for itself (:func:`displayed`)."""
    count = max(len(images) for _, images in strips)
    figure = Figure(figsize=(1.2 + 0.8 * min(count, 12), 0.5 + 0.85 * sum(-(-len(i) // 12) for _, i in strips)),
                    layout="compressed")  # fmt: skip
    ratios = [-(-len(images) // 12) for _, images in strips]
    axes = figure.subplots(len(strips), 1, squeeze=False, height_ratios=ratios)[:, 0]
    for panel, (label, images) in zip(axes, strips, strict=True):
        if images.min() < 0 or images.max() > 1:
            images = np.stack([*map(displayed, images)])
        panel.imshow(contact_sheet(images, columns=min(count, 12)))
        panel.set(xticks=[], yticks=[])
        panel.set_ylabel(label, fontsize=7, rotation=0, ha="right", va="center")
    figure.suptitle(title, fontsize=9)
    return figure
