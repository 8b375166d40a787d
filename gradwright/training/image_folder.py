"""Read a folder of four IDX files into a data set: training and test, images and labels.

    read_folder(Path("data/mnist"), specs)      # specs as in mnist.py, or FREE for any sizes

Each file may be plain or end in `.gz`; `train-images.idx3-ubyte`, as some archives name it, is
found too. Everything about one file is checked in `idx.py`; what only the four together can show is
checked here: as many labels as images, the same image size in both splits, labels in range.
It cannot read colour images (a fourth dimension).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradwright.training.datasets import Dataset, Split
from gradwright.training.idx import IdxSpec, read_idx, refusal
from ir.errors import DataError

IMAGE_AXES = ("images", "rows", "columns")
LABEL_AXES = ("labels",)


@dataclass(frozen=True, slots=True)
class FolderSpec:
    """What a folder has to hold; `classes` is the number of classes where it is known."""

    name: str
    train_images: IdxSpec
    train_labels: IdxSpec
    test_images: IdxSpec
    test_labels: IdxSpec
    white: float | None = None
    classes: int | None = None

    @property
    def files(self) -> tuple[IdxSpec, IdxSpec, IdxSpec, IdxSpec]:
        return self.train_images, self.train_labels, self.test_images, self.test_labels


FREE = FolderSpec(
    "folder",
    IdxSpec("train-images-idx3-ubyte", IMAGE_AXES, (None, None, None)),
    IdxSpec("train-labels-idx1-ubyte", LABEL_AXES, (None,), kinds="ui"),
    IdxSpec("t10k-images-idx3-ubyte", IMAGE_AXES, (None, None, None)),
    IdxSpec("t10k-labels-idx1-ubyte", LABEL_AXES, (None,), kinds="ui"),
)
"""Any four IDX files under MNIST's names, sizes free, nothing pinned."""


def find_file(folder: Path, stem: str) -> Path:
    """The file of that name in any of its usual spellings. Raises `DataError` if there is none."""
    for name in _spellings(stem):
        if (folder / name).is_file():
            return folder / name
    return _missing(folder, stem)


def holds_any(folder: Path, spec: FolderSpec) -> bool:
    """Whether at least one of the four files is there, so that the folder is meant."""
    names = [name for file in spec.files for name in _spellings(file.stem)]
    return any((folder / name).exists() for name in names)


def read_folder(folder: Path, spec: FolderSpec) -> Dataset:
    """Read and check all four files. Raises `DataError` naming file, field, expected and found."""
    paths = [find_file(folder, file.stem) for file in spec.files]
    arrays = [read_idx(path, file) for path, file in zip(paths, spec.files, strict=True)]
    for images, labels in ((0, 1), (2, 3)):
        check_pair(paths[images], arrays[images], paths[labels], arrays[labels], spec.classes)
    _check_same_size(paths[2], arrays[0], arrays[2])
    train, test = Split(arrays[0], arrays[1]), Split(arrays[2], arrays[3])
    return Dataset(spec.name, train, test, spec.white or _white(arrays[0]), str(folder))


def check_pair(
    images_path: Path,
    images: NDArray[Any],
    labels_path: Path,
    labels: NDArray[Any],
    classes: int | None,
) -> None:
    """Refuse images and labels that do not belong together, and values nothing can be made of."""
    if len(images) != len(labels):
        raise refusal(
            labels_path, f"number of labels (images: {images_path.name})", len(images), len(labels)
        )
    if images.dtype.kind == "f" and not np.isfinite(images).all():
        raise refusal(images_path, "pixel values", "finite numbers", "NaN or infinity")
    low, high = int(labels.min()), int(labels.max())
    if low < 0:
        raise refusal(labels_path, "smallest label", "0 or more", low)
    if classes is not None and high >= classes:
        where = int(np.argmax(labels >= classes))
        raise refusal(labels_path, f"label number {where}", f"below {classes}", int(labels[where]))


def _spellings(stem: str) -> tuple[str, ...]:
    dotted = stem.replace("-idx", ".idx")
    return f"{stem}.gz", stem, f"{dotted}.gz", dotted


def _missing(folder: Path, stem: str) -> Path:
    raise DataError(
        f"{stem} is missing",
        notes=(f"folder: {folder}", f"expected: {stem}.gz or {stem}", "found: neither"),
        fix="put the four IDX files there, or name another folder",
    )


def _check_same_size(path: Path, train: NDArray[Any], test: NDArray[Any]) -> None:
    if train.shape[1:] != test.shape[1:]:
        raise refusal(path, "image size", _by(train.shape[1:]), _by(test.shape[1:]))


def _by(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _white(images: NDArray[Any]) -> float:
    """Bytes are scaled by 255; other types are taken to be scaled already."""
    return 255.0 if images.dtype == np.uint8 else 1.0
