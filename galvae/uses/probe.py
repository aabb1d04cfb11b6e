"""How well a straight line tells a label from z: with all labels that there are, and with few."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Table

from galvae.labels import FOLDS, REPEATS, check_labels, classes_of, labels_by_id, line
from galvae.uses.content import content_of, numbers, usual_where_unknown

SIZES, DRAWS = (10, 30, 100, 300), 20
# What the catalog says of a galaxy's form besides z. It has no colours, concentrations or magnitudes.
FORM = ("axis_ratio", "semimajor_sigma")


@dataclass(frozen=True)
class Predicted:
    """What was said of N galaxies by what was fitted to others, in the order of their identifiers.

    Parameters
    ----------
    rows
        Their rows in the catalog, shape (N,).
    labels
        Their own labels, shape (N,).
    classes
        All labels in order, K.
    chances
        Probability of each label, mean over the repetitions, shape (N, K).
    """

    rows: np.ndarray
    labels: np.ndarray
    classes: np.ndarray
    chances: np.ndarray

    @property
    def said(self) -> np.ndarray:
        """The most probable label of each galaxy, shape (N,)."""
        return self.classes[self.chances.argmax(1)]

    @property
    def own(self) -> np.ndarray:
        """Probability of each galaxy's own label, shape (N,)."""
        return self.chances[np.arange(len(self.rows)), np.searchsorted(self.classes, self.labels)]


def probe(catalog: Table, table: str | Path, label: str, *, seed: int = 0) -> tuple[dict[str, Any], Predicted]:
    """Predict a label of a user's table from z, cross-validated, and beside it from what the catalog has besides.

    The line is logistic regression on standardised numbers, each class weighted alike (:func:`galvae.labels.line`).
    It is scored by the balanced accuracy: the mean of the shares found of each class, 1 / K by chance.

    Parameters
    ----------
    catalog
        From :func:`galvae.read_catalog`.
    table
        Any that astropy reads, joined by identifier; see :func:`galvae.labels.read_by_id`.
    label
        Its column of classes. Galaxies without one, and classes of fewer than five, are left out.
    seed
        Of the folds and draws.

    Returns
    -------
    dict
        ``label, galaxies, classes`` (how many of each), ``left_out`` (galaxies of the catalog without a label or
        without content), ``chance``; ``beside``: the columns that need no z; and for ``z`` and ``form`` (those columns)
        what :func:`validated` and :func:`learning` find.
    Predicted
        What was said of each galaxy from z.

    Raises
    ------
    ValueError
        If the table has no such column, none of the galaxies, no two classes of five galaxies, or numbers.
    """
    content = content_of(catalog)
    labels, kept = classes_by_id(table, label, content.ids)
    wanted, rows = labels[kept], content.rows[kept]
    form = form_of(catalog, rows)
    score, chances = validated(content.z[kept], wanted, seed=seed, repeats=REPEATS)
    found = {
        "label": label,
        "galaxies": len(kept),
        "classes": classes_of(wanted),
        "left_out": len(content) + content.left_out - len(kept),
        "chance": 1 / len(np.unique(wanted)),
        "beside": list(form),
        "z": score | {"learning": learning(content.z[kept], wanted, seed=seed)},
    }
    if form:
        values = np.stack(list(form.values()), 1)
        score, _ = validated(values, wanted, seed=seed, repeats=REPEATS)
        found["form"] = score | {"learning": learning(values, wanted, seed=seed)}
    return found, Predicted(rows, wanted, np.unique(wanted), chances)


