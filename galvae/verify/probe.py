"""How much of a label a straight line finds in z, beside what it finds without any model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from galvae.data.store import ImageStore
from galvae.geometry import Pose, pixel_grid, pixels_to_grid, to_image
from galvae.labels import FOLDS, REPEATS, check_labels, classes_of, labels_by_id, line
from galvae.moments import Moments
from galvae.windows import View

# The model-free descriptions of :func:`appearance`.
MEASURED, ALIGNED, UPRIGHT = "colour, axis ratio, size", "PCA of aligned pixels", "PCA of pixels"


def read_labels(store: ImageStore, rows: np.ndarray, column: str, table: str | Path | None = None) -> np.ndarray:
    """A label of each galaxy: text, or numbers; "" and NaN where there is none.

    Parameters
    ----------
    store, rows
        The galaxies.
    column
        Of the table, or of the one that was joined when the store was ingested.
    table
        Any that astropy reads; see :func:`galvae.labels.read_by_id`.

    Raises
    ------
    ValueError
        If there is no such column, or fewer than two labels with five galaxies each.
    """
    if table is None:
        name = f"table/{column}"
        if name not in store.column_names:
            raise ValueError(
                f"{store.path}: no column {column} was joined when it was ingested; give the table with --table"
            )
        found = store.column(name)[rows]
    else:
        found = labels_by_id(table, column, store.column("id")[rows])
    if found.dtype.kind not in "fU":
        found = found.astype(str)
    check_labels(found, table or store.path, column)
    return found


def appearance(view: View, moments: Moments) -> dict[str, np.ndarray]:
    """What the windows of B galaxies look like, without any model.

    Returns
    -------
    dict
        Two colours, the axis ratio and the logarithm of the size, by adaptive moments, shape (B, 4); and pixels, as
        they are and with the galaxies' major axes laid along x about their centres, shape (B, n * n * C) each. What
        moments say nothing of is in the middle and round.
    """
    n, device = view.window, view.fields.device
    half, ok = (n - 1) / 2, torch.from_numpy(moments.ok)
    place = np.stack([moments.x, moments.y], 1) / half - 1
    centre, angle, ratio, sigma = (
        torch.where(ok.unflatten(0, (-1, *[1] * (value.ndim - 1))), torch.from_numpy(value), neutral).float().to(device)
        for value, neutral in ((place, 0.0), (moments.angle, 0.0), (moments.axis_ratio, 1.0), (moments.sigma, n / 12))
    )
    grid = pixel_grid(n, device=device)
    # What lies at u along the axes of the galaxy lies at c + u turned by its angle.
    pose = Pose(-angle, torch.zeros_like(centre))
    points = to_image(grid, pose) + centre[:, None]
    aligned, upright = view.sample(points), view.sample(grid)
    width = pixels_to_grid(sigma, n)[:, None] * torch.stack([torch.ones_like(ratio), ratio], 1)
    weight = torch.exp(-0.5 * (grid / width[:, None]).square().sum(-1))
    level = upright.median(1).values
    light = (weight[..., None] * (aligned - level[:, None])).sum(1) / weight.sum(1, keepdim=True)
    light = light.clamp(min=1 / 255).log10()
    colours = light[:, 1:] - light[:, :-1]
    size = sigma * torch.from_numpy(view.widths()).to(sigma)
    measured = torch.cat([colours, ratio[:, None], size.log10()[:, None]], 1)
    return {name: _array(value) for name, value in ((MEASURED, measured), (ALIGNED, aligned), (UPRIGHT, upright))}


def _array(value: Tensor) -> np.ndarray:
    """Flat, and half as precise where there is much of it."""
    flat = value.flatten(1).cpu().numpy()
    return flat.astype(np.float16) if flat.shape[1] > 1000 else flat


def probe(
    labels: np.ndarray, z: tuple[np.ndarray, np.ndarray], seen: Mapping[str, tuple[np.ndarray, np.ndarray]]
) -> dict[str, Any]:
    """Linear predictions of a label, cross-validated, of N galaxies as they are and turned.

    Classes are told apart by logistic regression, each weighted alike, and scored by the balanced accuracy (the mean of
    the shares found of each class); numbers are predicted by ridge regression and scored by R^2. Galaxies are
    dealt out to the folds five times over, and once for the components of a PCA, which are as many as z has, and found
    anew in each fold.

    Parameters
    ----------
    labels
        From :func:`read_labels`, shape (N,); galaxies without one, and classes of fewer than five, are left out.
    z
        Content of the galaxies as they are and turned, shape (N, Z) each.
    seen
        Of :func:`appearance`, likewise.

    Returns
    -------
    dict
        ``galaxies``, ``left_out``, ``classes`` (how many of each), ``score`` (its name), and for ``z`` and each of what
        is `seen`: ``score``, and ``same_when_turned``: the share of galaxies that get the same class again.
    """
    numbers = labels.dtype.kind == "f"
    kept = np.isfinite(labels) if numbers else np.isin(labels, list(classes_of(labels)))
    wanted, components = labels[kept], z[0].shape[1]
    found = {
        "galaxies": int(kept.sum()),
        "left_out": int((~kept).sum()),
        "classes": None if numbers else classes_of(labels),
        "score": "R^2" if numbers else "balanced accuracy",
        "z": _score(*(values[kept] for values in z), wanted),
    }
    for name, (start, end) in seen.items():
        reduced = components if name in (ALIGNED, UPRIGHT) else None
        found[name] = _score(start[kept], end[kept], wanted, components=reduced)
    return found


def _score(
    start: np.ndarray, end: np.ndarray, wanted: np.ndarray, *, components: int | None = None
) -> dict[str, float | None]:
    """Each galaxy is predicted, as it is and turned, by what was fitted to the other folds; means over repetitions."""
    from sklearn.decomposition import PCA
    from sklearn.metrics import balanced_accuracy_score, r2_score
    from sklearn.model_selection import KFold, StratifiedKFold

    numbers = wanted.dtype.kind == "f"
    # Half of the training fold: of a few galaxies there are not as many components as z has.
    most = None if components is None else min(components, len(start) // 2)
    reduced = [] if most is None else [PCA(most, svd_solver="randomized", random_state=0)]
    said, again = np.empty_like(wanted), np.empty_like(wanted)
    scores, same = [], []
    # Components are dear: once.
    for number in range(REPEATS if most is None else 1):
        fold = (KFold if numbers else StratifiedKFold)(FOLDS, shuffle=True, random_state=number)
        for fitted, left in fold.split(start, wanted):
            model = line(*reduced, numbers=numbers).fit(start[fitted].astype(np.float32), wanted[fitted])
            said[left], again[left] = (model.predict(values[left].astype(np.float32)) for values in (start, end))
        scores.append((r2_score if numbers else balanced_accuracy_score)(wanted, said))
        same.append((said == again).mean())
    return {"score": float(np.mean(scores)), "same_when_turned": None if numbers else float(np.mean(same))}
