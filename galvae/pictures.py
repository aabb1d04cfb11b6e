"""Figures made of images: reconstructions, canonical views, traversals of the latents, draws from the prior.

Images are arrays in [0, 1] with row 0 at the bottom; a galaxy's place in its image is what the catalog says of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.patheffects import withStroke

from galvae.flags import Flag
from galvae.sampling import as_rgb, contact_sheet

# Okabe & Ito's colours, which readers of any colour vision tell apart.
BLUE, VERMILLION, SKY, GREY = "#0072B2", "#D55E00", "#56B4E9", "#999999"
_DARK_EDGE = [withStroke(linewidth=2.2, foreground="black")]
_HEADINGS = ("image", "reconstruction", "canonical, θ = 0", "residual")


def reconstructions(
    images: np.ndarray, decoded: np.ndarray, canonical: np.ndarray, columns: Mapping[str, Any], *, note: str = ""
) -> Figure:
    """Image, reconstruction in the pose inferred, canonical view and residual of some galaxies.

    On the image lie the inferred centre and major axis (broken where the catalog calls it undefined), a scale bar, and
    the ways North and East.

    Parameters
    ----------
    images, decoded, canonical
        Of N galaxies in [0, 1], shape (N, n, n, C), row 0 at the bottom.
    columns
        Of the catalog: ``id, theta, theta_err, orientation, axis_ratio, dx, dy, scale, flags``; besides ``pixel_scale``
        (arcsec per original pixel) and ``north``, ``east`` (degrees counter-clockwise from right), NaN where unknown.
    note
        What to say of the galaxies in the title.
    """
    count = len(images)
    blocks = 1 if count <= 3 else 2
    rows = -(-count // blocks)
    figure = Figure(figsize=(0.6 + 5.0 * blocks, 1.0 + 1.43 * rows), layout="compressed")
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0.02, hspace=0.03)
    figure.suptitle("Reconstructions" + (f" of {note}" if note else ""), fontsize=11)
    axes = figure.subplots(rows, 4 * blocks, squeeze=False)
    residual = (images - decoded).mean(-1)
    limit = max(0.05, np.ceil(20 * np.nanpercentile(np.abs(residual), 99.5)) / 20)
    for number in range(rows * blocks):
        row, block = number // blocks, number % blocks
        four = axes[row, 4 * block : 4 * block + 4]
        if number >= count:
            for panel in four:
                panel.axis("off")
            continue
        half = _half_width(columns, number, images.shape[1])
        for panel, image in zip(four, (images, decoded, canonical), strict=False):
            _show(panel, as_rgb(image[number]), half)
        mapped = _show(four[3], residual[number], half, cmap="RdBu_r", vmin=-limit, vmax=limit)
        _draw_axis(four[0], columns, number, half)
        _draw_scale(four[0], columns["pixel_scale"][number], half)
        _draw_compass(four[0], columns["north"][number], columns["east"][number], half)
        _title(four[0], _short(columns["id"][number], 28))
        _title(four[1], f"θ = {columns['theta'][number]:.0f}° ± {_brief(columns['theta_err'][number])}°")
        _title(four[2], _ratio(columns["axis_ratio"][number]))
        if row == 0:
            for panel, heading in zip(four, _HEADINGS, strict=True):
                panel.annotate(heading, (0.5, 1), (0, 16), xycoords="axes fraction", textcoords="offset points",
                               ha="center", fontsize=9)  # fmt: skip
    bar = figure.colorbar(mapped, ax=axes, location="bottom", shrink=0.4, aspect=40, pad=0.01)
    bar.set_label("residual: image − reconstruction, mean of the channels (full scale is 1)", fontsize=8)
    bar.ax.tick_params(labelsize=7)
    return figure


def canonical_views(
    images: np.ndarray, turned: np.ndarray, canonical: np.ndarray, columns: Mapping[str, Any], *, note: str = ""
) -> Figure:
    """Contact sheet: images as displayed, the same images carried into the canonical frame, and decoded there.

    Parameters
    ----------
    images, turned, canonical
        Of N galaxies in [0, 1], shape (N, n, n, C), row 0 at the bottom; `turned` is the image resampled.
    columns
        Of the catalog: ``id``, ``theta``.
    note
        What to say of the galaxies in the title.
    """
    count, n = images.shape[:2]
    across = min(count, 8)
    blocks = -(-count // across)
    figure = Figure(figsize=(1.2 + 1.2 * across, 1.0 + 3.9 * blocks), layout="compressed")
    figure.suptitle(
        "Canonical views" + (f" of {note}" if note else "")
        + "\narrow: canonical +x in the image, at angle θ; below it points right (the zero of θ is this run's own)",
        fontsize=10,
    )  # fmt: skip
    axes = figure.subplots(3 * blocks, 1, squeeze=False)[:, 0]
    for block in range(blocks):
        part = slice(block * across, (block + 1) * across)
        labels = ("image", "image in\ncanonical frame", "decoded at\nθ = 0, shift = 0")
        three = axes[3 * block : 3 * block + 3]
        for panel, stack, label in zip(three, (images, turned, canonical), labels, strict=True):
            _strip(panel, stack[part], across)
            panel.set_ylabel(label, fontsize=8)
        centres = _centres(len(images[part]), n)
        for centre, theta in zip(centres, np.radians(columns["theta"][part]), strict=True):
            _arrow(three[0], (centre, (n - 1) / 2), theta, 0.42 * n, SKY)
        three[0].xaxis.tick_top()
        names = [_short(name, 24) for name in columns["id"][part]]
        size = min(7.0, 7.0 * 17 / max(map(len, names)))
        three[0].set_xticks(centres, names, fontsize=size, parse_math=False)
        three[0].tick_params(length=0)
    return figure


def draw_traversals(
    figure: Figure | SubFigure, strips: np.ndarray, latents: Sequence[int], steps: np.ndarray, *, label: str
) -> None:
    """Draw a strip of canonical images for each of some latents, the others being kept.

    Parameters
    ----------
    figure
        Where to draw.
    strips
        Images in [0, 1], shape (latents, steps, n, n, C), row 0 at the bottom.
    latents
        Indices of the latents.
    steps
        Where along them the images are.
    label
        What the steps are.
    """
    axes = figure.subplots(len(strips), 1, squeeze=False)[:, 0]
    for panel, strip, latent in zip(axes, strips, latents, strict=True):
        _strip(panel, strip, len(strip))
        panel.set_ylabel(f"$z_{{{latent}}}$", rotation=0, ha="right", va="center", fontsize=10)
    names = [f"{step:g}".replace("-", "−") for step in steps]
    axes[-1].set_xticks(_centres(len(steps), strips.shape[2]), names, fontsize=8)
    axes[-1].set_xlabel(label, fontsize=9)


def prior(samples: np.ndarray, strips: np.ndarray, latents: Sequence[int], steps: np.ndarray) -> Figure:
    """Draws from the prior, and below them traversals of the latents that change the image most.

    Parameters
    ----------
    samples
        Canonical images in [0, 1], shape (N, n, n, C), row 0 at the bottom.
    strips, latents, steps
        As :func:`draw_traversals` takes them, in standard deviations of the prior about its mean.
    """
    across = min(len(samples), 10)
    rows = -(-len(samples) // across)
    figure = Figure(figsize=(9.5, 1.6 + 0.95 * (rows + len(strips))), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=[rows + 0.3, len(strips) + 0.9])
    panel = above.subplots()
    panel.imshow(contact_sheet(samples, columns=across), interpolation="nearest")
    _bare(panel)
    above.suptitle("Draws from the prior, θ = 0, shift = 0", fontsize=11)
    below.suptitle("Latents that change the image most", fontsize=11)
    draw_traversals(below, strips, latents, steps, label="latent (standard deviations of its prior); all others 0")
    return figure


def _show(panel: Axes, image: np.ndarray, half: float, **options: Any) -> Any:
    """Axes count original pixels from the window's centre."""
    _bare(panel)
    return panel.imshow(image, origin="lower", extent=(-half, half, -half, half), interpolation="nearest", **options)


