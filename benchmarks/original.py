"""The original spatial-VAE on a store's images: its held-out pseudo-ELBO against its seconds, as a run folder.

    python benchmarks/original.py CHECKOUT STORE -o DIR [--recipe galaxy-zoo-cpu] [--steps 500] [--every 50]
    python benchmarks/original.py CHECKOUT STORE -o DIR --rate-only 5
    python benchmarks/original.py CHECKOUT STORE -o DIR --check

CHECKOUT is a clone of https://github.com/tbepler/spatial-VAE (commit e631015 was measured). Its networks, optimizer,
loader, steps and evaluation are run, not rewritten: ``main()`` of its ``train_galaxy.py`` builds them from two .npy
files, as for any user, with its loops over epochs replaced by what only notes what they are given. Of torchvision it
needs the import alone. Z, the translation's prior and what else ``--networks`` (paper/galaxy-zoo) has in common with
its options are given to it: Z = 50 and 8 pixels are the paper's, its own defaults 2 and 3.15; the rest agrees.

The galaxies held out and their windows are those that ``galvae train`` with ``--recipe`` validates on; of each of the
others the original sees one window, upright, as the paper's data had it. DIR/metrics.jsonl has the keys of a run's, in
nats per image. ``seconds`` are those of its own training loop: no evaluation, no saving. ``floor`` is the entropy of
the pixels taken as probabilities, which no reconstruction's loss (minus the ELBO) is below, and ``above_floor`` what
the loss has beyond it. A folder that was begun is gone on with; at the end it is a run, which
``galvae verify DIR STORE`` measures. ``python benchmarks/curve.py`` holds it against ours.

``--rate-only N`` times N steps more and keeps nothing of them. ``--check`` holds the original's likelihood and
divergence against galvae's, image by image, with the same parameters, pixels and noise.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from galvae.data.dataset import Fields
from galvae.data.store import ImageStore
from galvae.description import METRICS
from galvae.files import whole, write_atomically
from galvae.geometry import pixels_to_grid
from galvae.model.vae import SpatialVAE
from galvae.paper.measure import entropy_of
from galvae.recipe import Recipe, load_recipe
from galvae.training.checkpoint import DESCRIPTION, save_model
from galvae.training.run import trained_recipe
from galvae.training.trainer import Trainer

STATE = "original.pt"


@dataclass(frozen=True)
class Original:
    """What its ``main()`` built, and its loops; `options` are those that both loops take."""

    module: ModuleType
    loader: torch.utils.data.DataLoader
    held_out: torch.utils.data.DataLoader
    x: Tensor
    generator: nn.Module
    encoder: nn.Module
    optimizer: torch.optim.Optimizer
    options: dict[str, Any]

    @torch.no_grad()
    def evaluate(self) -> tuple[float, float, float]:
        """ELBO, log likelihood and divergence, means over the images held out; the same noise each time."""
        torch.manual_seed(0)
        elbo, loss, kl = self.module.eval_model(
            self.held_out, self.x, self.generator, self.encoder, **self.options
        )  # fmt: skip
        return elbo, -loss, kl

    def timed(self, batches: Iterator[tuple[Tensor]], steps: int) -> tuple[int, float]:
        """Train on so many batches; how many images these were, and seconds."""
        sizes: list[int] = []

        def noted() -> Iterator[tuple[Tensor]]:
            for batch in islice(batches, steps):
                sizes.append(len(batch[0]))
                yield batch

        start = time.perf_counter()
        self.module.train_epoch(
            noted(), self.x, self.generator, self.encoder, self.optimizer, N=len(self.loader.dataset), **self.options
        )
        return sum(sizes), time.perf_counter() - start

    def batches(self, step: int) -> Iterator[tuple[Tensor]]:
        """The loader's batches from `step` on, without end.

        Order and noise are keyed by epoch and step, so that going on gives what an unbroken training would have.
        """
        while True:
            epoch, done = divmod(step, len(self.loader))
            torch.manual_seed(epoch)
            for batch in islice(self.loader, done, None):
                torch.manual_seed(step)
                step += 1
                yield batch


def build(checkout: Path, folder: Path, recipe: Recipe) -> Original:
    for name in ("torchvision", "pandas"):  # imported, not used
        if importlib.util.find_spec(name) is None:
            sys.modules[name] = ModuleType(name)
    sys.path.insert(0, str(checkout))
    import train_galaxy as module

    noted: dict[str, Any] = {}
    loops = module.train_epoch, module.eval_model

    def note_training(loader: Any, x: Tensor, generator: Any, encoder: Any, optimizer: Any, **options: Any) -> Any:
        shared = ("rotate", "translate", "dx_scale", "theta_prior", "z_scale", "use_cuda")
        options = {name: options[name] for name in shared}
        noted.update(loader=loader, x=x, generator=generator, encoder=encoder, optimizer=optimizer, options=options)
        return 0.0, 0.0, 0.0

    def note_evaluation(loader: Any, *_: Any, **__: Any) -> Any:
        noted.update(held_out=loader)
        return 0.0, 0.0, 0.0

    model, train = recipe.model, recipe.train
    words = {
        "--z-dim": model.latents, "--p-hidden-dim": model.generator_units, "--p-num-layers": model.generator_layers,
        "--q-hidden-dim": model.encoder_units, "--q-num-layers": model.encoder_layers,
        "--dx-scale": pixels_to_grid(model.shift_sigma, recipe.ingest.window), "--theta-prior": model.theta_sigma,
        "--learning-rate": train.learning_rate, "--minibatch-size": train.batch, "--num-epochs": 1,
    }  # fmt: skip
    files = [str(folder / "train.npy"), str(folder / "test.npy")]
    before = sys.argv
    module.train_epoch, module.eval_model = note_training, note_evaluation
    sys.argv = ["train_galaxy.py", *files, *(str(word) for pair in words.items() for word in pair)]
    try:
        torch.manual_seed(train.seed)
        with contextlib.redirect_stdout(sys.stderr):
            module.main()
    finally:
        sys.argv, (module.train_epoch, module.eval_model) = before, loops
    return Original(module, **noted)


def write_windows(trainer: Trainer, folder: Path) -> None:
    """The original's input."""
    for name, data, step in (("train", trainer.training, 0), ("test", trainer.validation, -1)):
        with whole(folder / f"{name}.npy") as scratch:
            np.save(scratch, windows(trainer, data, step=step))


