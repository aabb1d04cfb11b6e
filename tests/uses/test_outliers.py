"""Unusual galaxies: planted ones are found, of every kind, and what must not count does not."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galvae.flags import TEXTURE, Flag
from galvae.uses import outliers as module
from galvae.uses.content import Content, content_of
from galvae.uses.outliers import isolation, outliers, rarity

COUNT, PLANTED = 800, 8


def survey(seed, *, z=None, explained=None):
    """Galaxies in two classes and of varied brightness; five latents of nine carry something; the first are odd."""
    rng = np.random.default_rng(seed)
    content = np.hstack([rng.normal(0, 1, (COUNT, 5)), rng.normal(0, 0.1, (COUNT, 4))])
    content[COUNT // 2 :, 0] += 4
    error = np.where(np.arange(9) < 5, 0.15, 1.0) * rng.uniform(0.7, 1.4, (COUNT, 1))
    share = 1 - 0.05 * rng.lognormal(0, 0.6, COUNT)
    if z is not None:
        content[: len(z)] = z
    if explained is not None:
        share[: len(explained)] = explained
    return {"z": content, "z_err": error, "explained": np.clip(share, 0, 1)}


def found(catalog, planted, share=0.02):
    first = outliers(catalog, k=round(share * len(catalog)))
    return np.isin(1000 + np.asarray(planted), first["id"]).mean()


def apart_in(catalog):
    content = content_of(catalog)
    return isolation(content.scaled, content.ids)


@given(st.integers(0, 50))
def test_galaxies_far_in_z_are_among_the_first_two_per_cent(make_catalog, seed):
    far = np.random.default_rng(seed + 100).normal(0, 1, (PLANTED, 9))
    far = 9 * far / np.linalg.norm(far[:, :5], axis=1, keepdims=True)
    assert found(make_catalog(**survey(seed, z=far)), range(PLANTED)) == 1


@given(st.integers(0, 50))
def test_galaxies_of_usual_z_that_are_badly_explained_are_too(make_catalog, seed):
    catalog = make_catalog(**survey(seed, explained=np.linspace(0, 0.1, PLANTED)))
    assert found(catalog, range(PLANTED)) == 1
    first = outliers(catalog, k=16)
    assert set(first["why"][np.isin(first["id"], 1000 + np.arange(PLANTED))]) <= {"fit", "z"}


def test_both_kinds_at_once_do_not_drown_each_other(make_catalog):
    """However extreme the one is, and however little the other stands out."""
    far = np.full((PLANTED, 9), 1e6)
    given = survey(0, z=far)
    given["explained"][PLANTED : 2 * PLANTED] = 0.1
    assert found(make_catalog(**given), range(2 * PLANTED), share=0.04) == 1


def test_odd_galaxies_that_are_all_alike_do_not_hide_each_other(make_catalog):
    """Ten identical pages of a server are each other's nearest neighbours."""
    alike = np.tile(np.where(np.arange(9) < 5, 6.0, 0.0), (PLANTED, 1))
    assert found(make_catalog(**survey(0, z=alike)), range(PLANTED)) == 1


def test_galaxies_far_from_the_middle_count_where_the_catalog_doubts_them(make_catalog):
    dx, flags = np.zeros(COUNT), np.zeros(COUNT, np.int32)
    dx[:PLANTED], dx[-400:] = 8, 7
    given = survey(0)
    doubted = flags.copy()
    doubted[:PLANTED] = Flag.OFF_CENTRE
    assert found(make_catalog(**given, dx=dx, flags=doubted), range(PLANTED), share=0.1) == 1
    table = outliers(make_catalog(**given, dx=dx, flags=doubted), k=80)
    assert set(table["displacement"][table["why"] == "place"]) == {0.8}
    unasked = outliers(make_catalog(**given, dx=dx, flags=flags), k=80)
    assert "place" not in unasked["why"]


def test_a_neighbour_taken_for_the_galaxy_is_less_odd_than_what_is_as_rare_in_z(make_catalog):
    """Of places those count that are four times as rare."""
    far = np.full((PLANTED, 9), 9.0)
    dx, flags = np.zeros(COUNT), np.zeros(COUNT, np.int32)
    dx[-4 * PLANTED :], flags[-4 * PLANTED :] = 4 + np.arange(4 * PLANTED), Flag.OFF_CENTRE
    table = outliers(make_catalog(**survey(0, z=far), dx=dx, flags=flags), k=COUNT)
    place, counts = table["id"] == 1000 + COUNT - 1, np.where(table["why"] == "place", 4, 1) * table["rarity"]
    assert (np.diff(counts) >= 0).all()
    assert table["rarity"][place][0] == pytest.approx(1 / COUNT)
    assert table["why"][place][0] == "place"
    assert found(make_catalog(**survey(0, z=far), dx=dx, flags=flags), range(PLANTED), share=0.03) == 1


