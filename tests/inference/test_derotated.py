"""Pictures with the pose taken off: the same galaxy is the same picture however it was turned, moved and scaled."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from galvae.inference import sheets
from galvae.inference.derotated import derotated, whole
from galvae.inference.sheets import save_sheet

WINDOW, SIDE = 33, 81
angles = st.floats(-400, 400)
moves = st.floats(-6, 6)


@pytest.fixture(scope="module")
def survey(make_store, make_catalog, draw_commas, tmp_path_factory):
    """A function: a store of one galaxy at directions (deg, as displayed) and centres (window pixels), its catalog."""

    def make(theta, centre, *, pixel=1.0, margin=0, **changes):
        theta, centre = np.atleast_1d(theta).astype(float), np.atleast_2d(centre).astype(float)
        turn, count = -np.radians(theta), len(theta)
        rotation = np.moveaxis(np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]), 2, 0)
        shift = -np.einsum("bi,bij->bj", centre / ((WINDOW - 1) / 2), rotation)
        fields = np.round(draw_commas(turn, shift, side=SIDE, window=WINDOW).numpy() * 255).astype(np.uint8)
        # The field begins `margin` original pixels from the cutout's left, which is so much wider than tall.
        side = round((SIDE - 1) * pixel) + 1
        store = make_store(
            tmp_path_factory.mktemp("survey") / "store", fields, ingest={"window": WINDOW},
            size=np.tile([side, side + margin], (count, 1)).astype(np.int32),
            affine=np.tile([[pixel, 0, margin], [0, pixel, 0]], (count, 1, 1)),
        )  # fmt: skip
        middle = centre * pixel + [margin / 2, 0]
        columns = {"theta": theta % 360, "dx": middle[:, 0], "dy": middle[:, 1]}
        columns["scale"] = np.full(count, pixel * (WINDOW - 1) / 2)
        meta = {"store_digest": store.digest}
        return store, make_catalog(np.zeros((count, 2)), meta=meta, **(columns | changes))

    return make


@settings(max_examples=25)
@given(angles, moves, moves, st.sampled_from([0.5, 1.0, 3.0]), st.integers(0, 9))
def test_a_galaxy_turned_moved_and_scaled_shows_the_same_picture(survey, angle, right, up, pixel, margin):
    store, catalog = survey([0, angle], [[0, 0], [right, up]], pixel=pixel, margin=margin)
    upright, turned = derotated(store, catalog, np.arange(2))
    assert upright.shape == (WINDOW, WINDOW, 3)
    half = (SIDE - WINDOW) // 2
    assert upright == pytest.approx(store.images([0])[0, half:-half, half:-half] / 255, abs=1e-4)
    assert np.abs(turned - upright).max() < 0.03
    assert np.abs(turned - upright).mean() < 0.002


def test_a_field_finer_than_the_window_is_shown_as_fine(survey):
    store, catalog = survey([0], [[0, 0]], scale=np.array([20.0]))
    assert derotated(store, catalog, np.array([0])).shape == (1, 41, 41, 3)


def test_without_a_centre_the_middle_of_the_cutout_is_in_the_middle(survey):
    store, catalog = survey([0, 0], np.zeros((2, 2)), dx=np.array([0, np.nan]), dy=np.array([0, np.nan]))
    first, second = derotated(store, catalog, np.arange(2))
    assert (first == second).all()


def test_a_store_of_others_is_refused(survey, store):
    known, catalog = survey([0, 90], np.zeros((2, 2)))
    with pytest.raises(ValueError, match=r"is not the store that the catalog was made of \(digest .*; give that one"):
        derotated(store, catalog, np.arange(2))
    catalog["id"] = [1000, 77]
    with pytest.raises(ValueError, match="no galaxy 77"):
        derotated(known, catalog, np.arange(2))
    assert len(derotated(known, catalog, np.arange(1))) == 1
    del catalog.meta["store_digest"]
    with pytest.raises(ValueError, match="no galaxy 77"):
        derotated(store, catalog, np.arange(2))


def test_floats_of_any_range_are_shown(make_store, make_catalog, tmp_path):
    fields = np.random.default_rng(0).normal(0, 3, (2, 24, 24, 1)).astype(np.float32)
    store = make_store(tmp_path / "store", fields)
    shown = derotated(store, make_catalog(np.zeros((2, 2)), scale=np.full(2, 7.5)), np.arange(2))
    assert shown.shape == (2, 16, 16, 1)
    assert (shown.min(), shown.max()) == (0, 1)


def test_whole_fields_are_shown_as_they_are_and_framed(survey, tmp_path, monkeypatch):
    store, catalog = survey([0, 70, 0], [[0, 0], [5, -3], [1, 1]])
    rows = np.array([1, 2, -1])
    assert (whole(store, catalog, rows[:2]) * 255).round().astype(int).tolist() == store.images([1, 2]).tolist()
    drawn = {}
    monkeypatch.setattr(sheets, "sheet", lambda images, titles, **told: drawn.update(images=images, **told))
    monkeypatch.setattr(sheets, "save", lambda *_: None)
    save_sheet(tmp_path / "s.png", store, catalog, rows, ["a", "b", "c"], heading="h", fields=np.array([1, 0, 1], bool))
    field, window, none = drawn["images"]
    assert field[2:-2, 2:-2] == pytest.approx(store.images([1])[0] / 255)
    assert (field[[0, 1, -2, -1]] == np.float32(0.6)).all()
    assert window == pytest.approx(derotated(store, catalog, rows[1:2], side=SIDE + 4)[0])
    assert (none == 1).all()
    assert drawn["heading"] == "h; turned by θ, centred; framed: whole fields, as they are"
    save_sheet(tmp_path / "s.png", store, catalog, rows, ["a", "b", "c"], heading="h")
    assert drawn["images"].shape[1] == WINDOW
    assert drawn["heading"] == "h; turned by θ, centred"


def test_whole_fields_of_floats_are_each_shown_by_themselves(make_store, make_catalog, tmp_path):
    fields = np.random.default_rng(0).normal(0, 1, (2, 24, 24, 1)).astype(np.float32)
    fields[1] *= 100
    store = make_store(tmp_path / "store", fields)
    faint, bright = whole(store, make_catalog(np.zeros((2, 2)), scale=np.full(2, 7.5)), np.arange(2))
    assert faint.std() == pytest.approx(bright.std(), rel=0.3)
