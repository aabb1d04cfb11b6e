"""The experiments' data as image stores: real where it is at hand, simulated with known truth where it is not."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from galvae.data.ingest import identity, ingest
from galvae.data.readers import load
from galvae.data.readers.idx import columns, pictures
from galvae.data.readers.plan import plan
from galvae.data.settings import IngestSettings
from galvae.data.store import ImageStore
from galvae.files import write_atomically
from galvae.paper.experiments import EXPERIMENTS, Job, Scale
from galvae.progress import say
from galvae.recipe import load_recipe
from galvae.stages import differing, read_json

if TYPE_CHECKING:
    from galvae.data.molecule import HingeMolecule

MADE_FROM = "made_from.json"
# How many images: of training, of the test.
SIZES: Mapping[str, Mapping[Scale, tuple[int, int]]] = {
    "mnist": {"quick": (20_000, 2_000), "paper": (60_000, 10_000)},
    "hinge": {"quick": (16_000, 4_000), "paper": (16_000, 4_000)},
    "em": {"quick": (5_411, 1_353), "paper": (10_821, 2_705)},
    "galaxy-zoo": {"quick": (5_000, 0), "paper": (61_578, 0)},
}

# Of galaxies, where none are at hand.
SIMULATED = 2000
# Of the hinge's images: variance over the pixels without noise over that of the noise, of which the paper says nothing.
SNR: Mapping[str, float] = {"hinge": 0.2, "hinge-clear": 2.0}


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


def check_sources(experiment: str, sources: Sources) -> None:
    """Refuse before any work what cannot be done with what is at hand.

    Raises
    ------
    ValueError, OSError
        If MNIST is wanted and not named, or what is named is not there, or is something else.
    """
    source = source_of(experiment, sources)
    if source is None and experiment == "mnist":
        raise ValueError(
            "MNIST is not at hand; name the folder of its idx files with --mnist, or the experiments that need none: "
            "galvae paper hinge galaxy-zoo em"
        )
    if source is None:
        return
    if not source.exists():
        option = {"hinge": "integrin", "galaxy-zoo": "galaxies"}.get(experiment, experiment)
        raise FileNotFoundError(
            f"{source}: there is no such file or folder; name where the data of {experiment} lie with --{option}"
        )
    content_of(experiment, source)


@cache
def content_of(experiment: str, source: Path) -> str:
    """Digest of the files, or of the archive's directory, of the real data of an experiment, wherever they lie.

    Raises
    ------
    ValueError, OSError
        If they are not its data.
    """
    if experiment == "galaxy-zoo":
        settings = load_recipe(EXPERIMENTS[experiment].recipe).ingest
        load(plan([source], settings, limit=1)[0], settings)
        return identity([source], settings)
    if experiment == "hinge":
        _molecule(source)
        files = sorted(source.glob("*.pdb*"))
    else:
        for test in (False, True):
            pictures(str(_idx(source, test)))
        files = sorted(source.glob("*-idx?-ubyte*"))
    return hashlib.sha256(b"".join(hashlib.sha256(file.read_bytes()).digest() for file in files)).hexdigest()


def source_of(experiment: str, sources: Sources) -> Path | None:
    """The real data of an experiment, None where it is simulated."""
    return {"mnist": sources.mnist, "hinge": sources.integrin, "galaxy-zoo": sources.galaxies}.get(experiment)


def stores(
    job: Job, folder: Path, *, scale: Scale, sources: Sources, quiet: bool
) -> tuple[ImageStore, ImageStore | None, str]:
    """Stores of the images to train on and of those to test on, and what they are of; made where they are not there.

    Without a test set there is one store, of which training holds some images out. Where no source is named now, what
    was made of one before is used.

    Raises
    ------
    FileExistsError
        If they were made otherwise than is wanted.
    ValueError
        If data that cannot be simulated is not at hand.
    """
    make, sizes = DATA[job.data], SIZES[job.experiment][scale]
    source = source_of(job.experiment, sources)

    def store(test: bool) -> tuple[ImageStore, str]:
        settings, where = job.recipe.ingest, folder / job.data / ("test" if test else "train")
        before = read_json(where / MADE_FROM)
        made_from = {
            "ingest": settings.model_dump(mode="json"), "images": sizes[test],
            "content": content_of(job.experiment, source) if source else before.get("content"),
            "snr": SNR.get(job.data),
        }  # fmt: skip
        name = Path(before.pop("source", None) or (source.resolve().name if source else "simulated")).name
        before = before and {"content": made_from["content"], **before}  # which were not asked for at first
        if before and before != made_from:
            raise FileExistsError(
                f"{where}: was made with other {', '.join(differing(before, made_from))}; choose another output, or "
                f"add --overwrite to begin the experiment again"
            )
        if not before:
            say(f"making {where / 'store'}", quiet=quiet)
            where.mkdir(parents=True, exist_ok=True)
            made = make(where, sources, scale, test)
            ingest(
                [made.files], where / "store", settings,
                table=made.table, limit=sizes[test], overwrite=True, quiet=True,
            )  # fmt: skip
            write_atomically(where / MADE_FROM, json.dumps({**made_from, "source": name}, indent=1) + "\n")
        return ImageStore(where / "store"), name

    train, told = store(False)
    return train, store(True)[0] if sizes[1] else None, told


def _digits(turn: float, move: float, canvas: int | None = None) -> Maker:
    """MNIST, turned by a normal angle (deg) and moved by a normal offset (px), once for all."""

    def make(folder: Path, sources: Sources, scale: Scale, test: bool) -> Made:
        assert sources.mnist
        images = _idx(sources.mnist, test)
        if not (turn or move):
            return Made(images)
        from galvae.data.digits import moved_digits, write_digits

        count = SIZES["mnist"][scale][test]
        moved, truth = moved_digits(
            pictures(str(images))[:count, ::-1], turn_sigma=turn, move_sigma=move, canvas=canvas, seed=int(test),
            first=60_000 if test else 0,
        )  # fmt: skip
        label = columns(str(images), IngestSettings()).get("label")
        write_digits(
            folder / "digits.h5", moved, truth, label=None if label is None else label[:count], overwrite=True
        )  # fmt: skip
        return Made(folder / "digits.h5")

    return make


def _idx(folder: Path, test: bool) -> Path:
    found = sorted(folder.glob("t10k-images*" if test else "train-images*"))
    if not found:
        raise ValueError(f"{folder}: MNIST's idx files are not all here; name their folder with --mnist")
    return found[0]


def _hinge(data: str) -> Maker:
    """The hinge with the noise of its name."""

    def make(folder: Path, sources: Sources, scale: Scale, test: bool) -> Made:
        from galvae.data.hinge import simulate_hinge

        molecule = _molecule(sources.integrin)
        path, count = folder / f"hinge-{'test' if test else 'train'}.mrcs", SIZES["hinge"][scale][test]
        simulate_hinge(path, count, molecule=molecule, snr=SNR[data], seed=int(test), overwrite=True, quiet=True)
        return Made(path, path.with_suffix(".ecsv"))

    return make


def _molecule(folder: Path | None) -> HingeMolecule:
    from galvae.data.molecule import INTEGRIN_MEMBRANE, hinge_molecule, read_calphas

    files = sorted(folder.glob("*.pdb*")) if folder else []
    # Of the whole molecule, as ../shared/data/integrin has it, the parts in the membrane would make the frame wide.
    whole = bool(files) and len(read_calphas(files[0])[1]) == INTEGRIN_MEMBRANE[-1][-1]
    return hinge_molecule(folder, leave_out=INTEGRIN_MEMBRANE if whole else ())


def _antibody(folder: Path, sources: Sources, scale: Scale, test: bool) -> Made:
    from galvae.data.antibody import simulate_antibody

    path = folder / f"antibody-{'test' if test else 'train'}.mrcs"
    simulate_antibody(path, SIZES["em"][scale][test], seed=int(test), overwrite=True, quiet=True)
    return Made(path, path.with_suffix(".ecsv"))


def _galaxies(folder: Path, sources: Sources, scale: Scale, test: bool) -> Made:
    if sources.galaxies is not None:
        return Made(sources.galaxies)
    from galvae.data.simulate import simulate

    count = min(SIMULATED, SIZES["galaxy-zoo"][scale][0])
    simulate(folder / "survey", count, overwrite=True, quiet=True)
    return Made(folder / "survey")


DATA: Mapping[str, Maker] = {
    "mnist": _digits(0, 0),
    "mnist-turned": _digits(45, 1.4),
    "mnist-moved": _digits(45, 14),
    "mnist-moved-canvas": _digits(45, 14, canvas=108),
    **{name: _hinge(name) for name in SNR},
    "antibody": _antibody,
    "galaxies": _galaxies,
}