def windows(trainer: Trainer, data: Fields, *, step: int = -1) -> np.ndarray:
    """The windows that a step sees of all galaxies of `data`, shape (N, n, n, C): uint8, row 0 at the top.

    What is between two pixels of a field is rounded. Step -1 is validation's own.
    """
    images = []
    for which, fields in data.in_order(256):
        values = trainer.draw(data, which, fields, step=step, pixels=0).values.mul(255).round().byte()
        images.append(values.view(len(which), trainer.window, trainer.window, -1).flip(1))
    return torch.cat(images).numpy()


def entropy(images: np.ndarray) -> float:
    """Of pixels taken as probabilities, nats per image."""
    return float(np.mean([entropy_of(image / 255).sum() for image in images]))


def as_galvae(original: Original, vae: SpatialVAE) -> SpatialVAE:
    """Give a galvae model the original's parameters: the same function, of the same numbers."""
    settings, size = vae.settings, vae.window
    p, q = original.generator.layers, original.encoder.layers
    inside = list(q)[::2]
    ours: dict[str, Tensor] = {}
    for which, layer in enumerate(inside[:-1]):
        ours |= {f"encoder.hidden.{which}.weight": layer.weight, f"encoder.hidden.{which}.bias": layer.bias}
    # Its rows are pixels from the top, channels last; ours from the bottom, channels first.
    first = inside[0].weight
    by_pixel = first.view(len(first), size, size, vae.channels).flip(1)
    ours["encoder.hidden.0.weight"] = by_pixel.permute(0, 3, 1, 2).flatten(1)
    # Its latents are theta, dx in units of the prior, z; ours z, theta, shift in grid units.
    n, scale = settings.latents, original.options["dx_scale"]
    order = torch.tensor([*range(3, 3 + n), 0, 1, 2])
    weight, bias = (t.detach().cpu()[torch.cat([order, order + 3 + n])].clone() for t in inside[-1].parameters())
    weight[n + 1 : n + 3] *= scale
    bias[n + 1 : n + 3] *= scale
    bias[-2:] += np.log(scale)
    ours |= {"encoder.output.weight": weight, "encoder.output.bias": bias}
    coordinates, content = original.generator.coord_linear, original.generator.latent_linear
    ours |= {"generator.coordinates.weight": coordinates.weight, "generator.coordinates.bias": coordinates.bias}
    ours |= {"generator.content.weight": content.weight}
    *hidden, output = list(p)[1::2]
    for which, layer in enumerate(hidden):
        ours |= {f"generator.hidden.{which}.weight": layer.weight, f"generator.hidden.{which}.bias": layer.bias}
    ours |= {"generator.output.weight": output.weight, "generator.output.bias": output.bias}
    vae.load_state_dict({**vae.state_dict(), **ours})
    return vae


