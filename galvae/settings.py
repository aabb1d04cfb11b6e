"""What the tables of a recipe have in common: unknown keys and values of another type are errors."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class Settings(BaseModel):
    """One table of a recipe; its values are what they are written as, but for whole numbers among real ones."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)


# NumPy and torch take no larger one.
Seed = Annotated[int, Field(ge=0, lt=2**63)]

# TOML and JSON have lists only.
List = Field(strict=False)
