"""The recipe's ``[catalog]`` table."""

from __future__ import annotations

from pydantic import Field, PositiveInt

from galvae.settings import Seed, Settings


class CatalogSettings(Settings):
    """How a run and a store become a catalog.

    With ``refine`` the inference network looks three times and the pose is fitted to the pixels. Errors come from
    ``samples`` draws decoded at ``sample_size`` pixels.
    """

    batch: PositiveInt = 128
    refine: bool = True
    samples: int = Field(16, ge=2)
    sample_size: PositiveInt = 32
    seed: Seed = 0
