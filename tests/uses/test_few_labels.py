"""The probe of a catalog: a label that z determines is found, chance is called chance, few labels are few."""

import numpy as np
import pytest
from astropy.table import Table
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from galvae.labels import line
from galvae.uses import probe as module
from galvae.uses.probe import Predicted, draw, examples, learning, probe, validated

NAMES = np.array(["edge-on", "round", "spiral"])


def galaxies(count, *, apart=6.0, seed=0):
    """Six latents, two of which tell three unequal classes apart; labels."""
    rng = np.random.default_rng(seed)
    labels = NAMES[np.minimum(np.arange(count) % 5, 2)]
    z = rng.normal(size=(count, 6))
    for number, name in enumerate(NAMES[:2]):
        z[:, 2 * number] += apart * (labels == name)
    return z, labels


@pytest.fixture(autouse=True)
def few_draws(monkeypatch):
    monkeypatch.setattr(module, "DRAWS", 8)
    monkeypatch.setattr(module, "REPEATS", 3)


@pytest.fixture
def written(tmp_path):
    """A function: a table of labels as a file."""

    def write(labels, ids=None, name="kind"):
        ids = np.arange(1000, 1000 + len(labels)) if ids is None else ids
        Table({"objid": ids, name: labels}).write(tmp_path / "labels.csv", overwrite=True)
        return tmp_path / "labels.csv"

    return write


def test_a_label_that_z_determines_is_found(make_catalog, written):
    z, labels = galaxies(400, apart=12)
    found, predicted = probe(make_catalog(z), written(labels), "kind")
    assert found["z"]["score"] > 0.99
    assert found["classes"] == {"edge-on": 80, "round": 80, "spiral": 240}
    assert found["chance"] == pytest.approx(1 / 3)
    assert np.array(found["z"]["confusion"]).sum(1) == pytest.approx([80, 80, 240])
    assert [one["labels"] for one in found["z"]["learning"]] == [10, 30, 100]
    assert found["z"]["learning"][-1]["score"] > 0.97
    assert (predicted.said == predicted.labels).mean() > 0.99
    assert predicted.chances.sum(1) == pytest.approx(1)
    assert "form" not in found  # every galaxy has the same axis ratio


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_shuffled_labels_are_found_by_chance(seed):
    z, labels = galaxies(250, seed=seed)
    labels = np.random.default_rng(seed).permutation(labels)
    found, _ = validated(z, labels, seed=0, repeats=3)
    assert abs(found["score"] - 1 / 3) < 0.1
    for one in learning(z, labels, seed=0):
        assert abs(one["score"] - 1 / 3) < 0.1


def test_the_error_is_how_far_the_score_of_another_survey_lies():
    scores, errors = [], []
    for seed in range(10):
        found, _ = validated(*galaxies(150, apart=1.5, seed=seed), seed=0, repeats=3)
        scores.append(found["score"])
        errors.append(found["error"])
    assert 0.5 < np.std(scores, ddof=1) / np.mean(errors) < 2


def test_the_order_of_rows_counts_for_nothing(make_catalog, written):
    z, labels = galaxies(120, apart=2)
    catalog, table = make_catalog(z, axis_ratio=np.random.default_rng(0).uniform(0.2, 1, 120)), written(labels)
    found, predicted = probe(catalog, table, "kind")
    order = np.random.default_rng(1).permutation(120)
    again, other = probe(catalog[order], table, "kind")
    assert again == found
    assert (order[other.rows] == predicted.rows).all()


def test_what_needs_no_z_stands_beside(make_catalog, written):
    z, labels = galaxies(300, apart=0)
    ratio = np.where(labels == NAMES[0], 0.2, 0.8) + np.random.default_rng(0).uniform(0, 0.1, 300)
    ratio[5] = np.nan
    found, _ = probe(make_catalog(z, axis_ratio=ratio), written(labels), "kind")
    assert found["beside"] == ["axis_ratio"]
    assert found["form"]["score"] > 0.6 > 0.45 > found["z"]["score"]
    size = np.where(labels == NAMES[1], 300.0, 100.0)
    size[7:9] = np.nan  # of usual size, not of one pixel
    found, _ = probe(make_catalog(z, axis_ratio=ratio, semimajor_sigma=size), written(labels), "kind")
    assert found["beside"] == ["axis_ratio", "semimajor_sigma"]
    assert found["form"]["score"] > 0.99


