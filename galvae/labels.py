"""Labels of galaxies, from a user's table by identifier, and the straight line that predicts them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from astropy.table import Table
    from sklearn.base import BaseEstimator

# Folds, and how many times over galaxies are dealt out to them.
FOLDS, REPEATS = 5, 5
# C of the logistic regression. Numbers of z are many beside some hundred labels; chosen with those of Galaxy Zoo 1.
HELD_BACK = 0.02


def read_by_id(path: str | Path, columns: tuple[str, ...]) -> tuple[Table, dict[str, int]]:
    """A table, and the row of each identifier; the column that has them is found as in :mod:`galvae.data.table`.

    Raises
    ------
    ValueError
        If a column is missing, or an identifier is there twice.
    """
    from galvae.data.table import key_column, rows_by_name
    from galvae.tableio import read_table

    table = read_table(path)
    key = key_column(table, path, remedy="call the one that does id")
    missing = [name for name in columns if name not in table.colnames]
    if missing:
        raise ValueError(f"{path}: no column {missing[0]}; its columns are {', '.join(table.colnames)}")
    return table, rows_by_name(table[key], f"{path}: column {key!r}")


def labels_by_id(path: str | Path, column: str, ids: np.ndarray) -> np.ndarray:
    """A label of each of these galaxies from a table: text, or numbers; "" and NaN where there is none, shape (N,)."""
    read, place = read_by_id(path, (column,))
    where = np.array([place.get(str(identifier), -1) for identifier in ids])
    values = read[column]
    known = (where >= 0) & ~np.ma.getmaskarray(values)[where]
    if values.dtype.kind == "f":
        return np.where(known, np.asarray(values, float)[where], np.nan)
    return np.where(known, np.asarray(values).astype(str)[where], "")


def classes_of(labels: np.ndarray) -> dict[str, int]:
    """How many galaxies each label has, of those that five galaxies have at least."""
    names, counts = np.unique(labels, return_counts=True)
    return {str(name): int(count) for name, count in zip(names, counts, strict=True) if name and count >= FOLDS}


def check_labels(labels: np.ndarray, where: str | Path, column: str) -> None:
    """Refuse labels that nothing can be measured by.

    Raises
    ------
    ValueError
        If there are fewer than two labels with five galaxies each, or than fifty numbers.
    """
    if labels.dtype.kind == "f":
        count = int(np.isfinite(labels).sum())
        short, told = count < 10 * FOLDS, f"{count} numbers of these galaxies; expected {10 * FOLDS} at least"
    else:
        named, classes = len(set(labels.tolist()) - {""}), len(classes_of(labels))
        short = classes < 2
        told = f"{named} labels of these galaxies, {classes} of them with {FOLDS} galaxies or more; expected two such"
    if short:
        raise ValueError(f"{where}: column {column} says too little: {told}")


def line(*before: Any, numbers: bool = False) -> BaseEstimator:
    """What predicts a label: standardised, then logistic regression, each class weighted alike; ridge for numbers.

    How far the regression follows its labels is fixed (:data:`HELD_BACK`), that of numbers is cross-validated.

    Parameters
    ----------
    before
        Steps of a pipeline that come first.
    numbers
        The labels are numbers.
    """
    from sklearn.linear_model import LogisticRegression, RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    classes = LogisticRegression(C=HELD_BACK, class_weight="balanced", max_iter=5000)
    return make_pipeline(*before, StandardScaler(), RidgeCV(np.logspace(-2, 5, 15)) if numbers else classes)
