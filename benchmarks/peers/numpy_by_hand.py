"""The perceptron's step as one writes it in NumPy by hand: forward, backward, update in place."""

from __future__ import annotations

import numpy as np

from benchmarks.cases import Arrays, CannotRun, Case, Given


def step(params: Arrays, x: np.ndarray, label: np.ndarray, lr: float) -> float:
    w1, b1, w2, b2, w3, b3 = params.values()
    rows = np.arange(len(x))
    h1 = np.maximum(x @ w1 + b1, 0)
    h2 = np.maximum(h1 @ w2 + b2, 0)
    logits = h2 @ w3 + b3
    logits -= logits.max(axis=1, keepdims=True)
    probabilities = np.exp(logits)
    total = probabilities.sum(axis=1, keepdims=True)
    loss = float(np.mean(np.log(total[:, 0]) - logits[rows, label]))
    probabilities /= total
    probabilities[rows, label] -= 1
    d3 = probabilities / len(x)
    d2 = (d3 @ w3.T) * (h2 > 0)
    d1 = (d2 @ w2.T) * (h1 > 0)
    w3 -= lr * (h2.T @ d3)
    b3 -= lr * d3.sum(axis=0)
    w2 -= lr * (h1.T @ d2)
    b2 -= lr * d2.sum(axis=0)
    w1 -= lr * (x.T @ d1)
    b1 -= lr * d1.sum(axis=0)
    return loss


def forward(params: Arrays, x: np.ndarray) -> np.ndarray:
    w1, b1, w2, b2, w3, b3 = params.values()
    return np.maximum(np.maximum(x @ w1 + b1, 0) @ w2 + b2, 0) @ w3 + b3


class Steps:
    steps = 1

    def __init__(self, case: Case, given: Given) -> None:
        self.params, self.rate = given.params, np.float32(case.rate)
        self.x, self.label = given.features_and_labels()

    def first(self) -> Arrays:
        return {"losses": np.array([self._once()]), **self.params}

    def run(self, count: int) -> None:
        for _ in range(count):
            self._once()

    def _once(self) -> float:
        return step(self.params, self.x, self.label, self.rate)


class Forwards:
    steps = 1

    def __init__(self, given: Given) -> None:
        self.params = given.params
        self.x, _ = given.features_and_labels()

    def first(self) -> Arrays:
        return {"logits": forward(self.params, self.x)}

    def run(self, count: int) -> None:
        for _ in range(count):
            forward(self.params, self.x)


def prepare(case: Case, given: Given, threads: int) -> Steps | Forwards:
    if case.model != "perceptron":
        raise CannotRun("written for the perceptron only")
    return Forwards(given) if case.kind == "forward" else Steps(case, given)
