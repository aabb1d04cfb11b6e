"""The experiments' data as image stores: real where it is at hand, simulated with known truth where it is not."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from galvae.data.ingest import ingest
from galvae.data.store import ImageStore
from galvae.files import write_atomically
from galvae.paper.experiments import Job, Scale
from galvae.progress import say
from galvae.stages import read_json

MADE_FROM = "made_from.json"
# How many images: of training, of the test.
SIZES: Mapping[str, Mapping[Scale, tuple[int, int]]] = {
    "mnist": {"quick": (20_000, 10_000), "paper": (60_000, 10_000)},
    "hinge": {"quick": (16_000, 4_000), "paper": (16_000, 4_000)},
    "em": {"quick": (5_411, 1_353), "paper": (10_821, 2_705)},
    "galaxy-zoo": {"quick": (2_000, 0), "paper": (6_000, 0)},
}

# Of the hinge's images: variance over the pixels without noise over that of the noise.
SNR = 0.2


class Sources(NamedTuple):
    """Real data; None where it is not at hand.

    Parameters
    ----------
    mnist
        Folder of MNIST's four idx files.
    integrin
        Folder of the two conformations of a molecule, as PDB files.
    galaxies
        Galaxy Zoo's archive of JPEGs, or a folder of them.
    """

    mnist: Path | None = None
    integrin: Path | None = None
    galaxies: Path | None = None


class Made(NamedTuple):
    """Files to ingest, with a table of what is known of them."""

    files: Path
    table: Path | None = None


Maker = Callable[[Path, Sources, Scale, bool], Made]


def stores(
    job: Job, folder: Path, *, scale: Scale, sources: Sources, quiet: bool
) -> tuple[ImageStore, ImageStore | None]:
    """Stores of the images to train on and of those to test on, made where they are not there yet.

    Without a test set there is one store, of which training holds some images out.

    Raises
    ------
    ValueError
        If data that cannot be simulated is not at hand.
    """
    make, sizes = DATA[job.data], SIZES[job.experiment][scale]
    source = {"mnist": sources.mnist, "hinge": sources.integrin, "galaxy-zoo": sources.galaxies}.get(job.experiment)

    def store(test: bool) -> ImageStore:
        settings, where = job.recipe.ingest, folder / job.data / ("test" if test else "train")
        limit = sizes[test] if sizes[1] else None
        made_from = {
            "ingest": settings.model_dump(mode="json"), "images": limit, "source": source and str(source.resolve()),
            "snr": SNR if job.experiment == "hinge" else None,
        }  # fmt: skip
        if read_json(where / MADE_FROM) != made_from:
            say(f"making {where / 'store'}", quiet=quiet)
            where.mkdir(parents=True, exist_ok=True)
            (where / MADE_FROM).unlink(missing_ok=True)
            made = make(where, sources, scale, test)
            ingest(
                [made.files], where / "store", settings, table=made.table, limit=limit, overwrite=True, quiet=True
            )  # fmt: skip
            write_atomically(where / MADE_FROM, json.dumps(made_from, indent=1) + "\n")
        return ImageStore(where / "store")

    return store(False), store(True) if sizes[1] else None


def _digits(turn: float, move: float, canvas: int | None = None) -> Maker:
    """MNIST, turned by a normal angle (deg) and moved by a normal offset (px), once for all."""

    def make(folder: Path, sources: Sources, scale: Scale, test: bool) -> Made:
        if sources.mnist is None:
            raise ValueError("MNIST is not at hand; name the folder of its idx files with --mnist")
        part = "t10k" if test else "train"
        files = [sorted(sources.mnist.glob(f"{part}-{what}*")) for what in ("images", "labels")]
        if not all(files):
            raise ValueError(
                f"{sources.mnist}: no {part}-images... and {part}-labels... here; MNIST's idx files are wanted"
            )
        (images, *_), (labels, *_) = files
        if not (turn or move):
            return Made(images)
        count = SIZES["mnist"][scale][test]
        from galvae.data.digits import moved_digits, read_idx, write_digits

        moved, truth = moved_digits(
            read_idx(images)[:count, ::-1], turn_sigma=turn, move_sigma=move, canvas=canvas, seed=int(test)
        )
        write_digits(folder / "digits.h5", moved, truth, label=read_idx(labels)[:count], overwrite=True)
        return Made(folder / "digits.h5")

    return make


def _hinge(folder: Path, sources: Sources, scale: Scale, test: bool) -> Made:
    from galvae.data.hinge import simulate_hinge
    from galvae.data.molecule import INTEGRIN_MEMBRANE, hinge_molecule

    molecule = hinge_molecule(sources.integrin, leave_out=INTEGRIN_MEMBRANE if sources.integrin else ())
    path, count = folder / "hinge.mrcs", SIZES["hinge"][scale][test]
    simulate_hinge(path, count, molecule=molecule, snr=SNR, seed=int(test), overwrite=True, quiet=True)
    return Made(path, path.with_suffix(".ecsv"))


def _antibody(folder: Path, sources: Sources, scale: Scale, test: bool) -> Made:
    from galvae.data.antibody import simulate_antibody

    path = folder / "antibody.mrcs"
    simulate_antibody(path, SIZES["em"][scale][test], seed=int(test), overwrite=True, quiet=True)
    return Made(path, path.with_suffix(".ecsv"))


def _galaxies(folder: Path, sources: Sources, scale: Scale, test: bool) -> Made:
    if sources.galaxies is not None:
        return Made(sources.galaxies)
    from galvae.data.simulate import simulate

    simulate(folder / "survey", SIZES["galaxy-zoo"][scale][0], overwrite=True, quiet=True)
    return Made(folder / "survey")


DATA: Mapping[str, Maker] = {
    "mnist": _digits(0, 0),
    "mnist-turned": _digits(45, 1.4),
    "mnist-moved": _digits(45, 14),
    "mnist-moved-canvas": _digits(45, 14, canvas=108),
    "hinge": _hinge,
    "antibody": _antibody,
    "galaxies": _galaxies,
}
