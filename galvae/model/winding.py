"""Which way a galaxy's arms wind."""

from __future__ import annotations

import torch
from torch import Tensor

from galvae.model.polar import Polar
from galvae.structure import SENSES, structure
from galvae.windows import View


class Winding(Polar):
    """Log odds that arms wind as an S against a Z, as displayed.

    What the polar network's columns say, in the mean, of the light about the centroid less what they say of its mirror
    image, and how much more power there is in spirals of the one than of the other
    (:func:`galvae.structure.structure`): turning and moving change nothing, and mirroring the sign alone, by
    construction. What has no handedness, or none that can be seen, is as likely either.

    Parameters
    ----------
    channels
        Channels of an image.
    """

    def __init__(self, *, channels: int) -> None:
        super().__init__(1, channels=channels)
        # What the network's odds, and what is told of arms, count: found after training. Its own odds are too long.
        self.register_buffer("weights", torch.tensor([1.0] + [0.0] * SENSES))

    def forward(self, view: View) -> Tensor:
        """Log odds of close-ups (:meth:`galvae.windows.View.close_up`), shape (B,)."""
        seen = self.odds(self.around_centre(view)[0])
        return torch.cat([seen[:, None], structure(view)[:, -SENSES:]], 1) @ self.weights

    def odds(self, light: Tensor) -> Tensor:
        """The network's log odds of light about a centre, (B, C, 24, 64), shape (B,)."""
        mirrored = light.flip(3).roll(1, 3)  # angle -a for a
        found, opposite = self.columns(torch.cat([light, mirrored])).mean((1, 2)).chunk(2)
        return found - opposite
