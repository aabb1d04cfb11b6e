"""One step's objective: the ELBO of a batch (Bepler et al. 2019, eqs. 4 and 5)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from galvae.geometry import Pose
from galvae.keyed import normal, uniform
from galvae.model.posterior import Posterior
from galvae.model.vae import SpatialVAE
from galvae.training.agreement import disagreement, exchanged
from galvae.training.batch import Batch, draw_batch
from galvae.windows import View


@dataclass(frozen=True)
class Terms:
    """The ELBO's terms in nats per image, each of shape (B,); and where content lies."""

    log_likelihood: Tensor
    kl_z: Tensor
    kl_pose: Tensor
    content: Tensor
    """Means of z and z^2 over the batch and its posteriors, shape (2, Z); of an inferred zoom in one column more."""

    @property
    def elbo(self) -> Tensor:
        """Evidence lower bound of each image (pseudo-ELBO, where the likelihood is not normalised)."""
        return self.log_likelihood - self.kl_z - self.kl_pose


def _draws(posterior: Posterior, batch: Batch, count: int, *, seed: int, step: int | Tensor) -> tuple[Tensor, Tensor]:
    """Hypotheses (B, D) and noise (B, D, :attr:`Posterior.noise_size`) of a step."""
    hypotheses, size = posterior.log_weight.shape[1], posterior.noise_size
    count = min(count, hypotheses)
    which = posterior.choose(uniform("hypotheses", batch.key, hypotheses, seed=seed, step=step), count)
    noise = normal("latents", batch.key, count * size, seed=seed, step=step)
    return which, noise.view(-1, count, size)


def evaluate(vae: SpatialVAE, batch: Batch, *, chunk: int, seed: int, step: int) -> Terms:
    """The ELBO's terms, without gradients, by one draw of everything; arguments as in :func:`backward`."""
    with torch.no_grad():
        posterior = vae.encode(batch.view)
        pose, content = posterior.draw(*_draws(posterior, batch, 1, seed=seed, step=step))
        divergence = vae.divergence(posterior)
        pieces = [
            vae.log_likelihood(pose, z, values, **chosen)
            for pose, z, values, chosen in _pieces(pose, content, batch, chunk)
        ]
        return Terms(torch.cat(pieces), divergence.content, divergence.pose, _content(posterior))


def backward(
    vae: SpatialVAE, batch: Batch, *, chunk: int, frozen: bool, seed: int, step: int | Tensor, agree: float = 0.0,
    exchange: bool = False, content_weight: float = 1.0, parts: Parts | None = None,
) -> Terms:  # fmt: skip
    """The ELBO's terms, and the gradient of minus its mean over the batch added to the parameters' ``grad``.

    With one hypothesis it is the one-sample ELBO of the paper. With several, two different ones are drawn by their
    weights and decoded, and count by their weights relative to each other.

    The log likelihood is a sum over images: each piece of the batch is decoded and differentiated down to the latents
    before the next, so that the generator's activations are held for one piece only. The inference network then takes
    the latents' gradients. The result is that of one backward pass.

    Parameters
    ----------
    vae
        The model.
    batch
        What to fit.
    chunk
        Decode about so many pixels at once.
    frozen
        Hold z at zero and leave its divergence out.
    seed, step
        The key of the randomness.
    agree
        Weight of :func:`galvae.training.agreement.disagreement`, which the loss gains. Above zero the batch holds two
        views of each galaxy.
    exchange
        Decode each view with the mean content of the other one of its galaxy.
    content_weight
        What a nat of the content's divergence counts in the loss: below 1 it is no bound, and z says more (a beta-VAE,
        Higgins et al. 2017).
    parts
        What differentiates it piece by piece; :data:`PLAIN` where not given.
    """
    parts = parts or PLAIN
    posterior, weight, *inputs = parts.infer(vae, batch, frozen=frozen, exchange=exchange, seed=seed, step=step)
    leaves = [latent.detach().requires_grad_(latent.requires_grad) for latent in inputs]
    counts = weight.detach().flatten() / len(batch.view)
    content, *pose = leaves
    pieces: list[Tensor] = []
    for piece, z, values, chosen in _pieces(Pose(*pose), content, batch, chunk):
        done = sum(map(len, pieces))
        loss, log_likelihood = parts.reconstruct(vae, piece, z, values, counts[done : done + len(z)], **chosen)
        loss.backward()
        pieces.append(log_likelihood.detach())
    loss, *terms = parts.bound(
        vae, posterior, batch.view, weight, torch.cat(pieces),
        frozen=frozen, agree=agree, content_weight=content_weight,
    )  # fmt: skip
    ends = [(loss, None), *((latent, leaf.grad) for latent, leaf in zip(inputs, leaves, strict=True))]
    followed = [(end, grad) for end, grad in ends if end.requires_grad]
    if followed:  # Where no pose is inferred and z is frozen, the inference network has nothing to learn.
        torch.autograd.backward(*zip(*followed, strict=True))
    return Terms(*(term.detach() for term in terms))


