"""Whether a run can be asked about a store at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from galvae.data.store import ROWS, ImageStore, spans
from galvae.model.vae import SpatialVAE
from galvae.progress import say


def check_fits(vae: SpatialVAE, description: dict[str, Any], store: ImageStore) -> None:
    """Refuse a store whose fields a run cannot take; warn of one that was ingested otherwise than the run's.

    Parameters
    ----------
    vae, description
        A trained model, as :func:`galvae.training.checkpoint.load_model` returns it.
    store
        The images.

    Raises
    ------
    ValueError
        If the fields are smaller than the run's window, or have another number of channels or another kind of pixels.
    """
    window = vae.window * store.ingest["oversample"]
    if store.shape[2] != vae.channels or store.shape[0] < window:
        raise ValueError(
            f"{store.path}: fields of {store.shape[0]} pixels and {store.shape[2]} channels, but the run takes windows "
            f"of {window} pixels and {vae.channels} channels; ingest with the recipe of the run"
        )
    wanted = description.get("recipe", {}).get("ingest", {})
    if (kind := store.ingest["pixels"]) != (trained := wanted.get("pixels", "colour")):
        raise ValueError(
            f"{store.path}: was ingested with ingest.pixels = {kind}, but the run was trained on {trained} ones; "
            f"ingest with the recipe of the run"
        )
    differing = [
        f"{key} = {store.ingest[key]} (the run: {wanted[key]})"
        for key in _deciding(store)
        if key in wanted and key in store.ingest and store.ingest[key] != wanted[key]
    ]
    if differing:
        say(
            f"warning: {store.path} was ingested otherwise than what the run was trained on: {', '.join(differing)}; "
            f"ingest with the recipe of the run"
        )


def warn_of_silence(run: str | Path, silent: int, galaxies: int) -> None:
    """Warn where most of what a run decodes cannot be measured: it has not learned these galaxies.

    Parameters
    ----------
    run
        Its folder.
    silent, galaxies
        Of how many galaxies there are no moments, and of how many.
    """
    if silent > galaxies / 2:
        say(
            f"warning: {run} decodes {silent} of {galaxies} galaxies to images without measurable moments: it has not "
            f"learned such images; train longer, or on images like these"
        )


def _deciding(store: ImageStore) -> tuple[str, ...]:
    """The keys that decide scale and colour of these fields: colours of pictures are ready-made, grey has none."""
    keys: tuple[str, ...] = ("field", "oversample", "invert")
    parts = list(spans(len(store), ROWS))  # not all rows at once: memory stays flat
    if any(np.isfinite(store.column("stretch", part)).any() for part in parts):
        keys += ("stretch", "Q")
    if any("," in bands for part in parts for bands in np.unique(store.column("bands", part))):
        keys += ("band_scales", "bands")
    return keys
