"""The generator against the paper's concatenation, and any of its pixels against all of them."""

import pytest
import torch

from galvae.geometry import Pose, to_object
from galvae.model.generator import SpatialGenerator, VanillaGenerator
from galvae.model.settings import ModelSettings
from galvae.model.vae import SpatialVAE
from galvae.windows import View

FIXED = {"infer_rotation": False, "infer_translation": False}


@pytest.mark.parametrize("waves", [0, 6])
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_first_layer_is_that_of_the_concatenation(layers, waves):
    torch.manual_seed(0)
    generator = SpatialGenerator(5, 3, units=17, layers=layers, waves=waves).double()
    x, content = torch.randn(4, 11, 2).double(), torch.randn(4, 5).double()
    pose = Pose(torch.randn(4).double(), torch.randn(4, 2).double())
    coordinates = to_object(x, pose)
    phases = [coordinates @ frequency for frequency in generator.frequencies.T] if waves else []
    hidden = torch.stack([*coordinates.unbind(-1), *(p.sin() for p in phases), *(p.cos() for p in phases)], -1)
    hidden = torch.cat([hidden, content[:, None].expand(-1, 11, -1)], -1)
    assert generator.coordinates.in_features == 2 + 2 * waves
    first = torch.cat([generator.coordinates.weight, generator.content.weight], 1)
    hidden = torch.tanh(hidden @ first.T + generator.coordinates.bias)
    for layer in generator.hidden:
        hidden = torch.tanh(hidden @ layer.weight.T + layer.bias)
    wanted = hidden @ generator.output.weight.T + generator.output.bias
    assert len(generator.hidden) == layers - 1
    assert torch.allclose(generator(x, pose, content), wanted, atol=1e-12)
    one = Pose(*(value[:1] for value in (pose.theta, pose.shift)))
    every = Pose(*(value.expand(4, *value.shape[1:]) for value in (one.theta, one.shift)))
    assert torch.allclose(generator(x[0], one, content), generator(x[0], every, content), atol=1e-12)


def test_vanilla_generator_gathers_the_pixels_asked_for():
    torch.manual_seed(0)
    generator = VanillaGenerator(5, 6, size=7, units=17, layers=2)
    content, pixels = torch.randn(4, 5), torch.randint(49, (4, 9))
    everything = generator(None, None, content)
    assert everything.shape == (4, 49, 6)
    some = generator(None, None, content, pixels)
    for image, chosen, wanted in zip(some, pixels, everything, strict=True):
        assert torch.equal(image, wanted[chosen])


def vae(**changes):
    torch.manual_seed(0)
    settings = ModelSettings(latents=3, generator_units=11, encoder_units=8, **changes)
    return SpatialVAE(settings, window=9, channels=2)


@pytest.mark.parametrize(
    "changes", [{}, {"generator": "vanilla", **FIXED}, {"likelihood": "gaussian", "noise": "learned"}]
)
def test_decoding_some_pixels_is_a_part_of_decoding_all(changes):
    model = vae(**changes)
    pose, content = Pose(torch.randn(4), torch.randn(4, 2) / 5), torch.randn(4, 3)
    pixels = torch.randint(81, (4, 10))
    everything = model.decode(pose, content)
    assert everything.shape == (4, 81, 2 * model.likelihood.outputs)
    some = model.decode(pose, content, pixels=pixels)
    assert torch.allclose(some, everything.gather(1, pixels[..., None].expand_as(some)), atol=1e-6)


def test_decoding_at_a_pose_is_decoding_upright_at_object_coordinates():
    model = vae()
    pose, content = Pose(torch.randn(4), torch.randn(4, 2) / 5), torch.randn(4, 3)
    grid = torch.rand(6, 2) * 2 - 1
    still = Pose(torch.zeros(1), torch.zeros(1, 2))
    at = zip(to_object(grid, pose), content[:, None], strict=True)
    upright = torch.cat([model.decode(still, z, grid=points) for points, z in at])
    assert torch.allclose(model.decode(pose, content, grid=grid), upright, atol=1e-6)
    assert torch.allclose(model.decode(pose, content, grid=model.grid), model.decode(pose, content))


def test_vanilla_generator_knows_no_coordinates():
    model = vae(generator="vanilla", **FIXED)
    with pytest.raises(ValueError, match="9 x 9"):
        model.decode(Pose(torch.zeros(1), torch.zeros(1, 2)), torch.zeros(1, 3), grid=torch.zeros(5, 2))


def test_windows_of_another_shape_are_refused():
    model = vae()
    with pytest.raises(ValueError, match="windows of 8 pixels and 2 channels, but the model takes 9 and 2"):
        model.encode(View.central(torch.zeros(1, 12, 12, 2), 8))
    with pytest.raises(ValueError, match="3 channels"):
        model.encode(View.central(torch.zeros(1, 12, 12, 3), 9))
