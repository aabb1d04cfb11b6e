"""The recipe's ``[train]`` table."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from galvae.settings import Seed, Settings


class TrainSettings(Settings):
    """How a model is fitted.

    ``pixels`` random ones of each image are decoded in each step (0: every one), the share ``focus`` of them drawn
    about the cutout's middle; whichever are drawn, the likelihood's expectation is that of every pixel. With
    ``unbiased`` false those drawn count alike instead, as if pixels were noisier the farther they lie from the middle:
    z tells of the galaxy rather than of its neighbours (``content_weight`` then weighs against that). With ``agree``
    above 0 a batch holds two views of each galaxy; it weighs what they contradict each other in: 1 suits a
    pseudo-Bernoulli, 0.01 over its variance a Gaussian. With a ``content_weight`` below 1 the divergence of z counts
    less than the bound has it, and z says more. What the inference network sees is noisier by up to ``noise``. With
    ``mirror`` half of the galaxies of a step are seen in a mirror.
    ``optimizer`` is Adam, or Muon for the layers' weights (:mod:`galvae.training.optimizers`), which needs a fraction
    of the steps. ``precision`` is that of the networks' inner layers: ``auto`` takes bfloat16 where the device
    has instructions for it. ``compile`` says whether steps are compiled (``auto``: on a GPU), which changes how fast
    they are and not what they come to (:mod:`galvae.training.engine`). At most ``chunk`` pixels are decoded at once
    (``auto``: as many as suits the device), ``freeze_content`` is in steps, ``save_every`` in epochs.
    """

    epochs: PositiveInt = 300
    batch: PositiveInt = 100
    optimizer: Literal["adam", "muon"] = "adam"
    learning_rate: PositiveFloat = 1e-4
    schedule: Literal["constant", "cosine"] = "constant"
    pixels: NonNegativeInt = 0
    focus: float = Field(0.0, ge=0, lt=1)
    unbiased: bool = True
    agree: float = Field(0.0, ge=0)
    content_weight: float = Field(1.0, gt=0)
    noise: float = Field(0.0, ge=0)
    mirror: bool = False
    chunk: Literal["auto"] | PositiveInt = "auto"
    freeze_content: NonNegativeInt = 0
    rotate_encoder: bool = True
    validation: float = Field(0.1, gt=0, lt=1)
    precision: Literal["auto", "float32", "bfloat16"] = "float32"
    compile: Literal["auto", "always", "never"] = "auto"
    seed: Seed = 0
    save_every: PositiveInt = 1
