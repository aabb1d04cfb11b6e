"""Where a training step's time goes, and how far each part is from what this machine can do: a map, not a score.

    python benchmarks/roofline.py [--recipe galaxy-zoo-cpu] [--store STORE] [--set train.pixels=0] [--steps 6]

Without a STORE the images are noise, held in memory: what is in them does not matter for the cost.

``seconds`` is a step's, by part: reading fields; augmentation (windows, turns, noise and pixels are drawn); the encoder
and the generator with its likelihood, forward and backward; the optimizer; everything else. They are timed with a clock
that is handed over where one part begins and another ends, on a CUDA device with a synchronisation; `plain_step` is
a step without the clock. The encoder's part has its own sampling of the pixels in it.

``GFLOP`` are those that torch.utils.flop_counter knows: matrix multiplications and convolutions, which the step really
ran. ``GB`` are a lower bound of what is moved: operands and results of each of them, once; and for the optimizer each
parameter and each of its moments read and written and its gradient read besides. What goes through memory
elementwise between them is not counted.

``products`` is how long plain multiplications of matrices of the same shapes and types take in the same run, a
convolution as that of its patches. ``limit`` is the longer of that and GB at the rate of a plain copy, and
``reached`` is the limit over the seconds.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from galvae.data.store import ImageStore, part_path, part_summary, write_part
from galvae.device import choose_device
from galvae.recipe import load_recipe
from galvae.training import trainer as training
from galvae.training.trainer import Trainer

REST = "everything else"
PARTS = (
    "reading", "augmentation", "encoder forward", "encoder backward", "generator forward", "generator backward",
    "optimizer", REST,
)  # fmt: skip


class Product(NamedTuple):
    """`batch` products of (m, k) and (k, n) matrices."""

    batch: int
    m: int
    k: int
    n: int
    dtype: torch.dtype


class Clock:
    """Whose turn it is, and how long each has had it."""

    def __init__(self, device: torch.device) -> None:
        self.now, self.seconds = REST, Counter()
        self._wait, self._since = waiting(device), time.perf_counter()

    def hand(self, part: str) -> None:
        if part != self.now:
            self._wait()
            now = time.perf_counter()
            self.seconds[self.now] += now - self._since
            self.now, self._since = part, now

    @contextmanager
    def turn(self, part: str | None = None) -> Iterator[None]:
        before = self.now
        self.hand(part or before)
        try:
            yield
        finally:
            self.hand(before)


@contextmanager
def watched(trainer: Trainer, clock: Clock) -> Iterator[Clock]:
    """Hand the clock over wherever a part of a step begins; what was made in a forward part is its part going back."""

    def own(made: Any, part: str) -> None:
        tensors = tree_leaves(list(vars(made).values()) if hasattr(made, "__dataclass_fields__") else made)
        nodes = [tensor.grad_fn for tensor in tensors if isinstance(tensor, Tensor)]
        while nodes:
            node = nodes.pop()
            # What has nothing after it adds to a parameter's gradient and outlives the step: its time is whoever's
            # turn it is.
            if node is not None and node.next_functions and "part" not in node.metadata:
                node.metadata["part"] = part
                node.register_prehook(lambda *_: clock.hand(part))
                nodes += [following for following, _ in node.next_functions]

    def part(owner: Any, name: str, part: str | None, *, both_ways: bool = False) -> Any:
        function: Callable[..., Any] = getattr(owner, name)

        def call(*args: Any, **options: Any) -> Any:
            with clock.turn(f"{part} forward" if both_ways else part):
                made = function(*args, **options)
            if both_ways:
                own(made, f"{part} backward")
            return made

        return patch.object(owner, name, call)

    with ExitStack() as stack:
        stack.enter_context(part(trainer.batches, "at", "reading"))
        stack.enter_context(part(training, "draw_batch", "augmentation"))
        stack.enter_context(part(trainer.vae, "encode", "encoder", both_ways=True))
        stack.enter_context(part(trainer.vae, "log_likelihood", "generator", both_ways=True))
        stack.enter_context(part(torch.autograd, "backward", None))
        for optimizer in trainer.optimizers:
            stack.enter_context(part(optimizer, "step", "optimizer"))
        yield clock
    clock.hand("")


class Count(TorchDispatchMode):
    """Operations, bytes and products of each part, by the clock's hand."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock
        self.flops, self.bytes, self.products = Counter(), Counter(), defaultdict(Counter)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        operation = func._overloadpacket
        if operation in flop_registry:
            part, flops = self.clock.now, flop_registry[operation](*args, **(kwargs or {}), out_val=made)
            products = list(as_products(operation, args, made))
            assert flops == sum(2 * math.prod(product[:4]) for product in products), f"what does {operation} multiply?"
            self.flops[part] += flops
            tensors = [leaf for leaf in tree_leaves((args, made)) if isinstance(leaf, Tensor)]
            self.bytes[part] += sum(tensor.numel() * tensor.element_size() for tensor in tensors)
            self.products[part].update(products)
        return made


