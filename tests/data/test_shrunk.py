"""A JPEG decoded at a fraction of its size gives the field that the whole one gives, and lies where that lies."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from galvae.data.part import make_galaxy
from galvae.data.prepare import frame, to_field
from galvae.data.readers.base import Item, Place
from galvae.data.readers.pictures import decode, load
from galvae.data.readers.plan import plan
from galvae.data.settings import IngestSettings

ZIP = Path(__file__).parents[2].parent / "shared" / "data" / "galaxy-zoo" / "images_training_rev1.zip"
# Sides that four divides, or two, or nothing; that eight does and does not; square and not.
SIZES = {(424, 424): 4, (424, 426): 2, (420, 420): 4, (422, 422): 2, (423, 423): 1, (424, 423): 1, (600, 328): 4}
LINES = ["getFrames() has failed", "SELECT img, f.a, f.b, f.c", "FROM dbo.fGetNearbyFrameEq(167.1,0.6)"]
SMALL = IngestSettings(field=64, window=32)


def galaxy(size, x, y, width):
    """A disk of two colours with a small red core, row 0 at the bottom."""
    rows, columns = np.indices(size)
    apart = np.hypot(columns - x, rows - y)
    disk, core = 150 * np.exp(-((apart / width) ** 2) / 2), 60 * np.exp(-((apart / 3) ** 2) / 2)
    return np.rint(np.dstack([disk + core, disk, 0.8 * disk])).astype(np.uint8)


def saved(pixels, path, **options):
    Image.fromarray(np.ascontiguousarray(pixels[::-1])).save(path, **{"quality": 95, **options})
    return Place(str(path))


def field_of(cutout, recipe):
    where = frame(cutout.size, recipe)
    return to_field(cutout.pixels, where), where


def centroid(field):
    light = field[:, :, 0].clip(8) - 8.0
    rows, columns = np.indices(light.shape)
    return np.array([(light * columns).sum(), (light * rows).sum()]) / light.sum()


def rms(one, other):
    return np.sqrt(np.mean((one.astype(float) - other) ** 2))


@pytest.mark.parametrize("sampling", [0, 2], ids=["4:4:4", "4:2:0"])
@pytest.mark.parametrize("size", SIZES)
def test_a_galaxy_lands_where_the_affine_says_and_looks_as_the_whole_picture_does(size, sampling, tmp_path):
    at = np.array([size[1] * 0.48 + 0.3, size[0] * 0.53 - 0.2])
    picture = galaxy(size, *at, width=18)
    place = saved(picture, tmp_path / "a.jpg", subsampling=sampling)
    cutout = load(place, SMALL)
    assert (cutout.shrunk, cutout.size) == (SIZES[size], size)
    field, where = field_of(cutout, SMALL)
    np.testing.assert_allclose(where.affine @ [*centroid(field), 1], at, atol=0.05)
    assert rms(field, to_field(decode(Path(place.path).read_bytes()), where)) < 1


@pytest.mark.parametrize("turns", [1, 2, 3])
@pytest.mark.parametrize("size", SIZES)
def test_a_turned_file_gives_the_turned_field(size, turns, tmp_path):
    picture = galaxy(size, size[1] * 0.4, size[0] * 0.55, width=18)
    turned = load(saved(np.rot90(picture, turns), tmp_path / "b.jpg"), SMALL)
    field, _ = field_of(load(saved(picture, tmp_path / "a.jpg"), SMALL), SMALL)
    assert rms(field_of(turned, SMALL)[0], np.rot90(field, turns)) < 1


@pytest.mark.parametrize(("size", "field", "fine", "shrunk"), [
    (424, 128, 1, 2), (424, 64, 1, 4), (424, 128, 2, 1), (424, 64, 2, 2), (320, 128, 1, 2), (316, 128, 1, 1),
    (640, 128, 1, 4), (64, 64, 1, 1), (48, 64, 1, 1), (1024, 64, 1, 4),
])  # fmt: skip
def test_the_field_decides_the_scale(size, field, fine, shrunk, tmp_path):
    picture = galaxy((size, size), size / 2, size / 2, width=size / 10)
    place = saved(picture, tmp_path / "a.jpg")
    assert load(place, IngestSettings(field=field, oversample=fine)).shrunk == shrunk


@pytest.mark.skipif(not ZIP.is_file(), reason=f"no real data at {ZIP}")
@pytest.mark.parametrize("field", [64, 80, 128, 160])
def test_real_galaxies_differ_by_less_than_a_grey_level(field):
    recipe = IngestSettings(field=field)
    for item in plan([ZIP], recipe)[::200]:
        cutout = load(item.place, recipe)
        made, where = field_of(cutout, recipe)
        whole = field_of(load(item.place, IngestSettings(field=424)), IngestSettings(field=424))[0]
        assert rms(made, to_field(whole, where)) < 1, item.id


@pytest.mark.parametrize("options", [
    {"subsampling": 0}, {"subsampling": 1}, {"subsampling": 2}, {"progressive": True}, {"quality": 30},
    {"keep_rgb": True},
], ids=str)  # fmt: skip
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_whole_pictures_have_the_pixels_that_pillow_gives(mode, options):
    data = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (61, 83, 3), np.uint8)
    Image.fromarray(pixels).convert(mode).save(data, "JPEG", **options)
    theirs = np.asarray(Image.open(data).convert("RGB"))
    np.testing.assert_array_equal(decode(data.getvalue()), theirs[::-1])


def test_a_camera_held_upright_is_obeyed(tmp_path):
    picture = galaxy((424, 424), 100, 200, width=18)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise for display
    held = saved(np.rot90(picture, -1), tmp_path / "a.jpg", exif=exif)
    plain = saved(picture, tmp_path / "b.jpg")
    assert rms(field_of(load(held, SMALL), SMALL)[0], field_of(load(plain, SMALL), SMALL)[0]) < 1


def test_so_is_one_that_only_xmp_tells_of(tmp_path):
    picture = galaxy((424, 424), 100, 200, width=18)
    held, plain = (saved(p, tmp_path / n) for p, n in ((np.rot90(picture, -1), "a.jpg"), (picture, "b.jpg")))
    xmp = b'http://ns.adobe.com/xap/1.0/\0<x:xmpmeta xmlns:x="adobe:ns:meta/" tiff:Orientation="6"/>'
    data = Path(held.path).read_bytes()
    Path(held.path).write_bytes(data[:2] + b"\xff\xe1" + (len(xmp) + 2).to_bytes(2, "big") + xmp + data[2:])
    assert rms(field_of(load(held, SMALL), SMALL)[0], field_of(load(plain, SMALL), SMALL)[0]) < 1


def test_notes_of_a_camera_held_level_leave_the_scale(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 1
    picture = galaxy((424, 424), 100, 200, width=18)
    assert load(saved(picture, tmp_path / "a.jpg", exif=exif), SMALL).shrunk == 4


@pytest.mark.parametrize("size", [128, 212, 424, 1024])
@pytest.mark.parametrize("height", [8, 14, 32])
@pytest.mark.parametrize("field", [16, 64])
@pytest.mark.parametrize("white", [True, False])
def test_an_error_page_is_none_at_any_scale(size, height, field, white, tmp_path):
    page = Image.new("RGB", (size, size), (0 if white else 255,) * 3)
    for number, line in enumerate(LINES):
        at = 4, 4 + number * (height + 4)
        ImageDraw.Draw(page).text(at, line, fill=(255 if white else 0,) * 3, font=ImageFont.load_default(height))
    page.save(tmp_path / "a.jpg", quality=75)
    with pytest.raises(ValueError, match="text or a plot rendered"):
        make_galaxy(Item("pictures", "a", "a", Place(str(tmp_path / "a.jpg"))), IngestSettings(field=field, window=16))
