"""What a file is, told from its first bytes, and its bytes without compression."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache, partial
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
    b"\x00\x00\x08\x03": "idx",
    b"\x00\x00\x08\x01": "labels",
    b"\xff\xd8\xff": "picture",
    b"\x89PNG\r\n\x1a\n": "picture",
}
_IMAGE_ENDINGS = re.compile(
    r"\.(jpe?g|jpe|png|gif|bmp|webp|tiff?|fits?|fts|fz|gz|bz2|xz|zip|h5|hdf5|mrcs?)$", re.IGNORECASE
)
_PACKED_ENDING = re.compile(r"\.(gz|bz2|xz)$", re.IGNORECASE)
_MRC_ENDING = re.compile(r"\.(mrcs?|st)$", re.IGNORECASE)
# Those of the format, whether they are read or not.
_MRC_MODES = (0, 1, 2, 3, 4, 6, 12, 101)
_NOT_THERE = "no member where the archive says that one is"
_WINDOWS = 0, 10  # what an archive calls it
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
                name = entry.filename
                # Where some programs wrote folders as they are written there; of other letters it may be a part.
                if entry.create_system in _WINDOWS and name.isascii():
                    name = name.replace("\\", "/")
                if not name.endswith("/") and not _HIDDEN.search(name):
                    span = (entry.header_offset, entry.compress_size, entry.compress_type, entry.CRC)
                    found.append(Place(path, name, span))
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
            entries = (entry for entry in archive.infolist() if entry.header_offset == offset)
            if (entry := next(entries, None)) is None:
                raise zipfile.BadZipFile(_NOT_THERE)
            return archive.read(entry)
    with open(place.path, "rb") as file:
        file.seek(offset)
        signature, flags, name, extra = struct.unpack("<4s2xH18xHH", file.read(30))
        file.seek(name + extra, io.SEEK_CUR)
        data = file.read(size if most is None else min(size, most + 512))
    if signature != b"PK\x03\x04" or flags & 1:
        raise zipfile.BadZipFile("encrypted" if flags & 1 else _NOT_THERE)
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


def unpacked_name(name: str) -> str:
    """A file's name without the ending that says how it is compressed."""
    return _PACKED_ENDING.sub("", name)


def unpacked_size(path: str) -> int:
    """How many bytes a file holds, decompressed: what is packed is read through.

    Raises
    ------
    ValueError
        If the compressed data are damaged or cut short.
    """
    return _unpacked_size(path, *_version(path))


@lru_cache(maxsize=64)
def _unpacked_size(path: str, size: int, changed: int) -> int:
    with _undamaged(), open(path, "rb") as raw:
        opener = _packing(raw.read(16))
        if not opener:
            return size
        raw.seek(0)
        with opener(raw) as unpacked:
            return sum(map(len, iter(partial(unpacked.read, 2**20), b"")))


def read_at(path: str, start: int, size: int) -> bytes:
    """Bytes of a file, decompressed, from anywhere; fewer where it ends.

    What is packed is kept open, and read on from where the last call left it: rows in their order cost one pass.

    Raises
    ------
    ValueError
        If the compressed data are damaged or cut short.
    """
    with _undamaged():
        if _stream.key != (key := (path, *_version(path))):
            with open(path, "rb") as raw:
                opener = _packing(raw.read(16))
                if not opener:
                    raw.seek(start)
                    return raw.read(size)
            _stream.open(key, opener)
        _stream.file.seek(start)
        return _stream.file.read(size)


class _Stream:
    """The packed file that was read last."""

    key: tuple[str, int, int] | None = None
    file: BinaryIO

    def open(self, key: tuple[str, int, int], opener: Callable[..., BinaryIO]) -> None:
        if self.key:
            self.file.close()
        self.key, self.file = key, opener(key[0])


_stream = _Stream()


def _version(path: str) -> tuple[int, int]:
    found = os.stat(path)
    return found.st_size, found.st_mtime_ns


@contextmanager
def _undamaged() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise
    except _DAMAGE as error:
        raise ValueError(f"damaged or truncated compressed data: {error}") from None


def mrc_orders(head: bytes) -> str:
    """The byte orders, of ``<`` and ``>``, in which bytes may be an MRC header: sides, sections and mode of one."""

    def may_be(order: str) -> bool:
        nx, ny, nz, mode = struct.unpack(f"{order}4i", head[:16])
        return min(nx, ny, nz) >= 1 and max(nx, ny) <= 2**16 and nz <= 2**24 and mode in _MRC_MODES

    return "".join(order for order in "<>" if len(head) >= 1024 and may_be(order))


def kind(place: Place) -> str:
    """What lies there, judged by content: fits, picture, hdf5, zip, idx, labels, mrc, empty, damaged, or unknown.

    Many MRC files lack the four letters that say so: one of that ending is one, whatever may be wrong with it.

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
            head = raw.read(1024)
            if opener := _packing(head):
                raw.seek(0)
                with opener(raw) as unpacked:
                    head = unpacked.read(1024)
    except _DAMAGE:
        return "damaged"
    if not head:
        return "empty"
    return "mrc" if _is_mrc(head, unpacked_name(place.name)) else _kind(head)


def _is_mrc(head: bytes, name: str) -> bool:
    if head[208:212] == b"MAP ":
        return True
    if _kind(head) != "unknown" or not (ending := _MRC_ENDING.search(name)):
        return False
    return ending[1].lower() != "st" or bool(mrc_orders(head))  # much else ends so


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
    with _undamaged():
        with _open(place) as raw:
            data = raw.read()
        opener = _packing(data)
        return opener(io.BytesIO(data)).read() if opener else data
