"""Accuracy of a model's class scores, read from its public `forward`.

The scores are the output with one number for each class, next to the batch; a model without such an
output (a regression) has no accuracy and gets None.
"""

from __future__ import annotations

import inspect

import numpy as np

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
    names = _forward_inputs(model)
    right = 0
    for start in range(0, len(rows), model.MAX_BATCH):
        part = slice(start, start + model.MAX_BATCH)
        scores = getattr(model.forward(params, *(rows.arrays[n][part] for n in names)), output)
        right += int(np.count_nonzero(np.argmax(scores, axis=1) == rows.labels[part]))
    return right / len(rows)


def mean_loss(model: CompiledModel, params: Arrays, rows: Rows) -> float:
    """The loss over all `rows`, batch by batch, each counting as many times as it has rows."""
    total = 0.0
    for start in range(0, len(rows), model.MAX_BATCH):
        part = [array[start : start + model.MAX_BATCH] for array in rows.inputs()]
        total += model.value_and_grad(params, *part)[0] * len(part[0])
    return total / len(rows)


def _forward_inputs(model: CompiledModel) -> list[str]:
    """`forward` takes only the inputs that the outputs need, by their declared names."""
    return [name for name in inspect.signature(model.forward).parameters if name in model.INPUTS]
