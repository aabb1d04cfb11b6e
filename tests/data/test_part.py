"""One input, one galaxy: what is too little of a picture to be one."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from galvae.data.part import make_galaxy
from galvae.data.readers.base import Item, Place
from galvae.data.settings import IngestSettings

SMALL = IngestSettings(field=16, window=8)


def made(pixels, tmp_path):
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "PNG")
    (tmp_path / "a.png").write_bytes(data.getvalue())
    return make_galaxy(Item("pictures", "a", "a.png", Place(str(tmp_path / "a.png"))), SMALL)


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (200, 30, 90)])
def test_one_colour_all_over_is_no_galaxy(colour, tmp_path):
    pixels = np.full((20, 20, 3), colour, np.uint8)
    with pytest.raises(ValueError, match="every pixel has the same value"):
        made(pixels, tmp_path)
    pixels[3, 4, 2] ^= 1
    field, _ = made(pixels, tmp_path)
    assert field.shape == (16, 16, 3)


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 3), (7, 40)])
def test_a_sliver_is_no_galaxy(shape, tmp_path):
    large = np.random.default_rng(0).integers(0, 90, (500, 500, 3), np.uint8)
    with pytest.raises(ValueError, match=rf"^{shape[1]}x{shape[0]} pixels show no galaxy; at least 8 along a side"):
        made(large[: shape[0], : shape[1]], tmp_path)
    made(large[: max(8, shape[0]), : max(8, shape[1])], tmp_path)
