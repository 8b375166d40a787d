"""MNIST: its four files, their pinned digests, and where they are published.

The content is pinned whatever the compression: a recompressed file is fine, a flipped pixel is not.
The digest of the published `.gz` is used only for what comes from a mirror (`download.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gradwright.training.datasets import Dataset
from gradwright.training.idx import IdxSpec, read_idx
from gradwright.training.image_folder import (
    IMAGE_AXES,
    LABEL_AXES,
    FolderSpec,
    check_pair,
    find_file,
    read_folder,
)
from ir.errors import DataError

MIRRORS = (
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
)


@dataclass(frozen=True, slots=True)
class Published:
    """A file as the mirrors hold it: name, bytes and SHA-256 of the `.gz`."""

    name: str
    size: int
    sha256: str


PUBLISHED = (
    Published(
        "train-images-idx3-ubyte.gz",
        9_912_422,
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    ),
    Published(
        "train-labels-idx1-ubyte.gz",
        28_881,
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    ),
    Published(
        "t10k-images-idx3-ubyte.gz",
        1_648_877,
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    ),
    Published(
        "t10k-labels-idx1-ubyte.gz",
        4_542,
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    ),
)

MNIST = FolderSpec(
    "mnist",
    IdxSpec(
        "train-images-idx3-ubyte",
        IMAGE_AXES,
        (60_000, 28, 28),
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        kinds="u",
    ),
    IdxSpec(
        "train-labels-idx1-ubyte",
        LABEL_AXES,
        (60_000,),
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        kinds="u",
    ),
    IdxSpec(
        "t10k-images-idx3-ubyte",
        IMAGE_AXES,
        (10_000, 28, 28),
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        kinds="u",
    ),
    IdxSpec(
        "t10k-labels-idx1-ubyte",
        LABEL_AXES,
        (10_000,),
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        kinds="u",
    ),
    white=255.0,
    classes=10,
)


@dataclass(frozen=True, slots=True)
class FileReport:
    """One row of `gradwright data verify`: `problem` is None for a file that is as published."""

    name: str
    shape: tuple[int, ...]
    problem: DataError | None


def load(folder: Path, spec: FolderSpec = MNIST) -> Dataset:
    """The four files of `folder`, checked. Raises `DataError` for any that is not MNIST's."""
    return read_folder(folder, spec)


def verify(folder: Path, spec: FolderSpec = MNIST) -> list[FileReport]:
    """Check every file by itself, so that one damaged file does not hide the next."""
    return [_verify_file(folder, file, spec) for file in spec.files]


def _verify_file(folder: Path, file: IdxSpec, spec: FolderSpec) -> FileReport:
    name = file.stem
    try:
        path = find_file(folder, file.stem)
        name = path.name
        values = read_idx(path, file)
        if file.axes == LABEL_AXES:
            check_pair(path, values, path, values, spec.classes)
    except DataError as problem:
        return FileReport(name, (), problem)
    return FileReport(name, values.shape, None)