def test_galaxies_much_larger_or_smaller_than_most_are_among_them(make_catalog):
    """Whatever the model's windows are, of which z may know nothing; those not measured are of usual size."""
    size = 10 * np.random.default_rng(0).lognormal(0, 0.3, COUNT)
    size[:2], size[2:4], size[-50:] = 60, 1.5, np.nan
    catalog = make_catalog(**survey(0), semimajor_sigma=size)
    assert found(catalog, range(4), share=0.05) == 1
    table = outliers(catalog, k=COUNT)
    planted = np.isin(table["id"], 1000 + np.arange(4))
    for why in ("large", "small"):
        assert table["rarity"][planted & (table["why"] == why)].max() == pytest.approx(2 / COUNT)
    counts = np.where(np.isin(table["why"], ["large", "small"]), 2, 1) * table["rarity"]
    assert (np.diff(counts) >= 0).all()  # so many times as rare as what is as odd in z
    assert not {"large", "small"} & set(table["why"][np.isin(table["id"], 1000 + COUNT - 1 - np.arange(50))])


@pytest.mark.parametrize(
    "flag", [Flag.PADDED, Flag.MISSING, Flag.CLIPPED, Flag.GREY, Flag.OTHER_BANDS, Flag.LOST_CHANNEL, Flag.TRAIL]
)
def test_an_image_that_is_flagged_counts_where_few_are(make_catalog, flag):
    few, many = np.zeros(COUNT, np.int32), np.full(COUNT, flag)
    few[:PLANTED] = flag
    catalog = make_catalog(**survey(0), flags=few)
    assert found(catalog, range(PLANTED), share=0.04) == 1
    first = outliers(catalog, k=32)
    assert set(first["detail"][first["why"] == "image"]) == {flag.name.lower()}
    assert "image" not in outliers(make_catalog(**survey(0), flags=many), k=20)["why"]


def textured(count=COUNT, seed=0):
    """Usual fields: numbers of several units that go together, of which one hardly ever varies."""
    random = np.random.default_rng(seed)
    texture = random.normal(size=(count, 10)) @ np.diag(10.0 ** np.arange(-2, 8))
    texture[:, 1] += texture[:, 0] / 10
    texture[:, 9] = np.where(random.random(count) < 0.99, -9.2, -8.5)
    return texture.astype(np.float32)


@pytest.mark.parametrize("column", [0, 4, 8, 9])
def test_fields_that_look_like_few_others_are_among_the_first_two_per_cent(make_catalog, column):
    texture = textured()
    texture[:PLANTED, column] += 8 * np.abs(texture[:, column]).max() * np.linspace(1, 2, PLANTED)
    catalog = make_catalog(**survey(0), texture=texture)
    assert found(catalog, range(PLANTED)) == 1
    first = outliers(catalog, k=16)
    assert set(first["why"][np.isin(first["id"], 1000 + np.arange(PLANTED))]) <= {"texture", "z", "fit"}
    assert set(first["detail"][first["why"] == "texture"]) == {TEXTURE[column]}
    assert set(first["detail"][first["why"] != "texture"]) <= {""}


def test_texture_that_is_not_known_or_the_same_for_all_counts_for_nothing(make_catalog):
    given = survey(0)
    without = outliers(make_catalog(**given), k=50)
    alike = outliers(make_catalog(**given, texture=np.ones((COUNT, 10), np.float32)), k=50)
    assert without["id"].tolist() == alike["id"].tolist()
    assert "texture" not in without["why"]
    texture = textured()
    texture[:PLANTED] = np.nan
    listed = outliers(make_catalog(**given, texture=texture), k=COUNT)
    assert "texture" not in listed["why"][np.isin(listed["id"], 1000 + np.arange(PLANTED))]
    few = {name: values[:20] for name, values in given.items()}
    assert "texture" not in outliers(make_catalog(**few, texture=np.full((20, 10), np.nan, np.float32)), k=20)["why"]


