"""Turn a data set into the arrays a model declares, and an epoch into an order of its rows.

    train, test = fit(model, dataset)            # Rows: one array for each declared input
    order = epoch_order(seed=0, epoch=3, rows=len(train))

Images go to the model's one floating input, scaled to 0..1 and reshaped to what it declares; labels
go to its integer input, or one-hot to its second floating input. It cannot fill other inputs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradwright.training.datasets import Dataset, Split
from gradwright.training.model import Arrays, CompiledModel
from ir.errors import DataError, ShapeError

ENLARGE, MARGIN = 3, 2
"""8x8 digits become 24x24, and 28x28 with the margin, for models made for MNIST."""


@dataclass(frozen=True, slots=True)
class Rows:
    """One array for each input of the model, in declared order, and the labels as they were."""

    arrays: Arrays
    labels: NDArray[Any]

    def __len__(self) -> int:
        return len(self.labels)

    def inputs(self) -> tuple[NDArray[Any], ...]:
        return tuple(self.arrays.values())


def epoch_order(seed: int, epoch: int, rows: int) -> NDArray[np.int64]:
    """The order of the rows in one epoch: a function of seed and epoch alone, so resuming works."""
    generator = np.random.Generator(np.random.PCG64([seed, epoch]))
    return generator.permutation(rows).astype(np.int64, copy=False)


def fit(model: CompiledModel, dataset: Dataset) -> tuple[Rows, Rows]:
    """Both splits as the model's inputs.

    Raises `ShapeError` when the images do not fit, `DataError` when the inputs are of another kind
    or a label is out of the model's range.
    """
    images, target = _assign(model)
    train = _fit_split(model, dataset, dataset.train, images, target)
    return train, _fit_split(model, dataset, dataset.test, images, target)


def _assign(model: CompiledModel) -> tuple[str, str | None]:
    """Which input takes the images, and which the labels (None: a model without labels)."""
    floats = [name for name, (_, dtype) in model.INPUTS.items() if dtype.startswith("float")]
    integers = [name for name in model.INPUTS if name not in floats]
    match floats, integers:
        case [images], [labels] if len(model.INPUTS[labels][0]) == 1:
            return images, labels
        case [images, one_hot], [] if len(model.INPUTS[one_hot][0]) == 2:
            return images, one_hot
        case [images], []:
            return images, None
    declared = (f"{name}: {_declared(model, name)}" for name in model.INPUTS)
    raise DataError(
        f"{model.NAME} takes other inputs than images and labels",
        notes=tuple(declared),
        fix="declare one floating input of images and one integer input f.i. gw.i32['batch']",
    )


def _fit_split(
    model: CompiledModel, dataset: Dataset, split: Split, images: str, target: str | None
) -> Rows:
    arrays = {images: _images(model, dataset, split, images)}
    if target is not None:
        arrays[target] = _labels(model, dataset, split, target)
    return Rows({name: arrays[name] for name in model.INPUTS}, split.labels)


def _images(model: CompiledModel, dataset: Dataset, split: Split, name: str) -> NDArray[Any]:
    shape, dtype = model.INPUTS[name]
    tail = tuple(int(size) for size in shape[1:])
    pixels, wanted = split.images, math.prod(tail)
    if pixels.shape[1:] == (8, 8) and wanted == 28 * 28:
        pixels = _enlarge(pixels)
    if math.prod(pixels.shape[1:]) != wanted:
        height, width = pixels.shape[1:]
        raise ShapeError(
            f"the images of {dataset.name} do not fit {model.NAME}",
            notes=(
                f"expected: {_declared(model, name)} for {name}, {wanted} numbers an image",
                f"found: {height}x{width}, {height * width} numbers an image",
            ),
            fix=f"declare {name} with {height * width} numbers a row, or choose other data",
        )
    # Divided in the model's own type: the same numbers whichever way the pixels were stored.
    scaled = pixels.reshape(len(pixels), *tail).astype(dtype)
    scaled /= np.asarray(dataset.white, dtype)
    return scaled


def _enlarge(pixels: NDArray[Any]) -> NDArray[Any]:
    large = pixels.repeat(ENLARGE, axis=1).repeat(ENLARGE, axis=2)
    return np.pad(large, ((0, 0), (MARGIN, MARGIN), (MARGIN, MARGIN)))


def _labels(model: CompiledModel, dataset: Dataset, split: Split, name: str) -> NDArray[Any]:
    shape, dtype = model.INPUTS[name]
    classes = int(shape[1]) if len(shape) == 2 else None
    limit = classes or model.INDEX_LIMITS.get(name)
    largest = int(split.labels.max())
    if limit is not None and largest >= limit:
        raise DataError(
            f"{dataset.name} has more classes than {model.NAME}",
            notes=(f"expected: labels below {limit}", f"found: label {largest}"),
            fix=f"give the last layer {largest + 1} outputs",
        )
    if classes is None:
        return split.labels.astype(dtype)
    one_hot: NDArray[Any] = np.eye(classes, dtype=dtype)[split.labels]
    return one_hot


def _declared(model: CompiledModel, name: str) -> str:
    shape, dtype = model.INPUTS[name]
    return f"{dtype}[{', '.join(map(str, shape))}]"
