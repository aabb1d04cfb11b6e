"""How near ``galvae ingest`` comes to the rate at which its JPEG decoder alone decodes the same bytes from memory.

    python benchmarks/ingest.py images_training_rev1.zip [--rounds 3]

Prints JSON. ``ratio`` is to the decoder at full size, ``ratio_at_scale`` to it at the scale that the field needs, both
on all cores. ``ingest`` is all of it, with planning and the start of the workers; ``ingest_started`` leaves out what a
few pictures take as well. The best of some rounds counts, decoder and ingest in turns, for others may use the machine;
``cpu_ms`` are the processor's milliseconds for a picture, which others disturb less.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import simplejpeg

from galvae.cores import cores
from galvae.data.ingest import ingest
from galvae.data.readers import load
from galvae.data.readers.content import contents
from galvae.data.readers.plan import plan
from galvae.data.settings import IngestSettings


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Of the clock, and of all cores together."""
    clock, processor = time.perf_counter(), _processor()
    work()
    return time.perf_counter() - clock, _processor() - processor


def _processor() -> float:
    return sum(os.times()[:4])


def decode_all(pictures: list[bytes], **scale: int) -> None:
    """On all cores: simplejpeg lets go of the interpreter while it decodes."""

    def some(first: int) -> None:
        for data in pictures[first :: cores()]:
            simplejpeg.decode_jpeg(data, **scale)

    with ThreadPoolExecutor(cores()) as pool:
        list(pool.map(some, range(cores())))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="JPEGs of one size, of which galvae ingest skips none")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    settings = IngestSettings()
    items = plan([given.source], settings)
    pictures = [contents(item.place) for item in items]
    cutout = load(items[0], settings)
    ny, nx = cutout.pixels.shape[:2]

    def taken(limit: int | None) -> None:
        with tempfile.TemporaryDirectory() as folder:
            ingest([given.source], Path(folder, "store"), settings, limit=limit, quiet=True)
        # Else the next round would find the workers' imports made; and only of what has ended is the time known.
        forkserver._forkserver._stop()

    few = 16 * cores()  # a part for each worker
    works: dict[str, Callable[[], Any]] = {
        "decoder": lambda: decode_all(pictures),
        "decoder_at_scale": lambda: decode_all(pictures, min_height=ny, min_width=nx),
        "ingest": lambda: taken(None),
        "start": lambda: taken(few),
    }
    best = {name: (float("inf"), float("inf")) for name in works}
    for _ in range(given.rounds):
        for name, work in works.items():
            best[name] = tuple(map(min, best[name], seconds(work)))
    count = len(pictures)
    rates = {name: count / best[name][0] for name in ("decoder", "decoder_at_scale", "ingest")}
    started = (count - few) / (best["ingest"][0] - best["start"][0])
    print(json.dumps({
        "decoder_is": f"simplejpeg {simplejpeg.__version__}", "cores": cores(), "images": count,
        "scale": f"1/{cutout.shrunk}", **{name: round(rate) for name, rate in rates.items()},
        "ingest_started": round(started),
        "ratio": round(rates["ingest"] / rates["decoder"], 3),
        "ratio_started": round(started / rates["decoder"], 3),
        "ratio_at_scale": round(rates["ingest"] / rates["decoder_at_scale"], 3),
        "cpu_ms": {name: round(best[name][1] / count * 1000, 3) for name in rates},
    }))  # fmt: skip


if __name__ == "__main__":
    main()
