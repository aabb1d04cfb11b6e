"""Which way arms wind: what turning, moving and mirroring must do, and what is learned of it."""

import numpy as np
import pytest
import torch

from galvae.model.winding import Winding
from galvae.training import winding as module
from galvae.training.winding import close_ups, handedness, learn_winding, load_winding, save_winding, told, winding_odds

SIZE = 48


def spirals(sense, *, turn=0.0, move=(0.0, 0.0), size=SIZE, seed=0):
    """uint8 fields of two arms: +1 winds as an S as displayed, -1 as a Z; 0 has none."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    found = []
    for one in sense:
        u, v = x - move[0], y - move[1]
        radius, azimuth = np.hypot(u, v) + 1e-6, np.arctan2(v, u) - turn - random.uniform(0, np.pi)
        # The letter Z, followed outwards, turns counter-clockwise; the letter S clockwise.
        arm = 1 + 0.9 * one**2 * np.cos(2 * (azimuth + one * 2.5 * np.log(radius)))
        found.append(np.exp(-radius / 5) * arm * 0.5 + 0.05 + 0.01 * random.standard_normal(x.shape))
    grey = (255 * np.clip(found, 0, 1)).astype(np.uint8)
    return torch.from_numpy(np.repeat(grey[..., None], 3, 3))


def odds(net, fields):
    return winding_odds(net, close_ups(Store(fields), slice(None)))


class Store:
    """As much of a store as is asked for."""

    def __init__(self, fields):
        self.fields, self.ingest = fields.numpy(), {"window": 24, "oversample": 1}

    def images(self, rows):
        return self.fields[rows]


@pytest.fixture(scope="module")
def sense():
    return np.tile([1, -1, 1, -1, 0], 16)


@pytest.fixture(scope="module")
def learned(sense):
    return learn_winding(Store(spirals(sense)), np.arange(len(sense)), sense, epochs=10, quiet=True)


@pytest.fixture
def net():
    torch.manual_seed(0)
    net = Winding(channels=3).eval().requires_grad_(False)
    net.weights.copy_(torch.tensor([1.0, 0.3, -0.2, 0.4]))
    return net


def test_a_mirror_changes_the_sign_alone(net):
    light = torch.rand(4, 3, 24, 64)
    said = net.odds(light)
    assert (said.abs() > 0).all()
    assert torch.equal(net.odds(light.flip(3).roll(1, 3)), -said)
    # In the mirror angle a is where pi - a was, which is -a turned by half a circle.
    torch.testing.assert_close(net.odds(light.flip(3).roll(33, 3)), -said)


def test_so_does_that_of_a_field(net):
    """As a file of its own: its centre and size are measured anew."""
    fields = spirals([1, -1, 0, 1])
    found = odds(net, fields)
    np.testing.assert_allclose(odds(net, fields.flip(2)), -found, atol=1e-4 * np.abs(found).max())


@pytest.mark.parametrize("quarter", [1, 2, 3])
def test_turned_it_stays(net, quarter):
    fields = spirals([1, -1, 0, 1])
    turned = torch.rot90(fields, quarter, (1, 2))
    np.testing.assert_allclose(
        odds(net, turned), odds(net, fields), rtol=0, atol=0.02 * np.abs(odds(net, fields)).max()
    )


def test_letters_are_told_apart_and_what_has_no_arms_is_either(learned, sense):
    said = told(learned.odds, sense)
    assert said["galaxies"] == 64
    assert said["right"] > 0.9
    assert said["armless_galaxies"] == 16
    assert said["even"] < said["sure"]
    new = odds(learned.winding, spirals([1, -1, 1, -1], turn=0.7, move=(2, -1), seed=5))
    assert (np.sign(new) == [1, -1, 1, -1]).all()


def test_odds_come_true():
    """Those of a network three times too sure of itself are divided by three; what tells of arms beside it is added."""
    random = np.random.default_rng(0)
    seen, arms, none = random.normal(0, [[2], [0.05], [0.03]], (3, 20000))
    true = seen + 20 * arms
    sense = np.where(random.random(20000) < 1 / (1 + np.exp(-true)), 1, -1)
    sense[:500] = 0
    weights = module._weights(np.stack([3 * seen, arms, none], 1), sense)
    assert weights[:2] == pytest.approx([1 / 3, 20], rel=0.1)
    assert abs(weights[2]) < 2  # its spread is 0.03
    sense, true = sense[500:], true[500:]
    said = told(true, sense)
    assert said["sure"] == pytest.approx(said["right"], abs=4 * said["right_err"])


def test_one_of_other_measured_latents_is_refused(net, tmp_path, monkeypatch):
    save_winding(tmp_path, net, {})
    monkeypatch.setattr("galvae.training.checkpoint.REVISION", 10**6)
    with pytest.raises(ValueError, match=r"winding\.safetensors: made with revision \d .*teach the run again"):
        load_winding(tmp_path)


def test_it_is_kept_with_the_run(net, tmp_path):
    assert load_winding(tmp_path) is None
    save_winding(tmp_path, net, {"column": "class"})
    fields = spirals([1, -1])
    np.testing.assert_array_equal(odds(load_winding(tmp_path), fields), odds(net, fields))
    (tmp_path / module.WINDING).write_bytes(b"nothing")
    with pytest.raises(ValueError, match="not a whole safetensors file"):
        load_winding(tmp_path)


def test_labels_become_senses_and_too_few_are_refused():
    labels = np.array(["left"] * 20 + ["right"] * 21 + ["round"] * 3 + [""] * 2)
    rows, sense = handedness(labels, s="left", z="right", armless=["round"])
    assert rows.tolist() == list(range(44))
    assert sense.tolist() == [1] * 20 + [-1] * 21 + [0] * 3
    assert len(handedness(labels, s="left", z="right")[0]) == 41
    with pytest.raises(ValueError, match="3 galaxies are labelled 'round'"):
        handedness(labels, s="left", z="round")


def test_every_epoch_of_every_fit_is_progress(capsys):
    sense = np.tile([1, -1], 6)
    learn_winding(Store(spirals(sense)), np.arange(len(sense)), sense, epochs=2)
    assert "winding: 8/8" in capsys.readouterr().err
