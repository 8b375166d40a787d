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
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors import numpy as safetensors_numpy

from gradwright.training.model import Arrays, CompiledModel
from gradwright.training.whole_file import write_whole
from ir.errors import CheckpointError

FORMAT = "gradwright checkpoint 1"
FILE_NAME = "checkpoint.safetensors"
_KEY = "gradwright"
_STATE = "optimizer/"
# JSON inside a JSON string: its quotes are escaped in the file.
_MARKER = rb"\"sha256\": \""
_DIGITS = 64


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
        raw = path.read_bytes()
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
        *_dtype_differences(model.DTYPE, checkpoint.params),
    ]
    if not differences:
        differences = _difference("model hash", model.MODEL_HASH, checkpoint.model_hash)
    if differences:
        raise CheckpointError(
            f"{path.name} is a checkpoint of another network",
            notes=(f"file: {path}", *differences),
            fix="resume with the model file and options it was trained with",
        )


def _header(raw: bytes | bytearray) -> bytes:
    end = 8 + int.from_bytes(raw[:8], "little")
    if len(raw) < 8 or end > len(raw):
        raise ValueError("it is cut off, or its first bytes are damaged")
    return bytes(raw[8:end])


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
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError(
            f"{path.name} is not an intact gradwright checkpoint",
            notes=(f"file: {path}", f"found: {error}"),
        ) from None


def _from_record(record: dict[str, Any], arrays: dict[str, Any]) -> Checkpoint:
    if record["format"] != FORMAT:
        raise ValueError(f"format {record['format']!r} instead of {FORMAT!r}")
    position = Position(**record["position"])
    if not all(isinstance(n, int) and n >= 0 for n in (position.epoch, position.batch)):
        raise ValueError(f"impossible position {position}")
    # The loader's arrays are read-only views of its own buffer; training writes into them.
    names = [name for name in arrays if not name.startswith(_STATE)]
    state = [name for name in arrays if name.startswith(_STATE)]
    return Checkpoint(
        record["network"],
        record["model_hash"],
        Settings(**record["settings"]),
        position,
        {name: np.array(arrays.pop(name), order="C") for name in names},
        {name.removeprefix(_STATE): np.array(arrays.pop(name), order="C") for name in state},
    )


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


def _dtype_differences(expected: str, found: Arrays) -> list[str]:
    dtypes = {array.dtype.name for array in found.values()}
    return [line for dtype in sorted(dtypes) for line in _difference("dtype", expected, dtype)]
