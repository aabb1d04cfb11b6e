"""Run and store to a catalog: where inference meets the sky."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from functools import reduce
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import QTable

from galvae.catalog import build_catalog
from galvae.data.store import ROWS, ImageStore, spans
from galvae.flags import Flag
from galvae.growing import text_widths, write_parts
from galvae.inference.catalog import infer_parts
from galvae.inference.checks import warn_of_silence
from galvae.inference.settings import CatalogSettings
from galvae.runs import run_path
from galvae.sky import local_sky
from galvae.training.checkpoint import MODEL, digest, load_model
from galvae.training.winding import WINDING, load_winding
from galvae.version import version

# What the sky is made of, and no column of the catalog.
INTERNAL = ("x", "y", "covariance")


def make_catalog(
    run: str | Path, store: ImageStore, settings: CatalogSettings, output: str | Path, *,
    device: str = "cpu", flat: bool = False, overwrite: bool = False, quiet: bool = False,
) -> dict[str, int]:  # fmt: skip
    """Infer every galaxy of a store, put it on the sky, and write its row, in the store's order.

    Rows are written some thousands at a time while the next are computed: store and catalog may be larger than memory.

    Parameters
    ----------
    run
        A run folder.
    store
        The images.
    settings
        The recipe's ``[catalog]`` table.
    output
        The catalog; its ending names the format.
    device
        Where to compute.
    flat
        ``z_00``, ``z_01`` ... instead of vector columns.
    overwrite
        Replace an existing file.
    quiet
        No progress.

    Returns
    -------
    dict
        How many ``galaxies`` there are, and of them ``flagged``.

    Raises
    ------
    FileNotFoundError
        If `run` holds no model.
    ValueError
        If the store is not what the run takes.
    OSError
        If the catalog cannot be written.
    """
    flags: Counter[int] = Counter()

    def counted(parts: Iterable[QTable]) -> Iterator[QTable]:
        for table in parts:
            flags.update(table["flags"].tolist())
            yield table
            del table

    identifiers = (store.column("id", part) for part in spans(len(store), ROWS))
    longest = reduce(np.maximum, map(text_widths, identifiers))
    with closing(catalog_parts(run, store, settings, device=device, quiet=quiet)) as parts:
        write_parts(counted(parts), output, rows=len(store), longest=longest, flat=flat, overwrite=overwrite)
    silent = sum(count for value, count in flags.items() if value & Flag.NO_MOMENTS)
    warn_of_silence(run, silent, len(store))
    return {"galaxies": len(store), "flagged": len(store) - flags[0]}


def catalog_parts(
    run: str | Path, store: ImageStore, settings: CatalogSettings, *, device: str = "cpu", quiet: bool = False
) -> Generator[QTable, None, None]:
    """The rows of :func:`make_catalog`, some thousands at a time: tables held to ``catalogs/galvae.ecsv``."""
    vae, description = load_model(run, device=device)
    meta = {
        **provenance(run, store, settings),
        "recipe": description["recipe"],
        "steps": description["steps"],
        "finished": description["finished"],
        "ingest": store.ingest,
        "galvae": version(),
        "versions": {name: installed(name) for name in ("torch", "astropy", "numpy", "h5py")},
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    winding = load_winding(run, device=device)
    with closing(infer_parts(vae, description, store, settings, winding=winding, quiet=quiet)) as parts:
        for rows, columns in parts:
            columns |= sky_columns(columns, store, rows)
            yield build_catalog({name: found for name, found in columns.items() if name not in INTERNAL}, meta=meta)


def provenance(run: str | Path, store: ImageStore, settings: CatalogSettings) -> dict[str, Any]:
    """What decides a catalog's content: digests of model and store, and the settings."""
    winding = run_path(run) / WINDING
    return {
        "model_digest": digest(run_path(run) / MODEL),
        "winding_digest": digest(winding) if winding.is_file() else "",
        "store_digest": store.digest,
        "catalog": settings.model_dump(mode="json"),
    }


def sky_columns(columns: dict[str, np.ndarray], store: ImageStore, rows: slice = slice(None)) -> dict[str, np.ndarray]:
    """Position and position angle on the sky with their errors, of some rows of a store; NaN without a WCS."""
    sky = local_sky(store.column("wcs", rows), columns["x"], columns["y"])
    east, north = sky.errors(columns["covariance"])
    pa = sky.position_angle(columns["orientation"], axial=True)
    pa_err = np.where(np.isfinite(pa), columns["orientation_err"], np.nan)
    return {"ra": sky.ra, "dec": sky.dec, "ra_err": east, "dec_err": north, "pa": pa, "pa_err": pa_err}
