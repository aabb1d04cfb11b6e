"""The objective: unbiased with some of the pixels, differentiated in pieces as at once, keyed by galaxy."""

import dataclasses
import math
from dataclasses import replace

import pytest
import torch

from galvae.geometry import Pose, pixel_grid
from galvae.keyed import normal, uniform
from galvae.model.settings import ModelSettings
from galvae.model.vae import SpatialVAE
from galvae.training.agreement import disagreement, exchanged
from galvae.training.batch import draw_batch, pixel_density, random_pixels
from galvae.training.objective import backward, evaluate

WINDOW, SIDE, CHANNELS = 8, 14, 2
KEY = {"seed": 3, "step": 11}
KINDS = {
    "mlp": {},
    "polar": {"encoder": "polar"},
    "waves": {"waves": 4},
    "rotation only": {"infer_translation": False},
    "fixed pose": {"infer_rotation": False, "infer_translation": False},
    "vanilla": {"generator": "vanilla", "infer_rotation": False, "infer_translation": False},
    "scale": {"encoder": "polar", "waves": 4, "scale": "inferred"},
    "mlp, scale": {"scale": "inferred"},
    "sky": {"likelihood": "gaussian", "noise": "sky"},
    "normal prior": {"theta_prior": "normal", "likelihood": "gaussian", "noise": "learned"},
}


def build(kind):
    """In double precision, so that equal is equal to many digits."""
    torch.manual_seed(0)
    settings = ModelSettings(latents=3, generator_units=7, encoder_units=9, shift_sigma=1.0, **KINDS[kind])
    return SpatialVAE(settings, window=WINDOW, channels=CHANNELS).double()


