"""Galaxies per second of each part of the catalog, in one run.

    python benchmarks/inference.py RUN STORE [--galaxies 512]

``pass``: the inference network looks once. ``two_looks``, ``three_looks``: it looks again about what it said.
``encoded``: and twice hardly off that, all that the recipe asks for. ``registered``: theta and shift fitted to the
pixels besides (``encoded``, the canonical image, Levenberg-Marquardt, moments, and the measurement on the light).
``catalog``: all that `galvae catalog` computes of a galaxy, the looks for its errors among it.

Each core takes a batch of its own, as `galvae catalog` does. ``mflop``: of convolutions and matrix products, as torch
counts them, and oneDNN's, million a galaxy (NumPy's and element by element are not among them). ``share``: of the rate
at which the same cores, in the same run, multiply plain matrices of 1,024 in single precision. ``ms``: processor time a
galaxy.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode, register_flop_formula

from galvae.data.store import ImageStore
from galvae.inference.catalog import infer_batch, on_every_core
from galvae.inference.infer import LOOKS, NUDGES, infer
from galvae.inference.settings import CatalogSettings
from galvae.training.checkpoint import load_model
from galvae.windows import View


@register_flop_formula(torch.ops.aten.mkldnn_linear)
def _linear(x: torch.Size, weight: torch.Size, *_: object, **__: object) -> int:
    """Of oneDNN's product of rows and a layer's weights, which torch does not count."""
    return 2 * x.numel() * weight[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("store")
    parser.add_argument("--galaxies", type=int, default=512)
    arguments = parser.parse_args()
    vae, _ = load_model(arguments.run)
    store, settings = ImageStore(arguments.store), CatalogSettings()
    fields, oversample = store.images(range(arguments.galaxies)), store.ingest["oversample"]

    def view(part: np.ndarray) -> View:
        return vae.frame(View.central(torch.from_numpy(part), vae.window, oversample))

    def looks(part: np.ndarray, count: int, nudges: int) -> None:
        seen = view(part)
        seen = seen.of(seen.values)
        posterior = vae.encode(seen)
        for _ in range(count - 1):
            posterior = vae.encode(seen.about(posterior.draw(posterior.best())[0]))
        for _ in range(nudges):
            vae.encode(seen.about(posterior.draw(posterior.best())[0]))

    def registered(part: np.ndarray) -> None:
        infer(vae, view(part))

    def catalog(part: np.ndarray) -> None:
        infer_batch(vae, part, np.arange(len(part)), oversample=oversample, settings=settings)

    stages = {
        "pass": lambda part: looks(part, 1, 0),
        "two_looks": lambda part: looks(part, 2, 0),
        "three_looks": lambda part: looks(part, LOOKS, 0),
        "encoded": lambda part: looks(part, LOOKS, len(NUDGES)),
        "registered": registered,
        "catalog": catalog,
    }
    size, cores = settings.batch, torch.get_num_threads()
    parts = [fields[first : first + size] for first in range(0, len(fields), size)]
    matrix = torch.ones(1024, 1024)
    products = rate(lambda _: [matrix @ matrix for _ in range(20)], [matrix] * 2 * cores)[0] / 1024 * 20 * 2 * 1024**3
    print(json.dumps({"cores": cores, "products_gflops": round(products / 1e9, 1)}))
    for name, work in stages.items():
        with torch.inference_mode(), FlopCounterMode(display=False) as counted:
            work(parts[0])
        flop = counted.get_total_flops() / len(parts[0])
        galaxies, milliseconds = rate(work, parts)
        told = {"galaxies_per_second": round(galaxies, 1), "ms": round(milliseconds, 2), "mflop": round(flop / 1e6, 1)}
        print(json.dumps({"stage": name, **told, "share": round(flop * galaxies / products, 3)}), flush=True)


def rate(work: Callable[[np.ndarray], object], parts: list[np.ndarray]) -> tuple[float, float]:
    """Rows a second, and milliseconds of processors a row."""
    work_in_inference = torch.inference_mode()(work)
    work_in_inference(parts[0])
    start, used = time.perf_counter(), time.process_time()
    for _ in on_every_core(work_in_inference, parts, parts=len(parts), device=torch.device("cpu")):
        pass
    rows = sum(map(len, parts))
    return rows / (time.perf_counter() - start), 1e3 * (time.process_time() - used) / rows


if __name__ == "__main__":
    main()
