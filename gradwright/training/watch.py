"""Measure a run after each epoch: losses and accuracies of fixed samples, norms per parameter.

    measure = Watch(model, params, train_rows, test_rows)
    measured = measure(epoch_result)

The samples are evenly spaced rows, the same ones each time, so that curves can be compared; they
are small, so that watching costs a few per cent of an epoch. Losses are those of training:
a network with dropout draws while it is measured.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from gradwright.training.batches import Rows
from gradwright.training.history import Measured
from gradwright.training.loop import EpochResult
from gradwright.training.metrics import accuracy, mean_gradient, mean_loss
from gradwright.training.model import Arrays, CompiledModel

SAMPLE = 1024


def sample(rows: Rows, size: int = SAMPLE) -> Rows:
    """Evenly spaced rows, all of them where there are no more than `size`."""
    if len(rows) <= size:
        return rows
    chosen = np.arange(size) * len(rows) // size
    return Rows({n: a[chosen] for n, a in rows.arrays.items()}, rows.labels[chosen])


class Watch:
    """Holds the samples; calling it measures the parameters as they are now."""

    def __init__(self, model: CompiledModel, params: Arrays, train: Rows, test: Rows) -> None:
        self.model, self.params = model, params
        self.train, self.test = sample(train), sample(test)

    def __call__(self, result: EpochResult) -> Measured:
        loss, gradient = mean_gradient(self.model, self.params, self.train.inputs())
        return Measured(
            epoch=result.epoch,
            step=result.step,
            seconds=result.seconds,
            samples_per_second=result.rate if math.isfinite(result.rate) else 0.0,
            lr=result.lr,
            loss=result.loss,
            train_loss=loss,
            test_loss=mean_loss(self.model, self.params, self.test),
            train_accuracy=accuracy(self.model, self.params, self.train),
            test_accuracy=result.accuracy,
            gradient_norm={name: norm(array) for name, array in gradient.items()},
            parameter_norm={name: norm(self.params[name]) for name in gradient},
            zero_gradients=zero_shares(gradient),
        )


def norm(array: np.ndarray) -> float:
    """Euclidean, in float64."""
    return float(np.linalg.norm(array.astype(np.float64).ravel()))


def zero_shares(gradient: Arrays) -> dict[str, float]:
    """For each bias, the share of its elements whose gradient is exactly 0."""
    return {
        name: float(np.mean(array == 0))
        for name, array in gradient.items()
        if array.ndim == 1 and array.size > 1
    }


@dataclass(frozen=True, slots=True)
class Judged:
    """The model's scores of a data set, for pictures: `margin` is positive where it is right."""

    scores: np.ndarray
    predicted: np.ndarray
    labels: np.ndarray
    margin: np.ndarray

    def confusion(self) -> np.ndarray:
        """Row: the label; column: what the model said."""
        classes = self.scores.shape[1]
        table = np.zeros((classes, classes), np.int64)
        np.add.at(table, (self.labels.astype(np.int64), self.predicted), 1)
        return table

    def worst(self, count: int) -> np.ndarray:
        """The rows that are furthest from right, the worst first."""
        order = np.argsort(self.margin, kind="stable")
        return order[self.margin[order] < 0][:count]


def judged(scores: np.ndarray, labels: np.ndarray) -> Judged:
    """How the scores stand to the labels."""
    rows = np.arange(len(scores))
    others = scores.astype(np.float64)
    right = others[rows, labels].copy()
    others[rows, labels] = -np.inf
    return Judged(scores, np.argmax(scores, axis=1), labels, right - others.max(axis=1))
