"""Are odd images found? Some are made of a store's, mixed into its catalog at 1%, and looked for in its first 2%.

    python benchmarks/odd.py RUN STORE CATALOG -o DIR [--each 8] [--draws 30] [--seed 0] [--own FILE]

CATALOG is that of RUN and STORE. The odd images, `--each` of a kind, are ingested and cataloged by the same run through
the commands alone. For each kind: the share that `galvae outliers` lists among the first 2% of a catalog into which it
was mixed, mean over draws of 1% from all kinds. What odd images the survey has itself are in the way: where FILE names
them (identifiers, one a line), the same once more without them. JSON on the last line.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from astropy.table import QTable, vstack
from PIL import Image, ImageDraw

import galvae
from galvae.uses.outliers import outliers

Field = np.ndarray


def ordinary(field: Field, random: np.random.Generator) -> Field:
    """Nothing wrong: what of these is found is found for how the images are made."""
    return field


def page(field: Field, random: np.random.Generator) -> Field:
    """A server's message."""
    side = len(field)
    picture = Image.new("RGB", (side, side), (int(random.choice([0, 255])),) * 3)
    draw, ink = ImageDraw.Draw(picture), tuple(int(value) for value in random.integers(60, 200, 3))
    for row in range(3):
        draw.text((int(random.integers(0, side // 5)), side // 4 + side // 6 * row), "503: try again later", fill=ink)
    return np.asarray(picture, float)[::-1]


def trail(field: Field, random: np.random.Generator) -> Field:
    """A satellite has passed: white or of one channel, bright or less so, wide or narrow."""
    x, y = coordinates(len(field))
    angle, offset = random.uniform(0, np.pi), random.uniform(-0.3, 0.3) * len(field)
    away = x * np.sin(angle) - y * np.cos(angle) - offset
    line = random.choice([30, 60, 120, 250]) * np.exp(-0.5 * (away / random.choice([0.8, 1.5, 3])) ** 2)
    return field + line[..., None] * (np.ones(3) if random.random() < 0.5 else np.eye(3)[random.integers(3)])


def off_centre(field: Field, random: np.random.Generator) -> Field:
    """Cut out a third of the field away from the galaxy."""
    move = random.choice([-1, 1], 2) * random.integers(round(0.2 * len(field)), round(0.32 * len(field)), 2)
    return np.roll(field, tuple(move), (0, 1))


def too_near(field: Field, random: np.random.Generator) -> Field:
    """Cut out three times too small."""
    side = len(field)
    cut = round(side * 0.36)
    return resized(field[cut : side - cut, cut : side - cut], side)


def too_far(field: Field, random: np.random.Generator) -> Field:
    """Cut out three times too large, of a sky without neighbours."""
    side = len(field)
    edge = np.concatenate([field[:4], field[-4:]]).reshape(-1, 3)
    small = resized(field, side // 3)
    wide, start = edge[random.integers(len(edge), size=(side, side))], (side - len(small)) // 2
    wide[start : start + len(small), start : start + len(small)] = small
    return wide


def damaged(field: Field, random: np.random.Generator) -> Field:
    """A JPEG in which bytes have changed, read by what does not notice."""
    picture, data = np.clip(field, 0, 255).astype(np.uint8)[::-1], io.BytesIO()
    Image.fromarray(picture).save(data, "JPEG", quality=90)
    found = picture
    while np.abs(found.astype(float) - picture).mean() < 2:
        changed = bytearray(data.getvalue())
        for place in random.integers(len(changed) // 3, 2 * len(changed) // 3, 3):
            changed[place] = random.integers(255)
        with contextlib.suppress(OSError, SyntaxError):
            found = np.asarray(Image.open(io.BytesIO(bytes(changed))).convert("RGB"))
    return found[::-1].astype(float)


def gradient(field: Field, random: np.random.Generator) -> Field:
    """All colours of the rainbow, from one side to the other."""
    x, y = coordinates(len(field))
    angle = random.uniform(0, 2 * np.pi)
    along = (x * np.cos(angle) + y * np.sin(angle)) / len(field)
    return 127 + 127 * np.cos(2 * np.pi * (along[..., None] + np.arange(3) / 3))


def grey(field: Field, random: np.random.Generator) -> Field:
    """Without its colours."""
    return np.repeat(field.mean(2, keepdims=True), 3, 2)


def negative(field: Field, random: np.random.Generator) -> Field:
    """Black for white."""
    return 255 - field


def star(field: Field, random: np.random.Generator) -> Field:
    """A saturated star with four spikes, small or large."""
    x, y = coordinates(len(field))
    far, size, turn = np.hypot(x, y), random.uniform(2, 12), random.uniform(0, np.pi / 2)
    x, y = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    spikes = 255 * np.exp(-0.5 * (np.minimum(abs(x), abs(y)) / 1.2) ** 2 - far / (5 * size))
    return (600 / (1 + (far / size) ** 2) ** 2 + spikes)[..., None] + 8 + random.normal(0, 4, field.shape)


def noise(field: Field, random: np.random.Generator) -> Field:
    """Nothing but noise."""
    return random.uniform(0, 255, field.shape)


def sky(field: Field, random: np.random.Generator) -> Field:
    """Nothing but sky."""
    return random.normal(15, 6, field.shape)


def band_lost(field: Field, random: np.random.Generator) -> Field:
    """One channel black or white."""
    field[..., random.integers(3)] = random.choice([0, 255])
    return field


def half_lost(field: Field, random: np.random.Generator) -> Field:
    """Black from somewhere near the middle on."""
    field[: random.integers(round(0.34 * len(field)), round(0.66 * len(field)))] = 0
    return field.swapaxes(0, 1) if random.random() < 0.5 else field


KINDS: dict[str, Callable[[Field, np.random.Generator], Field]] = {
    kind.__name__: kind
    for kind in (
        ordinary,
        page,
        off_centre,
        too_near,
        too_far,
        noise,
        sky,
        band_lost,
        half_lost,
        damaged,
        negative,
        gradient,
        grey,
        trail,
        star,
    )
}


def coordinates(side: int) -> tuple[np.ndarray, np.ndarray]:
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    return x, y


def resized(field: Field, side: int) -> Field:
    return np.asarray(Image.fromarray(field.astype(np.uint8)).resize((side, side), Image.Resampling.BICUBIC), float)


def write(store: galvae.ImageStore, folder: Path, each: int, random: np.random.Generator) -> list[str]:
    """Pictures called by their number, of as many pixels as a galaxy's cutout has, and the kind of each."""
    folder.mkdir(parents=True)
    kinds = [name for name in KINDS for _ in range(each)]
    for number, name in enumerate(kinds):
        row = int(random.integers(len(store)))
        field = store.images([row])[0].astype(float)
        odd = np.clip(np.round(KINDS[name](field, random)), 0, 255).astype(np.uint8)
        side = int(store.column("size", slice(row, row + 1)).min())
        # Hard edges stay hard.
        Image.fromarray(odd[::-1]).resize((side, side), Image.Resampling.NEAREST).save(folder / f"{number}.png")
    return kinds


def mixed(catalog: QTable, odd: QTable, rows: np.ndarray) -> tuple[QTable, np.ndarray]:
    """Both together, the odd ones under identifiers of their own."""
    names = [f"odd {number}" for number in rows]
    first, second = catalog.copy(), odd[rows]
    first["id"], second["id"] = np.asarray(first["id"]).astype(str), names
    return vstack([first, second], metadata_conflicts="silent"), np.array(names)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("store", type=Path)
    parser.add_argument("catalog", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--each", type=int, default=8)
    parser.add_argument("--draws", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--own", type=Path)
    given = parser.parse_args()
    random = np.random.default_rng(given.seed)
    store, catalog = galvae.ImageStore(given.store), galvae.read_catalog(given.catalog)
    kinds = write(store, given.output / "images", given.each, random)
    made, listed = given.output / "store", given.output / "catalog.ecsv"
    keys = [f"--set=ingest.{key}={store.ingest[key]}" for key in ("field", "window", "oversample")]
    for words in (["ingest", given.output / "images", "-o", made, *keys], ["catalog", given.run, made, "-o", listed]):
        subprocess.run([sys.executable, "-m", "galvae", *map(str, words), "-q"], check=True, stdout=subprocess.DEVNULL)
    odd = galvae.read_catalog(listed)
    kind = np.array(kinds)[np.asarray(odd["id"]).astype(int)]
    skipped = {name: kinds.count(name) - int((kind == name).sum()) for name in KINDS}
    found, galaxies = {}, {}
    for name, among in alternatives(catalog, given.own).items():
        random = np.random.default_rng([given.seed, 1])  # of all the same draws
        found[name] = found_among(among, odd, kind, draws=given.draws, random=random)
        galaxies[name] = len(among)
    print(f"{'':12}" + "".join(f"{name:>8}" for name in found))
    for name in [*KINDS, "all"]:
        told = "".join("       -" if one[name] is None else f"{100 * one[name]:7.0f}%" for one in found.values())
        out = f"; {skipped[name]} of {given.each} kept out by ingest" if skipped.get(name) else ""
        print(f"{name:12}{told}{out}")
    print(json.dumps({"found": found, "skipped": skipped, "galaxies": galaxies}))


def alternatives(catalog: QTable, own: Path | None) -> dict[str, QTable]:
    """The catalog, and if a file names the survey's own odd images, the same without them."""
    if own is None:
        return {"survey": catalog}
    named = [line.strip() for line in own.read_text(encoding="utf-8").splitlines() if line.strip()]
    ids = np.asarray(catalog["id"]).astype(str)
    if unknown := set(named) - set(ids):
        raise SystemExit(f"{own}: names {len(unknown)} that the catalog has not, {min(unknown)} first")
    return {"survey": catalog, "without": catalog[~np.isin(ids, named)]}


def found_among(
    catalog: QTable, odd: QTable, kind: np.ndarray, *, draws: int, random: np.random.Generator
) -> dict[str, float | None]:  # fmt: skip
    """Share of the odd images of each kind, and of all, that is found when 1% are mixed into a catalog."""
    found: dict[str, list[bool]] = {name: [] for name in KINDS}
    for _ in range(draws):
        rows = random.choice(len(odd), min(len(odd), round(0.01 * len(catalog))), replace=False)
        together, names = mixed(catalog, odd, rows)
        first = outliers(together, k=round(0.02 * len(together)))
        for name, hit in zip(kind[rows], np.isin(names, first["id"]), strict=True):
            found[name].append(bool(hit))
    share = {name: float(np.mean(hits)) if hits else None for name, hits in found.items()}
    return share | {"all": float(np.mean([hit for name, hits in found.items() if name != "ordinary" for hit in hits]))}


if __name__ == "__main__":
    main()
