"""Figures of numbers: training curves, latents, orientations; and how every figure is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Colormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from galvae.files import whole
from galvae.flags import Flag
from galvae.pictures import BLUE, GREY, VERMILLION, draw_traversals
from galvae.sampling import as_rgb

ACTIVE, CELLS = 0.01, 12


def save(figure: Figure, path: str | Path) -> None:
    """Write a figure as PNG at 150 dpi; it appears under its name when it is whole."""
    with whole(path) as scratch:
        figure.savefig(scratch, format="png", dpi=150)


def curves(
    metrics: Sequence[Mapping[str, float]], *, window: int, objective: str = "pseudo-ELBO", weighted: bool = False
) -> Figure:
    """Objective and divergences against steps, with the time taken above.

    The two lines are of other galaxies: a brighter half has another bound at the same quality. Compare their slopes.

    Parameters
    ----------
    metrics
        Lines of ``metrics.jsonl``, at least one.
    window
        Pixels along a side of the model's window.
    objective
        What the bound is called: a likelihood that is not normalised over the pixels' values gives a pseudo-ELBO.
    weighted
        Training has weighted the pixels: what it says of the objective is no bound, and is not shown.
    """
    pixels, every = metrics[0]["pixels"], window**2
    epochs = [line for line in metrics if line["pixels"] == pixels]
    whole = [line for line in metrics if line["pixels"] != pixels]
    figure = Figure(figsize=(7, 7.5), layout="constrained")
    used = f"{pixels:,} random ones of the {every:,} pixels" if pixels < every else f"all {every:,} pixels"
    figure.suptitle(f"Training on {used} of each image", fontsize=11)
    axes = figure.subplots(3, 1, sharex=True, height_ratios=[2, 1, 1])
    labels = {"elbo": objective, "kl_z": "KL of z", "kl_pose": "KL of pose"}
    mark = "." if len(epochs) < 40 else ""
    lines = (
        ("", "training, random views", BLUE, "-"),
        ("validation_", "held out, as in the catalog", VERMILLION, "--"),
    )
    for panel, (name, label) in zip(axes, labels.items(), strict=True):
        for prefix, title, colour, style in lines:
            if weighted and prefix + name == "elbo":
                continue
            steps, values = _column(epochs, "step"), _column(epochs, prefix + name)
            panel.plot(steps, values, style, marker=mark, color=colour, label=title)
        if whole:
            panel.plot(_column(whole, "step"), _column(whole, f"validation_{name}"), "D", color=VERMILLION,
                       markerfacecolor="none", label=f"held out, all {every:,} pixels")  # fmt: skip
        panel.set_ylabel(f"{label}\n(nats per galaxy)")
        panel.grid(alpha=0.3)
    _skip_transient(axes[0], len(epochs))
    axes[1 if weighted else 0].legend(frameon=False, loc="lower right")
    axes[-1].set_xlabel("step")
    axes[-1].set_xlim(left=0)
    _time_above(axes[0], metrics)
    return figure


def latents(
    columns: Mapping[str, Any], thumbnails: Mapping[int, np.ndarray], strips: np.ndarray, order: Sequence[int],
    steps: np.ndarray, *, note: str = "",
) -> Figure:  # fmt: skip
    """What the latents of N galaxies hold: divergence of each, principal components, traversals.

    Parameters
    ----------
    columns
        Of the catalog: ``z``, ``z_err`` (N, Z), ``axis_ratio``.
    thumbnails
        Canonical images in [0, 1], shape (n, n, C), row 0 at the bottom, by number of the galaxy:
        :func:`representatives` says of which.
    strips, order, steps
        Traversals of the latents `order`, as :func:`galvae.pictures.draw_traversals` takes them, in standard deviations
        of the galaxies' latents about their mean.
    note
        What to say of the galaxies in the title.
    """
    z = np.asarray(columns["z"], float)
    figure = Figure(figsize=(10, 7.9 + 0.8 * len(strips)), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=[7.2, 0.7 + 0.8 * len(strips)])
    above.suptitle("Latents" + (f" of {note}" if note else ""), fontsize=11)
    panels = above.subplot_mosaic([["kl", "kl"], ["axis", "look"]], height_ratios=[1, 2.4])
    _draw_kl(panels["kl"], z, latent_kl(z, np.asarray(columns["z_err"], float)))
    scores, share = principal_components(z)
    low, side = _cells(scores)
    parts = [f" ({100 * part:.0f}% of the variance)" if part > 0 else "" for part in share]
    for name, title in (("axis", "galaxies"), ("look", "decoded canonical images")):
        panels[name].set(xlabel=f"principal component 1{parts[0]}", ylabel=f"principal component 2{parts[1]}")
        panels[name].set_title(title, fontsize=10)
        panels[name].set_box_aspect(1)
    points = panels["axis"].scatter(*scores.T, c=np.asarray(columns["axis_ratio"], float), s=9, vmin=0, vmax=1,
                                    cmap=_with_grey("viridis"), plotnonfinite=True)  # fmt: skip
    above.colorbar(points, ax=panels["axis"], label="axis ratio b/a", location="bottom", shrink=0.8, aspect=30)
    for number, image in thumbnails.items():
        left, bottom = low + np.floor((scores[number] - low) / side) * side
        extent = (left, left + side[0], bottom, bottom + side[1])
        panels["look"].imshow(as_rgb(image), origin="lower", extent=extent, aspect="auto")
    for name in ("axis", "look"):
        panels[name].set(xlim=(low[0], low[0] + CELLS * side[0]), ylim=(low[1], low[1] + CELLS * side[1]))
    below.suptitle("Latents that vary most among the galaxies", fontsize=11)
    label = "latent (standard deviations among the galaxies, from their mean); all others at the mean"
    draw_traversals(below, strips, order, steps, label=label)
    return figure


def representatives(z: np.ndarray) -> np.ndarray:
    """Numbers of the galaxies whose images are shown in the plane of the principal components: one in each cell."""
    scores, _ = principal_components(z)
    low, side = _cells(scores)
    place = (scores - low) / side
    distance = np.hypot(*(place - np.floor(place) - 0.5).T)
    nearest_last = [k for k in np.argsort(-distance) if np.isfinite(distance[k])]
    return np.array(list({tuple(np.floor(place[k])): k for k in nearest_last}.values()), int)


def orientation(columns: Mapping[str, Any], *, note: str = "") -> Figure:
    """Where N galaxies point and lie: uniform angles are expected of a survey without a preferred direction.

    Parameters
    ----------
    columns
        Of the catalog: ``theta, orientation, orientation_err, axis_ratio, dx, dy, dx_arcsec, dy_arcsec, flags``.
    note
        What to say of the galaxies in the title.
    """
    figure = Figure(figsize=(9.5, 8), layout="constrained")
    figure.suptitle("Orientation and place" + (f" of {note}" if note else ""), fontsize=11)
    axes = figure.subplots(2, 2)
    _draw_angles(axes[0, 0], columns["theta"], 360, "θ, canonical +x (deg counter-clockwise from right)")
    defined = (np.asarray(columns["flags"]) & (Flag.AXIS_UNDEFINED | Flag.NO_MOMENTS)) == 0
    _draw_angles(axes[0, 1], np.asarray(columns["orientation"], float)[defined], 180,
                 "orientation, major axis (deg counter-clockwise from right)")  # fmt: skip
    axes[0, 1].set_title("galaxies whose axis is defined", fontsize=9)
    panel = axes[1, 0]
    panel.plot(columns["axis_ratio"], columns["orientation_err"], ".", color=BLUE, markersize=4, alpha=0.5)
    panel.axvline(0.9, color=GREY, linewidth=1)
    panel.axhline(30, color=GREY, linewidth=1, label="right of or above the lines: AXIS_UNDEFINED")
    panel.legend(fontsize=8, loc="upper left")
    panel.set(xlabel="axis ratio b/a", ylabel="orientation_err (deg, 90: random)", xlim=(0, 1), ylim=(0, 95))
    _draw_places(axes[1, 1], columns)
    return figure


def latent_kl(z: np.ndarray, z_err: np.ndarray) -> np.ndarray:
    """Divergence of each latent's posterior from its prior N(0, 1), nats, mean over the galaxies, shape (Z,)."""
    return np.nanmean(0.5 * (z**2 + z_err**2 - 1) - np.log(z_err), 0)


