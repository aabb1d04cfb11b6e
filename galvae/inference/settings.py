"""The recipe's ``[catalog]`` table."""

from __future__ import annotations

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from galvae.settings import Seed, Settings


class CatalogSettings(Settings):
    """How a run and a store become a catalog.

    With ``refine`` the inference network looks three times, the pose is fitted to the pixels and the centre is measured
    on them. Errors come from so many more ``looks`` at noisier images.

    The rest was fitted, and stays with a run in its ``recipe.toml``. ``of_noise`` times what the pixels' noise alone
    would do to theta and centre counts as one look more. In the errors of axis and axis ratio how these change with the
    weight counts ``of_width``, how far they are from the decoded galaxy's ``of_decoded``: chosen for the axis, against
    clean moments of Galaxy Zoo images and the truth of simulated galaxies (docs/pose.md).
    """

    batch: PositiveInt = 128
    refine: bool = True
    looks: int = Field(5, ge=2)
    seed: Seed = 0
    of_noise: PositiveFloat = 1.5
    of_width: NonNegativeFloat = 0.5
    of_decoded: NonNegativeFloat = 0.42
