"""A model in training: its data, its optimizers, and one step."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from galvae.data.dataset import Batches, Fields
from galvae.data.split import held_out, identifier_hashes
from galvae.data.store import ImageStore
from galvae.device import activations
from galvae.keyed import sheet_of_noise
from galvae.model.precision import native_precision
from galvae.model.vae import SpatialVAE
from galvae.model.widths import wider
from galvae.recipe import Recipe
from galvae.training.batch import Batch, draw_batch
from galvae.training.checks import of_this_store
from galvae.training.engine import LONG, CudaGraphs, Held, Recorded, Recorder, Step, compiled
from galvae.training.losses import Losses
from galvae.training.measured import structure_of
from galvae.training.objective import Parts, Terms, backward, evaluate
from galvae.training.optimizers import optimizers
from galvae.training.team import ALONE, Team

# Of where the inference network looks first about the centroid, grid units: it learns to correct a wrong one.
JITTER = 0.04
# On how many galaxies the units of latents that are measured are found.
MEASURED_ON = 1000

_PRECISIONS = {"bfloat16": torch.bfloat16, "float32": None}

TERMS = ("elbo", "log_likelihood", "kl_z", "kl_pose")


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
        if recipe.model.structure:
            self.vae.fit_measured(structure_of(store, self.training.rows[:MEASURED_ON], device=device))
        if recipe.model.generator == "spatial":
            self.vae.units = wider(recipe.model.generator_units, device=device, precision=self.precision)
        self.chunk = max(1, activations(device) // recipe.model.generator_units)
        if recipe.train.chunk != "auto":
            self.chunk = recipe.train.chunk if device.type == "cuda" else min(self.chunk, recipe.train.chunk)
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
        # Of the epoch so far: the ELBO's terms, and means of z and z^2, and of an inferred zoom.
        columns = recipe.model.latents + (recipe.model.scale == "inferred")
        self.sums = torch.zeros(len(TERMS) + 2 * columns, dtype=torch.float64, device=device)
        self.losses = Losses(store, self.batch, team)
        self._sheet: Tensor | None = None
        if recipe.train.noise:
            self._sheet = sheet_of_noise(store.shape[0], store.shape[2], seed=recipe.train.seed).to(device)
        # A recorded step takes what changes from one to the next from memory: numbers would be recorded with it.
        self._now = torch.zeros((), dtype=torch.int64, device=device)
        self._rate = torch.zeros((), device=device)
        self._whole, self._held = False, None  # whether a step has the optimizers in it; what is compiled
        self._fast = self._faster(CudaGraphs(device) if device.type == "cuda" else None)

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
        frozen = self.step < settings.freeze_content
        variant = {"frozen": frozen, "exchange": settings.agree > 0 and self.step % 2 == 1}
        if self._fast is None:
            said, elbo = self._gradients(which, fields, step=self.step, **variant)
        else:
            self._now.fill_(self.step)
            self._rate.fill_(self.learning_rate())
            said, elbo = self._fast(which, fields, **variant)
        self.team.add(said)
        self.losses.note(self.step, self._views(self.training.index[which]), elbo)
        if not self._whole:
            self.team.add_gradients(self.vae.parameters(), share=len(which) / self.batch)
        if self.device.type == "cpu" or len(self.losses) >= 64:
            self.losses.check()
        if not self._whole:
            self._follow(self.learning_rate())
        if place == 0:
            self.sums.zero_()
        self.sums += said
        self.step += 1
        if place + 1 == self.steps_per_epoch:
            mean, square = (self.sums[len(TERMS) :] / self.steps_per_epoch).float().view(2, -1)
            model = self.recipe.model
            if not frozen and model.content_prior == "fitted":
                self.vae.fit_prior(mean[: model.latents], square[: model.latents])
            if model.scale == "inferred":
                self.vae.fit_scale(mean[-1])

    def _gradients(
        self, which: Tensor, fields: Tensor, *,
        step: int | Tensor, frozen: bool, exchange: bool, parts: Parts | None = None,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """Leave a batch's gradients; what :attr:`sums` gain by it, and the ELBO of each view."""
        settings = self.recipe.train
        batch = self.draw(
            self.training, which, fields, step=step, pixels=settings.pixels, views=2 if settings.agree else 1,
            unbiased=settings.unbiased, mirror=settings.mirror, jitter=JITTER, noise=settings.noise,
            sheet=self._sheet, by=parts and parts.draw,
        )  # fmt: skip
        self.vae.zero_grad(set_to_none=True)
        terms = backward(
            self.vae, batch, chunk=self.chunk, frozen=frozen, agree=settings.agree, exchange=exchange,
            content_weight=settings.content_weight, seed=settings.seed, step=step, parts=parts,
        )  # fmt: skip
        said = torch.cat([_means(terms), terms.content.double().flatten()]) * (len(which) / self.batch)
        return said, terms.elbo

    def _follow(self, rate: float | Tensor) -> None:
        """Let the parameters follow their gradients."""
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()

    def _faster(self, recorder: Recorder | None) -> Step | None:
        """A step that is compiled, and recorded where there is a recorder: with the optimizers, if they can be."""
        wanted = self.recipe.train.compile
        if wanted == "never" or (wanted == "auto" and recorder is None):
            return None
        step: Step = partial(self._gradients, step=self._now)
        if wanted == "always" or self.steps >= LONG:
            self._held = step = Held(
                partial(step, parts=compiled()), step, self.vae.parameters(),
                tolerance=0.1 if self.precision is None else 0.3, what="torch.compile",
            )  # fmt: skip
        if recorder is None:
            return step
        # Other processes are heard from before the optimizers' turn; and Muon takes its rate as a number.
        self._whole = self.team.size == 1 and all(isinstance(each, torch.optim.Adam) for each in self.optimizers)
        if not self._whole:
            return Recorded(step, self.vae.parameters(), tuple, recorder=recorder)
        for group in (group for optimizer in self.optimizers for group in optimizer.param_groups):
            group["capturable"] = True

        def whole(which: Tensor, fields: Tensor, **variant: bool) -> tuple[Tensor, ...]:
            found = step(which, fields, **variant)
            self._follow(self._rate)
            return found

        return Recorded(whole, self.vae.parameters(), self._state, recorder=recorder)

    def _state(self) -> list[Tensor]:
        """What an optimizer's step changes in place."""
        moments = (each for optimizer in self.optimizers for each in optimizer.state.values())
        return [*self.vae.parameters(), *(tensor for each in moments for tensor in each.values())]

    def _views(self, galaxy: Tensor) -> Tensor:
        return galaxy.repeat(2 if self.recipe.train.agree else 1)

    def ways(self) -> dict[str, bool]:
        """How steps are taken, after those in which it is found out: ``compiled``, ``recorded``."""
        return {
            "compiled": self._held is not None and not self._held.given_up,
            "recorded": isinstance(self._fast, Recorded) and not self._fast.given_up,
        }

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

    def is_finite(self) -> bool:
        """Whether every parameter is: a gradient may break them though the loss was finite."""
        return all(bool(torch.isfinite(parameter).all()) for parameter in self.vae.parameters())

    def validate(self, *, pixels: int = 0, precision: torch.dtype | None = None) -> dict[str, float]:
        """Mean ELBO and its terms over the galaxies held out, in nats; `pixels` as in training, 0 for all.

        The randomness is the same each time, and windows are turned and moved as in training. Inner layers compute in
        a `precision`, None for the parameters' own.
        """
        total = torch.zeros(len(TERMS), dtype=torch.float64, device=self.device)
        self.vae.compute_in(precision)
        for which, fields in self.validation.in_order(self.batch, share=self.team.share):
            batch = self.draw(self.validation, which, fields, step=-1, pixels=pixels)
            terms = evaluate(self.vae, batch, chunk=self.chunk, seed=self.recipe.train.seed, step=-1)
            total += _means(terms) * len(which)
        self.vae.compute_in(self.precision)
        self.team.add(total)
        return dict(zip(TERMS, (total / len(self.validation)).tolist(), strict=True))

    def draw(
        self, data: Fields, which: Tensor, fields: Tensor, *,
        step: int | Tensor, pixels: int, views: int = 1, by: Callable[..., Batch] | None = None, **options: Any,
    ) -> Batch:  # fmt: skip
        """What a step sees of galaxies at positions `which` of `data`, (B,), with their fields (B, F, F, C).

        The other options are those of :func:`galvae.training.batch.draw_batch`, which does it, or another `by`
        which it is done.
        """
        galaxy = data.index[which]
        crop = self.recipe.ingest.crop_sigma if self._crop is None else self._crop[galaxy]
        # What is turned for a model without rotation, nothing turns back.
        rotate = self.recipe.train.rotate_encoder and self.recipe.model.infer_rotation
        return (by or draw_batch)(
            self.vae, fields, galaxy, oversample=self.oversample, crop=crop,
            rotate=rotate, pixels=pixels, focus=self.recipe.train.focus,
            views=views, **options, seed=self.recipe.train.seed, step=step,
        )  # fmt: skip


def _means(terms: Terms) -> Tensor:
    return torch.stack([getattr(terms, name).double().mean() for name in TERMS])
