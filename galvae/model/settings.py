"""The recipe's ``[model]`` table."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from galvae.settings import Settings

# What the latents say that are measured (:func:`galvae.structure.structure`), in their order.
MEASURED = (
    *(f"nucleus, {what}" for what in ("steepness", "bend")),
    *(f"one-sided, {where}" for where in ("inner", "middle", "outer")),
    *(f"order {order}, {band}" for order in (1, 2, 3, 4) for band in ("open", "wound")),
    *(f"order {order}, S less Z" for order in (2, 3, 4)),
)


def bound(likelihood: str) -> str:
    """What the objective is called with a likelihood: not an ELBO where that is not normalised over pixel values."""
    return "pseudo-ELBO" if likelihood == "bernoulli" else "ELBO"


class ModelSettings(Settings):
    """Networks, likelihood and priors (Bepler et al. 2019, sections 2 and 4.1).

    Lengths of priors are in pixels of the window, angles in radians. ``noise`` is a Gaussian likelihood's standard
    deviation, or says where that comes from: ``learned`` by the generator for each pixel, or the ``sky`` of each image
    (:meth:`galvae.windows.View.noise`). With a ``fitted`` prior each content latent is
    measured in units of its own spread over the training galaxies, about their mean, so that they are as N(0, 1) as a
    shift and a scale can make them, and prior draws look like galaxies early. ``waves`` plane waves of the coordinate
    are given to the generator beside it. With a ``scale`` from ``moments`` a window is as wide as its galaxy
    asks for (:meth:`galvae.windows.View.close_up`), with ``fixed`` all are as ``ingest.window`` has them. An
    ``inferred`` scale is a latent: how much wider than such a window the galaxy's own frame is. Its prior is
    log-normal about the ordinary window's width, ``scale_sigma`` the standard deviation of its logarithm. With
    ``structure`` z has sixteen latents more, which are measured, not inferred (:func:`galvae.structure.structure`):
    networks know nothing of them.
    """

    latents: PositiveInt = 50
    generator: Literal["spatial", "vanilla"] = "spatial"
    generator_units: PositiveInt = 500
    generator_layers: PositiveInt = 2
    waves: NonNegativeInt = 0
    encoder: Literal["mlp", "polar"] = "mlp"
    encoder_units: PositiveInt = 500
    encoder_layers: PositiveInt = 2
    likelihood: Literal["bernoulli", "continuous-bernoulli", "gaussian"] = "bernoulli"
    noise: PositiveFloat | Literal["learned", "sky"] = 1.0
    nonnegative: bool = False
    infer_rotation: bool = True
    infer_translation: bool = True
    content_prior: Literal["standard", "fitted"] = "standard"
    theta_prior: Literal["uniform", "normal"] = "uniform"
    theta_sigma: PositiveFloat = math.pi
    shift_sigma: float = Field(8.0, gt=0)
    scale: Literal["fixed", "moments", "inferred"] = "fixed"
    scale_sigma: PositiveFloat = 0.7
    structure: bool = False

    @model_validator(mode="after")
    def _parts_fit(self) -> ModelSettings:
        if self.generator == "vanilla" and (self.infer_rotation or self.infer_translation):
            raise ValueError("a vanilla generator has no pose: set infer_rotation and infer_translation to false")
        if self.encoder == "polar" and not (self.infer_rotation and self.infer_translation):
            raise ValueError("the polar encoder infers rotation and translation: leave both on, or use encoder = mlp")
        if self.scale == "inferred" and self.generator == "vanilla":
            raise ValueError("a vanilla generator has no coordinates to scale: set scale to fixed or moments")
        if self.encoder == "polar" and self.theta_prior != "uniform":
            raise ValueError("the polar encoder has no preferred angle: use theta_prior = uniform, or encoder = mlp")
        return self

    @property
    def content(self) -> int:
        """Length Z of what is said of a galaxy's content: what is inferred, and after it what is measured."""
        return self.latents + (len(MEASURED) if self.structure else 0)
