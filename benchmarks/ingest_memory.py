"""Maximum resident size of galvae ingest for 5,000 and 50,000 pictures: it must not grow with their number.

Run as ``python benchmarks/ingest_memory.py``; takes some minutes and 1.5 GB of scratch space.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

# Of its own and of its workers' addresses: what getrusage says of a child includes its parent's size when
# it was forked.
_ONE = """
import re, sys
from pathlib import Path
from galvae.data import ingest as engine
from galvae.data.settings import IngestSettings

def peak(pid="self"):
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path(f"/proc/{pid}/status").read_text())[1]) / 1024

class Watch(engine.Progress):
    largest = 0.0
    def advance(self, count=1, note=""):
        import multiprocessing
        Watch.largest = max([Watch.largest, *(peak(child.pid) for child in multiprocessing.active_children())])

if __name__ == "__main__":
    engine.Progress = Watch
    done = engine.ingest([sys.argv[1]], sys.argv[2], IngestSettings(field=64), workers=int(sys.argv[3]), quiet=True)
    print(done["galaxies"], peak(), Watch.largest)
"""


def archive(path: Path, count: int) -> None:
    """A zip of pictures of 64 pixels, as Galaxy Zoo's is laid out."""
    noise = np.random.default_rng(0)
    pictures = []
    for _ in range(16):
        data = io.BytesIO()
        Image.fromarray(noise.integers(0, 60, (64, 64, 3), np.uint8)).save(data, "JPEG")
        pictures.append(data.getvalue())
    with zipfile.ZipFile(path, "w") as made:
        for number in range(count):
            made.writestr(f"images_training_rev1/{100000 + number}.jpg", pictures[number % 16])


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "one.py")
        script.write_text(_ONE)
        print("inputs  workers  galaxies/s  main MiB  largest worker MiB")
        for count in (5_000, 50_000):
            archive(Path(folder, f"{count}.zip"), count)
            for workers in (1, 2):
                start = time.monotonic()
                command = [sys.executable, script, Path(folder, f"{count}.zip"), Path(folder, f"{count}-{workers}")]
                told = subprocess.run([*command, str(workers)], check=True, capture_output=True, text=True).stdout
                galaxies, main_size, worker_size = map(float, told.split())
                rate = galaxies / (time.monotonic() - start)
                print(f"{count:6d}  {workers:7d}  {rate:10.0f}  {main_size:8.0f}  {worker_size:18.0f}", flush=True)


if __name__ == "__main__":
    main()
