"""The recipe's ``[catalog]`` table."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, PositiveInt


class CatalogSettings(BaseModel):
    """How a run and a store become a catalog."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    batch: PositiveInt = 128
    samples: int = Field(16, ge=2)
    sample_size: PositiveInt = 32
    seed: int = 0
