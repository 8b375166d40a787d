"""What a data set is: images and integer labels, split for training and for testing.

Images stay as they were read (usually uint8) until `batches.py` turns them into a model's inputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Split:
    """`images` is (count, height, width), `labels` is (count,), both in the file's own type."""

    images: NDArray[Any]
    labels: NDArray[Any]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True)
class Dataset:
    """A named pair of splits; `white` is the value that becomes 1.0, `source` says where from."""

    name: str
    train: Split
    test: Split
    white: float
    source: str

    def describe(self) -> str:
        """`mnist: 60000 training and 10000 test images of 28x28 (/data/mnist)`."""
        height, width = self.train.images.shape[1:]
        return (
            f"{self.name}: {len(self.train)} training and {len(self.test)} test images"
            f" of {height}x{width} ({self.source})"
        )