def _bare(panel: Axes) -> None:
    panel.set(xticks=[], yticks=[])
    panel.spines[:].set_visible(False)


def _strip(panel: Axes, images: np.ndarray, across: int, gap: int = 2) -> None:
    n = images.shape[1]
    sheet = contact_sheet(images, columns=len(images), gap=gap)
    panel.imshow(sheet, extent=(-0.5, sheet.shape[1] - 0.5, -0.5, n - 0.5), interpolation="nearest")
    _bare(panel)
    panel.set_xlim(-0.5, across * (n + gap) - gap - 0.5)


def _centres(count: int, n: int, gap: int = 2) -> np.ndarray:
    return np.arange(count) * (n + gap) + (n - 1) / 2


def _half_width(columns: Mapping[str, Any], number: int, n: int) -> float:
    """Half the window with its outer pixels' outer halves, in original pixels; `scale` ends at their centres."""
    return float(columns["scale"][number]) * n / (n - 1)


def _draw_axis(panel: Axes, columns: Mapping[str, Any], number: int, half: float) -> None:
    x, y, angle = (float(columns[name][number]) for name in ("dx", "dy", "orientation"))
    if not np.isfinite([x, y, angle]).all():
        return
    way = np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle))])
    style = ":" if columns["flags"][number] & Flag.AXIS_UNDEFINED else "-"
    for sign in (-1, 1):
        # The middle stays free: there is the galaxy.
        ends = np.array([x, y]) + sign * np.outer([0.4, 0.95], way) * half
        panel.plot(*ends.T, style, color=SKY, linewidth=1.0, scalex=False, scaley=False)
    panel.plot(x, y, "+", color=SKY, markersize=4, markeredgewidth=0.8, scalex=False, scaley=False)


