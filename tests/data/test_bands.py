"""Names of bands: their order, the files that belong together, and what a header says."""

from __future__ import annotations

import pytest

from galvae.data.readers.bands import band_in_header, bands_of_cube, beside_images, group, red_green_blue, wavelength


def grouped(*stems, folder="d"):
    return [(name, list(bands)) for name, bands in group([(folder, stem) for stem in stems])]


@pytest.mark.parametrize(
    "blue_to_red",
    [
        ("u", "g", "r", "i", "z", "y"),
        ("U", "B", "V", "R", "I", "J", "H", "K"),
        ("f275w", "f606w", "F814W", "f105w", "F160W", "f277w", "F444W", "F770W", "F1500W"),
        ("F300X", "F438W", "F850LP", "F090W", "F115W", "F200W", "F356W"),
    ],
)
def test_bands_are_ordered_by_wavelength(blue_to_red):
    assert sorted(blue_to_red, key=wavelength) == list(blue_to_red)


@pytest.mark.parametrize("word", ["", "x", "sdss", "f", "b", "fast", "f12w", "example", "7", "F150"])
def test_other_words_are_no_bands(word):
    assert wavelength(word) is None


def test_files_that_differ_in_the_band_are_one_object():
    assert grouped("a_7.9+1.5_g", "a_7.9+1.5_i", "a_7.9+1.5_r", "b_g") == [
        ("a_7.9+1.5", ["g", "i", "r"]),
        ("b", ["g"]),
    ]
    assert grouped("frame-g-0039-3", "frame-r-0039-3") == [("frame-0039-3", ["g", "r"])]
    assert grouped("r.ngc1", "g.ngc1") == [("ngc1", ["r", "g"])]
    assert grouped("DES_g", "PS1_g", "DES_r", "PS1_r") == [("DES", ["g", "r"]), ("PS1", ["g", "r"])]


def test_a_name_with_two_words_that_may_be_bands_is_grouped_by_the_one_that_varies():
    assert grouped("z_cosmos_f150w", "z_cosmos_f277w") == [("z_cosmos", ["f150w", "f277w"])]


def test_the_band_of_a_file_alone_is_cut_off_only_where_its_name_ends_in_it():
    assert grouped("m51_B_nowcs") == [("m51_B_nowcs", ["B"])]
    assert grouped("g") == [("g", [""])]
    assert grouped("m51_B") == [("m51", ["B"])]


def test_the_same_band_twice_is_two_objects_and_folders_are_apart():
    assert [name for name, _ in grouped("a_g", "a_g", "a_r")] == ["a", "a_g"]
    assert len(group([("x", "a_g"), ("y", "a_r")])) == 2


@pytest.mark.parametrize(
    ("image", "beside"),
    [
        ("a_r", "a_r.weight"),
        ("a_r", "a_weight_r"),
        ("a_r", "a_r_WHT"),
        ("cutout-image-r", "cutout-invvar-r"),
        ("stk.r.unconv", "stk.r.unconv.mask"),
        ("hst_f606w_sci", "hst_f606w_rms"),
    ],
)
def test_maps_are_told_by_the_image_that_they_lie_beside(image, beside):
    assert beside_images([("d", beside), ("d", image)]) == {0}
    assert beside_images([("d", image), ("d", beside)]) == {1}
    assert not beside_images([("d", beside), ("e", image)])


def test_a_name_with_such_a_word_and_no_image_beside_it_is_an_image():
    assert not beside_images([("d", "var_7"), ("d", "7"), ("d", "psf_star_g"), ("d", "a_mask"), ("d", "b")])


@pytest.mark.parametrize(
    ("header", "band"),
    [
        ({"FILTER": "g DECam SDSS c0001 4720.0 1520.0", "BAND": "g"}, "g"),
        ({"FILTER": "r.00000"}, "r"),
        ({"FILTER": "HSC-Z"}, "Z"),
        ({"FILTER1": "CLEAR1L", "FILTER2": "F814W"}, "F814W"),
        ({"FILTER": "none"}, ""),
        ({}, ""),
    ],
)
def test_band_of_a_header(header, band):
    assert band_in_header(header) == band


@pytest.mark.parametrize(
    ("header", "bands"),
    [
        ({"BANDS": "grz", "BAND0": "g", "BAND1": "r", "BAND2": "z"}, ("g", "r", "z")),
        ({"BANDS": "grz"}, ("g", "r", "z")),
        ({"BANDS": "F150W, F277W, F444W"}, ("F150W", "F277W", "F444W")),
        ({"FILTER1": "i", "FILTER2": "r", "FILTER3": "g"}, ("i", "r", "g")),
        ({"BANDS": "gr"}, ()),
        ({"BANDS": "ggr"}, ()),
        ({"FILTER": "g"}, ()),
        ({}, ()),
    ],
)
def test_a_cubes_planes_are_named_by_the_header_or_not_at_all(header, bands):
    assert bands_of_cube(header, 3) == bands


def test_which_bands_make_a_composite():
    assert red_green_blue(("g", "i", "r", "z")) == ("i", "r", "g")
    assert red_green_blue(("g", "r", "z")) == ("z", "r", "g")
    assert red_green_blue(("u", "g", "r", "z", "y")) == ("y", "r", "u")
    assert red_green_blue(("f150w", "f444w")) == ("f444w", "f150w")
    assert red_green_blue(("", "", "")) == ()
    assert red_green_blue(("g", "r", "z"), ("r", "r", "g")) == ("r", "r", "g")
    with pytest.raises(ValueError, match="no i band"):
        red_green_blue(("g", "r"), ("i", "r", "g"))
