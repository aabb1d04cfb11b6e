"""How good is z beside what needs no model, and beside what is taught the labels? One table, of the same galaxies.

    python benchmarks/baselines.py STORE TABLE --label COLUMN --catalog NAME=PATH [--catalog ...] [-o results.json]
        [--repeats 5] [--epochs 40] [--no-supervised] [--seed 0] [--device auto]

CATALOGs are of STORE by ``galvae catalog``: our run, the paper's, a vanilla VAE. TABLE has the labels. Galaxies count
that have a label and content in every catalog. Rows: z of each catalog; colour, axis ratio, size and concentration;
principal components of close-ups laid along the galaxies' major axes, as many as z has and 50; what the package
``statmorph`` measures, a second a galaxy, where it is installed (galvae does not need it); a network of the build
of our inference network that is taught these labels, the ceiling. Columns:

- balanced accuracy of the linear probe of ``galvae probe``, with the standard error of Nadeau & Bengio (2003): five
  folds, five times over, the same for all; the network's are the first five;
- the same with 100 labels, mean and standard deviation of twenty draws;
- the share of a galaxy's ten nearest that have its class, mean over each class and over classes. z is compared as
  ``galvae similar`` does, by the population's width; all else is standardised by the population, distances Euclidean.

Principal components are of all these galaxies, those to be predicted too, for z as well is learned of images without
their labels. Light is measured in the whole field, about the centre of the adaptive moments.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial, reduce
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler
from torch import Tensor
from torch.nn import functional

import galvae
from galvae.device import choose_device
from galvae.labels import FOLDS, REPEATS, classes_of
from galvae.model.polar import Polar
from galvae.moments import Moments, adaptive_moments, luminance
from galvae.progress import Progress
from galvae.training.winding import BATCH, close_ups, descend
from galvae.uses.content import Content, check_same_store, content_of, rows_of
from galvae.uses.probe import classes_by_id, learning, validated
from galvae.uses.similar import distances
from galvae.verify.probe import ALIGNED, MEASURED, appearance
from galvae.windows import View

FEW, NEAREST, COMPONENTS, EPOCHS = 100, 10, 50, 40
FORM, MORPHOLOGY, TAUGHT = f"{MEASURED}, concentration", "statmorph", "network taught the labels"
# Of statmorph, what needs no Sersic fit; sizes and ratios as well, which the other row of measurements has too.
QUANTITIES = (
    "concentration", "asymmetry", "smoothness", "gini", "m20", "multimode", "intensity", "deviation",
    "outer_asymmetry", "shape_asymmetry", "ellipticity_asymmetry", "rpetro_ellip",
)  # fmt: skip


def concentration(light: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """5 log10(r80 / r20), of radii with 80% and 20% of the light within 1.5 Petrosian radii (Conselice 2003).

    Parameters
    ----------
    light
        Background-free, shape (B, n, n), row 0 at the bottom.
    x, y
        Centres in pixels, shape (B,); of those that are NaN there is none.
    """
    step = 0.25
    radius = np.arange(step / 2, light.shape[1] / 2, step)[:, None]
    angle = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    found = np.full(len(light), np.nan)
    for number in np.flatnonzero(np.isfinite(x) & np.isfinite(y)):
        points = [y[number] + radius * np.sin(angle), x[number] + radius * np.cos(angle)]
        profile = ndimage.map_coordinates(light[number], points, order=1).mean(1)
        edge, growth = radius[:, 0] + step / 2, np.cumsum(profile * 2 * radius[:, 0] * step)
        faint = profile < 0.2 * growth / edge**2
        petrosian = edge[faint.argmax() if faint.any() else -1]
        inside = edge <= 1.5 * petrosian
        share = np.maximum.accumulate(growth[inside])
        r20, r80 = np.interp([0.2 * share[-1], 0.8 * share[-1]], share, edge[inside])
        if share[-1] > 0:
            found[number] = 5 * np.log10(r80 / r20)
    return found


def morphology(light: np.ndarray, moments: Moments) -> np.ndarray:
    """What statmorph measures of each galaxy's own segment, shape (B, 12); NaN where it fails, or doubts itself."""
    from statmorph import SourceMorphology

    found = np.full((len(light), len(QUANTITIES)), np.nan)
    for number in np.flatnonzero(moments.ok):
        image, smooth = light[number], ndimage.gaussian_filter(light[number], 1)
        noise, level = (
            max(1e-3, 1.4826 * np.median(np.abs(np.concatenate([*one[:6], *one[-6:], *one.T[:6], *one.T[-6:]]))))
            for one in (image, smooth)  # in a frame of six pixels, which is mostly sky
        )
        parts, _ = ndimage.label(smooth > 3 * level)  # outlines as galvae.moments.segment_axis has them
        at = np.round([moments.y[number], moments.x[number]]).clip(0, len(image) - 1).astype(int)
        own = (parts == parts[tuple(at)]) & (parts > 0)
        options = {"mask": (parts > 0) & ~own, "weightmap": np.full_like(image, noise), "sersic_maxiter": 1}
        try:
            with warnings.catch_warnings(action="ignore"):
                said = SourceMorphology(image, own.astype(int), 1, **options)
        except Exception:  # it may be any: what another program makes of odd images, or of none
            continue
        if said.flag < 2:
            found[number] = [said[name] for name in QUANTITIES]
    return np.where(found == -99, np.nan, found)


