"""Where a run keeps its files: `runs/NAME`, never over another run or over what is not ours.

folder = choose_folder("mnist_mlp", out=None, resume=None)      # runs/mnist_mlp, or -2, -3, ...
"""

from __future__ import annotations

from itertools import count
from pathlib import Path

from gradwright.training.checkpoint import FILE_NAME
from ir.errors import OutputError

ROOT = Path("runs")


def choose_folder(name: str, out: Path | None, resume: Path | None) -> Path:
    """The folder for a run of network `name`; nothing is created yet.

    A resumed run stays where its checkpoint is unless `out` says otherwise. Raises `OutputError`
    when `out` holds the checkpoint of another run, or is a file.
    """
    if out is not None:
        return _usable(out, resume)
    if resume is not None:
        return resume if resume.is_dir() else resume.parent
    numbered = (ROOT / (name if n == 1 else f"{name}-{n}") for n in count(1))
    return next(folder for folder in numbered if _is_free(folder))


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
