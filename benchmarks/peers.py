"""How fast other programs train the same model on the same images: pyroVED's iVAE and AtomAI's rVAE.

    python benchmarks/peers.py STORE --python PEERS/bin/python [--steps 4]

PEERS is an environment of their own, for what they depend on does not suit galvae:

    python -m venv PEERS && PEERS/bin/pip install torch==2.13.0 'numpy<2' 'pandas<3' 'scipy<1.17' 'scikit-image<0.26' \\
        'opencv-python-headless<4.12' matplotlib pyro-ppl gpytorch mendeleev networkx progressbar2 scikit-learn
    PEERS/bin/pip install --no-deps pyroved==0.3.0 atomai==0.8.1

Of torchvision they need the import alone. Each has the paper's networks (encoder 5,000 x 2, generator 500 x 2, tanh in
pyroVED), Z = 50, batches of 100 and every pixel, as the ``paper/galaxy-zoo`` recipe has; pyroVED knows one channel, and
sees the mean of three. Their own loops over batches are timed, the first of two left out. One that fails says why and
is left out. Prints a line of JSON for each.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

LATENTS, ENCODER, GENERATOR, BATCH = 50, 5000, 500, 100


class Absent(ModuleType):
    """A module of which the names are imported and not used."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *_, **__: None


def pyroved(images: np.ndarray, shift: float, folder: Path) -> Callable[[], object]:
    import pyroved as pv

    grey = torch.from_numpy(images).float().mean(-1) / 255
    model = pv.models.iVAE(
        grey.shape[1:], latent_dim=LATENTS, invariances=["r", "t"], dx_prior=shift, dy_prior=shift,
        hidden_dim_e=[ENCODER] * 2, hidden_dim_d=[GENERATOR] * 2, device="cpu",
    )  # fmt: skip
    loader = pv.utils.init_dataloader(grey, batch_size=BATCH)
    trainer = pv.trainers.SVItrainer(model, lr=1e-4, device="cpu")
    return lambda: trainer.step(loader)


def atomai(images: np.ndarray, shift: float, folder: Path) -> Callable[[], object]:
    import atomai as aoi

    values = images.astype(np.float32) / 255
    model = aoi.models.rVAE(
        values.shape[1:], latent_dim=LATENTS, numlayers_encoder=2, numlayers_decoder=2,
        numhidden_encoder=ENCODER, numhidden_decoder=GENERATOR,
    )  # fmt: skip
    # What its fit() sets up, without a cycle of training.
    prior = {"translation_prior": shift, "rotation_prior": np.pi}
    model.fit(values, loss="ce", training_cycles=0, batch_size=BATCH, filename=str(folder / "model"), **prior)
    return model.train_epoch


PEERS = {"pyroved": pyroved, "atomai": atomai}


def measure(name: str, windows: Path, shift: float) -> dict[str, Any]:
    for absent in ("torchvision", "torchvision.utils", "torchvision.models"):
        sys.modules[absent] = Absent(absent)
    images = np.load(windows)
    with tempfile.TemporaryDirectory() as folder:
        epoch = PEERS[name](images, shift, Path(folder))
        epoch()
        start = time.perf_counter()
        epoch()
    rate = len(images) / (time.perf_counter() - start)
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    told = {"version": importlib.metadata.version(name), "channels": 1 if name == "pyroved" else 3}
    return {"peer": name, **told, "images_per_second": round(rate, 2), "resident_bytes": resident}


def write_windows(store: Path, count: int, path: Path) -> float:
    """Windows of some galaxies as a step of the paper's recipe sees them; its translation prior in grid units."""
    from original import windows

    from galvae.data.store import ImageStore
    from galvae.geometry import pixels_to_grid
    from galvae.recipe import load_recipe
    from galvae.training.trainer import Trainer

    recipe = load_recipe("paper/galaxy-zoo", ["ingest.crop=random"])
    trainer = Trainer(ImageStore(store), recipe, device=torch.device("cpu"))
    np.save(path, windows(trainer, trainer.training)[:count])
    return float(pixels_to_grid(recipe.model.shift_sigma, trainer.window))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("--python", type=Path, help="the interpreter of an environment that has them")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--peer", choices=PEERS, help=argparse.SUPPRESS)
    parser.add_argument("--shift", type=float, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.peer:
        print(json.dumps(measure(chosen.peer, chosen.store, chosen.shift)))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "windows.npy")
        shift = write_windows(chosen.store, chosen.steps * BATCH, path)
        for name in PEERS:
            command = [chosen.python, __file__, path, "--peer", name, "--shift", str(shift)]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
                print(f"{name}: left out ({reason})", file=sys.stderr)
            else:
                print(done.stdout.splitlines()[-1], flush=True)


if __name__ == "__main__":
    main()