def test_a_few_per_cent_of_odd_galaxies_leave_the_others_as_they_are(make_catalog):
    """Robust: how isolated the rest are does not change by more than a few per cent, however far the odd ones lie."""
    given = survey(0)
    clean = apart_in(make_catalog(**given))
    given["z"][:24] = 1e5
    spoiled = apart_in(make_catalog(**given))
    assert spoiled[24:] / clean[24:] == pytest.approx(1, abs=0.1)
    assert spoiled[:24].min() > 100 * clean.max()


@pytest.mark.parametrize("count", [30, COUNT])
def test_what_does_not_go_together_is_far_though_each_latent_is_usual(make_catalog, count):
    """Where there are enough to tell; in two latents that are nearly the same, and in one that carries nothing."""
    given = {name: values[:count] for name, values in survey(0).items()}
    z = given["z"]
    z[:, 1] = z[:, 0] + 0.1 * z[:, 1]
    z[0, :2], z[1, 8] = (1.5, -1.5), 12 * z[:, 8].std()
    apart = apart_in(make_catalog(**given))
    first = set(np.argsort(apart)[-2:].tolist())
    assert (first == {0, 1}) == (count == COUNT)


def test_latents_that_do_not_vary_or_do_as_others_do_no_harm(make_catalog):
    given = survey(0)
    given["z"][:, 8], given["z"][:, 7] = 0.3, given["z"][:, 0]
    apart = apart_in(make_catalog(**given))
    assert np.isfinite(apart).all()
    assert apart.max() < 5 * np.median(apart)


@given(st.integers(0, 20), st.sampled_from([0.125, 8.0]))
def test_the_order_of_rows_and_the_units_of_latents_count_for_nothing(make_catalog, seed, scale):
    given = survey(seed)
    catalog = make_catalog(**given)
    shuffled = catalog[np.random.default_rng(seed).permutation(COUNT)]
    unit = np.where(np.arange(9) % 2, scale, 1)
    scaled = make_catalog(**(given | {"z": given["z"] * unit, "z_err": given["z_err"] * unit}))
    first = outliers(catalog, k=30)
    for other in (shuffled, scaled):
        again = outliers(other, k=30)
        assert again["id"].tolist() == first["id"].tolist()
        assert again["isolation"] == pytest.approx(first["isolation"], rel=1e-5)


def test_neighbours_among_some_galaxies_do_as_well_as_among_all(make_catalog, monkeypatch):
    content = content_of(make_catalog(**survey(0)))
    every = isolation(content.scaled, content.ids)
    monkeypatch.setattr(module, "REFERENCE", 300)
    some = isolation(content.scaled, content.ids)
    assert np.corrcoef(np.log(every), np.log(some))[0, 1] > 0.95
    assert np.median(some / every) == pytest.approx(1, abs=0.05)


def test_memory_is_that_of_a_part_of_the_galaxies():
    count = 12_000
    z = np.random.default_rng(0).normal(size=(count, 2))
    content = Content(np.arange(count), np.arange(count), z, np.ones_like(z), 0)
    tracemalloc.start()
    try:
        isolation(content.scaled, content.ids)
        assert tracemalloc.get_traced_memory()[1] < 0.75 * 8 * count * module.REFERENCE
    finally:
        tracemalloc.stop()


@given(st.lists(st.integers(0, 5), min_size=1, max_size=40))
def test_rarity_is_the_share_that_is_at_least_as_large(values):
    values = np.array(values)
    assert rarity(values) == pytest.approx([(values >= value).mean() for value in values])


def test_the_list_says_why_and_what_was_left_out(make_catalog):
    given = survey(0, explained=np.zeros(1))
    given["z"][5] = np.nan
    table = outliers(make_catalog(**given, meta={"store_digest": "abc", "recipe": {}}), k=5)
    assert table.meta == {"store_digest": "abc", "galaxies": COUNT - 1, "left_out": 1}
    assert table["id"][table["why"] == "fit"][0] == 1000
    assert (np.diff(table["rarity"]) >= 0).all()
    assert all(column.info.description for column in table.itercols())


@pytest.mark.parametrize(
    ("count", "k", "says"), [(19, 5, "expected at least 20"), (20, 21, "-k 21: there are 20 galaxies")]
)
def test_of_too_few_there_is_no_list(make_catalog, count, k, says):
    with pytest.raises(ValueError, match=says):
        outliers(make_catalog(np.random.default_rng(0).normal(size=(count, 3))), k=k)
