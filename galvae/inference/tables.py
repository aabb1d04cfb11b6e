"""Run and store to a catalog: where inference meets the sky."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import QTable

from galvae.catalog import build_catalog
from galvae.data.store import ImageStore
from galvae.flags import Flag
from galvae.inference.catalog import infer_columns
from galvae.inference.checks import warn_of_silence
from galvae.inference.settings import CatalogSettings
from galvae.runs import run_path
from galvae.sky import local_sky
from galvae.training.checkpoint import MODEL, digest, load_model
from galvae.version import version

# What the sky is made of, and no column of the catalog.
INTERNAL = ("x", "y", "covariance")


def make_catalog(
    run: str | Path, store: ImageStore, settings: CatalogSettings, *, device: str = "cpu", quiet: bool = False
) -> QTable:
    """Infer every galaxy of a store and put it on the sky, in the store's order.

    Parameters
    ----------
    run
        A run folder.
    store
        The images; larger than memory works.
    settings
        The recipe's ``[catalog]`` table.
    device
        Where to compute.
    quiet
        No progress.

    Returns
    -------
    QTable
        Held to the contract in ``catalogs/galvae.ecsv``.

    Raises
    ------
    FileNotFoundError
        If `run` holds no model.
    ValueError
        If the store is not what the run takes.
    """
    vae, description = load_model(run, device=device)
    columns = infer_columns(vae, description, store, settings, quiet=quiet)
    silent = (columns["flags"] & Flag.NO_MOMENTS) != 0
    warn_of_silence(run, int(silent.sum()), len(store))
    columns |= sky_columns(columns, store)
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
    return build_catalog({name: values for name, values in columns.items() if name not in INTERNAL}, meta=meta)


def provenance(run: str | Path, store: ImageStore, settings: CatalogSettings) -> dict[str, Any]:
    """What decides a catalog's content: digests of model and store, and the settings."""
    return {
        "model_digest": digest(run_path(run) / MODEL),
        "store_digest": store.digest,
        "catalog": settings.model_dump(mode="json"),
    }


def sky_columns(columns: dict[str, np.ndarray], store: ImageStore) -> dict[str, np.ndarray]:
    """Position and position angle on the sky with their errors; NaN without a WCS."""
    sky = local_sky(store.column("wcs"), columns["x"], columns["y"])
    east, north = sky.errors(columns["covariance"])
    pa = sky.position_angle(columns["orientation"], axial=True)
    pa_err = np.where(np.isfinite(pa), columns["orientation_err"], np.nan)
    return {"ra": sky.ra, "dec": sky.dec, "ra_err": east, "dec_err": north, "pa": pa, "pa_err": pa_err}
