"""What a store, run or catalog is, in a screenful."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from galvae.data.settings import FLOATS
from galvae.data.store import ImageStore, cause_of
from galvae.description import METRICS, read_metrics, weighted
from galvae.flags import MEANING
from galvae.model.settings import bound
from galvae.runs import run_path


def describe(path: str | Path) -> dict[str, Any]:
    """Facts about a store, a run folder or a catalog by name, plain values all.

    Raises
    ------
    FileNotFoundError
        If there is nothing at `path`.
    ValueError
        If it is none of the three, or another galvae's.
    """
    path = run_path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: nothing here; galvae info takes a store, a run folder or a catalog")
    readers: dict[str, Callable[[Path], dict[str, Any]]] = {"store.json": _store, "model.json": _run}
    for name, reader in readers.items():
        if (path / name).is_file():
            try:
                return reader(path)
            except (AttributeError, KeyError, TypeError, json.JSONDecodeError) as error:
                raise ValueError(
                    f"{path / name}: not a description by this galvae ({error!r}); make the folder again"
                ) from None
    if path.is_dir():
        inside = [name for name in ("store", "run", "catalog.ecsv") if (path / name).exists()]
        raise ValueError(
            f"{path}: a folder without store.json or model.json; galvae info takes a store, a run or a catalog"
            + (f", such as {path / inside[0]}" if inside else "")
        )
    return _catalog(path)


def _store(path: Path) -> dict[str, Any]:
    store = ImageStore(path)
    size = sum(part.stat().st_size for part in path.glob("part-*.h5"))
    scale = store.column("pixel_scale")
    reasons = Counter(cause_of(reason) for _, reason in store.skipped)
    height, width = store.column("size").T
    return {
        "what": "image store",
        "galaxies": len(store),
        "field": f"{store.shape[0]} x {store.shape[1]} pixels, {_count(store.shape[2], 'channel')}, {store.dtype}",
        "pixels": _pixels(store),
        "originals": _range(np.concatenate([height, width]), "pix along a side"),
        "pixel scale": _range(scale[np.isfinite(scale)], "arcsec / pix of the original") or "unknown",
        **_angstrom(store),
        "with a WCS": int((store.column("wcs") != "").sum()),
        "composites": dict(Counter(bands or "ready-made" for bands in store.column("bands").tolist())),
        "flags": _flags(store.column("flags")),
        "skipped": dict(reasons.most_common(5)),
        "size on disk": f"{size / 1e6:.1f} MB, {size / max(len(store), 1) / 1e3:.1f} kB a galaxy",
        "sources": store.description["sources"],
        "made by": f"galvae {store.description['galvae']} on {store.description['date']}",
        "digest": store.digest,
    }


def _pixels(store: ImageStore) -> str:
    kind = store.ingest["pixels"]
    said = f"{kind}: each image less {FLOATS[kind]} over its standard deviation" if kind in FLOATS else kind
    return said + (", inverted" if store.ingest["invert"] else "")


def _angstrom(store: ImageStore) -> dict[str, str]:
    """The pixels' size in micrographs, where it is told."""
    name = "table/pixel_size_angstrom"
    if name not in store.column_names:
        return {}
    sizes = np.unique(np.asarray(store.column(name), float))
    return {"pixel size": _range(sizes[np.isfinite(sizes)], "Angstrom / pix of the original") or "unknown"}


def _run(path: Path) -> dict[str, Any]:
    description = json.loads((path / "model.json").read_text(encoding="utf-8"))
    model = description["model"]
    measured = " and others that are measured" if model.get("structure") else ""
    found = {
        "what": "run",
        "model": f"{model['generator']} generator, {model['encoder']} encoder, {model['latents']} content latents"
        f"{measured}, {model['likelihood']} likelihood",
        "window": f"{description['window']} pixels, {_count(description['channels'], 'channel')}",
        "steps": description["steps"],
        "size on disk": f"{(path / 'model.safetensors').stat().st_size / 1e6:.1f} MB (model)",
        "made by": f"galvae {description['galvae']} on {description['date']}",
        "store digest": description["store"],
    }
    if metrics := read_metrics(path / METRICS):
        last = metrics[-1]
        found["epochs"] = last["epoch"]
        found["training"] = f"{last['seconds']:.0f} s, {last['images_per_second']:.0f} images/s"
        which = " of weighted pixels" if weighted(description) else ""
        found[bound(model["likelihood"])] = (
            f"{last['elbo']:.1f} nats{which} in training, {last['validation_elbo']:.1f} on galaxies held out "
            f"({last['pixels']} pixels an image)"
        )
    return found


def _catalog(path: Path) -> dict[str, Any]:
    from galvae.catalog import read_catalog

    table = read_catalog(path)
    position = np.isfinite(np.asarray(table["ra"], float))
    return {
        "what": "catalog",
        "galaxies": len(table),
        "columns": ", ".join(table.colnames),
        "with RA, Dec": int(position.sum()),
        "flags": _flags(np.asarray(table["flags"])),
        **{
            name: str(table.meta[name])
            for name in ("galvae", "date", "model_digest", "store_digest")
            if name in table.meta
        },
    }


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _range(values: np.ndarray, unit: str) -> str:
    if not len(values):
        return ""
    low, high = values.min(), values.max()
    return f"{low:g} {unit}" if low == high else f"{low:g} to {high:g} {unit}"


def _flags(values: np.ndarray) -> dict[str, int]:
    return {flag.name.lower(): count for flag in MEANING if (count := int((values & flag != 0).sum()))}