def _draw_scale(panel: Axes, pixel_scale: float, half: float) -> None:
    known = np.isfinite(pixel_scale)
    unit, name = (float(pixel_scale), "″") if known else (1.0, " px")
    length = _round_length(0.7 * half * unit)
    left = -0.92 * half
    panel.plot([left, left + length / unit], [-0.88 * half] * 2, "-", color="white", linewidth=1.5,
               path_effects=_DARK_EDGE, scalex=False, scaley=False)  # fmt: skip
    panel.text(left, -0.82 * half, f"{length:g}{name}", color="white", fontsize=6, va="bottom", path_effects=_DARK_EDGE)


def _round_length(longest: float) -> float:
    """The largest of 1, 2, 5 times a power of ten that is not longer."""
    power = 10.0 ** np.floor(np.log10(longest))
    return float(max(step for step in (1, 2, 5) if step * power <= longest) * power)


def _draw_compass(panel: Axes, north: float, east: float, half: float) -> None:
    if not np.isfinite([north, east]).all():
        return
    angles = np.radians([north, east])
    ways = np.stack([np.cos(angles), np.sin(angles)], 1)
    foot = (0.68 - 0.15 * ways.sum(0)) * half
    for name, angle, way in zip("NE", angles, ways, strict=True):
        _arrow(panel, foot, angle, 0.24 * half, "white", width=0.9)
        panel.text(*(foot + 0.34 * half * way), name, color="white", fontsize=6, ha="center", va="center",
                   path_effects=_DARK_EDGE)  # fmt: skip


def _arrow(panel: Axes, foot: Sequence[float], angle: float, length: float, colour: str, *, width: float = 1.0) -> None:
    tip = (foot[0] + length * np.cos(angle), foot[1] + length * np.sin(angle))
    style = {"arrowstyle": "->", "color": colour, "linewidth": width, "shrinkA": 0, "shrinkB": 0, "mutation_scale": 6}
    panel.annotate("", xy=tip, xytext=tuple(foot), arrowprops=style)


def _title(panel: Axes, text: str) -> None:
    panel.set_title(text, fontsize=min(8, 8 * 19 / max(len(text), 1)), pad=2, parse_math=False)


def _short(identifier: Any, longest: int) -> str:
    """Without its middle: particles of a stack differ at the beginning, files of a folder at the end."""
    text, head = str(identifier), longest // 3
    return text if len(text) <= longest else f"{text[:head]}…{text[1 + head - longest :]}"


def _brief(degrees: float) -> str:
    return f"{degrees:.0f}" if degrees >= 1 else f"{degrees:.1g}"


def _ratio(ratio: float) -> str:
    return f"b/a = {ratio:.2f}" if np.isfinite(ratio) else "no moments"
