"""Which way arms wind, learned from some labelled galaxies."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from galvae.data.store import ImageStore
from galvae.geometry import rotation
from galvae.model.polar import Polar
from galvae.model.winding import Winding
from galvae.progress import Progress
from galvae.runs import run_path
from galvae.structure import REVISION, SENSES
from galvae.training.checkpoint import check_structure, load_tensors, save_tensors
from galvae.training.measured import structure_of
from galvae.windows import View

WINDING = "winding.safetensors"

# Each galaxy with arms is once in an epoch, and of those without so many for each of them.
EPOCHS, BATCH, ARMLESS = 60, 64, 0.33
RATE, DECAY = 2e-3, 0.05
# What is shown is as if noisier, brighter or fainter, nearer or farther and placed otherwise by up to about these, and
# inclined otherwise: an axis ratio of up to exp(0.35).
NOISE, GAIN, ZOOM, PLACE, INCLINE = 0.02, 0.2, 0.15, 0.04, 0.35
# Networks that are fitted beside the last one, each without a third of the galaxies, to see how good that will be.
FOLDS = 3


def save_winding(run: str | Path, winding: Winding, description: dict[str, Any]) -> None:
    """Leave a network in a run folder, where its catalogs find it, with what `description` says of it."""
    channels = winding.rings[0].convolve.in_channels - 1
    told = {"channels": channels, "structure": REVISION, **description}
    save_tensors(run_path(run) / WINDING, winding.state_dict(), told)


def load_winding(run: str | Path, *, device: torch.device | str = "cpu") -> Winding | None:
    """The network of a run that was taught which way arms wind, ready to infer, else None.

    Raises
    ------
    ValueError
        If the file is damaged, or by another galvae.
    """
    path = run_path(run) / WINDING
    if not path.is_file():
        return None
    tensors, described = load_tensors(path)
    check_structure(path, described.get("structure", 1), "teach the run again with galvae winding, or remove the file")
    try:
        winding = Winding(channels=described["channels"])
        winding.load_state_dict(tensors)
    except (KeyError, RuntimeError, TypeError):
        raise ValueError(f"{path}: not a network of this galvae; make it again with galvae winding") from None
    return winding.to(device).eval().requires_grad_(False)


class Learned(NamedTuple):
    """A network that knows which way arms wind, and how well.

    Parameters
    ----------
    winding
        Fitted to all galaxies, its odds made such as come true.
    odds
        Log odds of an S of each galaxy by a network that was not shown it, and weights of that and of what is told of
        arms that were not fitted to it, shape (N,).
    """

    winding: Winding
    odds: np.ndarray


def learn_winding(
    store: ImageStore, rows: np.ndarray, sense: np.ndarray, *, seed: int = 0, device: torch.device | str = "cpu",
    epochs: int = EPOCHS, quiet: bool = False,
) -> Learned:  # fmt: skip
    """Fit a network to galaxies of known handedness, and find out on those kept from it how far to trust it.

    Parameters
    ----------
    store
        The images.
    rows
        Which of them are labelled, indices, shape (N,).
    sense
        +1 of an S as displayed, -1 of a Z, 0 of what has no arms: of that the odds are even. Shape (N,).
    seed
        Of the first parameters, and of all that is drawn.
    device, epochs, quiet
        Where to compute, how often each galaxy with arms is seen, and no progress.
    """
    galaxies = close_ups(store, rows)
    target = torch.from_numpy((1 + np.asarray(sense, float)) / 2).float()
    fold, sense = np.random.default_rng(seed).permutation(len(rows)) % FOLDS, np.asarray(sense)
    seen = np.concatenate([np.zeros((len(rows), 1)), structure_of(store, rows)[:, -SENSES:].double().numpy()], 1)
    with Progress("winding", (FOLDS + 1) * epochs, quiet=quiet) as progress:
        options = {"seed": seed, "device": device, "epochs": epochs, "done": progress.advance}
        for out in range(FOLDS):
            kept, rest = (torch.from_numpy(np.flatnonzero(which)) for which in (fold == out, fold != out))
            seen[fold == out, 0] = winding_odds(_fit(galaxies.some(rest), target[rest], **options), galaxies.some(kept))
        net = _fit(galaxies, target, **options)
    odds = np.zeros(len(rows))
    for out in range(FOLDS):
        odds[fold == out] = seen[fold == out] @ _weights(seen[fold != out], sense[fold != out])
    net.weights.copy_(torch.from_numpy(_weights(seen, sense)))
    return Learned(net, odds)


@torch.inference_mode()
def close_ups(store: ImageStore, rows: np.ndarray) -> View:
    """Close-ups of galaxies of a store, on the CPU, which are looked at about their centroids."""
    fields, ingest = torch.from_numpy(store.images(rows)), store.ingest
    whole = View.central(fields, ingest["window"], ingest["oversample"], display=fields.dtype == torch.uint8)
    parts = [whole.some(slice(start, start + BATCH)).close_up() for start in range(0, len(fields), BATCH)]
    offset, width = (torch.cat([getattr(part, name) for part in parts]) for name in ("offset", "width"))
    return replace(whole, offset=offset, width=width, origin=torch.cat([part.centroid(nearest=True) for part in parts]))


@torch.inference_mode()
def winding_odds(net: Winding, view: View) -> np.ndarray:
    """Log odds of an S of the galaxies of close-ups, shape (N,)."""
    parts = (view.some(slice(start, start + BATCH)) for start in range(0, len(view), BATCH))
    return np.concatenate([net(part.to(net.radii.device)).double().cpu().numpy() for part in parts])


def _fit(
    galaxies: View, target: Tensor, *, seed: int, device: torch.device | str, epochs: int, done: Callable[[], None]
) -> Winding:
    """A network in evaluation mode, fitted with the same randomness each time; `done` is called after each epoch."""
    torch.manual_seed(seed)
    drawn = torch.Generator().manual_seed(seed)
    net = Winding(channels=galaxies.fields.shape[3]).to(device)
    armed, armless = (torch.nonzero(target != 0.5)[:, 0], torch.nonzero(target == 0.5)[:, 0])
    beside = min(len(armless), round(ARMLESS * len(armed)))

    def orders() -> Iterator[Tensor]:
        for _ in range(epochs):
            order = torch.cat([armed, armless[torch.randperm(len(armless), generator=drawn)[:beside]]])
            yield order[torch.randperm(len(order), generator=drawn)]
            done()

    def loss(light: Tensor, which: Tensor) -> Tensor:
        return functional.binary_cross_entropy_with_logits(net.odds(light), target[which].to(device))

    descend(net, galaxies, orders(), loss, steps=epochs * -(-(len(armed) + beside) // BATCH), drawn=drawn)
    return net.eval().requires_grad_(False)


def descend(
    net: Polar, galaxies: View, orders: Iterable[Tensor], loss: Callable[[Tensor, Tensor], Tensor], *, steps: int,
    drawn: torch.Generator,
) -> None:  # fmt: skip
    """Fit a network to close-ups, which are never shown to it the same way twice.

    Parameters
    ----------
    net
        What is fitted, in place.
    galaxies
        Close-ups, on the CPU.
    orders
        Of each epoch, which galaxies are shown, in order.
    loss
        Of the light about some galaxies' centres, (B, C, 24, 64), and which they are.
    steps
        In all, of up to 64 galaxies.
    drawn
        What is drawn comes from it.
    """
    optimizer = torch.optim.AdamW(net.parameters(), RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1, (step + 1) / 20) * 0.5 * (1 + math.cos(math.pi * step / steps))
    )
    for order in orders:
        for which in order.split(BATCH):
            light = _varied(net, galaxies.some(which).to(net.radii.device), drawn)
            optimizer.zero_grad()
            loss(light, which).backward()
            optimizer.step()
            schedule.step()


def _varied(net: Polar, view: View, drawn: torch.Generator) -> Tensor:
    """What a network is shown of close-ups, changed at random in what has nothing to do with handedness."""

    def random(*shape: int) -> Tensor:
        return torch.randn(len(view), *shape, generator=drawn).to(view.offset)

    angle, axis, longer = torch.rand(3, len(view), generator=drawn).to(view.offset)
    view = replace(view, width=view.width * torch.exp(ZOOM * random()), angle=2 * math.pi * angle)
    turn, half = rotation(math.pi * axis), torch.exp(INCLINE * (longer - 0.5))
    stretch = turn.mT @ torch.diag_embed(torch.stack([half, 1 / half], -1)) @ turn
    light, _, _ = net.around_centre(replace(view, origin=view.origin + PLACE * random(2)), stretch=stretch)
    gain, noise = torch.exp(GAIN * random(1, 1, 1)), NOISE * random(1, 1, 1).abs()
    light = light * gain + noise * random(*light.shape[1:])
    return light.clamp(0, 1) if view.display else light


def _weights(seen: np.ndarray, sense: np.ndarray) -> np.ndarray:
    """What each of the numbers that change sign in a mirror, (N, 4), counts in the log odds, (4,)."""
    from sklearn.linear_model import LogisticRegression

    line, armed = LogisticRegression(fit_intercept=False), sense != 0
    spread = seen[armed].std(0) + 1e-9
    return line.fit(seen[armed] / spread, sense[armed]).coef_[0] / spread


def handedness(labels: np.ndarray, *, s: str, z: str, armless: Sequence[str] = ()) -> tuple[np.ndarray, np.ndarray]:
    """Which galaxies have one of these labels, indices (N,), and their sense: +1 of an S, -1 of a Z, 0 without arms.

    Raises
    ------
    ValueError
        If there are fewer than 20 of an S or of a Z: nothing can be learned of so few.
    """
    sense = np.where(labels == s, 1, np.where(labels == z, -1, 0))
    for name, sign in ((s, 1), (z, -1)):
        if (sense == sign).sum() < 20:
            raise ValueError(
                f"{(sense == sign).sum()} galaxies are labelled {name!r}; expected 20 at least of each of {s!r} and "
                f"{z!r} (the labels are {', '.join(sorted(set(labels)))})"
            )
    rows = np.flatnonzero((sense != 0) | np.isin(labels, list(armless)))
    return rows, sense[rows]


def told(odds: np.ndarray, sense: np.ndarray) -> dict[str, Any]:
    """How many galaxies with arms there are, the share told rightly with its standard error, and if odds come true.

    ``sure`` is how sure the network is of them in the mean: the share that should be told rightly; ``even`` is how sure
    it is of those without arms, at best little more than a half.
    """
    arms, sure = sense != 0, 1 / (1 + np.exp(-np.abs(odds)))
    right = (np.sign(odds) == sense)[arms]
    found = {"galaxies": int(arms.sum()), "right": float(right.mean()), "sure": float(sure[arms].mean())}
    found["right_err"] = float(np.sqrt(found["right"] * (1 - found["right"]) / len(right)))
    return found | {
        "armless_galaxies": int((~arms).sum()),
        "even": float(sure[~arms].mean()) if (~arms).any() else None,
    }
