"""Read one IDX file, the format of MNIST, plain or gzip, and refuse whatever is not exactly that.

Read `read_idx` first: it is the list of checks in their order. `_Plain` and `_Gzip` are the two
ways to get the bytes; neither ever hands out more than it was asked for, so a small gzip file that
decompresses to gigabytes is stopped one byte after the size its header declares. Nothing is
extracted to disk and nothing is allocated before the header has been checked.

    two zero bytes | type byte | number of dimensions | big-endian sizes | values, big-endian

It does not know what the values mean: see `image_folder.py`.
"""

from __future__ import annotations

import hashlib
import math
import os
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from ir.errors import DataError

MAX_BYTES = 4 * 2**30
"""No file may declare more than this; MNIST's largest has 47 MB."""

UNPACKED, FREE_BYTES = 100, 64 * 2**20
"""Beyond 64 MiB, a gzip file may not declare more than 100 times its size; MNIST's declare 5."""

TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
"""Type byte of the header to NumPy's name of the type."""

_CHUNK = 1 << 16
_GZIP_MAGIC = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class IdxSpec:
    """What one file has to be: the name of each axis, its size where it is known, its digest.

    `sha256` is that of the decompressed file, so the same content in another compression passes.
    """

    stem: str
    axes: tuple[str, ...]
    shape: tuple[int | None, ...]
    sha256: str | None = None
    kinds: str = "uif"


def refusal(
    path: Path, field: str, expected: object, found: object, fix: str | None = None
) -> DataError:
    """The one form of every complaint about a data file: file, field, expected, found."""
    notes = (f"file: {path}", f"expected: {expected}", f"found: {found}")
    return DataError(f"{path.name}: {field} is not as it should be", notes=notes, fix=fix)


def read_idx(path: Path, spec: IdxSpec) -> NDArray[Any]:
    """`read_idx(Path("t10k-labels-idx1-ubyte.gz"), spec)` gives the 10,000 labels as uint8.

    The array has the header's shape in native byte order. Raises `DataError` for a file that is
    missing, cut, too long, mislabelled, damaged, or of another content than `spec.sha256`.
    """
    with _opened(path) as file:
        source = _source(path, file)
        head = source.read(4)
        dtype, ndim = _type_and_rank(path, head, spec)
        sizes = source.read(4 * ndim)
        shape = _shape(path, sizes, ndim, spec)
        count = math.prod(shape) * dtype.itemsize
        _check_total(path, count)
        source.announce(4 + 4 * ndim + count)
        content = source.read(count)
        _check_length(path, len(content), count)
        source.finish()
    _check_digest(path, (head, sizes, content), spec.sha256)
    values = np.frombuffer(content, dtype).reshape(shape)
    return values.astype(dtype.newbyteorder("="), copy=False)


class _Source(Protocol):
    """Bytes of the uncompressed file, in order, never more than asked for."""

    def read(self, count: int) -> bytearray: ...
    def announce(self, total: int) -> None: ...
    def finish(self) -> None: ...


@dataclass(slots=True)
class _Plain:
    path: Path
    file: BinaryIO

    def read(self, count: int) -> bytearray:
        return bytearray(self.file.read(count))

    def announce(self, total: int) -> None:
        """A plain file's length is known, so it is compared before the content is allocated."""
        _check_length(self.path, os.fstat(self.file.fileno()).st_size, total)

    def finish(self) -> None:
        """Nothing can follow: `announce` compared the length."""