def principal_components(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first two principal components of z (N, Z): scores (N, 2), NaN where z is, and shares of variance (2,)."""
    good = np.isfinite(z).all(1)
    centred = z[good] - z[good].mean(0) if good.any() else z[good]
    left, spread, _ = np.linalg.svd(centred, full_matrices=False)
    scores, share = np.full((len(z), 2), np.nan), np.zeros(2)
    rank = min(2, len(spread))
    scores[good] = 0
    scores[good, :rank] = (left * spread)[:, :rank]
    share[:rank] = spread[:rank] ** 2 / max((spread**2).sum(), 1e-30)
    return scores, share


def _column(lines: Sequence[Mapping[str, float]], name: str) -> np.ndarray:
    return np.array([line[name] for line in lines], float)


def _skip_transient(panel: Axes, epochs: int) -> None:
    """The first epochs of a long training are so low that nothing of the rest could be read."""
    if epochs < 12:
        return
    later = np.array([line.get_ydata()[epochs // 8 :] for line in panel.get_lines() if len(line.get_ydata()) == epochs])
    lowest, highest = np.nanmin(later), np.nanmax(later)
    panel.set_ylim(bottom=lowest - 0.15 * (highest - lowest))


def _time_above(panel: Axes, metrics: Sequence[Mapping[str, float]]) -> None:
    steps, seconds = (np.concatenate([[0], _column(metrics, name)]) for name in ("step", "seconds"))
    size, unit = next((s, u) for s, u in ((3600, "h"), (60, "min"), (1, "s")) if seconds[-1] > 2 * s or s == 1)
    ticks = MaxNLocator(6, steps=[1, 2, 5, 10]).tick_values(0, seconds[-1] / size)
    ticks = ticks[(ticks >= 0) & (ticks <= seconds[-1] / size)]
    places = np.interp(ticks * size, seconds, steps)
    apart = [0]
    for number in range(1, len(ticks)):  # where a part of the training was slow, times crowd
        if places[number] - places[apart[-1]] >= steps[-1] / 20:
            apart.append(number)
    above = panel.secondary_xaxis("top")
    above.set_xticks(places[apart], [f"{tick:g}" for tick in ticks[apart]])
    above.set_xlabel(f"time in training ({unit})")


def _draw_kl(panel: Axes, z: np.ndarray, kl: np.ndarray) -> None:
    order = np.argsort(-kl)
    active = np.nanvar(z, 0) > ACTIVE
    panel.bar(np.arange(len(kl)), kl[order], color=np.where(active[order], BLUE, GREY))
    panel.set_title(
        f"{active.sum()} of {len(kl)} latents active (blue: variance of the posterior means above {ACTIVE}); "
        f"{kl.sum():.1f} nats in all, a galaxy's hypotheses merged", fontsize=9,
    )  # fmt: skip
    panel.set_ylabel("KL of the latent\n(nats, mean)")
    if len(kl) <= 32:
        panel.set_xticks(np.arange(len(kl)), order)
    panel.set_xlabel("latent, by its KL" if len(kl) <= 32 else "rank of the latent by its KL")


def _cells(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lower left corner and sides of the cells of the plane."""
    scores = scores[np.isfinite(scores).all(1)]
    low, high = (scores.min(0), scores.max(0)) if len(scores) else (np.zeros(2), np.zeros(2))
    margin = np.maximum(0.04 * (high - low), 1e-3)
    return low - margin, (high - low + 2 * margin) / CELLS


def _with_grey(name: str) -> Colormap:
    """A colour map that shows what is not known in grey."""
    return colormaps[name].with_extremes(bad=GREY)


def _draw_angles(panel: Axes, angles: np.ndarray, period: int, label: str) -> None:
    angles = np.asarray(angles, float)
    angles = angles[np.isfinite(angles)]
    if not len(angles):
        panel.text(0.5, 0.5, "none", transform=panel.transAxes, ha="center", color=GREY)
    bins = max((b for b in (6, 9, 12, 18) if len(angles) >= 5 * b), default=6)
    expected = len(angles) / bins
    spread = np.sqrt(expected * (1 - 1 / bins))
    panel.axhspan(max(expected - spread, 0), expected + spread, color=GREY, alpha=0.3, label="uniform, ± 1 σ")
    counts, edges = np.histogram(angles, bins, range=(0, period))
    panel.stairs(counts, edges, baseline=None, color=BLUE, linewidth=1.5, label=f"{len(angles):,} galaxies")
    panel.set(xlabel=label, ylabel=f"galaxies per {period // bins} deg", xlim=(0, period))
    panel.set_xticks(np.arange(0, period + 1, period // 6))
    panel.set_ylim(0, 1.3 * max(counts.max(), expected + spread, 1))
    panel.legend(fontsize=8, loc="upper right", ncols=2)


def _draw_places(panel: Axes, columns: Mapping[str, Any]) -> None:
    x, y = (np.asarray(columns[f"{name}_arcsec"], float) for name in ("dx", "dy"))
    unit = "arcsec"
    if not np.isfinite(x).any():
        x, y = (np.asarray(columns[name], float) for name in ("dx", "dy"))
        unit = "original pixels"
    panel.axhline(0, color=GREY, linewidth=0.8)
    panel.axvline(0, color=GREY, linewidth=0.8)
    panel.plot(x, y, ".", color=BLUE, markersize=4, alpha=0.5)
    far = np.hypot(x, y)
    if np.isfinite(far).any():
        title = f"median {np.nanmedian(far):.1f}, farthest {np.nanmax(far):.1f} {unit} off the centre"
        panel.set_title(title, fontsize=9)
        half = 1.05 * max(np.nanmax(np.abs([x, y])), 1e-3)
        panel.set(xlim=(-half, half), ylim=(-half, half))
    panel.set(xlabel=f"dx, right of the cutout's centre ({unit})", ylabel=f"dy, above it ({unit})", aspect="equal")