@torch.no_grad()
def check(original: Original, trainer: Trainer, count: int = 32) -> dict[str, float]:
    """Largest differences, in nats per image, of the original's terms from galvae's of the same networks."""
    vae = as_galvae(original, trainer.vae)
    batch = trainer.draw(trainer.validation, *next(trainer.validation.in_order(count)), step=-1, pixels=0)
    posterior = vae.encode(batch.view)
    size = posterior.content.shape[2] + 3
    noise, theirs = torch.empty(count, size), []
    original.generator.eval(), original.encoder.eval()
    for i in range(count):
        image = original.held_out.dataset.tensors[0][i : i + 1]
        torch.manual_seed(i)
        noise[i] = original.x.cpu().new_empty(1, size).normal_()[0]
        torch.manual_seed(i)
        terms = original.module.eval_minibatch(
            original.x, image, original.generator, original.encoder, **original.options
        )  # fmt: skip
        theirs.append(torch.stack([term.cpu() for term in terms]))
    theirs = torch.stack(theirs)
    noise = torch.cat([noise[:, 3:], noise[:, :3]], 1)[:, None]
    pose, content = posterior.draw(torch.zeros(count, 1, dtype=torch.long), noise)
    log_likelihood = vae.log_likelihood(pose, content, batch.values)
    divergence = vae.divergence(posterior)
    kl = divergence.content + divergence.pose
    ours = torch.stack([log_likelihood - kl, log_likelihood, kl], 1)
    apart = (ours - theirs).abs().amax(0)
    upright = batch.values.view(count, vae.window, -1).flip(1).view(count, -1, vae.channels)
    pixels = (original.held_out.dataset.tensors[0][:count] - upright).abs().max()
    names = ("elbo", "log_likelihood", "kl")
    return {
        "images": count, "largest_pixel_difference": float(pixels),
        **{f"mean_{name}": value for name, value in zip(names, theirs.mean(0).tolist(), strict=True)},
        **{f"largest_{name}_difference": value for name, value in zip(names, apart.tolist(), strict=True)},
    }  # fmt: skip


def resident() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path)
    parser.add_argument("store", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--recipe", default="galaxy-zoo-cpu")
    parser.add_argument("--networks", default="paper/galaxy-zoo")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--every", type=int, default=50)
    parser.add_argument("--rate-only", type=int, metavar="N")
    parser.add_argument("--check", action="store_true")
    chosen = parser.parse_args()
    chosen.output.mkdir(parents=True, exist_ok=True)
    store, held_against, paper = ImageStore(chosen.store), load_recipe(chosen.recipe), load_recipe(chosen.networks)
    # The paper's model, on the galaxies and windows of the recipe it is held against.
    shared = {name: getattr(held_against.train, name) for name in ("validation", "seed")}
    train = paper.train.model_copy(update={**shared, "rotate_encoder": False, "freeze_content": 0})
    recipe = paper.model_copy(update={"ingest": held_against.ingest, "train": train})

    origin = {"store": store.digest, "recipe": trained_recipe(recipe)}
    given = chosen.output / "original.json"
    if given.is_file() and json.loads(given.read_text()) != origin:
        raise SystemExit(f"{chosen.output}: was begun with another store or recipe; choose another folder")
    if not given.is_file():
        write_windows(Trainer(store, held_against, device=torch.device("cpu")), chosen.output)
        write_atomically(given, json.dumps(origin, indent=1) + "\n")
    floor = entropy(np.load(chosen.output / "test.npy"))
    original = build(chosen.checkout, chosen.output, recipe)
    modules = {name: getattr(original, name) for name in ("generator", "encoder", "optimizer")}
    done: dict[str, Any] = {"step": 0, "images": 0, "seconds": 0.0, "lines": []}
    if (chosen.output / STATE).is_file():
        done = torch.load(chosen.output / STATE, weights_only=True)
        for name, module in modules.items():
            module.load_state_dict(done.pop(name))
    if chosen.check:
        found = check(original, Trainer(store, recipe, device=torch.device("cpu")))
        print(json.dumps({"step": done["step"], **found}, indent=1))
        return

    batches = original.batches(done["step"])
    if chosen.rate_only:
        original.timed(batches, 1)
        images, seconds = original.timed(batches, chosen.rate_only)
        told = {"steps": chosen.rate_only, "images": images, "seconds": seconds, "images_per_second": images / seconds}
        print(json.dumps({**told, "resident_bytes": resident(), "threads": torch.get_num_threads()}))
        return
    while done["step"] < chosen.steps:
        steps = min(chosen.every, chosen.steps - done["step"])
        images, seconds = original.timed(batches, steps)
        for name, more in (("step", steps), ("images", images), ("seconds", seconds)):
            done[name] += more
        elbo, log_likelihood, kl = original.evaluate()
        line = {
            "step": done["step"], "seconds": round(done["seconds"], 3), "images": done["images"],
            "images_per_second": round(done["images"] / done["seconds"], 2),
            "images_per_second_now": round(images / seconds, 2),
            "validation_elbo": elbo, "validation_log_likelihood": log_likelihood, "validation_kl": kl,
            "floor": floor, "above_floor": -elbo - floor, "resident_bytes": resident(),
        }  # fmt: skip
        print(json.dumps(line), flush=True)
        done["lines"] = [*done["lines"], line]
        with whole(chosen.output / STATE) as scratch:
            torch.save({**done, **{name: module.state_dict() for name, module in modules.items()}}, scratch)
        write_atomically(chosen.output / METRICS, "".join(json.dumps(line) + "\n" for line in done["lines"]))
    trainer = Trainer(store, recipe, device=torch.device("cpu"))
    told = {**origin, "galvae": "original spatial-VAE", "steps": done["step"], "finished": True, "precision": "float32"}
    save_model(chosen.output, as_galvae(original, trainer.vae), told, trained_on=trainer.trained_on)
    print(f"{chosen.output}: a run ({DESCRIPTION}); galvae verify {chosen.output} {chosen.store} measures it")


if __name__ == "__main__":
    main()