@dataclass(slots=True)
class _Gzip:
    path: Path
    file: BinaryIO
    decoder: Any
    delivered: int = 0

    def read(self, count: int) -> bytearray:
        out = bytearray()
        while len(out) < count and not self.decoder.eof:
            packed = self.decoder.unconsumed_tail or self.file.read(_CHUNK)
            if not packed:
                raise refusal(
                    self.path,
                    "gzip stream",
                    "a complete stream",
                    f"its end is missing after {self.delivered + len(out)} decompressed bytes",
                )
            out += self._inflate(packed, count - len(out))
        self.delivered += len(out)
        return out

    def _inflate(self, packed: bytes, limit: int) -> bytes:
        try:
            inflated: bytes = self.decoder.decompress(packed, limit)
        except zlib.error as error:
            raise refusal(self.path, "gzip stream", "an undamaged stream", error) from None
        return inflated

    def announce(self, total: int) -> None:
        """The decompressed length is known only at the end, where `finish` compares it.

        What no data set of pictures comes to is refused before it is allocated.
        """
        packed = os.fstat(self.file.fileno()).st_size
        if total > max(FREE_BYTES, UNPACKED * packed):
            most = f"at most {UNPACKED} times the file's {packed} bytes"
            raise refusal(self.path, "declared size", most, f"{total} bytes")

    def finish(self) -> None:
        """Ask for one byte more than the header declares, then for the end of the file."""
        total = self.delivered
        if self.read(1):
            raise refusal(
                self.path, "decompressed size", f"{total} bytes", f"at least {total + 1} bytes"
            )
        rest = self.decoder.unused_data + self.file.read(2)
        if rest:
            what = "a second gzip member" if rest.startswith(_GZIP_MAGIC) else "more bytes"
            raise refusal(self.path, "end of the gzip stream", "the end of the file", what)


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise refusal(path, "kind of file", "a regular file", "something else")
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise refusal(path, "file", "a readable file", error.strerror or error) from None


def _source(path: Path, file: BinaryIO) -> _Source:
    """Choose by content, and say so where content and name contradict each other."""
    start = file.read(16)
    file.seek(0)
    is_gzip, named_gzip = start.startswith(_GZIP_MAGIC), path.suffix == ".gz"
    if start.lstrip().startswith(b"<"):
        raise refusal(
            path,
            "content",
            "an IDX file",
            "an HTML page, as servers send for errors",
            fix="delete it and fetch it again",
        )
    if is_gzip and not named_gzip:
        raise refusal(
            path,
            "content",
            "a plain IDX file",
            "gzip data",
            fix=f"rename it to {path.name}.gz or decompress it",
        )
    if named_gzip and not is_gzip:
        raise refusal(path, "content", "gzip data", _describe(start))
    return _Gzip(path, file, zlib.decompressobj(wbits=31)) if is_gzip else _Plain(path, file)


def _describe(start: bytes) -> str:
    if not start:
        return "an empty file"
    if start[:2] == b"\0\0":
        return "a plain IDX file (its name should not end in .gz)"
    return f"bytes that start with {start[:4].hex(' ')}"


def _type_and_rank(path: Path, head: bytearray, spec: IdxSpec) -> tuple[np.dtype[Any], int]:
    if len(head) < 4:
        raise refusal(path, "header", "at least 4 bytes", f"{len(head)} bytes")
    if head[:2] != b"\0\0":
        raise refusal(path, "first two bytes", "00 00", head[:2].hex(" "))
    allowed = {byte: np.dtype(t) for byte, t in TYPES.items() if np.dtype(t).kind in spec.kinds}
    if head[2] not in allowed:
        names = ", ".join(f"{byte:02x} ({dtype.name})" for byte, dtype in allowed.items())
        raise refusal(path, "type byte", names, f"{head[2]:02x}")
    if head[3] != len(spec.axes):
        raise refusal(
            path, "number of dimensions", f"{len(spec.axes)} ({', '.join(spec.axes)})", head[3]
        )
    return allowed[head[2]], head[3]


def _shape(path: Path, sizes: bytearray, ndim: int, spec: IdxSpec) -> tuple[int, ...]:
    if len(sizes) < 4 * ndim:
        raise refusal(path, "header", f"{4 + 4 * ndim} bytes", f"{4 + len(sizes)} bytes")
    shape = tuple(int.from_bytes(sizes[4 * d : 4 * d + 4], "big") for d in range(ndim))
    for axis, expected, found in zip(spec.axes, spec.shape, shape, strict=True):
        if found == 0 or expected not in (None, found):
            least = "at least 1" if expected is None else expected
            raise refusal(path, f"number of {axis}", least, found)
    return shape


def _check_total(path: Path, count: int) -> None:
    if count > MAX_BYTES:
        raise refusal(path, "declared size", f"at most {MAX_BYTES} bytes", f"{count} bytes")


def _check_length(path: Path, found: int, expected: int) -> None:
    if found != expected:
        raise refusal(path, "length", f"{expected} bytes", f"{found} bytes")


def _check_digest(path: Path, parts: tuple[bytearray, ...], expected: str | None) -> None:
    if expected is None:
        return
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    if digest.hexdigest() != expected:
        raise refusal(path, "SHA-256 of the content", expected, digest.hexdigest())
