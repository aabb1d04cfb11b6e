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
    for key in ("pixels", "crop", "field", "oversample", *(("window", "crop_sigma") if fixed else ())):
        wanted, got = getattr(recipe.ingest, key), store.ingest.get(key)
        if got is not None and got != wanted:
            raise ValueError(
                f"{store.path}: was ingested with ingest.{key} = {got} but the recipe says {wanted}; "
                f"ingest with the same recipe, or --set ingest.{key}={got}"
            )
    if store.dtype != np.uint8 and recipe.model.likelihood != "gaussian":
        raise ValueError(
            f"{store.path}: normalised pixels, of any value, but model.likelihood = {recipe.model.likelihood} is "
            f"one of values from 0 to 1; --set model.likelihood=gaussian, or ingest with ingest.pixels = grey"
        )
    ours = set() if fixed else {"window", "crop_sigma"}
    made = {key: value for key, value in store.ingest.items() if key not in ours}
    return recipe.model_copy(update={"ingest": IngestSettings.model_validate({**recipe.ingest.model_dump(), **made})})
