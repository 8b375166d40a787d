"""What is measured: models, batch sizes, made-up data, and how close two results must be.

    for case in cases(models=("perceptron",), batches=(1, 128)):
        given = make_up(case, params)

Every contestant of a case starts from the same parameters and does plain gradient descent, in
float32. The data are random numbers: nothing here measures how well anything learns.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

Arrays = dict[str, np.ndarray]


class CannotRun(Exception):  # noqa: N818  (a reason to show, no mistake)
    """Why a contestant takes no part in a case."""


@dataclass(frozen=True, slots=True)
class Case:
    """One part of the results: a training step or a forward pass.

    With two `threads`, everybody runs on one and on two of them.

    `epoch` batches are made, for those who run many in one call; the others repeat the first.
    """

    model: str
    batch: int
    kind: Literal["step", "forward"] = "step"
    threads: int = 1
    epoch: int = 1
    rate: float = 0.01

    @property
    def title(self) -> str:
        """`perceptron, batch 128, two threads`."""
        what = f"{self.model.replace('_', ' ')}, batch {self.batch}"
        return what + (", forward" if self.kind == "forward" else "")


@dataclass(frozen=True, slots=True)
class Given:
    """What a contestant starts from: parameters, the rows of an epoch, and their order."""

    params: Arrays
    inputs: Arrays
    order: np.ndarray
    batch: int
    labels: str = field(default="label")

    def first_batch(self) -> Arrays:
        """The inputs of the first step."""
        rows = self.order[: self.batch]
        return {name: np.ascontiguousarray(a[rows]) for name, a in self.inputs.items()}

    def features_and_labels(self) -> tuple[np.ndarray, np.ndarray]:
        """The first batch as the pair that every model takes."""
        return tuple(self.first_batch().values())


CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
"""How to time: on a machine that others use, the processor's time leaves out what they took."""

IMAGES = {"perceptron": (784,), "lenet5": (1, 28, 28), "two_convolutions": (1, 28, 28)}
IMAGES["vgg16"] = (3, 224, 224)
CLASSES = {"vgg16": 1000}
CONTEXT, ALPHABET = 64, 96
EPOCH_ROWS = 2048  # of the perceptron: 6.4 MB, as a shuffled epoch they do not stay in cache


def all_cases() -> list[Case]:
    """In the order of the results. VGG16 on two threads as well would not fit into memory."""
    perceptrons = [
        Case("perceptron", b, threads=2 if b >= MANY_ROWS else 1, epoch=EPOCH_ROWS // b)
        for b in PERCEPTRON_BATCHES
    ]
    return [
        *perceptrons,
        Case("perceptron", 1, "forward"),
        Case("lenet5", 64, threads=2, epoch=4),
        Case("lenet5", 1, "forward"),
        Case("two_convolutions", 64, threads=2, epoch=2),
        Case("small_gpt", 12, threads=2, epoch=2),
        Case("vgg16", 1, "forward"),
        Case("vgg16", 1, rate=1e-5),
    ]


PERCEPTRON_BATCHES = (1, 2, 8, 32, 64, 128, 512)
MANY_ROWS = 64
"""From here on two threads have enough to do."""


def chosen(models: Iterable[str], batches: Iterable[int]) -> list[Case]:
    """The cases of these models and batch sizes; empty means all."""
    wanted, sizes = set(models), set(batches)
    return [
        case
        for case in all_cases()
        if (not wanted or case.model in wanted) and (not sizes or case.batch in sizes)
    ]


def inputs(case: Case) -> tuple[Arrays, np.ndarray]:
    """The rows of an epoch, and a shuffled order of them."""
    rng = np.random.default_rng(0)
    rows = case.batch * case.epoch
    order = rng.permutation(rows).astype(np.int64)
    if case.model == "small_gpt":
        drawn = rng.integers(0, ALPHABET, (rows, CONTEXT + 1), dtype=np.int32)
        return {"tokens": drawn[:, :-1].copy(), "targets": drawn[:, 1:].copy()}, order
    x = rng.random((rows, *IMAGES[case.model]), dtype=np.float32)
    label = rng.integers(0, CLASSES.get(case.model, 10), rows, dtype=np.int32)
    return {"x": x, "label": label}, order


def given(case: Case, params: Path) -> Given:
    """Everything, with the start parameters from a file."""
    with np.load(params) as stored:
        start = {name: stored[name] for name in stored.files}
    rows, order = inputs(case)
    return Given(start, rows, order, case.batch)
