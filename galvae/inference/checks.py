"""Whether a run can be asked about a store at all."""

from __future__ import annotations

from typing import Any

from galvae.data.store import ImageStore
from galvae.model.vae import SpatialVAE
from galvae.progress import say

# What decides scale and colour of a field; other keys say where a source keeps what.
DECIDING = ("field", "oversample", "stretch", "Q", "band_scales", "bands")


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
        If the fields are smaller than the run's window, or have another number of channels.
    """
    window = vae.window * store.ingest["oversample"]
    if store.shape[2] != vae.channels or store.shape[0] < window:
        raise ValueError(
            f"{store.path}: fields of {store.shape[0]} pixels and {store.shape[2]} channels, but the run takes windows "
            f"of {window} pixels and {vae.channels} channels; ingest with the recipe of the run"
        )
    wanted = description.get("recipe", {}).get("ingest", {})
    differing = [
        f"{key} = {store.ingest[key]} (the run: {wanted[key]})"
        for key in DECIDING
        if key in wanted and key in store.ingest and store.ingest[key] != wanted[key]
    ]
    if differing:
        say(
            f"warning: {store.path} was ingested otherwise than what the run was trained on: {', '.join(differing)}; "
            f"ingest with the recipe of the run"
        )
