"""What a generator's layers take by oneDNN on a processor, where nothing goes back, beside torch's ordinary ones.

    python benchmarks/layers.py [--units 128]

Prints JSON: nanoseconds for each number that a layer makes, on one core, the best of some rounds. ``layer`` is a tanh,
a product of matrices and a tanh, ``layer_here`` the same as :func:`galvae.model.thin.tanh_layers` does it.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable

import torch
from torch import nn

from galvae.model.thin import tanh_layers

NUMBERS, ROUNDS, TIMES = 2**19, 7, 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--units", type=int, default=128)
    units = parser.parse_args().units
    torch.set_num_threads(1)
    x, layer = torch.randn(NUMBERS // units, units), nn.Linear(units, units)
    works: dict[str, Callable[[], object]] = {
        "layer": still(lambda: torch.tanh_(layer(torch.tanh_(x.clone())))),
        "layer_here": still(lambda: tanh_layers(x.clone(), [layer])),
    }
    torch.ones(2**22)  # what is given back at once lets malloc keep what is smaller, as in any longer work
    found = {name: min(seconds(work) for _ in range(ROUNDS)) for name, work in works.items()}
    print(json.dumps({name: round(1e9 * took / x.numel(), 2) for name, took in found.items()}))


def still(work: Callable[[], object]) -> Callable[[], object]:
    """The same where nothing goes back."""
    return torch.inference_mode()(work)


def seconds(work: Callable[[], object]) -> float:
    """Of one time."""
    start = time.perf_counter()
    for _ in range(TIMES):
        work()
    return (time.perf_counter() - start) / TIMES


if __name__ == "__main__":
    main()