def as_products(operation: Any, args: Any, made: Any) -> Iterator[Product]:
    aten = torch.ops.aten
    if operation in (aten.mm, aten.addmm, aten.bmm, aten.baddbmm):
        a, b = (tensor for tensor in args[-2:])
        yield Product(len(a) if a.ndim == 3 else 1, *a.shape[-2:], b.shape[-1], a.dtype)
    elif operation is aten.convolution:
        weight = args[1]
        places, patches = made.numel() // len(weight), weight[0].numel()
        yield Product(1, places, patches, len(weight), weight.dtype)
    elif operation is aten.convolution_backward:
        grad, _, weight = args[:3]
        places, patches = grad.numel() // len(weight), weight[0].numel()
        if made[0] is not None:
            yield Product(1, places, len(weight), patches, weight.dtype)
        if made[1] is not None:
            yield Product(1, patches, places, len(weight), weight.dtype)


def waiting(device: torch.device) -> Callable[[], None]:
    """What waits until the device is done."""
    return torch.cuda.synchronize if device.type == "cuda" else lambda: None


def seconds_of(work: Callable[[], Any], device: torch.device, *, least: float = 0.02) -> float:
    """The best of at least three and of at least so many seconds."""
    wait = waiting(device)
    work()
    taken: list[float] = []
    while len(taken) < 3 or sum(taken) < least:
        wait()
        start = time.perf_counter()
        work()
        wait()
        taken.append(time.perf_counter() - start)
    return min(taken)


def plain(product: Product, device: torch.device) -> float:
    """Seconds of a product of such matrices and nothing else."""
    batch, m, k, n, dtype = product
    a, b = (torch.randn(batch, *shape, device=device, dtype=dtype) for shape in ((m, k), (k, n)))
    a, b = (a[0], b[0]) if batch == 1 else (a, b)
    made = torch.matmul(a, b)
    return seconds_of(lambda: torch.matmul(a, b, out=made), device)


def copied(device: torch.device, size: int = 2**28) -> float:
    """Bytes read and written a second by a plain copy."""
    source, target = (torch.ones(size, dtype=torch.uint8, device=device) for _ in range(2))
    return 2 * size / seconds_of(lambda: target.copy_(source), device)


def followed(optimizer: torch.optim.Optimizer) -> int:
    """Bytes that an optimizer's step reads and writes at the least."""
    total = 0
    for parameter in (parameter for group in optimizer.param_groups for parameter in group["params"]):
        moments = [value for value in optimizer.state[parameter].values() if isinstance(value, Tensor)]
        total += sum(tensor.numel() * tensor.element_size() for tensor in (parameter, *moments)) * 2
        total += parameter.numel() * parameter.element_size()
    return total


def noise_store(folder: Path, *, galaxies: int, field: int, crop: str) -> ImageStore:
    images = np.random.default_rng(0).integers(0, 256, (galaxies, field, field, 3), np.uint8)
    columns = {"id": np.arange(galaxies), "window": np.zeros((galaxies, 2), np.int32)}
    write_part(part_path(folder, 0), images, columns, [])
    description = {
        "schema": 1, "shape": [field, field, 3], "ingest": {"oversample": 1, "crop": crop},
        "columns": list(columns), "parts": [part_summary(part_path(folder, 0))],
    }  # fmt: skip
    (folder / "store.json").write_text(json.dumps(description))
    return ImageStore(folder)


