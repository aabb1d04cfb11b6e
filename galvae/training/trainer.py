"""A model in training: its data, its optimizers, and one step."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from galvae.data.dataset import Batches, Fields
from galvae.data.settings import IngestSettings
from galvae.data.split import held_out, identifier_hashes
from galvae.data.store import ImageStore
from galvae.model.precision import native_precision
from galvae.model.vae import SpatialVAE
from galvae.recipe import Recipe
from galvae.training.objective import Batch, Terms, backward, draw_batch, evaluate
from galvae.training.optimizers import optimizers
from galvae.training.team import ALONE, Team

# Of where the inference network looks first about the centroid, grid units: it learns to correct a wrong one.
JITTER = 0.04

# Activations of a layer that are decoded at once on a processor: what stays in its caches need not go through memory.
_CACHED = 2**22

_PRECISIONS = {"bfloat16": torch.bfloat16, "float32": None}

TERMS = ("elbo", "log_likelihood", "kl_z", "kl_pose")


class Diverged(ValueError):
    """The loss of a step is not finite."""


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


class Trainer:
    """A model, its data and how far it has come.

    Parameters
    ----------
    store
        The images.
    recipe
        ``[model]`` and ``[train]`` are used, and of ``[ingest]`` the window.
    device
        Where to compute.
    team
        The processes that train it together.
    room
        Hold fields on the device if they take at most so many bytes; None for half of the memory that is free there.

    Raises
    ------
    ValueError
        If the store's fields are smaller than the window, or hold too few galaxies to hold some out; or a batch fewer
        than there are processes.
    """

    def __init__(
        self, store: ImageStore, recipe: Recipe, *, device: torch.device, team: Team = ALONE, room: int | None = None
    ) -> None:
        recipe = of_this_store(recipe, store)
        self.store, self.recipe, self.device, self.team = store, recipe, device, team
        self.window, self.oversample = recipe.ingest.window, store.ingest["oversample"]
        if self.window * self.oversample > store.shape[0]:
            raise ValueError(
                f"{store.path}: fields of {store.shape[0]} pixels hold no window of {self.window} x {self.oversample}; "
                f"lower ingest.window, or ingest again with a larger ingest.field"
            )
        ids = store.column("id")
        kept = held_out(ids, recipe.train.validation, seed=recipe.train.seed)
        if kept.all() or not kept.any():
            raise ValueError(
                f"{store.path}: of {len(kept)} galaxies {kept.sum()} are held out for validation and training needs "
                f"some of both; change train.validation or train.seed, or use more galaxies"
            )
        self.trained_on = identifier_hashes(ids[~kept])
        self.training = Fields(store, np.flatnonzero(~kept), device=device, room=room)
        self.validation = Fields(store, np.flatnonzero(kept), device=device, room=room)
        self._crop: Tensor | None = None
        if store.ingest["crop"] == "fixed":
            self._crop = torch.from_numpy(store.column("window")).to(device)
        torch.manual_seed(recipe.train.seed)
        self.vae = SpatialVAE(recipe.model, window=self.window, channels=store.shape[2]).to(device)
        wanted = recipe.train.precision
        self.precision = native_precision(device) if wanted == "auto" else _PRECISIONS[wanted]
        self.vae.compute_in(self.precision)
        self.chunk = recipe.train.chunk
        if device.type == "cpu":
            self.chunk = min(self.chunk, max(1, _CACHED // recipe.model.generator_units))
        self.optimizers = optimizers(self.vae, recipe.train)
        self.batch = min(recipe.train.batch, len(self.training))
        if self.batch < team.size:
            raise ValueError(
                f"a batch of {self.batch} galaxies has not one for each of {team.size} processes; raise train.batch, "
                f"or start fewer"
            )
        self.batches = Batches(self.training, self.batch, seed=recipe.train.seed, share=team.share)
        self.batches.pool = min(team.gathered([self.batches.pool]))
        self.steps_per_epoch = self.batches.per_epoch
        self.steps = recipe.train.epochs * self.steps_per_epoch
        self.step = 0
        # Of the epoch so far: the ELBO's terms, and means of z and z^2.
        self.sums = torch.zeros(len(TERMS) + 2 * recipe.model.latents, dtype=torch.float64, device=device)
        self._unchecked: list[tuple[int, Tensor, Tensor]] = []

    def take_step(self) -> None:
        """Fit the next batch.

        Raises
        ------
        Diverged
            If the loss is not finite. On the CPU the parameters are those before the step; on a device it is found
            some steps later, so that steps need not wait for the host.
        Lost
            If another process has ended; the parameters are those before the step.
        """
        settings = self.recipe.train
        place = self.step % self.steps_per_epoch
        which, fields = self.batches.at(self.step)
        if place == 0:
            self.team.align(self.vae)
        views = 2 if settings.agree else 1
        batch = self.draw(
            self.training, which, fields, step=self.step, pixels=settings.pixels, views=views,
            unbiased=settings.unbiased, mirror=settings.mirror, jitter=JITTER, noise=settings.noise,
        )  # fmt: skip
        self.vae.zero_grad(set_to_none=True)
        frozen = self.step < settings.freeze_content
        terms = backward(
            self.vae, batch, chunk=self.chunk, frozen=frozen,
            agree=settings.agree, content_weight=settings.content_weight,
            seed=settings.seed, step=self.step,
        )  # fmt: skip
        share = len(which) / self.batch
        said = torch.cat([_means(terms), terms.content.double().flatten()]) * share
        self.team.add(said)
        self.team.add_gradients(self.vae.parameters(), share=share)
        self._unchecked.append((self.step, batch.galaxy, terms.elbo))
        if self.device.type == "cpu" or len(self._unchecked) >= 64:
            self.check()
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.learning_rate()
            optimizer.step()
        if place == 0:
            self.sums.zero_()
        self.sums += said
        self.step += 1
        last = place + 1 == self.steps_per_epoch
        if last and not frozen and self.recipe.model.content_prior == "fitted":
            self.vae.fit_prior(*(self.sums[len(TERMS) :] / self.steps_per_epoch).float().view(2, -1))

    def learning_rate(self) -> float:
        """Of the coming step."""
        settings = self.recipe.train
        if settings.schedule == "constant":
            return settings.learning_rate
        warm = min(1.0, (self.step + 1) / 100)
        return settings.learning_rate * warm * 0.5 * (1 + math.cos(math.pi * self.step / self.steps))

    def means(self) -> dict[str, float]:
        """Mean ELBO and its terms over the training batches of the epoch so far, in nats."""
        done = (self.step - 1) % self.steps_per_epoch + 1
        return dict(zip(TERMS, (self.sums[: len(TERMS)] / done).tolist(), strict=True))

    def check(self) -> None:
        """Look at the losses of the steps since the last look.

        Raises
        ------
        Diverged
            If one is not finite: says which step and which galaxies.
        """
        looked, self._unchecked = self._unchecked, []
        found = [(step, galaxy[~torch.isfinite(elbo)].unique().tolist()) for step, galaxy, elbo in looked]
        if not self.team.any(any(rows for _, rows in found)):
            return
        found = self.team.gathered([(step, rows) for step, rows in found if rows])
        first = min(step for step, _ in found)
        rows = sorted({row for step, rows in found if step == first for row in rows})
        ids = self.store.column("id")[rows]
        named = ", ".join(map(str, ids[:5])) + (f" and {len(ids) - 5} more" if len(ids) > 5 else "")
        raise Diverged(
            f"the loss is not finite at step {first} for {len(ids)} of {self.batch} galaxies "
            f"({named}); lower train.learning_rate, or look at these images"
        )

    def is_finite(self) -> bool:
        """Whether every parameter is: a gradient may break them though the loss was finite."""
        return all(bool(torch.isfinite(parameter).all()) for parameter in self.vae.parameters())

    def validate(self, *, pixels: int = 0) -> dict[str, float]:
        """Mean ELBO and its terms over the galaxies held out, in nats; `pixels` as in training, 0 for all.

        The randomness is the same each time, and windows are turned and moved as in training.
        """
        total = torch.zeros(len(TERMS), dtype=torch.float64, device=self.device)
        self.vae.compute_in(None)
        for which, fields in self.validation.in_order(self.batch, share=self.team.share):
            batch = self.draw(self.validation, which, fields, step=-1, pixels=pixels)
            terms = evaluate(self.vae, batch, chunk=self.chunk, seed=self.recipe.train.seed, step=-1)
            total += _means(terms) * len(which)
        self.vae.compute_in(self.precision)
        self.team.add(total)
        return dict(zip(TERMS, (total / len(self.validation)).tolist(), strict=True))

    def draw(
        self, data: Fields, which: Tensor, fields: Tensor, *, step: int, pixels: int, views: int = 1, **options: Any
    ) -> Batch:
        """What a step sees of galaxies at positions `which` of `data`, (B,), with their fields (B, F, F, C).

        The other options are those of :func:`galvae.training.objective.draw_batch`.
        """
        galaxy = data.index[which]
        crop = self.recipe.ingest.crop_sigma if self._crop is None else self._crop[galaxy]
        # What is turned for a model without rotation, nothing turns back.
        rotate = self.recipe.train.rotate_encoder and self.recipe.model.infer_rotation
        return draw_batch(
            self.vae, fields, galaxy, oversample=self.oversample, crop=crop,
            rotate=rotate, pixels=pixels, focus=self.recipe.train.focus,
            views=views, **options, seed=self.recipe.train.seed, step=step,
        )  # fmt: skip


def _means(terms: Terms) -> Tensor:
    return torch.stack([getattr(terms, name).double().mean() for name in TERMS])
