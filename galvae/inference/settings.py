"""The recipe's ``[catalog]`` table."""

from __future__ import annotations

from pydantic import Field, PositiveInt

from galvae.settings import Seed, Settings


class CatalogSettings(Settings):
    """How a run and a store become a catalog.

    With ``refine`` the inference network looks three times, the pose is fitted to the pixels and the centre is measured
    on them. Errors come from so many more ``looks`` at noisier images.
    """

    batch: PositiveInt = 128
    refine: bool = True
    looks: int = Field(5, ge=2)
    seed: Seed = 0