def test_more_labels_are_better_and_their_spread_is_told():
    """As of a line it must be: 10 labels of 6 latents are too few."""
    z, labels = galaxies(1000, apart=2.5)
    found = learning(z, labels, seed=0)
    assert [one["labels"] for one in found] == [10, 30, 100, 300]
    assert (np.diff([one["score"] for one in found]) > 0).all()
    assert found[0]["spread"] > 2 * found[-1]["spread"] > 0
    whole = line().fit(z, labels).score(z, labels)
    assert found[-1]["score"] == pytest.approx(whole, abs=0.05)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(5, 60), min_size=2, max_size=5), st.integers(5, 100), st.integers(0, 5))
def test_draws_take_as_many_of_each_class_as_half_of_it_allows(counts, size, seed):
    labels = np.repeat([f"class {number}" for number in range(len(counts))], counts)
    halves = np.array(counts) // 2
    size = min(size, halves.sum())
    drawn = draw(labels, size, np.random.default_rng(seed))
    assert drawn.sum() == size
    taken = np.unique(labels, return_counts=True)[0]
    taken = np.array([drawn[labels == name].sum() for name in taken])
    assert (taken <= halves).all()
    free = taken[taken < halves]
    assert not len(free) or (free >= taken.max() - 1).all()


def test_sizes_that_the_table_cannot_give_are_left_out():
    z, labels = galaxies(90)
    assert [one["labels"] for one in learning(z, labels, seed=0)] == [10, 30]
    many = np.array([f"class {number % 12}" for number in range(120)])
    assert [one["labels"] for one in learning(np.random.default_rng(0).normal(size=(120, 3)), many, seed=0)] == [30]


def test_the_surest_come_first_and_then_the_most_wrong():
    chances = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.45, 0.55], [0.3, 0.7], [0.4, 0.6]])
    labels = np.array(["a", "a", "a", "a", "b", "b"])
    predicted = Predicted(np.arange(6), labels, np.array(["a", "b"]), chances)
    assert examples(predicted, 2).tolist() == [[0, 1, 2, 3], [4, 5, -1, -1]]
    assert examples(predicted, 1).tolist() == [[0, 2], [4, -1]]


def test_galaxies_without_a_label_or_content_and_rare_classes_are_left_out(make_catalog, written):
    z, labels = galaxies(100)
    z[0], labels = np.nan, labels.astype("U8")
    labels[1:5], labels[5:10] = "ring", ""
    found, predicted = probe(make_catalog(z), written(labels), "kind")
    assert (found["galaxies"], found["left_out"]) == (90, 10)
    assert "ring" not in found["classes"]
    assert len(predicted.rows) == 90


def test_integers_are_classes_and_what_is_none_is_refused(make_catalog, written):
    z, labels = galaxies(100)
    catalog = make_catalog(z)
    found, _ = probe(catalog, written(np.searchsorted(NAMES, labels)), "kind")
    assert list(found["classes"]) == ["0", "1", "2"]
    with pytest.raises(ValueError, match="column kind holds numbers, not classes"):
        probe(catalog, written(np.linspace(0, 1, 100)), "kind")
    with pytest.raises(ValueError, match="no column sort; its columns are objid, kind"):
        probe(catalog, written(labels), "sort")
    with pytest.raises(ValueError, match=r"no galaxy of the catalog \(such as 1000\) has a label kind in it"):
        probe(catalog, written(labels, ids=np.arange(100)), "kind")
    with pytest.raises(
        ValueError, match="column kind says too little: 2 labels of these galaxies, 1 of them with 5 galaxies or more"
    ):
        probe(catalog, written(np.where(np.arange(100) < 97, "a", "b")), "kind")


def test_folds_of_fewer_repetitions_are_the_first_ones_whatever_is_fitted():
    class Watched:
        def __init__(self):
            self.line = line()

        def fit(self, values, labels):
            seen.append(values)
            self.line.fit(values, labels)
            return self

        def predict_proba(self, values):
            return self.line.predict_proba(values)

    z, labels = galaxies(60)
    seen = []
    found, _ = validated(z, labels, seed=3, repeats=1, model=Watched)
    once, seen = seen, []
    validated(z, labels, seed=3, repeats=2, model=Watched)
    assert len(once) == 5
    assert all(np.array_equal(one, other) for one, other in zip(once, seen[:5], strict=True))
    assert found["score"] == validated(z, labels, seed=3, repeats=1)[0]["score"]