def _infer(
    vae: SpatialVAE, batch: Batch, *, frozen: bool, exchange: bool, seed: int, step: int | Tensor
) -> tuple[Posterior, Tensor, *tuple[Tensor, ...]]:
    """The posterior; weights (B, D) of the hypotheses drawn; content and pose to decode, of B * D images."""
    posterior = vae.encode(batch.view)
    which, noise = _draws(posterior, batch, 2, seed=seed, step=step)
    weight = posterior.log_weight.gather(1, which).softmax(1)
    pose, content = posterior.draw(which, noise)
    if exchange:
        content = exchanged(posterior).repeat_interleave(which.shape[1], 0)
    if frozen:
        content = torch.zeros_like(content)
    return posterior, weight, content, *(part for part in vars(pose).values() if part is not None)


def _reconstruct(
    vae: SpatialVAE, pose: Pose, content: Tensor, values: Tensor, counts: Tensor, **chosen: Tensor
) -> tuple[Tensor, Tensor]:
    """What a piece's log likelihood, each image counted, adds to the loss; and the log likelihood."""
    log_likelihood = vae.log_likelihood(pose, content, values, **chosen)
    return -(log_likelihood * counts).sum(), log_likelihood


def _bound(
    vae: SpatialVAE, posterior: Posterior, view: View, weight: Tensor, log_likelihood: Tensor, *,
    frozen: bool, agree: float, content_weight: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """The loss beside what the latents' gradients carry; and the fields of :class:`Terms`."""
    log_likelihood = (weight * log_likelihood.view_as(weight)).sum(1)
    divergence = vae.divergence(posterior)
    rest = divergence.pose - log_likelihood + (0 if frozen else content_weight * divergence.content)
    if agree:
        rest = rest + agree * disagreement(posterior, view).repeat(2)
    return rest.mean(), log_likelihood, divergence.content, divergence.pose, _content(posterior)


class Parts(NamedTuple):
    """What a step computes: autograd goes back through each of the last three as a whole."""

    draw: Callable[..., Batch]
    infer: Callable[..., Any]
    reconstruct: Callable[..., Any]
    bound: Callable[..., Any]


PLAIN = Parts(draw_batch, _infer, _reconstruct, _bound)


@torch.no_grad()
def _content(posterior: Posterior) -> Tensor:
    weight = posterior.log_weight.exp()[..., None]
    mean, std = posterior.content, posterior.content_std
    if posterior.zoom is not None:
        mean, std = (
            torch.cat([one, zoom[..., None]], 2) for one, zoom in ((mean, posterior.zoom), (std, posterior.zoom_std))
        )
    return torch.stack([(weight * values).sum(1).mean(0) for values in (mean, mean.square() + std.square())])


def _pieces(
    pose: Pose, content: Tensor, batch: Batch, chunk: int
) -> Iterator[tuple[Pose, Tensor, Tensor, dict[str, Tensor]]]:
    """Pieces of B * D decodings, with the pixel values of each, which pixels they are, what they count, their noise."""
    draws = len(content) // len(batch.view)
    size = max(1, chunk // batch.values.shape[1])
    for start in range(0, len(content), size):
        part = slice(start, start + size)
        image = torch.arange(len(content), device=content.device)[part] // draws
        named = {"pixels": batch.pixels, "weight": batch.weight, "noise": batch.noise}
        chosen = {name: values[image] for name, values in named.items() if values is not None}
        some = Pose(*(None if value is None else value[part] for value in vars(pose).values()))
        yield some, content[part], batch.values[image], chosen
