"""Galaxies per second of each part of the catalog, in one run.

    python benchmarks/inference.py RUN STORE [--galaxies 512]

``encoded``: the inference network looks, looks again twice, and twice hardly off that. ``registered``: theta and
shift fitted to the pixels besides (``encoded``, the canonical image, Levenberg-Marquardt, moments, and the
measurement on the light). ``catalog``: all that `galvae catalog` computes of a galaxy, the looks for its errors among
it.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable

import numpy as np
import torch

from galvae.data.store import ImageStore
from galvae.inference.catalog import infer_batch
from galvae.inference.infer import LOOKS, NUDGES, infer
from galvae.inference.settings import CatalogSettings
from galvae.training.checkpoint import load_model
from galvae.windows import View


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
        return View.central(torch.from_numpy(part), vae.window, oversample)

    def encoded(part: np.ndarray) -> None:
        posterior = vae.encode(view(part))
        for _ in range(LOOKS - 1):
            pose, _ = posterior.draw(posterior.best())
            posterior = vae.encode(view(part).about(pose))
        for _ in NUDGES:
            vae.encode(view(part).about(pose))

    def registered(part: np.ndarray) -> None:
        infer(vae, view(part))

    def catalog(part: np.ndarray) -> None:
        infer_batch(vae, part, np.arange(len(part)), oversample=oversample, settings=settings)

    found = {"cores": torch.get_num_threads()}
    for work in (encoded, registered, catalog):
        found[work.__name__] = rate(work, fields, settings.batch)
    print(json.dumps({**found, "unit": "galaxies per second"}, indent=1))


@torch.inference_mode()
def rate(work: Callable[[np.ndarray], None], fields: np.ndarray, batch: int) -> float:
    work(fields[:batch])
    start = time.perf_counter()
    for first in range(0, len(fields), batch):
        work(fields[first : first + batch])
    return round(len(fields) / (time.perf_counter() - start), 1)


if __name__ == "__main__":
    main()
