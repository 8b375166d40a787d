"""Find the data set that was asked for: a folder named by the user, the cache, or a download.

    choose("auto", data_dir=None, report=print_line, progress=ignore)

`auto` is MNIST when it can be had; otherwise one line says why not, and the embedded digits are
used. `mnist` never falls back, and neither does a folder that the user named with --data-dir.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gradwright.training import digits, mnist
from gradwright.training.datasets import Dataset
from gradwright.training.download import Report, cache_folder, fetch
from gradwright.training.image_folder import FREE, FolderSpec, holds_any, read_folder
from ir.errors import DataError

VARIABLE = "GRADWRIGHT_DATA"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where MNIST comes from and what it must be; the tests use a small stand-in."""

    mirrors: tuple[str, ...] = mnist.MIRRORS
    published: tuple[mnist.Published, ...] = mnist.PUBLISHED
    spec: FolderSpec = mnist.MNIST
    schemes: tuple[str, ...] = ("https",)
    pause: float = 1.0


PUBLIC = Origin()


def choose(
    choice: str,
    data_dir: Path | None,
    say: Callable[[str], None],
    progress: Report,
    origin: Origin = PUBLIC,
) -> Dataset:
    """The data set named `auto`, `mnist`, `digits`, or by the path of a folder of IDX files.

    Raises `DataError` when it cannot be had, except for `auto` without `data_dir`.
    """
    if choice == "digits":
        return digits.load()
    if choice == "mnist" or (choice == "auto" and data_dir is not None):
        return load_mnist(data_dir, progress, origin)
    if choice == "auto":
        return _mnist_or_digits(say, progress, origin)
    return _folder(Path(choice))


def load_mnist(data_dir: Path | None, progress: Report, origin: Origin = PUBLIC) -> Dataset:
    """--data-dir, else GRADWRIGHT_DATA, else the cache, filled by a download where it lacks."""
    folder = named_folder(data_dir, origin.spec)
    if folder is None:
        folder = cache_folder()
        fetch_mnist(folder, progress, origin)
    return mnist.load(folder, origin.spec)


def fetch_mnist(folder: Path, progress: Report, origin: Origin = PUBLIC) -> None:
    """Download what `folder` lacks or holds damaged."""
    fetch(
        origin.published,
        origin.mirrors,
        folder,
        progress,
        schemes=origin.schemes,
        pause=origin.pause,
    )


def named_folder(data_dir: Path | None, spec: FolderSpec = mnist.MNIST) -> Path | None:
    """The folder the user named, or its `mnist` folder; None when no folder was named.

    Raises `DataError` when a folder was named and does not exist.
    """
    named = data_dir or (Path(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None)
    if named is None:
        return None
    if not named.is_dir():
        option = "--data-dir" if data_dir else VARIABLE
        raise DataError(f"{option} names no folder", notes=(f"found: {named}",))
    inside = named / "mnist"
    return inside if inside.is_dir() and not holds_any(named, spec) else named


def _mnist_or_digits(say: Callable[[str], None], progress: Report, origin: Origin) -> Dataset:
    try:
        return load_mnist(None, progress, origin)
    except DataError as error:
        reason = "; ".join((error.what, *error.notes[:4]))
        say(f"MNIST could not be had ({reason}): training on the embedded 8x8 digits instead")
        return digits.load()


def _folder(path: Path) -> Dataset:
    try:
        found = path.is_dir()
    except OSError:  # a name that the system refuses, a folder that is closed to us
        found = False
    if not found:
        raise DataError(
            f"--data {path} is neither auto, mnist, digits nor a folder",
            fix="name a folder that holds the four IDX files",
        )
    return read_folder(path, FREE)
