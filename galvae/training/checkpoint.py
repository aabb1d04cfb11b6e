"""What a run folder holds: the model as tensors and JSON, and the state that resuming needs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, PositiveInt
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from galvae.description import read_description
from galvae.files import whole, write_atomically
from galvae.model.settings import ModelSettings
from galvae.model.vae import SpatialVAE
from galvae.progress import say
from galvae.runs import run_names, run_path
from galvae.structure import REVISION

MODEL, DESCRIPTION, STATE = "model.safetensors", "model.json", "checkpoint/state.safetensors"


def save_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, Any] | None = None) -> None:
    """Write tensors (safetensors) under a temporary name and move the file into place when it is whole.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    contents = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with whole(path) as scratch:
        scratch.touch()
        mode = scratch.stat().st_mode
        try:
            save_file(contents, scratch, metadata={"galvae": json.dumps(metadata or {})})
        except SafetensorError as error:
            raise OSError(str(error)) from None
        scratch.chmod(mode)  # save_file's own is 0600, whatever the umask


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and metadata of :func:`save_tensors`, on the CPU.

    Raises
    ------
    ValueError
        If the file is damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, json.loads(file.metadata()["galvae"])  # noqa: SIM118
    except (SafetensorError, KeyError, TypeError, ValueError) as error:  # of other programs, no metadata or no JSON
        raise ValueError(f"{path}: not a whole safetensors file ({error}); train again") from None


def check_structure(path: Path, before: int, remedy: str) -> None:
    """Refuse what was fitted to latents that were measured otherwise (:mod:`galvae.structure`).

    Raises
    ------
    ValueError
        If that was by another revision; with the remedy.
    """
    if before != REVISION:
        raise ValueError(
            f"{path}: made with revision {before} of the latents that are measured (model.structure), and this galvae "
            f"measures by revision {REVISION}; {remedy}"
        )


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def save_model(
    run: Path, vae: SpatialVAE, description: dict[str, Any], *, trained_on: np.ndarray | None = None
) -> None:
    """Write what inference needs: ``model.safetensors``, then ``model.json`` with `description`.

    `trained_on` are hashes of the identifiers of the galaxies trained on
    (:func:`galvae.data.split.identifier_hashes`), so that a catalog can flag them in whatever store they come.
    """
    hashes = torch.from_numpy(np.array(() if trained_on is None else trained_on, np.uint64).view(np.int64))
    save_tensors(run / MODEL, {**vae.state_dict(), "trained_on": hashes}, {"structure": REVISION})
    shape = {"window": vae.window, "channels": vae.channels, "model": vae.settings.model_dump(mode="json")}
    write_atomically(run / DESCRIPTION, json.dumps({**shape, **description}, indent=1) + "\n")


class _Description(BaseModel):
    """What inference needs of a run's model.json."""

    window: PositiveInt
    channels: PositiveInt
    model: ModelSettings
    recipe: dict[str, dict[str, Any]]
    store: str
    steps: int
    finished: bool


def load_model(run: str | Path, *, device: torch.device | str = "cpu") -> tuple[SpatialVAE, dict[str, Any]]:
    """The model of a run folder, ready to infer, and its description, with ``trained_on`` among it.

    A run whose training is not finished is warned of.

    Raises
    ------
    FileNotFoundError
        If `run` holds no model.
    ValueError
        If it is damaged, or by another galvae.
    """
    run = run_path(run)
    if not (run / DESCRIPTION).is_file() or not (run / MODEL).is_file():
        what = "an image store; the run comes first" if (run / "store.json").is_file() else "no trained run here"
        raise FileNotFoundError(
            f"{run}: {what} ({DESCRIPTION} is missing); make a run with galvae train, or "
            f"take one that is shipped: {', '.join(run_names())}"
        )
    description = read_description(run / DESCRIPTION, _Description, remedy="train again")
    vae = SpatialVAE(
        ModelSettings.model_validate(description["model"]),
        window=description["window"],
        channels=description["channels"],
    )
    tensors, told = load_tensors(run / MODEL)
    if vae.settings.structure:
        check_structure(run / MODEL, told.get("structure", 1), "train again")
    try:
        description["trained_on"] = tensors.pop("trained_on").numpy().view(np.uint64)
        vae.load_state_dict(tensors)
    except (KeyError, RuntimeError, ValueError):
        raise ValueError(
            f"{run / MODEL}: holds another network than {DESCRIPTION} says, as an older galvae wrote it; train again"
        ) from None
    if not description["finished"]:
        say(f"warning: {run}: its training stopped at step {description['steps']}; go on with galvae train --resume")
    return vae.to(device).eval().requires_grad_(False), description


def save_state(
    run: Path, vae: SpatialVAE, optimizers: Sequence[torch.optim.Optimizer], progress: dict[str, Any]
) -> None:
    """Write everything that going on exactly needs, in one file: parameters, optimizers, progress."""
    tensors = {f"model.{name}": tensor for name, tensor in vae.state_dict().items()}
    for which, optimizer in enumerate(optimizers):
        for number, moments in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{which}.{number}.{name}": tensor for name, tensor in moments.items()}
    save_tensors(run / STATE, tensors, {"structure": REVISION, **progress})


def load_state(run: Path, vae: SpatialVAE, optimizers: Sequence[torch.optim.Optimizer]) -> dict[str, Any]:
    """Put parameters and optimizers as :func:`save_state` left them; returns the progress.

    Raises
    ------
    FileNotFoundError
        If there is nothing to resume.
    ValueError
        If the state is of another model or optimizer, or of latents that were measured otherwise.
    """
    path = run / STATE
    if not path.is_file():
        raise FileNotFoundError(f"{run}: nothing to resume ({STATE} is missing); train without --resume")
    tensors, progress = load_tensors(path)
    before = progress.pop("structure", 1)
    if vae.settings.structure:
        check_structure(path, before, "train without --resume")
    model = {name.removeprefix("model."): t for name, t in tensors.items() if name.startswith("model.")}
    wanted = {name: t.shape for name, t in vae.state_dict().items()}
    if wanted != {name: t.shape for name, t in model.items()}:
        raise ValueError(f"{path}: the state of another model; resume with the recipe that is in {run}/recipe.toml")
    states: list[dict[int, dict[str, Tensor]]] = [{} for _ in optimizers]
    for name, tensor in tensors.items():
        if name.startswith("optimizer."):
            _, *which, number, moment = name.split(".")
            if not which or int(which[0]) >= len(states):
                raise ValueError(
                    f"{path}: the state of another optimizer; resume with the recipe that is in {run}/recipe.toml, or "
                    f"train again if an older galvae wrote it"
                )
            states[int(which[0])].setdefault(int(number), {})[moment] = tensor
    vae.load_state_dict(model)
    for optimizer, state in zip(optimizers, states, strict=True):
        if state:
            optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    return progress