def measure(trainer: Trainer, steps: int) -> dict[str, Any]:
    device = trainer.device
    trainer.take_step()
    waiting(device)()
    plain_step = take_steps(trainer, steps) / steps
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    on_device = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0
    with watched(trainer, clock := Clock(device)):
        take_steps(trainer, steps)
    with watched(trainer, Clock(device)) as counting, Count(counting) as count:
        trainer.take_step()
    for optimizer in trainer.optimizers:
        count.bytes["optimizer"] += followed(optimizer)
    each = {product: plain(product, device) for products in count.products.values() for product in products}
    bandwidth = copied(device)
    rows = {}
    for part in PARTS:
        seconds = clock.seconds[part] / steps
        products = sum(each[product] * times for product, times in count.products[part].items())
        limit = max(products, count.bytes[part] / bandwidth)
        rows[part] = row(seconds, count.flops[part], count.bytes[part], products, limit)
    shapes = sum(count.products.values(), Counter())
    longest = sorted(shapes, key=lambda product: -each[product] * shapes[product])[:10]
    whole = row(*(sum(row[name] for row in rows.values()) * unit for name, unit in UNITS.items()))
    return {
        "images": trainer.batch, "views": 2 if trainer.recipe.train.agree else 1,
        "pixels": trainer.recipe.train.pixels or trainer.window**2,
        "precision": str(trainer.precision or torch.float32).removeprefix("torch."),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} threads",
        "plain_step": plain_step, "images_per_second": trainer.batch / plain_step,
        "resident_GB": memory / 1e9, "device_GB": on_device / 1e9,
        "copy_GB_per_second": bandwidth / 1e9, "parts": {**rows, "whole step": whole},
        "longest_products": [
            {"shape": product[:4], "type": str(product.dtype).removeprefix("torch."), "times": shapes[product],
             "GFLOP_per_second": 2 * math.prod(product[:4]) / each[product] / 1e9}
            for product in longest
        ],
    }  # fmt: skip


UNITS = {"seconds": 1, "GFLOP": 1e9, "GB": 1e9, "products": 1, "limit": 1}


def row(seconds: float, flops: float, size: float, products: float, limit: float) -> dict[str, float]:
    return {
        "seconds": seconds, "GFLOP": flops / 1e9, "GB": size / 1e9, "products": products, "limit": limit,
        "GFLOP_per_second": flops / seconds / 1e9 if seconds else 0.0,
        "plain_GFLOP_per_second": flops / products / 1e9 if products else 0.0,
        "reached": limit / seconds if seconds else 0.0,
    }  # fmt: skip


def take_steps(trainer: Trainer, steps: int) -> float:
    """Take steps; their seconds."""
    start = time.perf_counter()
    for _ in range(steps):
        trainer.take_step()
    waiting(trainer.device)()
    return time.perf_counter() - start


def as_table(parts: dict[str, dict[str, float]]) -> str:
    whole = parts["whole step"]["seconds"]
    head = (
        f"{'':<19}{'ms':>9}{'share':>7}{'GFLOP':>9}{'GB':>8}{'GFLOP/s':>9}{'plain':>8}{'limit, ms':>11}{'reached':>9}"
    )
    lines = [
        f"{part:<19}{r['seconds'] * 1e3:>9.2f}{r['seconds'] / whole:>7.0%}{r['GFLOP']:>9.2f}{r['GB']:>8.3f}"
        f"{r['GFLOP_per_second']:>9.0f}{r['plain_GFLOP_per_second']:>8.0f}{r['limit'] * 1e3:>11.2f}{r['reached']:>9.0%}"
        for part, r in parts.items()
    ]
    return "\n".join([head, *lines])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="galaxy-zoo-cpu")
    parser.add_argument("--store", type=Path)
    parser.add_argument("--set", action="append", default=[], metavar="TABLE.KEY=VALUE")
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--device", default="auto")
    chosen = parser.parse_args()
    recipe = load_recipe(chosen.recipe, [*chosen.set, "train.freeze_content=0"])
    with tempfile.TemporaryDirectory() as folder:
        if chosen.store:
            store = ImageStore(chosen.store)
        else:
            galaxies, ingest = 2 * recipe.train.batch + 60, recipe.ingest
            store = noise_store(Path(folder), galaxies=galaxies, field=ingest.field, crop=ingest.crop)
        found = measure(Trainer(store, recipe, device=choose_device(chosen.device)), chosen.steps)
    print(as_table(found["parts"]))
    print(json.dumps({"recipe": chosen.recipe, "set": chosen.set, **found}))


if __name__ == "__main__":
    main()
