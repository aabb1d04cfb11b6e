"""An inferred scale: it grows with the galaxy, and what it makes of the pose is what a wider window makes of it."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from galvae.geometry import Pose, pixel_grid, to_image, to_object
from galvae.model.posterior import Posterior, scale_fields
from galvae.model.settings import ModelSettings
from galvae.model.vae import SpatialVAE
from galvae.training.batch import draw_batch
from galvae.training.objective import backward
from galvae.windows import View

SIDE, WINDOW = 128, 32


def galaxies(sigma, turn=0.0):
    """Lopsided ones whose major axes have these standard deviations, field pixels, turned by so much."""
    x, y = (pixel_grid(SIDE) * (SIDE - 1) / 2).double().T
    found = []
    for one in sigma:
        u, v = (x * math.cos(turn) + y * math.sin(turn)) / one, (y * math.cos(turn) - x * math.sin(turn)) / one
        knot = 0.3 * torch.exp(-0.5 * ((u - 1) ** 2 + (v - 0.4) ** 2) / 0.3**2)
        found.append(0.1 + 0.5 * torch.exp(-0.5 * (u**2 + (v / 0.5) ** 2)) + knot)
    return torch.stack(found).view(-1, SIDE, SIDE, 1).expand(-1, -1, -1, 3).float()


def build(encoder="polar", **changes):
    """Untrained; what it infers is far from what an untrained polar network begins with."""
    torch.manual_seed(1)
    model = ModelSettings(
        **{"latents": 3, "encoder": encoder, "generator_units": 8, "waves": 4, **changes}, scale="inferred"
    )
    vae = SpatialVAE(model, window=WINDOW, channels=3)
    with torch.no_grad():
        vae.encoder.output.weight.mul_(2 if encoder == "polar" else 1)
    return vae.requires_grad_(False)


def inferred(vae, fields):
    """ln of the scale under each hypothesis, the order of which turns with the galaxy."""
    view = vae.frame(View.central(fields, WINDOW))
    q = vae.encode(view)
    assert torch.equal(q.zoom_prior, -view.width.log()[:, None].expand_as(q.zoom))
    return q.zoom - q.zoom_prior, q.zoom


@pytest.mark.parametrize("encoder", ["polar", "mlp"])
def test_a_field_magnified_gives_a_scale_as_many_times_as_large(encoder):
    """All else equal."""
    vae, sigma = build(encoder), 9 * 1.2 ** np.arange(4)
    scale, zoom = inferred(vae, galaxies(sigma))
    assert zoom.abs().max() > 0.01
    grown = scale[1:] - scale[:-1]
    torch.testing.assert_close(grown, torch.full_like(grown, math.log(1.2)), atol=0.02, rtol=0)
    view = vae.frame(View.central(galaxies(sigma), WINDOW))
    q = vae.encode(view)
    for values in (q.content, q.shift, q.theta):  # but for what pixels make of a galaxy at another size
        assert (values[1:] - values[:1]).abs().max() < 0.2 * values.abs().max()


@pytest.mark.parametrize("waves", [0, 4])
@pytest.mark.parametrize("encoder", ["polar", "mlp"])
def test_scales_about_their_mean_leave_reconstructions_as_they_are(encoder, waves):
    """The frame that all galaxies have in common is nobody's: its width goes into the generator."""
    vae, fields = build(encoder, waves=waves), galaxies(9 * 1.2 ** np.arange(4))
    view = vae.frame(View.central(fields, WINDOW))

    def images():
        q = vae.encode(view)
        pose, content = q.draw(q.best())
        return q, vae.decode(pose, content)

    before, drawn = images()
    mean = before.zoom.mean() + 0.1
    vae.fit_scale(mean)
    after, again = images()
    torch.testing.assert_close(again, drawn, atol=2e-3, rtol=0)  # a place is bent by tanh
    assert (again - drawn).abs().max() < 0.1 * (drawn - drawn.mean(1, keepdim=True)).abs().max()
    assert after.zoom.mean() == pytest.approx(-0.1, abs=5e-3)
    torch.testing.assert_close(after.shift_std, before.shift_std * mean.exp())


@pytest.mark.parametrize("said", [1.6, -1.6, 100.0, -100.0])
def test_a_scale_is_what_the_network_says(said):
    """Nowhere bent; only windows know an end, the field's."""
    view = View.central(galaxies([9.0]), WINDOW)
    zoom, _, prior = scale_fields(torch.tensor([[said]]), torch.zeros(1, 1), view)
    assert zoom.item() == pytest.approx(min(max(said, -3), 3))
    assert prior == 0
    wide, pose = view.scaled(Pose(torch.zeros(1), torch.zeros(1, 2), zoom[:, 0]))
    assert pose.zoom is None
    assert wide.widths() == pytest.approx(min(math.exp(zoom.item()), (SIDE - 1) / (WINDOW - 1)))


