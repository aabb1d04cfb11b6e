"""The linear probe: it finds what is there, and nothing where there is nothing."""

import numpy as np
import pytest
import torch
from astropy.table import Table
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from galvae.geometry import pixel_grid
from galvae.labels import line
from galvae.moments import adaptive_moments, luminance
from galvae.verify.copies import turned
from galvae.verify.probe import ALIGNED, MEASURED, UPRIGHT, appearance, probe, read_labels
from galvae.windows import View

NAMES = np.array(["edge-on", "round", "spiral"])


def content(labels, *, apart, seed=0):
    """Eight latents of which two tell the classes apart."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(len(labels), 8))
    z[:, 1] += apart * (labels == NAMES[0])
    z[:, 5] += apart * (labels == NAMES[1])
    return z


def test_the_score_is_the_mean_over_five_draws_of_the_folds():
    labels = NAMES[np.arange(90) % 3]
    z = content(labels, apart=1).astype(np.float32)
    draws = (StratifiedKFold(5, shuffle=True, random_state=draw) for draw in range(5))
    scores = [balanced_accuracy_score(labels, cross_val_predict(line(), z, labels, cv=draw)) for draw in draws]
    assert np.ptp(scores) > 0.01
    assert probe(labels, (z, z), {})["z"]["score"] == pytest.approx(np.mean(scores))


def test_it_finds_what_is_there_and_says_how_often_it_stays():
    labels = NAMES[np.arange(600) % 3]
    z = content(labels, apart=8)
    assert probe(labels, (z, z), {})["z"] == {"score": 1, "same_when_turned": 1}
    found = probe(labels, (z, np.roll(z, 1, axis=0)), {})
    assert found["z"] == {"score": 1, "same_when_turned": 0}
    assert found["classes"] == dict.fromkeys(NAMES, 200)


def test_of_noise_it_makes_nothing_however_unequal_the_classes():
    labels = np.where(np.arange(900) % 10, NAMES[0], NAMES[1])
    z = content(NAMES[[2] * 900], apart=0)
    found = probe(labels, (z, z), {MEASURED: (z[:, :2], z[:, :2])})
    assert found["z"]["score"] == pytest.approx(0.5, abs=0.06)
    assert found[MEASURED]["score"] == pytest.approx(0.5, abs=0.06)


def test_numbers_are_predicted_too():
    z = content(NAMES[[2] * 300], apart=0)
    wanted = z[:, 3] + 0.5 * np.random.default_rng(1).normal(size=300)
    found = probe(wanted, (z, z), {})
    assert found["score"] == "R^2"
    assert found["z"]["score"] == pytest.approx(0.8, abs=0.06)
    assert probe(np.random.default_rng(2).normal(size=300), (z, z), {})["z"]["score"] < 0.02


def test_galaxies_without_a_label_and_classes_of_a_few_are_left_out():
    labels = NAMES[np.arange(300) % 2].astype(object)
    labels[:50], labels[50:54] = "", "merger"
    labels = labels.astype(str)
    z = content(labels, apart=8)
    found = probe(labels, (z, z), {})
    assert (found["galaxies"], found["left_out"]) == (246, 54)
    assert sorted(found["classes"]) == list(NAMES[:2])


def test_pixels_are_reduced_to_as_many_components_as_z_has():
    labels = NAMES[np.arange(300) % 2]
    z, rng = content(labels, apart=0), np.random.default_rng(3)
    pixels = rng.normal(size=(300, 1200)).astype(np.float16)
    pixels[:, :600] += 3 * (labels == NAMES[0])[:, None]
    found = probe(labels, (z, z), {ALIGNED: (pixels, pixels)})
    assert found[ALIGNED] == {"score": 1, "same_when_turned": 1}


def test_labels_come_from_a_table_or_from_the_store(make_store, tmp_path):
    store = make_store(tmp_path / "store", np.zeros((40, 32, 32, 3), np.uint8))
    ids, rows = store.column("id"), np.arange(30)
    kinds = NAMES[np.arange(40) % 2]
    Table({"objid": ids[5:][::-1], "kind": kinds[5:][::-1], "g_r": np.arange(35.0)}).write(tmp_path / "t.ecsv")
    found = read_labels(store, rows, "kind", tmp_path / "t.ecsv")
    assert list(found[:5]) == [""] * 5
    assert list(found[5:]) == list(kinds[5:30])
    with pytest.raises(ValueError, match="no column sort; its columns are objid, kind, g_r"):
        read_labels(store, rows, "sort", tmp_path / "t.ecsv")
    with pytest.raises(ValueError, match=r"no column kind was joined .* --table"):
        read_labels(store, rows, "kind")
    with pytest.raises(ValueError, match="column g_r says too little: 25 numbers of these galaxies; expected 50"):
        read_labels(store, rows, "g_r", tmp_path / "t.ecsv")
    Table({"name": ids, "kind": kinds}).write(tmp_path / "u.csv")
    with pytest.raises(ValueError, match="column kind says too little: 2 labels of these galaxies, 0 of them"):
        read_labels(store, np.arange(4), "kind", tmp_path / "u.csv")


def blobs(count, *, seed=0, side=80):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    fields = []
    for way, q, dx, dy in zip(*rng.uniform([0, 0.3, -4, -4], [np.pi, 0.7, 4, 4], (count, 4)).T, strict=True):
        along = (x - dx) * np.cos(way) + (y - dy) * np.sin(way)
        across = (y - dy) * np.cos(way) - (x - dx) * np.sin(way)
        fields.append(np.exp(-0.5 * (along**2 + (across / q) ** 2) / 6**2)[..., None] * [1.0, 0.6, 0.3])
    return torch.tensor(np.array(fields), dtype=torch.float32)


def test_what_galaxies_look_like_does_not_turn_with_the_camera_but_for_the_upright_pixels():
    """The axis has no direction: aligned pixels may come out the other way round, these ellipses do not."""
    fields = blobs(6)
    copies = turned(fields, np.linspace(0.3, 6, 6), np.linspace(-3, 3, 12).reshape(6, 2))
    seen = []
    for images in (fields, copies):
        view = View.central(images, 64)
        light = luminance(view.images(pixel_grid(64)).permute(0, 2, 3, 1).numpy())
        seen.append(appearance(view, adaptive_moments(light)))
    start, end = seen
    assert start[MEASURED][:, :2] == pytest.approx(np.log10([[0.6, 0.5]] * 6), abs=0.01)
    assert start[MEASURED] == pytest.approx(end[MEASURED], abs=0.02)
    assert np.abs(start[ALIGNED] - end[ALIGNED]).max() < 0.06
    assert np.abs(start[UPRIGHT] - end[UPRIGHT]).max() > 0.4
    wide = start[ALIGNED].reshape(6, 64, 64, 3)[..., 0].astype(float)
    along = np.arange(64) - 31.5
    assert ((wide.sum(1) * along**2).sum(1) > 1.5 * (wide.sum(2) * along**2).sum(1)).all()
