"""A training whose fields do not fit in memory: exact, whatever fits later, and over when it is over."""

import re
import signal
import threading

import pytest
import torch

from galvae.data import dataset
from galvae.data.store import ImageStore, part_path
from galvae.training import trainer as trainer_module
from galvae.training.checkpoint import MODEL, STATE, load_tensors
from galvae.training.fit import fit
from galvae.training.losses import Diverged

CPU = torch.device("cpu")
FITS = 10**9


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    """Two batches of eight are read at once; afterwards nothing reads on."""
    monkeypatch.setattr(dataset, "PIECE", 2 * 8 * 28 * 28 * 3)
    yield
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("galvae-ahead")]


def train(store, recipe, run, *, room=0, **options):
    return fit(store, recipe, run, device=CPU, room=room, quiet=True, **options)


def parameters(run):
    return load_tensors(run / MODEL)[0]


def same(run, other):
    for name in (STATE, MODEL):
        a, b = load_tensors(run / name)[0], load_tensors(other / name)[0]
        assert a.keys() == b.keys()
        assert all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize("rooms", [(0, 0, 0, 0), (0, FITS, 0, FITS), (FITS, 0, FITS, 0)])
def test_broken_off_and_resumed_is_unbroken_whatever_fits_later(rooms, store, tiny_recipe, tmp_path):
    """Bit for bit, from the middle of a piece, its end and an epoch's: the order is the one that the run began with."""
    train(store, tiny_recipe(), tmp_path / "whole", room=rooms[0])
    for room, last in zip(rooms, (1, 4, 9, None), strict=True):
        train(store, tiny_recipe(), tmp_path / "run", room=room, resume=last != 1, max_steps=last)
    same(tmp_path / "run", tmp_path / "whole")


def test_the_order_is_another_than_of_what_fits(store, tiny_recipe, tmp_path):
    for room in (0, FITS):
        train(store, tiny_recipe(), tmp_path / str(room), room=room, max_steps=5)
    one, other = (parameters(tmp_path / str(room)) for room in (0, FITS))
    assert not all(torch.equal(one[key], other[key]) for key in one)


def test_the_order_does_not_depend_on_how_fast_the_disk_is(store, tiny_recipe, tmp_path, monkeypatch):
    train(store, tiny_recipe(), tmp_path / "fast", max_steps=9)
    images, pause = ImageStore.images, threading.Event()

    def slow(self, rows):
        pause.wait(0.002 * (rows[0] % 7))
        return images(self, rows)

    monkeypatch.setattr(ImageStore, "images", slow)
    train(store, tiny_recipe(), tmp_path / "slow", max_steps=9)
    same(tmp_path / "slow", tmp_path / "fast")


def test_it_is_said(store, tiny_recipe, tmp_path, capsys):
    def said(**options):
        fit(store, tiny_recipe(), tmp_path / "run", device=CPU, **options)
        return capsys.readouterr().err

    assert re.search(
        r"store: 4\d galaxies \(0\.0 GB\) are too many to be held on cpu: read while training, shuffled 16 at a time\n",
        said(room=0, max_steps=2),
    )
    assert "too many" not in said(room=FITS, max_steps=3)
    assert "but were not when the run began" in said(room=0, resume=True, max_steps=4)


@pytest.mark.parametrize("failure", [Diverged, KeyboardInterrupt, RuntimeError, signal.SIGINT])
def test_nothing_is_read_when_the_training_is_over(failure, store, tiny_recipe, tmp_path, monkeypatch):
    honest = trainer_module.Trainer.take_step

    def fails(self):
        honest(self)
        if self.step == 3:
            if isinstance(failure, signal.Signals):
                signal.raise_signal(failure)
            else:
                raise failure

    monkeypatch.setattr(trainer_module.Trainer, "take_step", fails)
    with pytest.raises(KeyboardInterrupt if isinstance(failure, signal.Signals) else failure):
        train(store, tiny_recipe(), tmp_path / "run")


def test_a_part_lost_while_training_is_one_line_and_what_is_done_is_kept(
    make_store, ellipses, tiny_recipe, tmp_path, monkeypatch
):
    spoilt = make_store(tmp_path / "store", ellipses(60))
    whole = part_path(spoilt.path, 1).read_bytes()
    honest = trainer_module.Trainer.take_step

    def spoils(self):
        honest(self)
        if self.step == 8:
            part_path(spoilt.path, 1).write_bytes(whole[:100])

    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(trainer_module.Trainer, "take_step", spoils)
        with pytest.raises(OSError, match=r"part-00001\.h5: not a whole part .* galvae ingest --resume$"):
            train(spoilt, tiny_recipe(train={"save_every": 1}), run)
    part_path(spoilt.path, 1).write_bytes(whole)
    train(spoilt, tiny_recipe(train={"save_every": 1}), run, resume=True)
    train(spoilt, tiny_recipe(train={"save_every": 1}), tmp_path / "whole")
    same(run, tmp_path / "whole")


def test_a_run_of_an_older_version_goes_on_in_the_order_of_all(store, tiny_recipe, tmp_path, monkeypatch):
    from galvae.training import run as module

    honest = module.save_state

    def older(path, vae, optimizers, progress):
        progress.pop("pool")
        honest(path, vae, optimizers, progress)

    with monkeypatch.context() as patch:
        patch.setattr(module, "save_state", older)
        train(store, tiny_recipe(), tmp_path / "run", room=FITS, max_steps=4)
    train(store, tiny_recipe(), tmp_path / "run", room=0, resume=True)
    train(store, tiny_recipe(), tmp_path / "whole", room=FITS)
    same(tmp_path / "run", tmp_path / "whole")
