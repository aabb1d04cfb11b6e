"""What a file is, told from its first bytes, and its bytes without compression."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import zipfile
import zlib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from galvae.data.readers.base import Place

_PACKED: dict[bytes, Callable[..., BinaryIO]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
}
_KINDS = {
    b"SIMPLE  =": "fits",
    b"\x89HDF\r\n\x1a\n": "hdf5",
    b"PK\x03\x04": "zip",
    b"PK\x05\x06": "zip",
    b"\xff\xd8\xff": "picture",
    b"\x89PNG\r\n\x1a\n": "picture",
}
_IMAGE_ENDINGS = re.compile(r"\.(jpe?g|jpe|png|gif|bmp|webp|tiff?|fits?|fts|fz|gz|bz2|xz|zip|h5|hdf5)$", re.IGNORECASE)
# An encrypted member of a zip archive is a RuntimeError, an unknown compression a NotImplementedError.
_DAMAGE = (EOFError, OSError, RuntimeError, zlib.error, lzma.LZMAError, zipfile.BadZipFile)


@lru_cache(maxsize=2)
def _archive(path: str) -> zipfile.ZipFile:
    return zipfile.ZipFile(path)


def members(path: str) -> list[str]:
    """Names of the files in a zip archive, sorted, without what macOS adds.

    Raises
    ------
    ValueError
        If the archive is damaged.
    """
    try:
        names = sorted(entry.filename for entry in _archive(path).infolist() if not entry.is_dir())
    except (zipfile.BadZipFile, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: damaged zip archive ({error})") from None
    return [name for name in names if not any(part.startswith((".", "__MACOSX")) for part in Path(name).parts)]


def _open(place: Place) -> BinaryIO:
    return _archive(place.path).open(place.member) if place.member else Path(place.path).open("rb")


def _packing(head: bytes) -> Callable[..., BinaryIO] | None:
    return next((opener for magic, opener in _PACKED.items() if head.startswith(magic)), None)


def kind(place: Place) -> str:
    """What lies there, judged by content: fits, picture, hdf5, zip, empty, damaged, or unknown.

    Raises
    ------
    OSError
        If the file cannot be opened.
    """
    with Path(place.path).open("rb"):
        pass
    try:
        with _open(place) as raw:
            head = raw.read(16)
            if opener := _packing(head):
                raw.seek(0)
                with opener(raw) as unpacked:
                    head = unpacked.read(16)
    except _DAMAGE:
        return "damaged"
    if not head:
        return "empty"
    return next((name for magic, name in _KINDS.items() if head.startswith(magic)), "unknown")


def looks_like_image(name: str) -> bool:
    """Whether the ending of a file's name promises an image."""
    return bool(_IMAGE_ENDINGS.search(name))


def contents(place: Place) -> bytes:
    """All bytes that lie there, decompressed.

    Raises
    ------
    ValueError
        If the compressed data are damaged or cut short.
    """
    try:
        with _open(place) as raw:
            data = raw.read()
        opener = _packing(data)
        return opener(io.BytesIO(data)).read() if opener else data
    except FileNotFoundError:
        raise
    except _DAMAGE as error:
        raise ValueError(f"damaged or truncated compressed data: {error}") from None
