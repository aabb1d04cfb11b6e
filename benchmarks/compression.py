"""How a store's parts are best packed: bytes, and how fast images are written and read as training reads them.

    python benchmarks/compression.py STORE [--galaxies 2048] [--batch 100]

Fields of STORE are written again in every way, in parts of 256, and read through ``ImageStore``: galaxies at random,
a batch at a time, and whole consecutive blocks. The files are in the page cache; of several rounds the best counts.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import hdf5plugin
import numpy as np

from galvae.data import store
from galvae.data.store import ImageStore, part_path, part_summary, write_part

Blosc = hdf5plugin.Blosc
WAYS: dict[str, Mapping[str, Any]] = {
    "none": {},
    "lzf": {"compression": "lzf"},
    "blosc lz4": Blosc(cname="lz4", clevel=1, shuffle=Blosc.NOSHUFFLE),
    "blosc lz4 bitshuffle": Blosc(cname="lz4", clevel=1, shuffle=Blosc.BITSHUFFLE),
    "blosc zstd": Blosc(cname="zstd", clevel=1, shuffle=Blosc.NOSHUFFLE),
    "blosc zstd bitshuffle": Blosc(cname="zstd", clevel=1, shuffle=Blosc.BITSHUFFLE),
}
PART, ROUNDS = 256, 3


def make_store(folder: Path, fields: np.ndarray) -> None:
    parts = []
    for number, start in enumerate(range(0, len(fields), PART)):
        rows = slice(start, start + PART)
        write_part(part_path(folder, number), fields[rows], {"id": np.arange(len(fields))[rows]}, [])
        parts.append(part_summary(part_path(folder, number)))
    ingest = {"oversample": 1, "crop": "random"}
    described = {"schema": 1, "shape": fields.shape[1:], "ingest": ingest, "columns": ["id"], "parts": parts}
    (folder / "store.json").write_text(json.dumps(described))


def rate(work: Callable[[], object], images: int) -> int:
    """Images a second."""
    best = float("inf")
    for _ in range(ROUNDS):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return round(images / best)


def measure(folder: Path, fields: np.ndarray, batch: int) -> dict[str, float]:
    written = rate(lambda: make_store(folder, fields), len(fields))
    made = ImageStore(folder)
    shuffled = np.random.default_rng(0).permutation(len(fields))
    batches = [shuffled[start : start + batch] for start in range(0, len(fields), batch)]
    return {
        "bytes_per_image": round(sum(path.stat().st_size for path in folder.glob("part-*.h5")) / len(fields)),
        "written": written,
        "read_at_random": rate(lambda: [made.images(rows) for rows in batches], len(fields)),
        "read_in_blocks": rate(lambda: list(made.batches()), len(fields)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("--galaxies", type=int, default=2048)
    parser.add_argument("--batch", type=int, default=100)
    given = parser.parse_args()
    fields = ImageStore(given.store).images(slice(given.galaxies))
    for name, packed in WAYS.items():
        store.PACKED = packed
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps({"packed": name, **measure(Path(folder), fields, given.batch)}), flush=True)


if __name__ == "__main__":
    main()
