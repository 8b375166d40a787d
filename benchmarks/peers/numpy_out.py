"""The perceptron's step in NumPy by somebody who saves every array: all places made once, `out=`.

The same formulas as numpy_by_hand.py. A step makes no array that is larger than the batch, and one
row's weight gradients are products without a sum: its step takes half the time of a matrix product.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.cases import Arrays, CannotRun, Case, Given
from benchmarks.peers import numpy_by_hand


class Steps(numpy_by_hand.Steps):
    """The usual step, into arrays of its own."""

    def __init__(self, case: Case, given: Given) -> None:
        super().__init__(case, given)
        rows, sizes = len(self.x), (100, 200, 10)
        self.h, self.d = (
            [np.empty((rows, size), np.float32) for size in sizes] for _ in range(2)
        )
        self.product = np.multiply if rows == 1 else np.matmul
        self.masks = [np.empty((rows, size), bool) for size in sizes[:2]]
        self.grads = [np.empty_like(p) for p in self.params.values()]
        self.rows, self.row = np.arange(rows), np.empty((rows, 1), np.float32)

    def _once(self) -> float:
        w1, b1, w2, b2, w3, b3 = self.params.values()
        (h1, h2, scores), (d1, d2, d3), (m1, m2) = self.h, self.d, self.masks
        _dense(self.x, w1, b1, h1)
        np.maximum(h1, 0, out=h1)
        _dense(h1, w2, b2, h2)
        np.maximum(h2, 0, out=h2)
        _dense(h2, w3, b3, scores)
        np.max(scores, axis=1, keepdims=True, out=self.row)
        np.subtract(scores, self.row, out=scores)
        np.exp(scores, out=d3)
        np.sum(d3, axis=1, keepdims=True, out=self.row)
        loss = float(np.mean(np.log(self.row[:, 0]) - scores[self.rows, self.label]))
        np.divide(d3, self.row, out=d3)
        d3[self.rows, self.label] -= 1
        np.divide(d3, np.float32(len(self.x)), out=d3)
        _back(d3, w3, h2, d2, m2)
        _back(d2, w2, h1, d1, m1)
        for layer, (x, d) in enumerate(((self.x, d1), (h1, d2), (h2, d3))):
            self.product(x.T, d, out=self.grads[2 * layer])
            np.sum(d, axis=0, out=self.grads[2 * layer + 1])
        for p, grad in zip(self.params.values(), self.grads, strict=True):
            np.multiply(grad, self.rate, out=grad)
            np.subtract(p, grad, out=p)
        return loss


def _dense(x: Any, w: Any, b: Any, out: Any) -> None:
    np.matmul(x, w, out=out)
    np.add(out, b, out=out)


def _back(d: Any, w: Any, h: Any, out: Any, mask: Any) -> None:
    """The gradient before a ReLU that gave h."""
    np.matmul(d, w.T, out=out)
    np.greater(h, 0, out=mask)
    np.multiply(out, mask, out=out)


class Forwards(numpy_by_hand.Forwards):
    """The forward pass, into arrays of its own."""

    def __init__(self, given: Given) -> None:
        super().__init__(given)
        self.h = [np.empty((len(self.x), size), np.float32) for size in (100, 200, 10)]

    def first(self) -> Arrays:
        self.run(1)
        return {"logits": self.h[-1]}

    def run(self, count: int) -> None:
        w1, b1, w2, b2, w3, b3 = self.params.values()
        h1, h2, scores = self.h
        for _ in range(count):
            _dense(self.x, w1, b1, h1)
            np.maximum(h1, 0, out=h1)
            _dense(h1, w2, b2, h2)
            np.maximum(h2, 0, out=h2)
            _dense(h2, w3, b3, scores)


def prepare(case: Case, given: Given, threads: int) -> Steps | Forwards:
    if case.model != "perceptron":
        raise CannotRun("written for the perceptron only")
    return Forwards(given) if case.kind == "forward" else Steps(case, given)
