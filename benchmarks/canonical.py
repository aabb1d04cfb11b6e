"""How fine must the grid be on which a decoded galaxy is measured and laid over its image?

    python benchmarks/canonical.py RUN STORE [--galaxies 512]

Each line is a grid, by its pixels along a side: how far centre (original pixels) and axis (degrees, of galaxies with an
axis ratio below 0.8) come out from where a grid of 320 puts them, of the decoded galaxy alone and of the galaxy in its
image, which is what a catalog says; median, 99th percentile and the largest. ``ms``: processor time a galaxy, of
decoding, measuring and laying over. A catalog takes a grid of 1.25 times the window, looks for its errors one of 0.75.
"""

from __future__ import annotations

import argparse
import json
import time

import numpy as np
import torch

from galvae.angles import difference
from galvae.data.store import ImageStore
from galvae.inference.infer import best_beside, fit, infer
from galvae.inference.settings import CatalogSettings
from galvae.training.checkpoint import load_model
from galvae.windows import View

SIZES = (32, 48, 64, 80, 96, 128)
FINEST = 320


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("store")
    parser.add_argument("--galaxies", type=int, default=512)
    arguments = parser.parse_args()
    vae, _ = load_model(arguments.run)
    store, batch = ImageStore(arguments.store), CatalogSettings().batch
    found: dict[int, list[np.ndarray]] = {size: [] for size in (*SIZES, FINEST)}
    spent = dict.fromkeys(found, 0.0)
    count = min(arguments.galaxies, len(store))
    for first in range(0, count, batch):
        rows = np.arange(first, min(first + batch, count))
        view = vae.frame(View.central(torch.from_numpy(store.images(rows)), vae.window, store.ingest["oversample"]))
        with torch.inference_mode():
            known = infer(vae, view)
            # As infer begins it: where the hypothesis that was decided for lies, before it is fitted.
            view, (decided, _) = known.view, known.looks.draw(known.looks.best())
            pose, content = best_beside(known.posterior, decided)
            _, pose = view.scaled(pose)
            for size in found:
                start = time.process_time()
                told = fit(vae, view, pose, content, known.sky, size=size, refine=True)
                spent[size] += time.process_time() - start
                places = [(p.x, p.y, p.orientation, p.axis_ratio) for p in (told.decoded, told.placed)]
                found[size].append(np.array(places))
    # Original pixels a window pixel.
    step = np.linalg.norm(store.column("affine")[:count, :, 0], axis=1) * store.ingest["oversample"]
    finest = np.concatenate(found[FINEST], -1)
    long = finest[1, 3] < 0.8
    for size in found:
        off = np.concatenate(found[size], -1) - finest
        said = {"size": size, "ms": round(spent[size] / count * 1e3, 2)}
        for name, (x, y, *_), axis, best in zip(
            ("decoded", "light"), off, np.concatenate(found[size], -1)[:, 2], finest[:, 2], strict=True
        ):
            turned = np.abs(np.degrees(difference(axis, best, np.pi)))[long]
            said[name] = {"centre": spread(np.hypot(x, y) * step), "axis": spread(turned)}
        print(json.dumps(said), flush=True)


def spread(values: np.ndarray) -> list[float]:
    values = values[np.isfinite(values)]
    return [float(f"{value:.2g}") for value in (*np.quantile(values, [0.5, 0.99]), values.max())]


if __name__ == "__main__":
    main()
