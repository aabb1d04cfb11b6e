"""A synthetic survey with known truth: per-band FITS cutouts and a table."""

from __future__ import annotations

import os
import shutil
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.table import Table

from galvae.cores import cores
from galvae.data.pool import run_in_processes
from galvae.data.settings import SimulateSettings
from galvae.data.survey import ELECTRONS, SKY_NOISE, Field, field
from galvae.data.truth import name_of, truth_of, truth_table
from galvae.files import check_output
from galvae.progress import Progress
from galvae.version import version

TRUTH = "truth.ecsv"
_CHUNK = 25


def simulate(
    directory: str | Path,
    n: int,
    *,
    seed: int = 0,
    settings: SimulateSettings | None = None,
    workers: int | None = None,
    overwrite: bool = False,
    quiet: bool = False,
) -> Table:
    """Write the first `n` galaxies of a synthetic survey.

    Parameters
    ----------
    directory
        Folder to make, with ``{id}_{band}.fits`` and ``truth.ecsv``; it appears when it is whole.
    n
        Number of galaxies; galaxy k is the same whatever `n`.
    seed
        Which survey.
    settings
        Distributions; the defaults of the recipe's ``[simulate]`` table if None.
    workers
        Processes; None takes as many as this process may use cores, where there is enough to do. The files do
        not depend on it.
    overwrite
        Replace an earlier survey in `directory`.
    quiet
        Show no progress.

    Returns
    -------
    astropy.table.Table
        The truth, as written.

    Raises
    ------
    ValueError
        If `n` is below 1 or `seed` below 0.
    FileExistsError
        If there is something in `directory` and `overwrite` is not given, or it is no synthetic survey.
    """
    directory, settings = Path(directory).resolve(), settings or SimulateSettings()
    if n < 1 or seed < 0:
        raise ValueError(f"simulate: got n = {n}, seed = {seed}; give at least 1 galaxy and a seed of at least 0")
    _refuse(directory, overwrite)
    directory.parent.mkdir(parents=True, exist_ok=True)
    scratch = directory.with_name(f".{directory.name}.{os.getpid()}.tmp")
    scratch.mkdir()
    try:
        rows = _write_all(scratch, n, seed, settings, workers, quiet)
        meta = {"seed": seed, "n": n, "simulate": settings.model_dump(mode="json"), "galvae": version()}
        table = truth_table(rows, meta)
        table.write(scratch / TRUTH, format="ascii.ecsv")
        _move(scratch, directory)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return table


def write_cutout(folder: Path, seen: Field, *, name: str = "", exposure: int = 0) -> None:
    """Write one galaxy's three files, with noise.

    Parameters
    ----------
    folder
        Where to.
    seen
        The field, as it is or turned.
    name
        Stem of the files; the galaxy's identifier if empty.
    exposure
        Which noise (see :meth:`galvae.data.survey.Field.draw`).
    """
    name = name or name_of(*seen.key)
    for band, image in seen.draw(exposure=exposure).items():
        header = seen.frames[band].to_header()
        header["FILTER"] = band
        header["BUNIT"] = "nanomaggy"
        header["OBJECT"] = name
        header["EXPTIME"] = (53.907456, "[s]")
        header["GAIN"] = (ELECTRONS, "photo-electrons per nanomaggy")
        header["SKYSIG"] = (SKY_NOISE[band], "[nanomaggy] sky noise in a pixel")
        header["PSFFWHM"] = (round(seen.fwhm[band], 6), "[arcsec] core of the PSF")
        fits.PrimaryHDU(image.astype(np.float32), header).writeto(folder / f"{name}_{band}.fits")


def _write_some(
    numbers: range, folder: Path, seed: int, settings: SimulateSettings
) -> tuple[range, list[dict[str, Any]]]:
    rows = []
    for number in numbers:
        seen = field(number, seed=seed, settings=settings)
        write_cutout(folder, seen)
        rows.append(truth_of(seen))
    return numbers, rows


def _write_all(
    folder: Path, n: int, seed: int, settings: SimulateSettings, workers: int | None, quiet: bool
) -> list[dict[str, Any]]:
    chunks = [range(start, min(start + _CHUNK, n)) for start in range(0, n, _CHUNK)]
    jobs = (((chunk, folder, seed, settings), {}) for chunk in chunks)
    workers = min(workers or cores(), len(chunks) if workers else len(chunks) // 4 or 1)
    rows: dict[int, dict[str, Any]] = {}
    # Closed before the caller clears the folder: a worker that has begun still writes into it.
    with (
        closing(run_in_processes(_write_some, jobs, workers=workers)) as done,
        Progress("simulate", n, quiet=quiet) as progress,
    ):
        for numbers, some in done:
            rows |= zip(numbers, some, strict=True)
            progress.advance(len(numbers))
    return [rows[number] for number in range(n)]


def _refuse(directory: Path, overwrite: bool) -> None:
    check_output(directory, overwrite=overwrite)
    if directory.exists() and any(directory.iterdir()) and not (directory / TRUTH).is_file():
        raise FileExistsError(
            f"{directory}: is not a synthetic survey ({TRUTH} is missing), so --overwrite does not touch it; "
            f"choose another output"
        )


def _move(scratch: Path, directory: Path) -> None:
    old = directory.with_name(f".{directory.name}.{os.getpid()}.old")
    if directory.exists():
        os.replace(directory, old)
    os.replace(scratch, directory)
    shutil.rmtree(old, ignore_errors=True)
