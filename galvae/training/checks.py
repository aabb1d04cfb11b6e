"""Whether a store is what a training of a recipe rests on."""

from __future__ import annotations

import numpy as np

from galvae.data.settings import IngestSettings
from galvae.data.store import ImageStore
from galvae.recipe import Recipe


def of_this_store(recipe: Recipe, store: ImageStore) -> Recipe:
    """The recipe with the ``[ingest]`` that really made the store, but for what training itself decides.

    With random crops those are the window and how far it is moved; with fixed ones the store has decided both.

    Raises
    ------
    ValueError
        If store and recipe differ in what training rests on, or its pixels are not what the likelihood is one of.
    """
    fixed = store.ingest["crop"] == "fixed"
    keys = ("pixels", "crop", "field", "oversample", *(("window", "crop_sigma") if fixed else ()))
    got = {key: store.ingest[key] for key in keys if store.ingest.get(key) is not None}
    if other := [key for key in got if got[key] != getattr(recipe.ingest, key)]:
        made = ", ".join(f"ingest.{key} = {got[key]} (the recipe: {getattr(recipe.ingest, key)})" for key in other)
        alike = " ".join(f"--set ingest.{key}={got[key]}" for key in other)
        raise ValueError(f"{store.path}: was ingested with {made}; ingest with the same recipe, or {alike}")
    if store.dtype != np.uint8 and recipe.model.likelihood != "gaussian":
        raise ValueError(
            f"{store.path}: normalised pixels, of any value, but model.likelihood = {recipe.model.likelihood} is "
            f"one of values from 0 to 1; --set model.likelihood=gaussian, or ingest with ingest.pixels = grey"
        )
    ours = set() if fixed else {"window", "crop_sigma"}
    made = {key: value for key, value in store.ingest.items() if key not in ours}
    return recipe.model_copy(update={"ingest": IngestSettings.model_validate({**recipe.ingest.model_dump(), **made})})
