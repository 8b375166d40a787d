"""The readers of files that a stranger may have made, each with small intact files to begin from.

    reader = READERS["checkpoint"]; reader.try_bytes(raw, folder)     # None, or why it was refused

A reader may refuse with the error that it declares, and nothing else may come out of it. A file
that is not intact may be accepted only where nothing in it says what it should be: a pixel of a
data set that nobody pinned. A checkpoint has a digest: only intact or signed ones are accepted.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from gradwright.training.checkpoint import Checkpoint, Position, Settings, load, save
from gradwright.training.history import Measured, read_csv, write_csv
from gradwright.training.idx import IdxSpec, read_idx
from gradwright.training.picture_file import read_digit
from ir.errors import CheckpointError, DataError, GradwrightError

IMAGES = IdxSpec("images", ("images", "rows", "columns"), (None, None, None))
LABELS = IdxSpec("labels", ("labels",), (None,), kinds="ui")


@dataclass(frozen=True)
class Reader:
    """`refuses` is the error that `read` may raise, `room` its memory beyond twice the file."""

    name: str
    read: Callable[[Path], Any]
    refuses: type[GradwrightError]
    intact: Callable[[], tuple[bytes, ...]]
    digest: bool = False
    room: int = 2**19

    def try_bytes(self, raw: bytes, folder: Path) -> str | None:
        """Why it was refused, or None. Any other error is a defect, and comes through."""
        path = folder / self.name
        path.write_bytes(raw)
        try:
            self.read(path)
        except self.refuses as error:
            return str(error)
        if self.digest and raw not in self.intact() and raw != resigned(raw):
            raise AssertionError("a changed checkpoint was accepted")
        return None


def idx_bytes(array: np.ndarray, code: int) -> bytes:
    sizes = b"".join(struct.pack(">I", size) for size in array.shape)
    return bytes([0, 0, code, array.ndim]) + sizes + array.tobytes()


@cache
def images() -> tuple[bytes, ...]:
    draw = np.random.default_rng(0)
    small = draw.integers(0, 256, (3, 4, 5), np.uint8)
    large = np.zeros((20, 28, 28), np.uint8)
    large[:, 8:20, 12:16] = draw.integers(0, 256, (20, 12, 4), np.uint8)
    return (
        idx_bytes(small, 0x08),
        idx_bytes(large, 0x08),
        idx_bytes(small.astype(">f4"), 0x0D),
        idx_bytes(small.astype(">i2"), 0x0B),
    )


@cache
def labels() -> tuple[bytes, ...]:
    return (idx_bytes(np.arange(40, dtype=np.uint8) % 10, 0x08),)


def packed(files: tuple[bytes, ...]) -> tuple[bytes, ...]:
    return tuple(gzip.compress(raw, mtime=0) for raw in files)


@cache
def checkpoints() -> tuple[bytes, ...]:
    settings = Settings("digits", "numpy", "float64", 32, "adam", 1, 7, 0.05, None)
    arrays = {"fc.W": np.ones((4, 3), np.float32), "fc.b": np.zeros(3, np.float32)}
    state = {"step": np.array(7, np.int64), "fc.b.m": np.zeros(3, np.float32)}
    made = []
    for params, held in ((arrays, state), ({"b": np.ones(2)}, {}), ({}, {})):
        point = Checkpoint("net", "5eed", settings, Position(2, 5, 95, 1 / 3), params, held)
        made.append(written(lambda path, point=point: save(path, point)))
    return tuple(made)


@cache
def histories() -> tuple[bytes, ...]:
    rows = [
        Measured(n, 10 * n, 0.5, 1e4, 0.1, 2.0 / n, 2.1, 2.2, None, 0.5, {"fc.W": 1.0}, {}, {})
        for n in (1, 2, 3)
    ]
    return (written(lambda path: write_csv(path, rows)),)


@cache
def pictures() -> tuple[bytes, ...]:
    from PIL import Image

    pixels = np.full((20, 16), 255, np.uint8)
    pixels[4:16, 7:9] = 0
    grey = Image.fromarray(pixels)
    made = []
    for kind, mode in (("PNG", "L"), ("PNG", "RGBA"), ("PNG", "P"), ("JPEG", "RGB"), ("BMP", "RGB"),
                       ("GIF", "P")):  # fmt: skip
        stream = io.BytesIO()
        grey.convert(mode).save(stream, kind)
        made.append(stream.getvalue())
    return tuple(made)


def written(write: Callable[[Path], None]) -> bytes:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / "file")
        return (Path(folder) / "file").read_bytes()


def resigned(raw: bytes) -> bytes:
    """A checkpoint with a right digest, as somebody makes it who means to: damage has none."""
    end = 8 + int.from_bytes(raw[:8], "little")
    blank = re.sub(rb"[0-9a-f]{64}", b"0" * 64, raw[:end], count=1) + raw[end:]
    return blank.replace(b"0" * 64, hashlib.sha256(blank).hexdigest().encode(), 1)


def rewritten(raw: bytes, change: Callable[[dict[str, Any]], None]) -> bytes:
    """The header changed as JSON, then signed."""
    end = 8 + int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8:end])
    change(header)
    text = json.dumps(header).encode()
    return resigned(len(text).to_bytes(8, "little") + text + raw[end:])


READERS = {
    "idx": Reader("images", lambda p: read_idx(p, IMAGES), DataError, images),
    "idx-labels": Reader("labels", lambda p: read_idx(p, LABELS), DataError, labels),
    "idx-gz": Reader(
        "images.gz", lambda p: read_idx(p, IMAGES), DataError, cache(lambda: packed(images()))
    ),
    "checkpoint": Reader("c.safetensors", load, CheckpointError, checkpoints, digest=True),
    "history": Reader("history.csv", read_csv, DataError, histories),
    "picture": Reader(
        "seven.png", lambda p: read_digit(p, 28, 20), DataError, pictures, room=2**26
    ),
}
