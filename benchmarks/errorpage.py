"""How well error pages are told from galaxies: share of hard-edged ink in pictures, and what is taken for a page.

    python benchmarks/errorpage.py PATH... [--every N] [--shrink SIZE]
    python benchmarks/errorpage.py --drawn

PATHs are pictures, folders or zips; with ``--shrink`` they are made as small as that first. ``--drawn`` measures drawn
text instead: the sizes, letters and qualities of the docstring of galvae/data/errorpage.py.
"""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Iterator
from itertools import product

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from galvae.data.errorpage import _INK, hard_edges, is_error_page, light_of
from galvae.data.readers import load
from galvae.data.readers.pictures import decode
from galvae.data.readers.plan import plan
from galvae.data.settings import IngestSettings

TEXT = ["getFrames() has failed", "SELECT img, f.a, f.b, f.c", "FROM dbo.fGetNearbyFrameEq(167.1,0.6)"]


def share(pixels: np.ndarray) -> float:
    light, background = light_of(pixels)
    return hard_edges(light, np.abs(light - background) > 3 * _INK)


def drawn() -> Iterator[tuple[str, np.ndarray]]:
    for size, height, white, quality in product((64, 150, 423, 1024), (8, 14, 20, 32), (True, False), (40, 75, 95)):
        if height > size / 8:
            continue
        ink, paper = (255, 0) if white else (0, 255)
        page = Image.new("RGB", (size, size), (paper,) * 3)
        for number, line in enumerate(TEXT):
            place = (4, 4 + number * (height + 4))
            ImageDraw.Draw(page).text(place, line, fill=(ink,) * 3, font=ImageFont.load_default(height))
        data = io.BytesIO()
        page.save(data, "JPEG", quality=quality)
        yield f"{size} {height} {white} {quality}", decode(data.getvalue())


def pictures(paths: list[str], every: int, shrink: int | None) -> Iterator[tuple[str, np.ndarray]]:
    settings = IngestSettings()
    for item in plan(paths, settings)[::every]:
        if item.reader != "pictures":
            continue
        pixels = load(item, settings).pixels
        if shrink:
            pixels = np.asarray(Image.fromarray(pixels).resize((shrink, shrink), Image.Resampling.BILINEAR))
        yield item.source, pixels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="*", metavar="PATH")
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--shrink", type=int)
    parser.add_argument("--drawn", action="store_true")
    given = parser.parse_args()
    seen = drawn() if given.drawn else pictures(given.paths, given.every, given.shrink)
    names, shares, taken = zip(*((name, share(pixels), is_error_page(pixels)) for name, pixels in seen), strict=True)
    galaxies = [s for s, page in zip(shares, taken, strict=True) if not page]
    pages = {name: round(s, 3) for name, s, page in zip(names, shares, taken, strict=True) if page}
    print(json.dumps({
        "pictures": len(names), "pages": len(pages), "least share of a page": min(pages.values(), default=None),
        "largest share of another": round(max(galaxies), 3) if galaxies else None,
        "its 99.9th percentile": round(float(np.percentile(galaxies, 99.9)), 3) if galaxies else None,
        "which": {} if given.drawn else pages,
    }))  # fmt: skip


if __name__ == "__main__":
    main()
