"""Sky and colours of stores side by side: do composites look as ready-made pictures do?

    galvae ingest sdss-cutouts -o fits && galvae ingest images_training_rev1.zip -o pictures
    python benchmarks/colours.py fits pictures

Medians over the galaxies of a store: the sky's grey levels in R, G, B (the mean of the field's border), and the light
above it in the middle of the field (a quarter of its side), red over green and blue over green.
"""

from __future__ import annotations

import json
import sys

import numpy as np

from galvae.data.prepare import border_of
from galvae.data.store import ImageStore


def measure(path: str) -> dict[str, object]:
    skies, ratios = [], []
    for _, fields in ImageStore(path).batches():
        for field in fields.astype(float):
            sky = border_of(field).mean(0)
            n = len(field)
            red, green, blue = (field[n * 3 // 8 : n * 5 // 8, n * 3 // 8 : n * 5 // 8] - sky).sum((0, 1))
            skies.append(sky)
            if green > 0:
                ratios.append((red / green, blue / green))
    red, blue = np.round(np.median(ratios, axis=0), 2).tolist()
    sky = np.round(np.median(skies, axis=0), 1).tolist()
    return {"store": path, "galaxies": len(skies), "sky": sky, "red over green": red, "blue over green": blue}


for path in sys.argv[1:]:
    print(json.dumps(measure(path)))
