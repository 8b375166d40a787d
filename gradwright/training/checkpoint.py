"""Checkpoints: all a run needs to go on, in one safetensors file that is never half written.

    save(path, Checkpoint(...)); checkpoint = load(path); require_match(checkpoint, model)

Parameters keep their names, so any safetensors reader opens the file; optimizer state is stored as
`optimizer/NAME`. All else is JSON under the one metadata key `gradwright`. It holds a SHA-256 over
the whole file, computed with its own 64 digits set to zero: one flipped bit anywhere is refused.
The file has no time and no path in it, so two equal runs write equal bytes.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import stat
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import numpy as np
from safetensors import SafetensorError
from safetensors import numpy as safetensors_numpy

from gradwright.training.model import Arrays, CompiledModel
from gradwright.training.whole_file import write_whole
from ir.errors import CheckpointError

FORMAT = "gradwright checkpoint 1"
FILE_NAME = "checkpoint.safetensors"
HEADER_BYTES = 2**22
"""The header names every array: this is room for tens of thousands."""
_KEY = "gradwright"
_STATE = "optimizer/"
# JSON inside a JSON string: its quotes are escaped in the file.
_MARKER = rb"\"sha256\": \""
_DIGITS = 64
_DAMAGE = SafetensorError, ValueError, LookupError, TypeError, RecursionError, MemoryError


@dataclass(frozen=True, slots=True)
class Settings:
    """The choices that a run is made of; a resumed run takes them from its checkpoint.

    `compiled_lr` is in the emitted source and so in the model's hash; `lr` overrides it in a run.
    """

    data: str
    target: str
    dtype: str
    batch: int
    optimizer: str
    threads: int
    seed: int
    compiled_lr: float
    lr: float | None
    schedule: str = "constant"
    patience: int | None = None


@dataclass(frozen=True, slots=True)
class Position:
    """How far a run is: whole epochs, batches of the next one, steps in all, its loss so far.

    With early stopping, also the best score on the test data, and the epochs since.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    best: float | None = None
    waited: int = 0


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One moment of a run."""

    network: str
    model_hash: str
    settings: Settings
    position: Position
    params: Arrays
    state: Arrays


def save(path: Path, checkpoint: Checkpoint) -> None:
    """Write it beside its place, sync, rename. Raises `OutputError`; then the old one stands."""
    record = {
        "format": FORMAT,
        "network": checkpoint.network,
        "model_hash": checkpoint.model_hash,
        "settings": asdict(checkpoint.settings),
        "position": asdict(checkpoint.position),
        "sha256": "0" * _DIGITS,
    }
    state = {_STATE + name: array for name, array in checkpoint.state.items()}
    tensors = {**checkpoint.params, **state}
    metadata = {_KEY: json.dumps(record, sort_keys=True)}
    raw = bytearray(safetensors_numpy.save(tensors, metadata))
    place = _digest_place(raw)
    raw[place] = _digest(raw, place)
    write_whole(path, raw, fix="choose another folder with --out")


def load(path: Path) -> Checkpoint:
    """Read and check it. `path` may be the folder of a run.

    Raises `CheckpointError` for a file that is missing, damaged in any bit, or not a checkpoint.
    """
    path = path / FILE_NAME if path.is_dir() else path
    with _refusing(path):
        raw = _content(path)
        place = _digest_place(raw)
        if _digest(raw, place) != raw[place]:
            raise ValueError("its SHA-256 does not match its content")
        record = json.loads(json.loads(_header(raw))["__metadata__"][_KEY])
        return _from_record(record, safetensors_numpy.load(raw))


def require_match(path: Path, checkpoint: Checkpoint, model: CompiledModel) -> None:
    """Raises `CheckpointError` saying what differs when the checkpoint is of another network."""
    differences = [
        *_difference("network", model.NAME, checkpoint.network),
        *_shape_differences(model.PARAM_SHAPES, checkpoint.params),
        *_shape_differences(model.STATE_SHAPES, checkpoint.state),
    ]
    if not differences:
        fresh = {name: np.dtype(model.DTYPE) for name in model.PARAM_SHAPES}
        state = {n: a.dtype for n, a in model.init_state(checkpoint.params).items()}
        differences = [
            *_dtype_differences(fresh, checkpoint.params),
            *_dtype_differences(state, checkpoint.state),
        ]
    if not differences:
        differences = _difference("model hash", model.MODEL_HASH, checkpoint.model_hash)
    if differences:
        raise CheckpointError(
            f"{path.name} is a checkpoint of another network",
            notes=(f"file: {path}", *differences),
            fix="resume with the model file and options it was trained with",
        )


def _content(path: Path) -> bytes:
    """The bytes of the file, once the first ones have shown that it can be a checkpoint at all."""
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise ValueError("it is not a regular file")
    with path.open("rb") as file:
        first = file.read(8)
        _digest_place(first + file.read(_header_end(first, found.st_size) - 8))
        file.seek(0)
        return file.read()


def _header_end(raw: bytes | bytearray, size: int) -> int:
    end = 8 + int.from_bytes(raw[:8], "little")
    if len(raw) < 8 or end > min(size, 8 + HEADER_BYTES):
        raise ValueError("it is cut off, or its first bytes are damaged")
    return end


def _header(raw: bytes | bytearray) -> bytes:
    return bytes(raw[8 : _header_end(raw, len(raw))])


def _digest_place(raw: bytes | bytearray) -> slice:
    """Where in the file the digest stands."""
    header = _header(raw)
    if header.count(_MARKER) != 1:
        raise ValueError("its header has no gradwright record")
    start = 8 + header.index(_MARKER) + len(_MARKER)
    return slice(start, start + _DIGITS)


def _digest(raw: bytes | bytearray, place: slice) -> bytes:
    """SHA-256 of the file with zeros in place of the digest itself."""
    view = memoryview(raw)
    digest = hashlib.sha256(view[: place.start])
    digest.update(b"0" * _DIGITS)
    digest.update(view[place.stop :])
    return digest.hexdigest().encode()


@contextlib.contextmanager
def _refusing(path: Path) -> Iterator[None]:
    """Whatever goes wrong in reading is a `CheckpointError` that names the file."""
    try:
        yield
    except OSError as error:
        raise CheckpointError(
            f"checkpoint {path} cannot be read: {error.strerror or error}"
        ) from None
    except _DAMAGE as error:
        raise CheckpointError(
            f"{path.name} is not an intact gradwright checkpoint",
            notes=(f"file: {path}", f"found: {error}"),
        ) from None


def _from_record(record: dict[str, Any], arrays: dict[str, Any]) -> Checkpoint:
    if record["format"] != FORMAT:
        raise ValueError(f"format {record['format']!r} instead of {FORMAT!r}")
    # Views of memory of their own, which training writes into; copied only where they are not.
    whole = {name: np.require(array, None, ["C", "W", "A"]) for name, array in arrays.items()}
    return Checkpoint(
        _plain(record["network"], str),
        _plain(record["model_hash"], str),
        _record_of(Settings, record["settings"]),
        _record_of(Position, record["position"]),
        {name: array for name, array in whole.items() if not name.startswith(_STATE)},
        {n.removeprefix(_STATE): array for n, array in whole.items() if n.startswith(_STATE)},
    )


_Record = TypeVar("_Record", Settings, Position)


def _record_of(kind: type[_Record], found: dict[str, Any]) -> _Record:
    """A dataclass of plain values, each of the type that its field declares."""
    hints = get_type_hints(kind)
    return kind(**{f.name: _plain(found[f.name], hints[f.name]) for f in fields(kind)})


def _plain(value: Any, kind: Any) -> Any:
    """The value, if it is of that type; whole numbers are not below zero and fit 63 bits."""
    allowed = getattr(kind, "__args__", None) or (kind,)
    right = type(value) in allowed or (type(value) is int and float in allowed)
    if not right or (isinstance(value, int) and not 0 <= value < 2**63):
        raise ValueError(f"impossible value {value!r:.80}")
    return value


def _difference(what: str, expected: object, found: object) -> list[str]:
    return [] if expected == found else [f"{what}: expected {expected}, found {found}"]


def _shape_differences(expected: dict[str, tuple[int, ...]], found: Arrays) -> list[str]:
    shapes = {name: array.shape for name, array in found.items()}
    names = dict.fromkeys((*expected, *shapes))
    return [
        line
        for name in names
        for line in _difference(name, expected.get(name, "none"), shapes.get(name, "none"))
    ]


def _dtype_differences(expected: dict[str, np.dtype[Any]], found: Arrays) -> list[str]:
    pairs = dict.fromkeys((expected[name], array.dtype) for name, array in found.items())
    return [line for a, b in pairs for line in _difference("dtype", a, b)]
