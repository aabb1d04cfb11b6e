"""The batches of a training: the same whether fields are held or read, whoever asks, and wherever they begin."""

import math
import threading
import time
import weakref

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from galvae.data import dataset
from galvae.data.dataset import Batches, Fields
from galvae.data.store import part_path
from galvae.keyed import RUNS, permutation

CPU = torch.device("cpu")
ROWS = np.flatnonzero(np.arange(60) % 7 > 0)  # as with some held out
SIDE = 28


@pytest.fixture
def small_pieces(monkeypatch):
    """Two batches of eight are read at once."""
    monkeypatch.setattr(dataset, "PIECE", 2 * 8 * SIDE * SIDE * 3 + 5)


def fields(store, *, room, rows=ROWS):
    return Fields(store, rows, device=CPU, room=room)


def readers():
    return [thread for thread in threading.enumerate() if thread.name.startswith("galvae-ahead")]


def test_held_is_what_fits(store):
    size = len(ROWS) * SIDE * SIDE * 3
    assert fields(store, room=size).held
    assert not fields(store, room=size - 1).held
    assert fields(store, room=None).held
    assert len(fields(store, room=0)) == len(ROWS)


@pytest.mark.parametrize("room", [0, 10**9])
def test_floats_come_as_they_are_stored(room, make_store, tmp_path):
    images = np.random.default_rng(0).normal(size=(30, 12, 12, 1)).astype(np.float32)
    data = fields(make_store(tmp_path / "s", images), room=room, rows=np.arange(30))
    assert data.bytes_each == 4 * 12 * 12
    found = torch.cat([batch for _, batch in data.in_order(8)])
    assert torch.equal(found, torch.from_numpy(images))


def test_held_batches_are_those_of_a_permutation_of_all(store):
    """As they were before there was another order: runs that exist go on as they would have."""
    batches = Batches(fields(store, room=10**9), 8, seed=3)
    assert batches.per_epoch == len(ROWS) // 8
    for step in range(2 * batches.per_epoch):
        epoch, place = divmod(step, batches.per_epoch)
        which, found = batches.at(step)
        assert torch.equal(which, permutation(len(ROWS), seed=3, epoch=epoch)[place * 8 : place * 8 + 8])
        assert torch.equal(found, torch.from_numpy(store.images(ROWS[which.numpy()])))
    assert not readers()


@settings(max_examples=25)
@given(st.integers(1, 60), st.integers(1, 51), st.integers(1, 70), st.integers(0, 5), st.integers(0, 9))
def test_read_batches_are_the_orders_wherever_they_begin(store, galaxies, size, piece, first, seed):
    rows = ROWS[:galaxies]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dataset, "PIECE", piece * SIDE * SIDE * 3)
        batches = Batches(fields(store, room=0, rows=rows), min(size, len(rows)), seed=seed)
        assert batches.pool % batches.size == 0
        for step in range(first, first + batches.per_epoch + 2):
            epoch, place = divmod(step, batches.per_epoch)
            which, found = batches.at(step)
            assert torch.equal(which, batches.order(epoch)[place])
            assert torch.equal(found, torch.from_numpy(store.images(rows[which.numpy()])))
        batches.close()
    assert not readers()


@pytest.mark.parametrize("room", [0, 10**9])
def test_an_epoch_has_each_galaxy_once_and_another_another_order(room, store, small_pieces):
    batches = Batches(fields(store, room=room), 8, seed=0)
    assert batches.pool == (len(ROWS) if room else 16)
    epochs = [torch.cat([batches.at(epoch * batches.per_epoch + k)[0] for k in range(batches.per_epoch)])
              for epoch in range(3)]  # fmt: skip
    for number, epoch in enumerate(epochs):
        assert len(epoch.unique()) == batches.per_epoch * 8 == len(ROWS) // 8 * 8
        assert all((epoch == other).sum() < len(epoch) / 2 for other in epochs[:number])
    other = Batches(fields(store, room=room), 8, seed=1)
    assert not torch.equal(other.order(0), batches.order(0))
    batches.close()


