"""Names of photometric bands: which names there are, their order in wavelength, and files that belong
together."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

# Effective wavelengths in nm; SVO Filter Profile Service (Rodrigo & Solano 2020), rounded: only the order
# matters.
_WAVELENGTH = {
    "FUV": 154, "NUV": 231, "u": 355, "U": 365, "B": 440, "g": 477, "G": 478, "V": 551, "r": 623, "R": 658,
    "i": 762, "I": 806, "z": 900, "Z": 882, "y": 963, "Y": 1031, "J": 1250, "H": 1650, "K": 2190, "Ks": 2150,
    "j": 1251, "h": 1651, "k": 2191, "W1": 3353, "W2": 4603, "VIS": 715,
}  # fmt: skip
_SPACE = re.compile(r"[Ff](\d{3,4})(?:W2?|M|N|LP|X|w2?|m|n|lp|x)")
# HST/UVIS and ACS names give nm, HST/IR and JWST names give tens of nm; these three-digit ones are JWST's.
_JWST = {
    200,
    210,
    212,
    250,
    277,
    300,
    322,
    323,
    335,
    356,
    360,
    405,
    410,
    430,
    444,
    460,
    466,
    470,
    480,
    560,
    770,
}
_SEPARATORS = re.compile(r"([-_.\s]+)")
_GAP = "\0"
# Words of a file's name for maps that lie beside an image, and for the image.
_MAPS = {"WEIGHT", "WEIGHTS", "WHT", "WGT", "IVAR", "INVVAR", "RMS", "MASK", "DQ", "ERR", "ERROR", "VARIANCE"}
_SKY = {"IMAGE", "IMG", "SCI", "DATA", "FLUX"}


def wavelength(name: str) -> float | None:
    """Effective wavelength of a band in nm, or None where `name` is not a band that we know."""
    if name in _WAVELENGTH:
        return _WAVELENGTH[name]
    if not (match := _SPACE.fullmatch(name)):
        return None
    digits = int(match[1])
    if name[:5].upper() == "F300X":
        return digits
    return 10 * digits if digits < 200 or digits in _JWST or digits >= 1000 else digits


def band_in_header(header: Mapping[str, object], number: int | None = None) -> str:
    """The band that a FITS header names, or an empty string.

    Parameters
    ----------
    header
        The header.
    number
        Plane of a cube, counted from 0; None for an image of one plane.
    """
    if number is None:
        keys = ("BAND", "FILTER", "FILTER1", "FILTER2", "HIERARCH FPA.FILTER", "FPA.FILTER", "FILTNAM1")
    else:
        # BANDn is counted from 0 where a BAND0 is there (Legacy Survey), else from 1; FILTERn likewise.
        keys = tuple(f"{key}{number + (f'{key}0' not in header)}" for key in ("BAND", "FILTER"))
    for key in keys:
        for word in str(header.get(key, "")).replace("-", " ").replace("_", " ").replace(".", " ").split():
            if wavelength(word) is not None:
                return word
    return ""


def bands_of_cube(header: Mapping[str, object], planes: int) -> tuple[str, ...]:
    """Names of a cube's planes, in the order of the planes; empty where the header does not name every
    one."""
    named = tuple(band_in_header(header, number) for number in range(planes))
    if all(named):
        return named
    text = str(header.get("BANDS", header.get("FILTERS", ""))).strip()
    names = re.split(r"[,;\s]+", text) if re.search(r"[,;\s]", text) else list(text)
    if len(names) == planes and len(set(names)) == planes and all(wavelength(name) for name in names):
        return tuple(names)
    return ()


def red_green_blue(names: Sequence[str], wanted: Sequence[str] = ()) -> tuple[str, ...]:
    """Which bands make a composite: three for R, G, B; two for R and B; one, shown grey; none if none is named.

    Without `wanted` it is i, r, g where all are there, else the reddest, the middle and the bluest of those named.

    Raises
    ------
    ValueError
        If a wanted band is not there.
    """
    if wanted:
        if absent := [name for name in wanted if name not in names]:
            there = ", ".join(filter(None, names)) or "none by name"
            raise ValueError(
                f"no {' nor '.join(absent)} band (ingest.bands = {', '.join(wanted)}; there is {there}); "
                "name the planes "
                f"of a cube by ingest.cube_bands"
            )
        return tuple(wanted)
    if {"i", "r", "g"} <= set(names):
        return "i", "r", "g"
    known = sorted((name for name in names if wavelength(name) is not None), key=wavelength, reverse=True)
    return tuple(known) if len(known) <= 3 else (known[0], known[(len(known) - 1) // 2], known[-1])


def group(stems: Sequence[tuple[str, str]]) -> list[tuple[str, dict[str, int]]]:
    """Files whose names differ in nothing but a band.

    Parameters
    ----------
    stems
        (folder, name without ending) of each file.

    Returns
    -------
    list
        For each object its name, without the band, and the index of the file of each band: the empty band for a
        file whose name has none. In the order of each object's first file.
    """
    choices = [[*_choices(folder, stem)] for folder, stem in stems]
    crowd: dict[tuple[str, str], set[str]] = defaultdict(set)
    for found in choices:
        for key, band in found:
            crowd[key].add(band)
    objects: dict[tuple[str, str], tuple[str, dict[str, int]]] = {}
    for index, ((folder, stem), found) in enumerate(zip(stems, choices, strict=True)):
        # A band is a word that others stand beside or, in a file by itself, the last word of the name.
        key, band = max(found, key=lambda choice: len(crowd[choice[0]]), default=(("", ""), ""))
        alone = len(crowd[key]) < 2 and not key[1].endswith(_GAP)
        if alone or band in objects.get(key, ("", {}))[1]:
            objects[folder, f"{stem}{_GAP}{index}"] = stem, {band: index}
        else:
            objects.setdefault(key, (_without_gap(key[1]), {}))[1][band] = index
    return list(objects.values())


def beside_images(stems: Sequence[tuple[str, str]]) -> set[int]:
    """Which files are weights, errors or masks that lie beside their image, by their names: ``x_r.weight``, ``x_r``.

    Parameters
    ----------
    stems
        (folder, name without ending) of each file.
    """
    images, maps = set(), {}
    for index, (folder, stem) in enumerate(stems):
        words = [word for word in _SEPARATORS.split(stem)[::2] if word.upper() not in _SKY]
        named = (folder, *(word for word in words if word.upper() not in _MAPS))
        if any(word.upper() in _MAPS for word in words):
            maps[index] = named
        else:
            images.add(named)
    return {index for index, named in maps.items() if named in images}


def _choices(folder: str, stem: str) -> Iterator[tuple[tuple[str, str], str]]:
    """The words of a name that may be its band, the last one first, each with the name that has a gap there."""
    words = _SEPARATORS.split(stem)
    for place in range(len(words) - 1, -1, -2):
        if len(words) > 1 and wavelength(words[place]) is not None:
            yield (folder, "".join([*words[:place], _GAP, *words[place + 1 :]])), words[place]


def _without_gap(name: str) -> str:
    head, _, tail = name.partition(_GAP)
    return re.sub(r"[-_.\s]+$", "", head) + (tail if head else re.sub(r"^[-_.\s]+", "", tail))
