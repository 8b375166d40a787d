"""Write a file whole or not at all, whatever happens meanwhile: kill -9, a full disk, a power cut.

    write_whole(path, b"...", fix="choose another folder with --out")
    remove_leftovers(folder, ["checkpoint.safetensors"])       # of processes that were killed

The bytes go to a hidden name beside the place, are synced, and then take the place in one step. A
process that is killed leaves its hidden file; whoever owns the folder next removes it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

from ir.errors import OutputError


def write_whole(path: Path, raw: bytes | bytearray, fix: str | None = None) -> None:
    """Raises `OutputError`; then the old file stands, and nothing is left beside it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.unlink(missing_ok=True)
        # "x": what somebody may have put there under the same name is never written through.
        with temporary.open("xb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            reason = error.strerror or error
            raise OutputError(f"{path} cannot be written: {reason}", fix=fix) from None
        raise


def remove_leftovers(folder: Path, names: Iterable[str]) -> None:
    """What killed writers of files left whose names begin so; nobody else may be writing there."""
    for name in names:
        for leftover in folder.glob(f".{name}*.tmp"):
            with contextlib.suppress(OSError):
                leftover.unlink()


def _sync_folder(folder: Path) -> None:
    """The rename itself must survive a power cut; not every system lets a folder be synced."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
