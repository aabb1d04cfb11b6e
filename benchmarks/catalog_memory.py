"""Resident memory and speed of `galvae catalog` against the number of galaxies: memory must not grow with it.

    python benchmarks/catalog_memory.py STORE [--run sdss-rgb] [--galaxies 2000 10000] [--cheap]
                                        [--rows 10000 100000 1000000] [--formats ecsv fits vot parquet h5]

``catalog``: the command itself, on STORE's parts linked as often as it takes, under the same identifiers. A million
galaxies take hours on two cores; ``--cheap`` leaves out the fit of the pose and most of the looks. ``rows``: without
inference, so that a million rows take minutes: random columns are made a part at a time, and written. Each case is a
process of its own; ``resident_MB`` is what it held for half of the time, ``peak_MB`` the most that it ever held: cores
that infer a batch each need most at the same moment now and then, the more often the longer it takes. ``per_second``
counts a case from beginning to end.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

Z = 20


def held(what: str) -> float:
    """MB; of this program alone, where what getrusage says of it begins with its parent's size."""
    return int(Path("/proc/self/status").read_text().split(f"{what}:")[1].split()[0]) * 1024 / 1e6


def write_random(path: str, count: int) -> None:
    import numpy as np
    from astropy.table import QTable

    from galvae.catalog import build_catalog, contract
    from galvae.data.store import ROWS, spans
    from galvae.growing import write_parts

    rows, random = contract(), np.random.default_rng(0)

    def parts() -> Iterator[QTable]:
        for part in spans(count, ROWS):
            size = part.stop - part.start
            columns = {row["name"]: random.normal(size=(size, Z) if row["shape"] else size) for row in rows}
            columns |= {"id": np.arange(part.start, part.stop), "flags": random.integers(0, 9, size, np.int32)}
            yield build_catalog(columns, meta={"about": "random"})

    write_parts(parts(), path, rows=count)


def case(kind: str, *words: str) -> None:
    """What a process of its own does; it says what it held when it ends."""
    ended, seen = threading.Event(), [held("VmRSS")]

    def watch() -> None:
        while not ended.wait(0.1):
            seen.append(held("VmRSS"))

    threading.Thread(target=watch, daemon=True).start()
    try:
        if kind == "rows":
            write_random(words[0], int(words[1]))
        else:
            from galvae.cli.main import run

            run(["catalog", *words])
    finally:
        ended.set()
        print(json.dumps({"resident_MB": round(statistics.median(seen)), "peak_MB": round(held("VmHWM"))}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("--run", default="sdss-rgb")
    parser.add_argument("--galaxies", type=int, nargs="*", default=[2_000, 10_000])
    parser.add_argument("--cheap", action="store_true", help="catalog.refine=false, catalog.looks=2")
    parser.add_argument("--rows", type=int, nargs="*", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--formats", nargs="*", default=["ecsv", "fits", "vot", "parquet", "h5"])
    chosen = parser.parse_args()

    def measure(kind: str, ending: str, count: int, output: Path, *words: object) -> None:
        start = time.perf_counter()
        command = [sys.executable, __file__, "--case", kind, *map(str, words)]
        told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1]
        rate = count / (time.perf_counter() - start)
        size = output.stat().st_size / count
        output.unlink()
        told = {**json.loads(told), "per_second": round(rate, 1), "bytes_a_galaxy": round(size)}
        print(json.dumps({"case": kind, "format": ending, "galaxies": count, **told}), flush=True)

    with tempfile.TemporaryDirectory() as scratch:
        for ending in chosen.formats:
            for count in chosen.rows:
                output = Path(scratch, f"rows.{ending}")
                measure("rows", ending, count, output, output, count)
        if not chosen.galaxies:
            return
        from scaling import linked

        from galvae.data.store import ImageStore

        cheap = ["--set", "catalog.refine=false", "--set", "catalog.looks=2"] if chosen.cheap else []
        for count in chosen.galaxies:
            folder = Path(scratch, str(count))
            folder.mkdir()
            store, output = linked(chosen.store, folder, count), Path(scratch, "catalog.fits")
            galaxies = len(ImageStore(store))
            measure("catalog", "fits", galaxies, output, chosen.run, store, "-o", output, *cheap)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--case"]:
        case(*sys.argv[2:])
    else:
        main()
