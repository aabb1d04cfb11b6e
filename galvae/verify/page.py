"""What `galvae verify` found, as a page to look at: tables, pictures, the galaxies that went wrong."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from galvae.angles import difference
from galvae.data.store import ImageStore
from galvae.files import write_atomically
from galvae.pictures import BLUE, GREY, VERMILLION
from galvae.plots import save
from galvae.sampling import as_rgb, displayed
from galvae.spectra import ORDERS
from galvae.verify.kept import Kept
from galvae.verify.measured import Measured
from galvae.verify.summary import COVERED, ELONGATED, off_course

PAGE, FIGURES = "verify.html", "verify.json"
WORST = 12
# What is drawn on a logarithmic scale is no less.
LEAST = 0.001


def write_page(
    directory: Path, run: str, figures: dict[str, Any], measured: Measured, store: ImageStore, *, text: str
) -> list[Path]:
    """Draw the pictures of a run's verification and write a page around them.

    Parameters
    ----------
    directory
        A folder.
    run, figures, measured
        The run's name, its figures and what they are made from.
    store
        The images.
    text
        The table of figures, as on the terminal.

    Returns
    -------
    list of Path
        The page and the pictures.
    """
    followed = "Galaxies whose θ followed the turn worst: as found (blue), in the turned copy, turned back (orange)."
    pictures = {
        "coverage": ("Do intervals hold? Shares of galaxies within one and two errors.", coverage(figures)),
        "turns": ("The turn test, and the axis against the reference.", turns(measured)),
        "worst": (followed, worst(measured, store)),
    }
    if measured.kept is not None:
        lost = "Galaxies of whose arms and bars (azimuthal order 2) most was lost: as seen, and as decoded."
        pictures |= {
            "kept": ("What of the light the reconstructions keep, and how z's nats are spread.", kept(figures["kept"])),
            "lost": (lost, most_lost(measured.kept, store.column("id")[measured.rows])),
        }
    written = []
    for name, (_, figure) in pictures.items():
        save(figure, directory / f"{name}.png")
        written.append(directory / f"{name}.png")
    body = "".join(
        f'<h2>{html.escape(caption)}</h2><img src="{name}.png" alt="{html.escape(caption)}">'
        for name, (caption, _) in pictures.items()
    )
    title = f"galvae verify: {html.escape(run)} on {html.escape(str(store.path))}"
    write_atomically(
        directory / PAGE,
        f'<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        "<style>body{font-family:sans-serif;max-width:70em;margin:2em auto}img{max-width:100%}</style>"
        f"<h1>{title}</h1><pre>{html.escape(text)}</pre>{body}</html>\n",
    )
    return [directory / PAGE, *written]


def coverage(figures: dict[str, Any]) -> Figure:
    """Shares within one and two errors by axis ratio, brightness and signal-to-noise ratio."""
    found = figures["coverage"]
    figure = Figure(figsize=(11, 13), layout="constrained")
    axes = figure.subplots(len(COVERED), 3, sharey=True)
    names = {"axis_ratio": "axis ratio", "brightness": "mean light (1: white)", "snr": "signal-to-noise ratio"}
    for row, (name, label) in zip(axes, COVERED.items(), strict=True):
        for panel, (key, title) in zip(row, names.items(), strict=True):
            _draw_bins(panel, found[name]["bins"][key])
            panel.set_xlabel(title, fontsize=8)
            panel.tick_params(labelsize=7)
        row[0].set_ylabel(label, fontsize=8)
    axes[0, 0].legend(fontsize=8, loc="lower left")
    return figure


def _draw_bins(panel: Axes, bins: list[dict[str, Any]]) -> None:
    for key, wanted, colour in (("68", 0.68, BLUE), ("95", 0.95, VERMILLION)):
        panel.axhline(wanted, color=colour, linewidth=0.8, linestyle=":")
        known = [(number, one[key], one["galaxies"]) for number, one in enumerate(bins) if one["galaxies"]]
        if known:
            x, share, count = (np.array(values, float) for values in zip(*known, strict=True))
            error = np.sqrt(wanted * (1 - wanted) / count)
            panel.errorbar(x, share, error, fmt="o", color=colour, markersize=4, label=f"{key}% intervals")
    labels = [f"{_short(one['from'])}-{_short(one['to'])}\n({one['galaxies']})" for one in bins]
    panel.set_xticks(range(len(bins)), labels)
    panel.set_ylim(0, 1.05)
    panel.grid(axis="y", alpha=0.3)


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def turns(measured: Measured) -> Figure:
    """Errors of theta, of the centre and of the axis against the reference's axis ratio."""
    figure = Figure(figsize=(11, 3.8), layout="constrained")
    figure.suptitle(f"one point a galaxy; what is below {LEAST} is drawn there", fontsize=9)
    q = measured.reference.axis_ratio
    theta = difference(measured.end.theta - measured.start.theta, measured.turn, 360)
    axis = difference(measured.start.orientation, measured.reference.orientation, 180)
    moved = np.hypot(*off_course(measured.start, measured.end, measured).T)
    for panel, values, label in zip(
        figure.subplots(1, 3), (np.abs(theta), moved, np.abs(axis)),
        ("θ after a turn (deg)", "centre after a move (window px)", "axis against the reference (deg)"), strict=True,
    ):  # fmt: skip
        panel.plot(q, np.maximum(values, LEAST), ".", color=BLUE, markersize=4, alpha=0.5)
        panel.set(xlabel="axis ratio of the reference", ylabel=label, yscale="log", xlim=(0, 1))
        panel.axvline(ELONGATED, color=GREY, linewidth=0.8)
    return figure