def described(store: galvae.ImageStore, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Model-free descriptions of N galaxies, shape (N, ...) each; of what is not installed there is none."""
    installed = importlib.util.find_spec(MORPHOLOGY) is not None
    kept: dict[str, list[np.ndarray]] = {name: [] for name in (FORM, ALIGNED, *[MORPHOLOGY] * installed)}
    window, oversample, display = store.ingest["window"], store.ingest["oversample"], store.dtype == np.uint8
    with Progress("appearance", len(rows)) as progress:
        for part in np.array_split(rows, -(-len(rows) // BATCH)):
            fields = torch.from_numpy(store.images(part))
            whole = View.central(fields, fields.shape[1], display=display)
            close = View.central(fields, window, oversample, display=display).close_up()
            light = luminance(whole.values.permute(0, 2, 3, 1).numpy())
            moments = adaptive_moments(light)
            middle = np.full(len(part), (window - 1) / 2)  # about which close-ups have their galaxies
            measured = appearance(whole, moments)[MEASURED], concentration(light, moments.x, moments.y)[:, None]
            kept[FORM].append(np.concatenate(measured, 1))
            kept[ALIGNED].append(appearance(close, replace(moments, x=middle, y=middle))[ALIGNED])
            if installed:
                kept[MORPHOLOGY].append(morphology(light, moments))
            progress.advance(len(part))
    return {name: np.concatenate(parts) for name, parts in kept.items()}


def filled(values: np.ndarray) -> np.ndarray:
    """The median of the others in the place of what could not be measured, else 0; shape (N, D)."""
    known = np.isfinite(values)
    median = [np.median(column[those]) if those.any() else 0 for column, those in zip(values.T, known.T, strict=True)]
    return np.where(known, values, median)


def nearest(apart: Callable[[int], np.ndarray], labels: np.ndarray) -> dict[str, float]:
    """Of each class: of the ten nearest of each of its galaxies the share that have its label.

    Parameters
    ----------
    apart
        Of the number of a galaxy: its distances to all N.
    labels
        Shape (N,).
    """
    hits = np.empty(len(labels))
    for number, label in enumerate(labels):
        order = np.argsort(apart(number), kind="stable")
        hits[number] = (labels[order[order != number][:NEAREST]] == label).mean()
    return {str(name): float(hits[labels == name].mean()) for name in np.unique(labels)}


def euclidean(values: np.ndarray) -> Callable[[int], np.ndarray]:
    """Distances of a galaxy to all N, of values (N, D) standardised by the population."""
    unit = StandardScaler().fit_transform(values)
    return lambda number: np.linalg.norm(unit - unit[number], axis=1)


class Network:
    """The network that is taught, as scikit-learn has what it fits; `values` are numbers of close-ups, shape (N, 1)."""

    def __init__(self, galaxies: View, *, epochs: int, seed: int, device: torch.device, progress: Progress) -> None:
        self.galaxies, self.epochs, self.seed = galaxies, epochs, seed
        self.device, self.progress = device, progress

    def fit(self, values: np.ndarray, labels: np.ndarray) -> Network:
        torch.manual_seed(self.seed)
        drawn = torch.Generator().manual_seed(self.seed)
        names, target, counts = np.unique(labels, return_inverse=True, return_counts=True)
        weight = torch.from_numpy(len(labels) / (len(names) * counts)).float().to(self.device)
        target = torch.from_numpy(target)
        self.net = Polar(len(names), channels=self.galaxies.fields.shape[3]).to(self.device)

        def loss(light: Tensor, which: Tensor) -> Tensor:
            return functional.cross_entropy(self.net.columns(light).mean(1), target[which].to(self.device), weight)

        orders = (torch.randperm(len(labels), generator=drawn) for _ in range(self.epochs))
        steps = self.epochs * -(-len(labels) // BATCH)
        descend(self.net, self.galaxies.some(torch.from_numpy(values[:, 0])), orders, loss, steps=steps, drawn=drawn)
        self.net.eval()
        return self

    @torch.inference_mode()
    def predict_proba(self, values: np.ndarray) -> np.ndarray:
        parts = (self.galaxies.some(one).to(self.device) for one in torch.from_numpy(values[:, 0]).split(BATCH))
        chances = [self.net.columns(self.net.around_centre(part)[0]).mean(1).softmax(1) for part in parts]
        self.progress.advance()
        return torch.cat(chances).double().cpu().numpy()


def labelled(given: argparse.Namespace, store: galvae.ImageStore) -> tuple[np.ndarray, np.ndarray, dict[str, Content]]:
    """Rows in the store and labels of the galaxies that count, shape (N,), and by name of a catalog their content."""
    catalogs = {}
    for name, path in given.catalog:
        if name in catalogs:
            raise ValueError(f"--catalog {name}= is given twice; give each catalog a name of its own")
        catalogs[name] = galvae.read_catalog(path)
        try:
            check_same_store(store, catalogs[name])
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
    known = reduce(np.intersect1d, [content_of(catalog).ids.astype(str) for catalog in catalogs.values()])
    if not len(known):
        raise ValueError(f"no galaxy has content in every one of {', '.join(catalogs)}; compare catalogs of the same")
    rows = store.rows_of(known.tolist())
    labels, kept = classes_by_id(given.table, given.label, store.column("id")[rows])
    ids = known[kept]
    return rows[kept], labels[kept], {name: content_of(one[rows_of(one, ids)]) for name, one in catalogs.items()}


def compare(given: argparse.Namespace) -> dict[str, Any]:
    """What is printed, and what the JSON file holds."""
    store, device, seed = galvae.ImageStore(given.store), choose_device(given.device), given.seed
    rows, labels, contents = labelled(given, store)

    def judged(values: np.ndarray, apart: Callable[[int], np.ndarray]) -> dict[str, Any]:
        score, _ = validated(values, labels, seed=seed, repeats=given.repeats)
        few = {"learning": learning(values, labels, seed=seed), "nearest": nearest(apart, labels)}
        return {"features": values.shape[1], **score, **few}

    lines = {f"z of {name}": judged(content.z, partial(distances, content)) for name, content in contents.items()}
    seen = described(store, rows)
    pixels = seen.pop(ALIGNED).astype(np.float32)
    sizes = {COMPONENTS, *(content.z.shape[1] for content in contents.values())}
    for size in sorted({min(size, len(rows) - 1) for size in sizes}):
        reduced = PCA(size, svd_solver="randomized", random_state=seed)
        seen[f"{ALIGNED}, {size}"] = reduced.fit_transform(pixels)
    for name, values in seen.items():
        failed = int((~np.isfinite(values)).all(1).sum())
        lines[name] = judged(filled(values), euclidean(filled(values))) | {"failed": failed}
    lines.setdefault(MORPHOLOGY, {"note": "not installed"})
    if given.supervised:
        galaxies, numbers = close_ups(store, rows), np.arange(len(rows))[:, None]
        with Progress(TAUGHT, FOLDS) as progress:
            network = partial(Network, galaxies, epochs=given.epochs, seed=seed, device=device, progress=progress)
            score, _ = validated(numbers, labels, seed=seed, repeats=1, model=network)
        lines[TAUGHT] = score | {"epochs": given.epochs}
    return {
        "label": given.label, "galaxies": len(rows), "classes": classes_of(labels), "store_digest": store.digest,
        "galvae": galvae.__version__, "seed": seed, "rows": lines,
    }  # fmt: skip


def table(found: dict[str, Any]) -> str:
    """As Markdown."""
    classes, count = found["classes"], found["galaxies"]
    head = ["", "features", "balanced accuracy", f"with {FEW} labels", f"of the {NEAREST} nearest", *classes]
    by_chance = [(one - 1) / (count - 1) for one in classes.values()]
    chance = f"{1 / len(classes):.3f}"
    lines = [head, ["---"] * len(head)]
    for name, row in found["rows"].items():
        few = [one for one in row.get("learning", []) if one["labels"] == FEW]
        near = row.get("nearest", {})
        lines.append([
            f"{name} ({row['failed']} failed)" if row.get("failed") else name, str(row.get("features", "-")),
            f"{row['score']:.3f} +- {row['error']:.3f}" if "score" in row else row["note"],
            f"{few[0]['score']:.3f} +- {few[0]['spread']:.3f}" if few else "-",
            f"{np.mean(list(near.values())):.3f}" if near else "-",
            *(f"{near[one]:.3f}" if near else "-" for one in classes),
        ])  # fmt: skip
    lines.append(["chance", "-", chance, chance, f"{np.mean(by_chance):.3f}", *(f"{one:.3f}" for one in by_chance)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def named(text: str) -> tuple[str, str]:
    name, equals, path = text.partition("=")
    if not (name and equals and path):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=PATH")
    return name, path


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("table", type=Path)
    parser.add_argument("--label", required=True, help="column of classes of the table")
    parser.add_argument("--catalog", type=named, action="append", required=True, metavar="NAME=PATH")
    parser.add_argument("-o", "--output", type=Path, help="JSON, with learning curves and confusions")
    parser.add_argument("--repeats", type=int, default=REPEATS, help="of the five folds")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="of the network that is taught")
    parser.add_argument("--supervised", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    given = parser.parse_args(words)
    try:
        found = compare(given)
        if given.output:
            given.output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    except (ValueError, OSError, ImportError) as error:
        sys.exit(f"{parser.prog}: {error}")
    print(f"{found['label']} of {found['galaxies']} galaxies\n\n{table(found)}")


if __name__ == "__main__":
    main()
