"""Accuracy, loss and gradient over any number of rows, from a model's public functions.

The scores are the output with one number for each class, next to the batch; a model without such an
output (a regression) has no accuracy and gets None.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradwright.training.batches import Rows
from gradwright.training.model import Arrays, CompiledModel


def score_output(model: CompiledModel) -> str | None:
    """The name of the output that holds the class scores: `logits` in most models."""
    classes = set(model.INDEX_LIMITS.values())
    flat = {name: shape[1] for name, (shape, _) in model.OUTPUTS.items() if len(shape) == 2}
    fitting = [name for name, size in flat.items() if size in classes or not classes]
    return fitting[0] if fitting else None


def accuracy(model: CompiledModel, params: Arrays, rows: Rows) -> float | None:
    """The share of `rows` whose largest score is at their label; a tie goes to the first class."""
    output = score_output(model)
    if output is None:
        return None
    right = 0
    for start, scores in _scored(model, params, rows, output):
        labels = rows.labels[start : start + len(scores)]
        right += int(np.count_nonzero(np.argmax(scores, axis=1) == labels))
    return right / len(rows)


def class_scores(model: CompiledModel, params: Arrays, rows: Rows) -> NDArray[Any] | None:
    """The scores of all `rows`, one row each; None for a model without classes."""
    output = score_output(model)
    if output is None:
        return None
    return np.concatenate([scores for _, scores in _scored(model, params, rows, output)])


def _scored(
    model: CompiledModel, params: Arrays, rows: Rows, output: str
) -> Iterator[tuple[int, NDArray[Any]]]:
    """Batch by batch: its first row, and its scores."""
    names = _forward_inputs(model)
    for start in range(0, len(rows), model.MAX_BATCH):
        part = slice(start, start + model.MAX_BATCH)
        outputs = model.forward(params, *(rows.arrays[n][part] for n in names))
        yield start, getattr(outputs, output)


def mean_loss(model: CompiledModel, params: Arrays, rows: Rows) -> float:
    """The loss over all `rows`, batch by batch, each counting as many times as it has rows."""
    total = 0.0
    for start in range(0, len(rows), model.MAX_BATCH):
        part = [array[start : start + model.MAX_BATCH] for array in rows.inputs()]
        total += model.value_and_grad(params, *part)[0] * len(part[0])
    return total / len(rows)


def mean_gradient(
    model: CompiledModel, params: Arrays, inputs: Sequence[NDArray[Any]]
) -> tuple[float, Arrays]:
    """Loss and gradient over any number of rows, for a loss that is a mean over its rows.

    More than MAX_BATCH rows are taken batch by batch, each weighted by its rows.
    """
    batched = [shape[:1] and isinstance(shape[0], str) for shape, _ in model.INPUTS.values()]
    rows = max((len(a) for a, split in zip(inputs, batched, strict=True) if split), default=1)
    if rows <= model.MAX_BATCH:
        return model.value_and_grad(params, *inputs)
    total, gradient = 0.0, dict[str, NDArray[Any]]()
    for start in range(0, rows, model.MAX_BATCH):
        part = slice(start, start + model.MAX_BATCH)
        given = [a[part] if split else a for a, split in zip(inputs, batched, strict=True)]
        share = min(model.MAX_BATCH, rows - start) / rows
        loss, grads = model.value_and_grad(params, *given)
        total += share * loss
        for name, array in grads.items():
            scaled = share * array
            gradient[name] = gradient[name] + scaled if name in gradient else scaled
    return total, gradient


def _forward_inputs(model: CompiledModel) -> list[str]:
    """`forward` takes only the inputs that the outputs need, by their declared names."""
    return [name for name in inspect.signature(model.forward).parameters if name in model.INPUTS]
