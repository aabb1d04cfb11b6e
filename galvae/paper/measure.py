"""What is measured of a run of the paper, on images that it was not trained on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from astropy.stats import circcorrcoef
from scipy.special import xlogy

from galvae.files import whole
from galvae.inference.evaluate import evaluate, reconstructed, windows
from galvae.inference.figures import Selection
from galvae.inference.model import Model
from galvae.model.vae import SpatialVAE
from galvae.spectra import CYCLES, radial_power


class Value(NamedTuple):
    """A number, with its standard error over the images where it has one."""

    value: float
    error: float = float("nan")


@dataclass(frozen=True)
class Measured:
    """A run and the images that it is measured on.

    Parameters
    ----------
    vae, description
        The model.
    test, seen
        Images that it was not trained on, and as many at most that it was.
    kept
        The file of what is found on the test images, for figures drawn later.
    """

    vae: SpatialVAE
    description: dict[str, Any]
    test: Selection
    seen: Selection
    kept: Path

    @cached_property
    def model(self) -> Model:
        """For pictures."""
        return Model(self.vae, self.description)

    @cached_property
    def found(self) -> dict[str, np.ndarray]:
        """Of :func:`galvae.inference.evaluate.evaluate`, on the test images."""
        if not self.kept.is_file():
            with whole(self.kept) as scratch, scratch.open("wb") as file:
                np.savez(file, **evaluate(self.vae, self.test))
        with np.load(self.kept) as found:
            return dict(found)

    def some(self, rows: np.ndarray | slice) -> Selection:
        """Some of the test images."""
        return Selection(self.test.store, self.test.rows[rows])

    def windows(self, rows: np.ndarray | slice) -> np.ndarray:
        """Those as the model is shown them, shape (N, n, n, C)."""
        return windows(self.vae, self.some(rows))


def elbo(run: Measured) -> dict[str, Value]:
    """Test ELBO and its terms in nats per image, and by how much that of images trained on is higher."""
    names = {"elbo": "test ELBO", "log_likelihood": "test log likelihood", "kl_z": "KL of z", "kl_pose": "KL of pose"}
    values = {name: mean_of(run.found[key]) for key, name in names.items()}
    seen = mean_of(evaluate(run.vae, run.seen)["elbo"])
    test = values["test ELBO"]
    gap = Value(seen.value - test.value, float(np.hypot(seen.error, test.error)))
    return {**values, "training ELBO above test ELBO": gap}


def floor(run: Measured) -> dict[str, Value]:
    """Entropy of the pixels as Bernoulli probabilities, which no reconstruction's pseudo-ELBO is above, in nats."""
    entropy = entropy_of(run.windows(slice(None))).sum((1, 2, 3))
    return {"floor": mean_of(-entropy), "test ELBO below its floor": mean_of(-entropy - run.found["elbo"])}


def truth(run: Measured) -> dict[str, Value]:
    """Absolute correlations of each latent with the conformation (Pearson) and with the rotation (circular).

    The circular correlation is Jammalamadaka and SenGupta's, mean directions removed (astropy's ``circcorrcoef``); a
    latent that is no angle counts as one in radians. Of theta there is the correlation of uniform angles besides
    (:func:`uniform_correlation`), of the angles and, modulo 180 degrees, of twice the angles.
    """
    conformation, rotation = (run.test.column(f"table/{name}") for name in ("conformation", "theta"))
    latents = {f"z{k + 1}": z for k, z in enumerate(run.found["z"].T)}
    if run.vae.settings.infer_rotation:
        latents["theta"] = run.found["theta"]
    found = {}
    for name, values in latents.items():
        found[f"|r| of {name}, conformation"] = Value(pearson(values, conformation))
        found[f"|r| of {name}, rotation"] = Value(abs(circcorrcoef(values, np.radians(rotation))))
    if "theta" in latents:
        for name, times in (("uniform", 1), ("uniform, modulo 180 deg", 2)):
            r = uniform_correlation(times * latents["theta"], times * np.radians(rotation))
            found[f"|r| of theta, rotation, {name}"] = Value(abs(r))
    return found


def uniform_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Circular correlation of angles that are both uniform: ``R(a - b) - R(a + b)``, R the mean resultant length.

    Uniform angles have no mean direction. The correlation about mean directions then depends on where those of the
    two samples lie, which is chance.

    Parameters
    ----------
    a, b
        Radians, shape (N,).

    Returns
    -------
    float
        From -1 to 1: positive where the angles turn in the same sense, about 0 where they are independent.

    References
    ----------
    Jammalamadaka & SenGupta, Topics in Circular Statistics, 2001, section 8.2.
    """

    def resultant(angles: np.ndarray) -> float:
        return float(abs(np.exp(1j * angles).mean()))

    return resultant(a - b) - resultant(a + b)


def sharpness(run: Measured, count: int = 500) -> dict[str, Value]:
    """Power of reconstructions and of samples over that of the images, by channel and cycles along the window."""
    images = run.windows(slice(count))
    power = radial_power(images).mean(0)
    made = {
        "reconstructions": reconstructed(run.vae, run.some(slice(count))), "samples": run.model.sample(len(images)),
    }  # fmt: skip
    channels = "RGB" if images.shape[3] == 3 else "I"
    return {
        f"power of {what}, {channel}, {cycles} cycles": Value(ratio)
        for what, pictures in made.items()
        for channel, ratios in zip(channels, (radial_power(pictures).mean(0) / power), strict=True)
        for cycles, ratio in zip(CYCLES, ratios, strict=True)
    }


def background(run: Measured, count: int = 500, inside: float = 0.75) -> dict[str, Value]:
    """How much structure the decoded canonical images have around the particle; 1 is an image's standard deviation.

    That is the standard deviation, over pixels farther from the middle than `inside` of the half width and over
    images, of the decoded mean less each image's own mean there.
    """
    decoded = run.model.canonical(run.found["z"][:count])
    n = decoded.shape[1]
    y, x = np.mgrid[:n, :n] - (n - 1) / 2
    around = decoded[:, np.hypot(x, y) > inside * n / 2]
    return {"structure of the background": Value(float((around - around.mean(1, keepdims=True)).std()))}


MEASURES: Mapping[str, Callable[[Measured], dict[str, Value]]] = {
    "elbo": elbo, "floor": floor, "truth": truth, "sharpness": sharpness, "background": background,
}  # fmt: skip


def entropy_of(values: np.ndarray) -> np.ndarray:
    """Entropy of each value in [0, 1] as the probability of a 1, in nats."""
    p = np.clip(values.astype(float), 0, 1)
    return -(xlogy(p, p) + xlogy(1 - p, 1 - p))


def mean_of(values: np.ndarray) -> Value:
    """The mean of values and its standard error."""
    return Value(float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values))))


def pearson(a: np.ndarray, b: np.ndarray) -> float:
    """Absolute value of Pearson's correlation coefficient; 0 where one of them does not vary."""
    if not (np.ptp(a) and np.ptp(b)):
        return 0.0
    return float(abs(np.corrcoef(a, b)[0, 1]))