def classes_by_id(table: str | Path, label: str, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Labels of galaxies from a table.

    Parameters
    ----------
    table, label
        As :func:`probe` has them.
    ids
        Of N galaxies.

    Returns
    -------
    ndarray
        Labels as text, shape (N,).
    ndarray
        Which galaxies have one that five galaxies have at least: numbers, in the order of the identifiers, so that
        folds are the same in whatever order the rows are.

    Raises
    ------
    ValueError
        If the table has no such column, none of the galaxies, no two classes of five galaxies, or numbers.
    """
    labels = labels_by_id(table, label, ids)
    if labels.dtype.kind == "f":
        raise ValueError(
            f"{table}: column {label} holds numbers, not classes; write classes as text or integers "
            f"(galvae verify --label predicts numbers)"
        )
    if not (labels != "").any():
        raise ValueError(
            f"{table}: no galaxy of the catalog (such as {ids[0]}) has a label {label} in it; its identifiers "
            f"must be those of the catalog"
        )
    check_labels(labels, table, label)
    kept = np.flatnonzero(np.isin(labels, list(classes_of(labels))))
    return labels, kept[np.argsort(ids[kept], kind="stable")]


def form_of(catalog: Table, rows: np.ndarray) -> dict[str, np.ndarray]:
    """What the catalog says of galaxies' forms besides z, where it is not the same of all."""
    columns = {name: usual_where_unknown(numbers(catalog, name, rows).astype(float)) for name in FORM}
    return {name: values for name, values in columns.items() if np.ptp(values) > 0}


def validated(
    values: np.ndarray, labels: np.ndarray, *, seed: int, repeats: int, model: Callable[[], Any] = line
) -> tuple[dict[str, Any], np.ndarray]:
    """Cross-validated in five folds, so many times over.

    The standard error is that of Nadeau & Bengio (2003): the folds' variance times ``1 / J + 1 / 4`` for J folds in
    all, of which each is tested on a quarter of what it was fitted to. They share what they are fitted to, so that
    the variance over J would be far too small, and would vanish with repetitions.

    Parameters
    ----------
    values
        Of N galaxies, shape (N, D).
    labels
        Shape (N,).
    seed
        Of the folds; those of fewer repetitions are the first ones of more.
    repeats
        How many times over.
    model
        Makes what has ``fit`` and ``predict_proba``, as scikit-learn has them.

    Returns
    -------
    dict
        ``score`` and ``error``, and ``confusion``: how many galaxies of each label (rows, in order) are given each
        (columns), mean over the repetitions, shape (K, K).
    ndarray
        Probability of each label, mean over the repetitions, shape (N, K).
    """
    from sklearn.metrics import balanced_accuracy_score, confusion_matrix
    from sklearn.model_selection import RepeatedStratifiedKFold

    names = np.unique(labels)
    chances, scores, confusion = np.zeros((len(labels), len(names))), [], np.zeros((len(names), len(names)))
    folds = RepeatedStratifiedKFold(n_splits=FOLDS, n_repeats=repeats, random_state=seed)
    for fitted, left in folds.split(values, labels):
        found = model().fit(values[fitted], labels[fitted]).predict_proba(values[left])
        said = names[found.argmax(1)]
        chances[left] += found / repeats
        scores.append(balanced_accuracy_score(labels[left], said))
        confusion += confusion_matrix(labels[left], said, labels=names) / repeats
    error = np.sqrt(np.var(scores, ddof=1) * (1 / len(scores) + 1 / (FOLDS - 1)))
    return {"score": float(np.mean(scores)), "error": float(error), "confusion": confusion.tolist()}, chances


def learning(values: np.ndarray, labels: np.ndarray, *, seed: int) -> list[dict[str, float]]:
    """Balanced accuracy with few labels, tested on all others: mean and standard deviation over twenty draws.

    Draws take as many of each class, but of none more than half of its galaxies: the others are to test on; larger
    classes give the rest. Sizes for which there is not enough, or that are fewer than the classes, are left out.

    Parameters
    ----------
    values
        Of N galaxies, shape (N, D).
    labels
        Shape (N,).

    Returns
    -------
    list
        For each size ``labels, score, spread``.
    """
    from sklearn.metrics import balanced_accuracy_score

    names, counts = np.unique(labels, return_counts=True)
    found = []
    for size in SIZES:
        if not len(names) <= size <= (counts // 2).sum():
            continue
        random, scores = np.random.default_rng([seed, size]), []
        for _ in range(DRAWS):
            drawn = draw(labels, size, random)
            model = line().fit(values[drawn], labels[drawn])
            scores.append(balanced_accuracy_score(labels[~drawn], model.predict(values[~drawn])))
        found.append({"labels": size, "score": float(np.mean(scores)), "spread": float(np.std(scores, ddof=1))})
    return found


def draw(labels: np.ndarray, size: int, random: np.random.Generator) -> np.ndarray:
    """Which galaxies are drawn: as many of each class, as far as half of its galaxies go; bool, shape (N,)."""
    names, counts = np.unique(labels, return_counts=True)
    share = np.zeros(len(names), int)
    for _ in range(size):  # the class of which there are fewest so far; which of several is left to chance
        share[min(np.flatnonzero(share < counts // 2), key=lambda number: (share[number], random.random()))] += 1
    drawn = np.zeros(len(labels), bool)
    for name, number in zip(names, share, strict=True):
        drawn[random.choice(np.flatnonzero(labels == name), number, replace=False)] = True
    return drawn


def examples(predicted: Predicted, each: int) -> np.ndarray:
    """Of each class the `each` galaxies that are most surely given their label, then those most surely denied it.

    Returns
    -------
    ndarray
        Numbers of the galaxies, shape (K, 2 * each); -1 where a class has not as many of a kind.
    """
    found = np.full((len(predicted.classes), 2 * each), -1)
    for row, name in zip(found, predicted.classes, strict=True):
        of_class = np.flatnonzero(predicted.labels == name)
        order = of_class[np.argsort(-predicted.own[of_class], kind="stable")]
        right = predicted.said[order] == name
        for part, chosen in ((row[:each], order[right][:each]), (row[each:], order[~right][::-1][:each])):
            part[: len(chosen)] = chosen
    return found
