"""What a file is, told from its first bytes, and its bytes without compression."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import struct
import zipfile
import zlib
from collections.abc import Callable
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
_HIDDEN = re.compile(r"(^|/)(\.|__MACOSX)")
# An encrypted member of a zip archive is a RuntimeError, an unknown compression a NotImplementedError.
_DAMAGE = (EOFError, OSError, RuntimeError, struct.error, zlib.error, lzma.LZMAError, zipfile.BadZipFile)


def members(path: str) -> list[Place]:
    """The files in a zip archive, sorted by name, without what macOS adds.

    Raises
    ------
    ValueError
        If the archive is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            archive.NameToInfo.clear()
            found = []
            # Emptied as it is read: zipfile's own entries are the largest thing that planning holds.
            while entries:
                entry = entries.pop()
                if not entry.is_dir() and not _HIDDEN.search(entry.filename):
                    span = (entry.header_offset, entry.compress_size, entry.compress_type, entry.CRC)
                    found.append(Place(path, entry.filename, span))
    except (zipfile.BadZipFile, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: damaged zip archive ({error})") from None
    return sorted(found)


def _member(place: Place, most: int | None = None) -> bytes:
    """The bytes of a member, found without the archive's directory: a worker need not hold that of 60,000 pictures.

    Where no more than the first `most` are wanted, only these are read, and nothing is checked.
    """
    offset, size, method, crc = place.span
    if method not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        with zipfile.ZipFile(place.path) as archive:
            return archive.read(place.member)
    with open(place.path, "rb") as file:
        file.seek(offset)
        signature, flags, name, extra = struct.unpack("<4s2xH18xHH", file.read(30))
        file.seek(name + extra, io.SEEK_CUR)
        data = file.read(size if most is None else min(size, most + 512))
    if signature != b"PK\x03\x04" or flags & 1:
        raise zipfile.BadZipFile("encrypted" if flags & 1 else "no member where the archive says that one is")
    if most is not None:
        return data[:most] if method == zipfile.ZIP_STORED else zlib.decompressobj(-15).decompress(data, most)
    data = data if method == zipfile.ZIP_STORED else zlib.decompress(data, -15)
    if zlib.crc32(data) != crc:
        raise zipfile.BadZipFile("wrong checksum")
    return data


def _open(place: Place) -> BinaryIO:
    return io.BytesIO(_member(place)) if place.member else open(place.path, "rb")


def _packing(head: bytes) -> Callable[..., BinaryIO] | None:
    return next((opener for magic, opener in _PACKED.items() if head.startswith(magic)), None)


def kind(place: Place) -> str:
    """What lies there, judged by content: fits, picture, hdf5, zip, empty, damaged, or unknown.

    Raises
    ------
    OSError
        If the file cannot be opened.
    """
    if not place.member:
        with open(place.path, "rb"):
            pass
    try:
        if place.member and _kind(_member(place, 16)) == "picture":
            return "picture"  # whether the rest is whole is seen when it is read
        with _open(place) as raw:
            head = raw.read(16)
            if opener := _packing(head):
                raw.seek(0)
                with opener(raw) as unpacked:
                    head = unpacked.read(16)
    except _DAMAGE:
        return "damaged"
    return _kind(head) if head else "empty"


def _kind(head: bytes) -> str:
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