def worst(measured: Measured, store: ImageStore) -> Figure:
    """Galaxies whose theta followed the turn worst, with both directions."""
    off = np.abs(difference(measured.end.theta - measured.start.theta, measured.turn, 360))
    chosen = np.argsort(-np.nan_to_num(off, nan=360))[:WORST]
    images = as_rgb(displayed(store.images(measured.rows[chosen])))
    names = store.column("id")[measured.rows[chosen]]
    figure = Figure(figsize=(11, 2.1 * -(-len(chosen) // 6) + 0.2), layout="constrained")
    for number, k in enumerate(chosen):
        panel = figure.add_subplot(-(-len(chosen) // 6), 6, number + 1)
        side = images.shape[1]
        panel.imshow(images[number], origin="lower")
        middle = (side - 1) / 2 + np.nan_to_num(measured.start.centre[k])
        for theta, colour in ((measured.start.theta[k], BLUE), (measured.end.theta[k] - measured.turn[k], VERMILLION)):
            way = np.array([np.cos(np.radians(theta)), np.sin(np.radians(theta))]) * side / 4
            panel.annotate("", middle + way, middle, arrowprops={"arrowstyle": "->", "color": colour})
        panel.set_title(f"{names[number]}\n{off[k]:.0f}°, p_alt {measured.start.p_alt[k]:.2f}", fontsize=7)
        panel.axis("off")
    return figure


def kept(figures: dict[str, Any]) -> Figure:
    """What is kept of the light by azimuthal order and by fineness, and the nats of each latent."""
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    panels = figure.subplots(1, 3)
    titles = "azimuthal order on ellipses of the galaxy's shape", "cycles along the window"
    for panel, key, title in zip(panels[:2], ("around", "fine"), titles, strict=True):
        known = {name: values for name, values in figures[key].items() if values}
        for what, label, colour in (
            ("amplitude", "light's amplitude (relative)", GREY), ("decoded", "decoded power", VERMILLION),
            ("kept", "kept: 1 - left over", BLUE),
        ):  # fmt: skip
            panel.plot(range(len(known)), [values[what] for values in known.values()], "o-", color=colour, label=label)
        panel.set_xticks(range(len(known)), known)
        panel.set(xlabel=title, ylim=(min(0, panel.get_ylim()[0]), 1.05))
        panel.grid(axis="y", alpha=0.3)
    panels[0].set_ylabel("share")
    panels[0].legend(fontsize=8)
    nats = figures["nats"]["latents"]
    panels[2].bar(range(1, len(nats) + 1), nats, color=BLUE)
    panels[2].set(xlabel="latents of z, largest first", ylabel=f"nats (sum {figures['nats']['sum']:.1f})")
    return figure


def most_lost(kept: Kept, names: np.ndarray) -> Figure:
    """The galaxies of whose order 2, where it is more than noise, most is left over, beside what is decoded."""
    light, _, left, noise = kept.around[:, :, list(ORDERS).index("2")].T
    lost = np.where(light - noise > noise, left - noise, -np.inf)
    chosen = np.argsort(-lost)[:WORST]
    chosen = chosen[np.isfinite(lost[chosen])]
    rows = -(-len(chosen) // 4)
    figure = Figure(figsize=(11, 1.6 * rows + 0.1), layout="constrained")
    for number, k in enumerate(chosen):
        panel = figure.add_subplot(rows, 4, number + 1)
        panel.imshow(as_rgb(np.concatenate(list(displayed(kept.windows[k])), 1)), origin="lower")
        panel.set_title(f"{names[k]}: {max(lost[k], 0) ** 0.5:.2f}", fontsize=7)
        panel.axis("off")
    return figure