def test_a_batch_comes_from_several_places_of_a_piece(store, monkeypatch):
    monkeypatch.setattr(dataset, "PIECE", 48 * SIDE * SIDE * 3)
    data = fields(store, room=0, rows=np.arange(60).repeat(50))  # 3,000 galaxies
    batches = Batches(data, 12, seed=0)
    assert batches.pool == 48
    assert batches.pool // RUNS == 0  # so that each galaxy is a run of its own
    spread = batches.order(0).double().std(1).mean()
    assert spread > 0.85 * 3000 / math.sqrt(12)


def test_jumping_back_and_on_gives_the_same_batch(store, small_pieces):
    batches = Batches(fields(store, room=0), 8, seed=0)
    once = {step: batches.at(step) for step in range(9)}
    for step in (3, 8, 0, 1, 2, 7):
        for found, wanted in zip(batches.at(step), once[step], strict=True):
            assert torch.equal(found, wanted)
        assert len(readers()) <= 1
    batches.close()
    assert torch.equal(batches.at(5)[1], once[5][1])
    batches.close()
    assert not readers()


@pytest.mark.parametrize("room", [0, 10**9])
def test_shares_divide_the_batch_of_one_process(room, store, small_pieces):
    whole = Batches(fields(store, room=room), 8, seed=0)
    shares = [Batches(fields(store, room=room), 8, seed=0, share=slice(rank, None, 3)) for rank in range(3)]
    for step in range(8):
        which, found = whole.at(step)
        for rank, share in enumerate(shares):
            assert torch.equal(share.at(step)[0], which[rank::3])
            assert torch.equal(share.at(step)[1], found[rank::3])
    for batches in (whole, *shares):
        batches.close()


@pytest.mark.parametrize("room", [0, 10**9])
@pytest.mark.parametrize("size", [1, 8, 100])
def test_in_order_is_all_in_order(room, size, store, small_pieces):
    which, found = zip(*fields(store, room=room).in_order(size), strict=True)
    assert [*map(len, which)] == [*map(len, torch.arange(len(ROWS)).split(size))]
    assert torch.equal(torch.cat(which), torch.arange(len(ROWS)))
    assert torch.equal(torch.cat(found), torch.from_numpy(store.images(ROWS)))
    assert not readers()


def test_three_pieces_are_in_memory(store, small_pieces, monkeypatch):
    """One in use and two ahead, with that which is being read."""
    pieces, alive = [], []
    images = store.images

    def watch(rows):
        alive.append(1 + sum(piece() is not None for piece in pieces))
        found = images(rows)
        pieces.append(weakref.ref(found))
        return found

    monkeypatch.setattr(store, "images", watch)
    batches = Batches(fields(store, room=0), 8, seed=0)
    for step in range(4 * batches.per_epoch):
        batches.at(step)
        due, patience = step // 2 + 3, time.monotonic() + 60
        while len(pieces) < due and time.monotonic() < patience:  # until the thread is two pieces ahead
            time.sleep(0.001)
        assert len(pieces) == due
    batches.close()
    assert max(alive) == 3
    assert not [piece for piece in pieces if piece() is not None]


def test_a_part_that_cannot_be_read_is_one_line_when_its_piece_is_due(make_store, ellipses, small_pieces, tmp_path):
    spoilt = make_store(tmp_path / "store", ellipses(60))
    batches = Batches(fields(spoilt, room=0), 8, seed=0)
    part_path(spoilt.path, 1).write_bytes(b"no HDF5")
    for _ in range(2):  # it is not taken for the end of the data, nor forgotten
        with pytest.raises(OSError, match=r"part-00001\.h5: not a whole part of this store .* --resume$") as caught:
            [batches.at(step) for step in range(6)]
        assert "\n" not in str(caught.value)
        assert not readers()
    with pytest.raises(OSError, match=r"part-00001\.h5"):
        list(fields(spoilt, room=0).in_order(8))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize("room", [0, 10**9])
def test_a_gpu_is_given_the_same(room, store, small_pieces):
    given_ = Batches(Fields(store, ROWS, device=torch.device("cuda"), room=room), 8, seed=0)
    here = Batches(fields(store, room=room), 8, seed=0)
    for step in range(20):
        for found, wanted in zip(given_.at(step), here.at(step), strict=True):
            assert found.device.type == "cuda"
            assert torch.equal(found.cpu(), wanted)
    for batches in (given_, here):
        batches.close()
