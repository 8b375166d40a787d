"""Where a run keeps its files: `runs/NAME`, never over another run or over what is not ours.

    with run_folder("mnist_mlp", out=None, resume=None) as folder:    # runs/mnist_mlp, or -2, ...

The folder is this run's alone until the block ends: the lock is the operating system's, on the
folder itself, so it leaves no file and ends with the process, however that ends. Where the system
has no such lock (Windows, some network folders) two runs in one folder are not told apart.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from gradwright.training.checkpoint import FILE_NAME
from ir.errors import OutputError

ROOT = Path("runs")


class BusyFolderError(OutputError):
    """Another run is working in the folder."""


@contextlib.contextmanager
def run_folder(name: str, out: Path | None, resume: Path | None) -> Iterator[Path]:
    """The folder for a run of network `name`, made and locked.

    A resumed run stays where its checkpoint is unless `out` says otherwise. A run that fails before
    its first checkpoint leaves no folder behind. Raises `OutputError` when the folder cannot be
    made, is a file, or holds the checkpoint of another run, `BusyFolderError` while one goes on.
    """
    with contextlib.ExitStack() as held:
        for folder in _candidates(name, out, resume):
            new = _make(folder)
            try:
                held.enter_context(_locked(folder))
            except BusyFolderError:
                if out is not None or resume is not None:
                    raise
                continue
            held.callback(_remove_unless_started, new, folder)
            yield folder
            return


def _candidates(name: str, out: Path | None, resume: Path | None) -> Iterator[Path]:
    """The one folder that was asked for, or every one that is free."""
    if out is not None:
        yield _usable(out, resume)
    elif resume is not None:
        yield resume if resume.is_dir() else resume.parent
    else:
        numbered = (ROOT / (name if n == 1 else f"{name}-{n}") for n in count(1))
        yield from (folder for folder in numbered if _is_free(folder))


def _is_free(folder: Path) -> bool:
    return not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))


def _usable(out: Path, resume: Path | None) -> Path:
    if out.exists() and not out.is_dir():
        raise OutputError(f"--out {out} is a file", fix="name a folder")
    checkpoint = out / FILE_NAME
    if checkpoint.exists() and not (resume is not None and _same(checkpoint, resume)):
        raise OutputError(
            f"{out} holds the checkpoint of another run",
            notes=(f"found: {checkpoint}",),
            fix=f"go on with --resume {out}, or choose another --out",
        )
    return out


def _same(checkpoint: Path, resume: Path) -> bool:
    return checkpoint.samefile(resume / FILE_NAME if resume.is_dir() else resume)


def _make(folder: Path) -> list[Path]:
    """Make the folder; it and those above it, as far as they are new."""
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"the folder {folder} cannot be made: {error.strerror or error}",
            fix="choose another folder with --out",
        ) from None
    return new


def _remove_unless_started(new: list[Path], folder: Path) -> None:
    if folder in new and not (folder / FILE_NAME).exists():
        shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            for path in new[1:]:
                path.rmdir()


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    if sys.platform == "win32":
        yield
        return
    import fcntl

    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # no locks here; one that is taken is told apart below
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise _busy(folder) from None
        if not _still_there(descriptor, folder):
            raise _busy(folder)
        yield
    finally:
        os.close(descriptor)


def _still_there(descriptor: int, folder: Path) -> bool:
    """Whether the folder was not removed, by a run that failed, before the lock was ours."""
    try:
        return os.path.samestat(os.fstat(descriptor), folder.stat())
    except OSError:
        return False


def _busy(folder: Path) -> BusyFolderError:
    return BusyFolderError(
        f"another run is working in {folder}",
        fix="wait for it to end, or choose another folder with --out",
    )
