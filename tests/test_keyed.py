"""Random numbers by key: their distribution, their independence, and that nothing but the key decides them."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from galvae import keyed
from galvae.keyed import RUNS, normal, permutation, shuffled, uniform

GALAXIES = torch.arange(40_000)
FROZEN = [
    [0.9145448803901672, 0.4025678038597107],
    [0.14637595415115356, 0.7638916373252869],
    [0.5145907998085022, 0.6880980134010315],
]
ORDER = [4, 7, 2, 0, 1, 5, 6, 3]
POOLED = [0, 1, 3, 7, 2, 5, 4, 6]


def test_uniform_is_uniform():
    drawn = uniform("test", GALAXIES, 3, seed=1, step=2)
    assert drawn.shape == (40_000, 3)
    assert drawn.dtype == torch.float32
    for column in drawn.T:
        assert stats.kstest(column.numpy(), "uniform").pvalue > 1e-3


def test_normal_is_normal():
    drawn = normal("test", GALAXIES, 3, seed=1, step=2)
    for column in drawn.T:
        assert stats.kstest(column.numpy(), "norm").pvalue > 1e-3
    # The tails too: a thousandth lies beyond 3.29.
    assert abs((drawn.abs() > 3.2905).double().mean().item() - 1e-3) < 4 * math.sqrt(1e-3 / drawn.numel())


def test_uniform_leaves_out_both_ends(monkeypatch):
    """At 1 a Gumbel number would be infinite, at 0 a logarithm."""
    for bits in (-1, 0):
        monkeypatch.setattr(keyed, "_mix", lambda x, bits=bits: torch.full_like(x, bits))
        drawn = uniform("test", torch.arange(3), 2, seed=0, step=0)
        assert ((drawn > 0) & (drawn < 1)).all()


@pytest.mark.parametrize("kind", [uniform, normal])
def test_other_keys_give_independent_numbers(kind):
    key = {"name": "test", "galaxy": GALAXIES, "count": 2, "seed": 0, "step": 0}
    base = kind(**key)
    others = [
        {"name": "tess"},
        {"seed": 1},
        {"step": 1},
        {"step": -1},
        {"galaxy": GALAXIES + 1},
        {"galaxy": GALAXIES * 2**20},
    ]
    columns = [base, *(kind(**(key | other)) for other in others)]
    correlation = torch.corrcoef(torch.cat(columns, 1).T.double())
    # A galaxy later the same numbers come again, one row further: they are another column here.
    assert (correlation - torch.eye(len(correlation))).abs().max() < 5 / math.sqrt(len(GALAXIES))
    for other in columns[1:]:
        assert (other == base).double().mean() < 1e-3


def test_seed_and_step_are_not_interchangeable():
    galaxy = torch.arange(50)
    assert not torch.equal(uniform("test", galaxy, 4, seed=1, step=2), uniform("test", galaxy, 4, seed=2, step=1))


@given(st.lists(st.integers(0, 2**40), min_size=1, max_size=20), st.integers(0, 19), st.integers(0, 2**31))
def test_numbers_do_not_depend_on_the_rest_of_the_batch(galaxies, which, step):
    which %= len(galaxies)
    together = normal("test", torch.tensor(galaxies), 5, seed=3, step=step)
    alone = normal("test", torch.tensor([galaxies[which]]), 5, seed=3, step=step)
    assert torch.equal(together[which], alone[0])


def test_more_uniform_numbers_continue_the_same_ones():
    galaxy = torch.arange(7)
    assert torch.equal(uniform("a", galaxy, 9, seed=0, step=0)[:, :4], uniform("a", galaxy, 4, seed=0, step=0))


def test_frozen_numbers():
    """If these change, no training resumes and no published catalog's errors come again: say so in CHANGES.md."""
    galaxy = torch.tensor([0, 1, 2**40])
    found = uniform("crop", galaxy, 2, seed=5, step=7).double()
    wanted = torch.tensor(FROZEN, dtype=torch.float64)
    assert torch.equal(found, wanted)
    assert permutation(8, seed=5, epoch=7).tolist() == ORDER
    assert shuffled(8, pool=3, seed=5, epoch=7).tolist() == POOLED


@given(st.integers(1, 300), st.integers(0, 1000), st.integers(0, 1000))
def test_permutation_has_every_galaxy_once(count, seed, epoch):
    order = permutation(count, seed=seed, epoch=epoch)
    assert order.sort().values.tolist() == list(range(count))
    assert torch.equal(order, permutation(count, seed=seed, epoch=epoch))


def test_permutations_differ_by_epoch_and_seed():
    orders = [permutation(500, seed=seed, epoch=epoch) for seed, epoch in ((0, 0), (0, 1), (1, 0), (1, 1))]
    for number, order in enumerate(orders):
        assert all((order == other).sum() < 10 for other in orders[:number])


@given(st.integers(1, 600), st.integers(1, 400), st.integers(0, 1000), st.integers(0, 1000))
def test_pools_hold_every_galaxy_once_and_few_places(count, pool, seed, epoch):
    order = shuffled(count, pool=pool, seed=seed, epoch=epoch)
    assert order.sort().values.tolist() == list(range(count))
    assert torch.equal(order, shuffled(count, pool=pool, seed=seed, epoch=epoch))
    if pool >= count:
        assert torch.equal(order, permutation(count, seed=seed, epoch=epoch))
        return
    run = max(1, pool // RUNS)
    for part in order.split(pool):
        # Runs at a pool's ends are cut, and the last run of all is short.
        assert len((part // run).unique()) <= len(part) // run + 3


def test_a_pool_is_drawn_from_many_places_and_mixed():
    count, pool, batch = 20_000, 2560, 128
    order = shuffled(count, pool=pool, seed=0, epoch=0)
    first, run = order[:pool], pool // RUNS
    assert 64 <= len((first // run).unique()) <= 66
    # Of 64 runs 55 are expected in a batch, and where a galaxy comes in its pool has nothing to do with its place.
    assert all(len((part // run).unique()) > 40 for part in first.split(batch))
    for place in (torch.arange(pool), torch.arange(pool) % 2):
        assert abs(torch.corrcoef(torch.stack([first.double(), place.double()]))[0, 1]) < 5 / math.sqrt(pool)
    # The runs of an epoch's pools are others in the next.
    pools = [shuffled(count, pool=pool, seed=0, epoch=epoch)[:pool] for epoch in (0, 1)]
    assert len(set(pools[0].tolist()) & set(pools[1].tolist())) < 2 * pool * pool / count


def test_every_galaxy_comes_as_often_into_each_pool():
    """The last run, which is short, too."""
    count, pool, epochs = 130, 64, 600
    last = [shuffled(count, pool=pool, seed=3, epoch=epoch)[2 * pool :] for epoch in range(epochs)]
    found = torch.cat(last).bincount(minlength=count)
    assert abs(found.double().mean() - 2 * epochs / count) < 1e-9
    assert found.max() < 2 * epochs / count + 6 * math.sqrt(2 * epochs / count)