def fields(count=5):
    return torch.rand(count, SIDE, SIDE, CHANNELS, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def batch_of(vae, *, pixels=0, count=5, some=slice(None), **changes):
    options = {"oversample": 1, "crop": 1.0, "rotate": True, "pixels": pixels, "focus": 0.0, **KEY, **changes}
    framed = vae.settings.scale != "fixed"  # which is done in single precision
    images = fields(count)[some]
    batch = draw_batch(
        vae.float() if framed else vae, images.float() if framed else images,
        torch.arange(100, 100 + count)[some], **options,
    )  # fmt: skip
    vae.double()

    def exact(part):
        values = {one.name: getattr(part, one.name) for one in dataclasses.fields(part)}
        floats = {k: v.double() for k, v in values.items() if isinstance(v, torch.Tensor) and v.is_floating_point()}
        return replace(part, **floats)

    return exact(replace(batch, view=exact(batch.view)))


def plain(vae, batch, *, frozen, agree=0.0):
    """Minus the mean estimate, every image decoded at once, for one pass of autograd; of an odd step."""
    q = vae.encode(batch.view)
    k, numbers = q.log_weight.shape[1], q.content.shape[2] + (3 if q.zoom is None else 4)
    draws = min(2, k)
    which = q.choose(uniform("hypotheses", batch.key, k, **KEY), draws)
    noise = normal("latents", batch.key, draws * numbers, **KEY).view(-1, draws, numbers)
    weight = q.log_weight.gather(1, which).softmax(1)
    log_likelihood = 0
    for draw in range(draws):
        pose, content = q.draw(which[:, draw, None], noise[:, draw, None])
        content = exchanged(q) if agree else content
        content = content * 0 if frozen else content
        found = vae.likelihood.log_prob(vae.decode(pose, content, pixels=batch.pixels), batch.values, batch.noise)
        counted = found if batch.weight is None else found * batch.weight
        log_likelihood = log_likelihood + weight[:, draw] * counted.sum(1)
    divergence = vae.divergence(q)
    elbo = log_likelihood - divergence.pose - (0 if frozen else divergence.content)
    apart = disagreement(q, batch.view).mean() if agree else 0
    return agree * apart - elbo.mean(), log_likelihood


def gradients(vae):
    return {name: torch.zeros_like(p) if p.grad is None else p.grad.clone() for name, p in vae.named_parameters()}


@pytest.mark.parametrize("chunk", [1, 3 * 20, 10**6])
@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_backward_is_one_plain_pass(kind, frozen, chunk):
    """Pieces of 3 images of the 5 (10 with two hypotheses) among them: neither even nor whole."""
    vae = build(kind)
    batch = batch_of(vae, pixels=20, focus=0.6)
    loss, log_likelihood = plain(vae, batch, frozen=frozen)
    loss.backward()
    wanted = gradients(vae)
    vae.zero_grad(set_to_none=True)
    terms = backward(vae, batch, chunk=chunk, frozen=frozen, **KEY)
    for name, found in gradients(vae).items():
        assert torch.allclose(found, wanted[name], rtol=1e-9, atol=1e-10), name
    assert torch.allclose(terms.log_likelihood, log_likelihood)
    assert torch.allclose((terms.elbo + (terms.kl_z if frozen else 0)).mean(), -loss)
    assert wanted["generator.output.weight"].abs().max() > 0
    learns = any(value.abs().max() > 0 for name, value in wanted.items() if name.startswith("encoder"))
    assert learns is not (frozen and kind in ("fixed pose", "vanilla"))


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("kind", ["mlp", "polar", "scale"])
def test_backward_of_two_views_is_one_plain_pass(kind, frozen):
    vae = build(kind)
    batch = batch_of(vae, pixels=20, views=2)
    loss, log_likelihood = plain(vae, batch, frozen=frozen, agree=0.7)
    loss.backward()
    wanted = gradients(vae)
    vae.zero_grad(set_to_none=True)
    terms = backward(vae, batch, chunk=3 * 20, frozen=frozen, agree=0.7, exchange=True, **KEY)
    for name, found in gradients(vae).items():
        assert torch.allclose(found, wanted[name], rtol=1e-9, atol=1e-10), name
    assert torch.allclose(terms.log_likelihood, log_likelihood)


def test_content_is_exchanged_where_it_is_asked_for():
    vae = build("polar")
    batch = batch_of(vae, views=2)
    alone, *both = (
        backward(vae, batch, chunk=640, frozen=False, agree=agree, exchange=exchange, **KEY)
        for agree, exchange in ((0.0, False), (1.0, False), (1.0, True))
    )
    assert [torch.equal(alone.log_likelihood, terms.log_likelihood) for terms in both] == [True, False]


def test_second_views_are_of_the_same_galaxies_and_independent():
    vae = build("polar")
    one, two = batch_of(vae, pixels=20), batch_of(vae, pixels=20, views=2)
    assert torch.equal(two.galaxy, one.galaxy.repeat(2))
    assert torch.equal(two.view.fields, one.view.fields.repeat(2, 1, 1, 1))
    assert torch.equal(two.view.offset[:5], one.view.offset)
    for values in (two.view.angle, two.view.offset, two.pixels, two.key):
        first, second = values.chunk(2)
        assert not torch.equal(first, second)


def test_jitter_is_about_the_centroid():
    vae = build("polar")
    assert batch_of(vae).view.origin is None
    vae.float()
    view = draw_batch(
        vae, fields(1).float().expand(500, -1, -1, -1), torch.arange(500),
        oversample=1, crop=0.0, rotate=False, pixels=4, focus=0.0, jitter=0.04, **KEY,
    ).view  # fmt: skip
    off = view.origin - view.centroid()
    assert off.std() == pytest.approx(0.04, rel=0.1)
    assert off.mean(0).abs().max() < 0.01


def test_frozen_content_teaches_the_encoder_nothing_about_z():
    vae = build("mlp")
    backward(vae, batch_of(vae), chunk=64, frozen=True, **KEY)
    grad = vae.encoder.output.weight.grad
    means_and_log_stds = torch.cat([grad[:3], grad[6:9]])
    assert torch.equal(means_and_log_stds, torch.zeros_like(means_and_log_stds))
    assert grad[3].abs().max() > 0


@pytest.mark.parametrize("kind", ["mlp", "polar", "vanilla"])
def test_evaluate_is_one_draw_without_gradients(kind):
    vae = build(kind)
    batch = batch_of(vae)
    terms = evaluate(vae, batch, chunk=2 * WINDOW**2, **KEY)
    q = vae.encode(batch.view)
    which = q.choose(uniform("hypotheses", batch.key, q.log_weight.shape[1], **KEY), 1)
    pose, content = q.draw(which, normal("latents", batch.key, 6, **KEY)[:, None])
    assert torch.allclose(terms.log_likelihood, vae.log_likelihood(pose, content, batch.values))
    assert torch.allclose(terms.kl_z, vae.divergence(q).content)
    assert torch.allclose(terms.elbo, terms.log_likelihood - terms.kl_z - terms.kl_pose)
    assert not terms.log_likelihood.requires_grad


@pytest.mark.parametrize("count", [1, 8, 10, 63])
def test_random_pixels_are_unbiased_in_value_and_gradient(count, monkeypatch):
    """The mean over every place within the strata is the sum over every pixel, of the value and of the gradient."""
    vae = build("mlp")
    everything = batch_of(vae)
    wanted = backward(vae, everything, chunk=10**6, frozen=False, **KEY)
    gradient = gradients(vae)
    vae.zero_grad(set_to_none=True)
    offsets = WINDOW**2
    seen = torch.zeros(WINDOW**2)
    log_likelihood = 0
    for offset in range(offsets):

        def every_place(name, galaxy, size, place=(offset + 0.5) / offsets, **key):
            return torch.full((len(galaxy), size), place) if name == "pixels" else uniform(name, galaxy, size, **key)

        monkeypatch.setattr("galvae.training.batch.uniform", every_place)
        batch = batch_of(vae, pixels=count)
        assert batch.values.shape == (5, count, CHANNELS)
        seen += torch.bincount(batch.pixels[0], minlength=WINDOW**2)
        log_likelihood = (
            log_likelihood + backward(vae, batch, chunk=10**6, frozen=False, **KEY).log_likelihood / offsets
        )
    assert (seen == count).all()
    assert torch.allclose(log_likelihood, wanted.log_likelihood, rtol=1e-9)
    for name, found in gradients(vae).items():
        assert torch.allclose(found / offsets, gradient[name], rtol=1e-7, atol=1e-9), name


@pytest.mark.parametrize("focus", [0.0, 0.7])
@pytest.mark.parametrize("count", [1, 16, 10, 63])
def test_each_pixel_counts_once_on_average(count, focus):
    """Drawn as often as its density says, and counted by the inverse: each pixel's expected share is one."""
    galaxies, total = 20_000, WINDOW**2
    density = pixel_density(pixel_grid(WINDOW), torch.tensor([[0.2, -0.5]]), focus=focus)
    assert torch.isclose(density.sum(), torch.tensor(1.0))
    pixels, weight = random_pixels(density.expand(galaxies, -1), count, torch.arange(galaxies), **KEY)
    assert pixels.shape == weight.shape == (galaxies, count)
    assert (pixels.diff(dim=1) >= 0).all()
    counted = torch.zeros(total, dtype=torch.float64)
    counted.index_add_(0, pixels.flatten(), weight.flatten().double() / galaxies)
    # The number of times is at most Poisson's, so this bounds the standard error.
    error = 1 / (galaxies * count * density[0].double()).sqrt()
    assert ((counted - 1).abs() < 5 * error).all()
    assert error.max() < 0.3


def test_focus_lies_on_the_cutouts_middle():
    """Where the window is off the cutout's middle by +x, that middle is off the window's by -x."""
    vae = build("mlp")
    batch = batch_of(vae, count=2, crop=torch.tensor([[2, 0], [0, -3]]), pixels=40, focus=0.99)
    far = (WINDOW - 1) / 2
    for number, offset in enumerate(([-2, 0], [0, 3])):
        mean = vae.grid[batch.pixels[number]].mean(0) * far
        assert (mean - torch.tensor(offset)).abs().max() < 0.7


def test_random_pixels_with_focus_are_unbiased():
    """Two thousand draws of one image's pixels: their mean is the sum over all within its standard error."""
    vae, count = build("mlp"), 2000
    field = fields(1).expand(count, -1, -1, -1)
    options = {"oversample": 1, "crop": torch.tensor([[1, -2]]).expand(count, 2), "rotate": False, **KEY}
    some = draw_batch(vae, field, torch.arange(count), pixels=12, focus=0.6, **options)
    pose = Pose(torch.full((count,), 0.3).double(), torch.zeros(count, 2).double())
    content = torch.ones(count, 3).double()
    with torch.no_grad():
        drawn = vae.log_likelihood(pose, content, some.values, pixels=some.pixels, weight=some.weight)
        every = draw_batch(
            vae, field[:1], torch.arange(1), pixels=0, focus=0.6, **options | {"crop": options["crop"][:1]}
        )
        whole = vae.log_likelihood(Pose(pose.theta[:1], pose.shift[:1]), content[:1], every.values)
    error = drawn.std() / math.sqrt(count)
    assert error < 0.02 * whole.abs()
    assert (drawn.mean() - whole).abs() < 4 * error


def test_values_are_those_of_the_upright_window():
    vae = build("mlp")
    upright, turned = batch_of(vae, rotate=False), batch_of(vae, rotate=True)
    assert torch.equal(upright.values, turned.values)
    assert torch.equal(upright.view.images(vae.grid).flatten(2).mT, upright.values)
    assert not torch.allclose(turned.view.images(vae.grid), upright.view.images(vae.grid), atol=0.05)
    assert turned.view.angle.min() >= 0
    some = batch_of(vae, pixels=20)
    assert torch.allclose(some.values, upright.values.gather(1, some.pixels[..., None].expand(-1, -1, CHANNELS)))


def test_windows_are_whole_field_pixels_inside_the_field():
    vae = build("mlp")
    batch = batch_of(vae, count=200, crop=2.0)
    offset = batch.view.offset
    margin = (SIDE - WINDOW) // 2
    assert torch.equal(offset, offset.round())
    assert offset.abs().max() == margin
    assert 1 < offset.std() < 2.1
    window = fields(200)[:, margin : margin + WINDOW, margin : margin + WINDOW]
    centred = (offset == 0).all(1)
    assert 0 < centred.sum() < 100
    # The grid is in single precision: that is so fine as its coordinates are.
    assert torch.allclose(batch.values[centred], window[centred].flatten(1, 2), atol=1e-5)
    given = torch.arange(10).view(5, 2) - 5
    assert torch.equal(batch_of(vae, crop=given).view.offset, given.double())


@pytest.mark.parametrize("kind", ["mlp", "polar"])
def test_a_galaxy_gets_the_same_whatever_its_batch(kind):
    vae = build(kind)
    together = batch_of(vae, pixels=20)
    terms = evaluate(vae, together, chunk=200, **KEY)
    alone = batch_of(vae, pixels=20, some=slice(3, 4))
    assert torch.equal(alone.pixels[0], together.pixels[3])
    assert torch.equal(alone.view.offset[0], together.view.offset[3])
    assert torch.equal(alone.view.angle[0], together.view.angle[3])
    found = evaluate(vae, alone, chunk=200, **KEY)
    assert torch.allclose(found.elbo[0], terms.elbo[3], rtol=1e-9)


def test_noise_is_the_inference_networks_alone_and_its_strength_the_galaxys():
    vae = build("polar").float()
    options = {"oversample": 1, "crop": 0.0, "rotate": False, "pixels": 9, "focus": 0.0, **KEY}
    grey = torch.full((400, SIDE, SIDE, CHANNELS), 0.5)
    plain, noisy = (draw_batch(vae, grey, torch.arange(400), noise=noise, **options) for noise in (0.0, 0.1))
    assert torch.equal(plain.values, noisy.values)
    assert torch.equal(plain.view.fields, grey)
    strength = (noisy.view.fields - grey).flatten(1).std(1)
    assert strength.max() < 0.12
    assert strength.mean() == pytest.approx(0.05, rel=0.1)
    some = draw_batch(vae, grey[:7], torch.arange(7), noise=0.1, **options)
    assert torch.equal(some.view.fields, noisy.view.fields[:7])


@pytest.mark.parametrize("kind", ["mlp", "polar"])
def test_the_weight_of_content_weighs_its_divergence_alone(kind):
    """The gradient is linear in it, and what is reported is the bound whatever it is."""
    grads, terms = [], []
    for weight in (0.0, 0.5, 1.0):
        vae = build(kind)
        terms.append(backward(vae, batch_of(vae), chunk=64, frozen=False, content_weight=weight, **KEY))
        grads.append(torch.cat([p.grad.flatten() for p in vae.encoder.parameters()]))
    assert torch.allclose(grads[1], (grads[0] + grads[2]) / 2, atol=1e-12)
    vae = build(kind)
    vae.divergence(vae.encode(batch_of(vae).view)).content.mean().backward()
    wanted = torch.cat([p.grad.flatten() for p in vae.encoder.parameters()])
    assert torch.allclose(grads[2] - grads[0], wanted, atol=1e-12)
    assert torch.equal(terms[0].elbo, terms[2].elbo)


def test_galaxies_are_mirrored_whole_with_all_their_views():
    vae = build("polar")
    content = fields(40)
    options = {"oversample": 1, "crop": 0.0, "rotate": False, "pixels": 0, "focus": 0.0, "views": 2, **KEY}
    plain, seen = (
        draw_batch(vae, content, torch.arange(40), mirror=mirror, **options).values.view(80, WINDOW, WINDOW, CHANNELS)
        for mirror in (False, True)
    )
    same = torch.isclose(seen, plain).flatten(1).all(1)
    flipped = torch.isclose(seen, plain.flip(2)).flatten(1).all(1)
    assert (same ^ flipped).all()
    assert torch.equal(*flipped.chunk(2))
    assert 10 < flipped[:40].sum() < 30


def test_a_fixed_window_is_mirrored_with_its_galaxy():
    vae = build("polar")
    crop = torch.tensor([[2.0, 1.0]]).expand(30, -1)
    options = {"oversample": 1, "rotate": False, "pixels": 0, "focus": 0.0, **KEY}
    content = fields(30)
    plain, seen = (
        draw_batch(vae, content, torch.arange(30), mirror=mirror, crop=crop, **options) for mirror in (False, True)
    )
    across = seen.view.offset[:, 0] == -2
    assert 5 < across.sum() < 25
    assert torch.equal(seen.view.offset[~across], plain.view.offset[~across])
    assert torch.equal(seen.view.offset[:, 1], plain.view.offset[:, 1])
    upright, mirrored = (batch.values.view(30, WINDOW, WINDOW, CHANNELS) for batch in (plain, seen))
    torch.testing.assert_close(mirrored[across], upright[across].flip(2))
    torch.testing.assert_close(mirrored[~across], upright[~across])


def test_pixels_that_count_alike_are_weighted_by_the_density_on_average():
    vae = build("polar")
    options = {"oversample": 1, "crop": 0.0, "rotate": False, "pixels": 16, "focus": 0.6, **KEY}
    many = fields(1).expand(4000, -1, -1, -1)
    batch = draw_batch(vae, many, torch.arange(4000), unbiased=False, **options)
    counted = torch.zeros(4000, WINDOW**2).scatter_add_(1, batch.pixels, batch.weight.float()).mean(0)
    density = pixel_density(vae.grid, torch.zeros(1, 2), focus=0.6)[0].float()
    assert counted.sum() == pytest.approx(WINDOW**2, rel=1e-5)  # of such a size are the nats of every pixel once
    torch.testing.assert_close(counted, density * WINDOW**2, atol=0.1, rtol=0)
