"""Figures of what a catalog is used for: contact sheets, confusion of classes, learning curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from galvae.pictures import BLUE, GREY, VERMILLION
from galvae.sampling import contact_sheet

_INCHES = 1.1  # a picture's width


def sheet(images: np.ndarray, titles: Sequence[str], *, columns: int, heading: str) -> Figure:
    """Contact sheet of N pictures, each with a title below.

    Parameters
    ----------
    images
        Display values in [0, 1], shape (N, n, n, C), row 0 at the bottom.
    titles
        Of each, one line or two.
    columns
        Pictures in a row.
    heading
        What they are.
    """
    count, n = images.shape[:2]
    gap = round(0.32 * n)  # room for two lines
    columns = min(columns, count)
    picture = contact_sheet(images, columns=columns, gap=gap)
    picture = np.pad(picture, ((0, gap), (0, 0), (0, 0)), constant_values=255)
    scale = _INCHES / n
    wide = max(picture.shape[1] * scale, 5)
    figure = Figure(figsize=(wide, picture.shape[0] * scale + 0.4), layout="constrained")
    figure.suptitle(heading, fontsize=9)
    panel = figure.subplots()
    panel.imshow(picture, interpolation="antialiased")
    panel.axis("off")
    longest = max((len(line) for title in titles for line in title.split("\n")), default=0)
    size = min(6.5, 6.5 * 22 / max(longest, 1))
    for number, title in enumerate(titles):
        x = number % columns * (n + gap) + (n - 1) / 2
        y = number // columns * (n + gap) + n + 1
        panel.text(x, y, title, fontsize=size, ha="center", va="top", parse_math=False)
    return figure


def confusion(found: dict[str, Any]) -> Figure:
    """Which labels are taken for which, as shares of each label's galaxies; of what :func:`galvae.uses.probe.probe`
    finds."""  # fmt: skip
    counts, names = np.array(found["z"]["confusion"]), list(found["classes"])
    share = counts / counts.sum(1, keepdims=True)
    side = max(4.0, 1.6 + 0.75 * len(names))
    figure = Figure(figsize=(side + 0.8, side), layout="constrained")
    panel = figure.subplots()
    panel.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for (row, column), value in np.ndenumerate(share):
        colour = "white" if value > 0.5 else "black"
        panel.text(column, row, f"{100 * value:.0f}%\n{counts[row, column]:.0f}", ha="center", va="center",
                   fontsize=8, color=colour)  # fmt: skip
    panel.set_xticks(range(len(names)), names, rotation=30, ha="right", fontsize=8, parse_math=False)
    panel.set_yticks(range(len(names)), names, fontsize=8, parse_math=False)
    panel.set(xlabel="predicted from z", ylabel="label")
    panel.set_title(f"{found['label']}: balanced accuracy {found['z']['score']:.3f} ± {found['z']['error']:.3f}",
                    fontsize=9, parse_math=False)  # fmt: skip
    return figure


def learning(found: dict[str, Any]) -> Figure:
    """Balanced accuracy against the number of labels, from z and from what needs none; of the probe's findings."""
    figure = Figure(figsize=(6, 4.2), layout="constrained")
    panel = figure.subplots()
    panel.axhline(found["chance"], color=GREY, linewidth=1, linestyle=":", label="chance")
    whole = found["galaxies"] * 0.8  # what four folds of five hold
    lines = {"z": ("z", BLUE, "o"), "form": (", ".join(found["beside"]), VERMILLION, "s")}
    for name, (label, colour, marker) in lines.items():
        if name not in found:
            continue
        points = found[name]["learning"]
        panel.errorbar([one["labels"] for one in points], [one["score"] for one in points],
                       [one["spread"] for one in points], color=colour, marker=marker, markersize=4, capsize=2,
                       label=label)  # fmt: skip
        panel.errorbar([whole], [found[name]["score"]], [found[name]["error"]], color=colour, marker=marker,
                       markersize=6, markerfacecolor="none", capsize=2)  # fmt: skip
    panel.set(xscale="log", xlabel="labels (open: cross-validated with all)", ylabel="balanced accuracy")
    panel.set_title(f"{found['label']}, {len(found['classes'])} classes", fontsize=10, parse_math=False)
    panel.grid(alpha=0.3)
    panel.legend(frameon=False, fontsize=8, loc="upper left")
    return figure
