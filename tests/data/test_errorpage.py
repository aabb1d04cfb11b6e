"""Error pages drawn here are found; pictures of galaxies, also undersampled and noise-free ones, are not."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from galvae.data.errorpage import is_error_page
from galvae.data.readers.content import contents, members
from galvae.data.readers.pictures import decode

DATA = Path(__file__).parents[2].parent / "shared" / "data"
LINES = ["getFrames() has failed", "SELECT img, f.a, f.b, f.c", "FROM dbo.fGetNearbyFrameEq(167.1,0.6)"]


@pytest.mark.parametrize("size", [64, 150, 423, 1024])
@pytest.mark.parametrize("height", [8, 14, 32])
@pytest.mark.parametrize("white_on_black", [True, False])
@pytest.mark.parametrize("quality", [40, 75, 95])
def test_drawn_text_is_found(size, height, white_on_black, quality):
    if height > size / 8:
        height = 8
    ink, paper = ((255,) * 3, (0,) * 3) if white_on_black else ((0,) * 3, (255,) * 3)
    page = Image.new("RGB", (size, size), paper)
    for number, line in enumerate(LINES):
        ImageDraw.Draw(page).text((4, 4 + number * (height + 4)), line, fill=ink, font=ImageFont.load_default(height))
    data = io.BytesIO()
    page.save(data, "JPEG", quality=quality)
    assert is_error_page(decode(data.getvalue()))


@pytest.mark.parametrize("noise", [0.0, 3.0])
@pytest.mark.parametrize("fwhm", [2.0, 4.0])
@pytest.mark.parametrize("size", [64, 128, 424])
def test_galaxies_and_stars_are_not(noise, fwhm, size):
    random = np.random.default_rng(1)
    rows, columns = np.indices((size, size))
    light = 200 * np.exp(-np.hypot(columns - size / 2, (rows - size / 2) * 2) / (size / 12))
    for x, y in random.uniform(0, size, (size // 16, 2)):
        light += 400 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * (fwhm / 2.355) ** 2))
    light += noise * random.normal(size=light.shape)
    assert not is_error_page(np.dstack([np.clip(light, 0, 255).astype(np.uint8)] * 3))


@pytest.mark.skipif(not DATA.is_dir(), reason=f"no real data at {DATA}")
def test_a_real_page_among_real_galaxies():
    page = DATA / "odd-files" / "server_error_page_587729387686002878.jpeg"
    assert is_error_page(decode(page.read_bytes()))
    archive = str(DATA / "galaxy-zoo-1" / "images.zip")
    found = [place.name for place in members(archive)[::8] if is_error_page(decode(contents(place)))]
    assert found == []