@pytest.mark.parametrize("place", [(0, 0), (9, -14), (-20, 6)])
def test_the_centroid_lies_about_the_origin_of_the_objects_frame(place):
    """No farther than the network may say, and at the same place of it wherever the galaxy lies in the window."""
    vae, seen = build(), []
    for move in ((0, 0), place):
        view = View.central(galaxies([9.0]).roll(move, (1, 2)), WINDOW, 3)
        q = vae.encode(view)
        seen.append(to_object(view.centroid().expand(32, 1, 2), Pose(q.theta[0], q.shift[0], q.zoom[0])))
    assert q.zoom.abs().max() > 0.02
    assert seen[1].abs().max() < 0.2
    torch.testing.assert_close(*seen, atol=0.01, rtol=0)


def test_a_field_turned_gives_the_same_scales_in_another_order():
    vae = build()
    (scale, _), (turned, _) = (inferred(vae, galaxies([9.0], turn)) for turn in (0.0, 3 * 2 * math.pi / 32))
    assert (turned - scale.roll(3, 1)).abs().max() < 0.005 < 0.2 * (turned - scale).abs().max()


@pytest.mark.parametrize("factor", [0.8, 1.5])
def test_a_pose_magnified_is_that_of_the_content_magnified(factor):
    pose = Pose(*(torch.tensor(values, dtype=torch.float64) for values in ([0.7], [[0.2, -0.1]], [0.3])))
    points = pixel_grid(5).double()
    seen = to_object(points, pose)
    assert torch.allclose(to_object(factor * points, replace(pose, zoom=pose.zoom + math.log(factor))), seen)
    assert torch.allclose(to_image(seen, pose), points.expand(1, -1, -1))


def test_what_is_decoded_with_a_zoom_is_what_the_wider_window_shows_without():
    vae, generator = build(), torch.Generator().manual_seed(0)
    content = torch.randn(4, 3, generator=generator)
    zoom = torch.tensor([0.15, -0.1, 0.05, -0.2])
    pose = Pose(torch.arange(4) * 1.3, 0.2 * torch.randn(4, 2, generator=generator), zoom)
    view = vae.frame(View.central(galaxies([6.0, 8.0, 10.0, 12.0]), WINDOW))
    wide, there = view.scaled(pose)
    assert there.zoom is None
    assert torch.allclose(wide.width, view.width * zoom.exp())
    points = pixel_grid(7) * 0.7
    for k in range(4):
        one = Pose(pose.theta[k : k + 1], pose.shift[k : k + 1], zoom[k : k + 1])
        inside = vae.decode(one, content[k : k + 1], grid=points)
        same = vae.decode(replace(one, zoom=None), content[k : k + 1], grid=points * (-zoom[k]).exp())
        torch.testing.assert_close(inside, same, atol=1e-5, rtol=0)
    at = points * (-zoom).exp()[:, None, None]
    torch.testing.assert_close(wide.sample(at), view.sample(points.expand(4, -1, -1)), atol=1e-5, rtol=0)


def test_a_step_teaches_the_scale():
    vae = build().requires_grad_(True)
    fields = (255 * galaxies([6.0, 8.0, 10.0])).to(torch.uint8)
    batch = draw_batch(
        vae, fields, torch.arange(3), oversample=1, crop=0.0, rotate=True, pixels=64, focus=0.5, seed=0, step=1, views=2
    )  # fmt: skip
    backward(vae, batch, chunk=10**6, frozen=True, seed=0, step=1, agree=1.0)
    assert vae.encoder.output.weight.grad[-2:].abs().min() > 0  # zoom, and ln of its standard deviation


def test_joined_posteriors_keep_their_scales():
    vae = build()
    q = vae.encode(vae.frame(View.central(galaxies([8.0]), WINDOW)))
    both = Posterior.joined([q, q])
    assert torch.equal(both.zoom, q.zoom.repeat(1, 2))
    assert both.noise_size == q.noise_size == 7
    with pytest.raises(ValueError, match="a vanilla generator has no coordinates to scale"):
        ModelSettings(generator="vanilla", infer_rotation=False, infer_translation=False, scale="inferred")
