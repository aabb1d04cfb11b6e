"""Nearest in z: laws of the distance, and what cannot be asked."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from galvae.tableio import flatten
from galvae.uses.content import content_of
from galvae.uses.similar import distances, similar

COUNT, LATENTS = 12, 3
# In steps: a number next to nothing is nothing in another unit.
contents = st.tuples(
    arrays.arrays(np.float32, (COUNT, LATENTS), elements=st.integers(-(2**18), 2**18).map(lambda step: step / 2**16)),
    arrays.arrays(np.float32, (COUNT, LATENTS), elements=st.floats(0.125, 2, width=32)),
)
galaxies = st.integers(0, COUNT - 1)


@given(contents, galaxies, galaxies)
def test_distances_are_symmetric_and_a_galaxy_is_at_none_from_itself(make_catalog, content, a, b):
    known = content_of(make_catalog(*content))
    assert distances(known, a)[b] == distances(known, b)[a]
    assert distances(known, a)[a] == 0


@given(contents, galaxies, st.integers(1, COUNT - 1))
def test_the_nearest_are_others_and_none_left_out_is_nearer(make_catalog, content, number, k):
    catalog = make_catalog(*content)
    found = similar(catalog, 1000 + number, k=k)
    assert found["rank"].tolist() == list(range(1, k + 1))
    assert 1000 + number not in found["id"]
    assert (np.diff(found["distance"]) >= 0).all()
    apart = np.delete(distances(content_of(catalog), number), number)
    assert found["distance"] == pytest.approx(np.sort(apart)[:k])


@given(contents, galaxies, st.permutations(range(COUNT)))
def test_the_order_of_the_rows_counts_for_nothing(make_catalog, content, number, order):
    catalog = make_catalog(*content)
    found, again = (similar(table, 1000 + number, k=5) for table in (catalog, catalog[list(order)]))
    assert found["id"].tolist() == again["id"].tolist()
    assert found["distance"].tolist() == again["distance"].tolist()


@given(contents, galaxies, st.sampled_from([0.0625, 4.0, 64.0]), st.integers(0, LATENTS - 1))
def test_the_unit_of_a_latent_counts_for_nothing(make_catalog, content, number, scale, latent):
    unit = np.where(np.arange(LATENTS) == latent, np.float32(scale), np.float32(1))
    found, again = (similar(make_catalog(*(u * values for values in content)), 1000 + number) for u in (1, unit))
    assert found["id"].tolist() == again["id"].tolist()
    assert found["distance"] == pytest.approx(again["distance"])


def test_a_latent_that_carries_nothing_hardly_counts(make_catalog):
    """Near its prior's mean, with an error of its prior's width."""
    rng = np.random.default_rng(0)
    z, z_err = rng.normal(size=(60, 2)), np.full((60, 2), 0.05)
    silent = rng.normal(0, 0.05, (60, 10)), np.full((60, 10), 1.0)
    found = similar(make_catalog(z, z_err), 1000, k=59)
    again = similar(make_catalog(np.hstack([z, silent[0]]), np.hstack([z_err, silent[1]])), 1000, k=59)
    first = dict(zip(found["id"], found["distance"], strict=True))
    second = dict(zip(again["id"], again["distance"], strict=True))
    assert max(second[name] - first[name] for name in first) < 0.1
    assert found["distance"].max() > 2


def test_who_is_little_known_is_not_near_to_everybody(make_catalog):
    """A galaxy on its own, however large its error."""
    z = np.concatenate([np.random.default_rng(0).normal(size=(40, 2)), [[4.0, 4.0]]])
    z_err = np.concatenate([np.full((40, 2), 0.1), [[10.0, 10.0]]])
    catalog = make_catalog(z, z_err)
    for number in range(40):
        assert 1040 not in similar(catalog, 1000 + number)["id"]
    assert similar(catalog, 1040)["apart"].max() < 1


def test_exposures_of_one_galaxy_are_about_one_apart(make_catalog):
    rng = np.random.default_rng(0)
    z_err = rng.uniform(0.1, 1, (400, 20))
    catalog = make_catalog(rng.normal(0, z_err), z_err)
    square = [similar(catalog, 1000 + number, k=399)["apart"] ** 2 for number in range(20)]
    assert np.mean(square) == pytest.approx(1, rel=0.1)


def test_vectors_may_be_flat_and_galaxies_have_several_rows(make_catalog):
    """As after a join."""
    catalog = make_catalog(np.random.default_rng(0).normal(size=(30, 12)))
    found = similar(catalog, "1004")
    joined = flatten(catalog)[np.repeat(np.arange(30), 2)]
    assert similar(joined, "1004")["id"].tolist() == found["id"].tolist()
    assert found["id"].dtype == np.int64
    assert found.meta == {"query": "1004", "latents": 12, "left_out": 0}


def test_identifiers_may_be_text(make_catalog):
    names = np.array(["NGC 4321", "NGC 1300", "M 87", "M 31"])
    found = similar(make_catalog(np.array([[0.0], [5], [1], [1]]), id=names), "NGC 4321", k=3)
    assert found["id"].tolist() == ["M 31", "M 87", "NGC 1300"]  # of equally near ones by identifier


def test_what_has_no_content_is_near_to_nothing(make_catalog):
    z, z_err = np.zeros((5, 2)), np.ones((5, 2))
    z[1, 0], z_err[2, 1], z_err[3, 0] = np.nan, np.nan, 0
    catalog = make_catalog(z, z_err)
    found = similar(catalog, 1000, k=1)
    assert (found["id"].tolist(), found.meta["left_out"]) == ([1004], 3)
    with pytest.raises(ValueError, match=r"galaxy 1001 has no content \(NaN in z or z_err\)"):
        similar(catalog, 1001, k=1)
    with pytest.raises(ValueError, match="-k 2: there are 1 other galaxies with content; choose 1 to 1"):
        similar(catalog, 1000, k=2)
    with pytest.raises(ValueError, match="there are no other galaxies with content to list"):
        similar(catalog[:1], 1000, k=1)


def test_a_galaxy_that_is_not_there_is_named_beside_the_nearest_name(make_catalog):
    catalog = make_catalog(np.zeros((3, 2)), id=np.array(["NGC 4321", "NGC 1300", "M 87"]))
    with pytest.raises(ValueError, match=r"no galaxy NGC 4322 in the catalog; did you mean NGC 4321\?"):
        similar(catalog, "NGC 4322", k=1)
    with pytest.raises(ValueError, match="no galaxy 7 in the catalog; its identifiers are like NGC 4321"):
        similar(catalog, 7, k=1)
