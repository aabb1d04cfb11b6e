"""Make copies of pictures, turned and moved by known amounts, as files.

    python benchmarks/turned_files.py SOURCE -o DIR [--move 20] [--seed 0] [--known RUN]

SOURCE is a folder or a zip of JPEG or PNG. DIR gets a PNG of the same stem for each, and ``moves.ecsv``: what ``galvae
verify --copies STORE --moves DIR/moves.ecsv`` reads after ``galvae ingest DIR -o STORE``. Content is moved by (dx, dy)
pixels right and up as displayed and then turned by `turn` degrees counter-clockwise about the picture's middle, by one
cubic spline at full resolution; what comes from beyond the picture is its border's median.
"""

from __future__ import annotations

import argparse
import zipfile
from collections.abc import Iterator
from multiprocessing import Pool
from pathlib import Path

import numpy as np
from astropy.table import Table
from PIL import Image
from scipy.ndimage import affine_transform

from galvae.data.prepare import border_of
from galvae.data.readers.pictures import decode
from galvae.data.split import identifier_hashes
from galvae.training.checkpoint import load_model


def is_picture(name: str) -> bool:
    return Path(name).suffix.lower() in (".jpg", ".jpeg", ".png")


def pictures(source: Path) -> Iterator[tuple[str, bytes]]:
    """Stem and content of each picture."""
    if source.is_dir():
        yield from ((path.stem, path.read_bytes()) for path in sorted(source.iterdir()) if is_picture(path.name))
        return
    with zipfile.ZipFile(source) as file:
        yield from ((Path(name).stem, file.read(name)) for name in sorted(file.namelist()) if is_picture(name))


def turned(pixels: np.ndarray, turn: float, move: tuple[float, float]) -> np.ndarray:
    """Pixels (ny, nx, 3), row 0 at the bottom, with content moved right and up and then turned counter-clockwise."""
    cos, sin = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    # From where (row up, column right) comes what is now there: turned back, then moved back.
    back = np.array([[cos, -sin], [sin, cos]])
    middle = (np.array(pixels.shape[:2]) - 1) / 2
    offset = middle - back @ middle - [move[1], move[0]]
    fill = np.median(border_of(pixels), axis=0)
    channels = [
        affine_transform(pixels[..., k].astype(float), back, offset, order=3, mode="constant", cval=fill[k])
        for k in range(pixels.shape[2])
    ]
    return np.clip(np.rint(np.stack(channels, -1)), 0, 255).astype(np.uint8)


def make(job: tuple[str, bytes, float, tuple[float, float], Path]) -> str | None:
    stem, content, turn, move, folder = job
    try:
        pixels = decode(content)
    except ValueError:
        return None
    Image.fromarray(turned(pixels, turn, move)[::-1]).save(folder / f"{stem}.png", compress_level=1)
    return stem


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--move", type=float, default=20.0, help="up to so many pixels in x and in y")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--known", type=Path, action="append", default=[], help="leave out what this run knows")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True)
    known = [load_model(run)[1]["trained_on"] for run in arguments.known]
    found = list(pictures(arguments.source))
    stems = np.array([stem for stem, _ in found])
    new = ~np.isin(identifier_hashes(stems), np.concatenate([*known, np.empty(0, np.uint64)]))
    random = np.random.default_rng(arguments.seed)
    turn = random.uniform(0, 360, len(stems))
    move = random.uniform(-arguments.move, arguments.move, (len(stems), 2))
    jobs = ((*found[k], turn[k], tuple(move[k]), arguments.output) for k in np.flatnonzero(new))
    with Pool() as pool:
        made = np.isin(stems, [stem for stem in pool.imap_unordered(make, jobs, chunksize=8) if stem])
    table = Table({"id": stems[made], "turn": turn[made], "dx": move[made, 0], "dy": move[made, 1]})
    table.write(arguments.output / "moves.ecsv")
    print(f"{arguments.output}: {len(table)} pictures turned and moved")


if __name__ == "__main__":
    main()
