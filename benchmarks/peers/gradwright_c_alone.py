"""Our C target without Python around the step: `train_epoch` runs many batches in one call.

A forward pass is called by a loop in C (call_from_c.c).
"""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cases import Arrays, Case, Given
from benchmarks.peers.gradwright_c import compiled
from gradwright.native import built

TARGET = "c"


class Epochs:
    """`train_epoch` over all the rows, again and again."""

    def __init__(self, module: Any, case: Case, given: Given) -> None:
        self.epoch = module.train_epoch
        self.steps = case.epoch
        self.params = given.params
        self.state = module.init_state(self.params)
        self.inputs = tuple(given.inputs.values())
        self.order, self.batch = given.order, case.batch

    def first(self) -> Arrays:
        return {"losses": self._once(), **self.params}

    def run(self, count: int) -> None:
        for _ in range(count):
            self._once()

    def _once(self) -> np.ndarray:
        return self.epoch(self.params, self.state, *self.inputs, self.order, batch=self.batch)


class Forwards:
    """NAME_forward, called by a loop in C."""

    steps = 1

    def __init__(self, module: Any, given: Given) -> None:
        self.loop = built(Path(__file__).with_name("call_from_c.c"), ["-O2"]).call_from_c
        self.function = ctypes.cast(module._c.forward, ctypes.c_void_p)
        self.x = next(iter(given.first_batch().values()))
        self.logits = module.forward(given.params, self.x).logits
        self.workspace = np.empty(module.WORKSPACE_BYTES, np.uint8)
        self.kept = given.params
        addresses = [a.ctypes.data for a in given.params.values()]
        self.params = (ctypes.c_void_p * len(addresses))(*addresses)

    def first(self) -> Arrays:
        self.logits[...] = 0
        self.run(1)
        return {"logits": self.logits}

    def run(self, count: int) -> None:
        places = [ctypes.c_void_p(a.ctypes.data) for a in (self.x, self.logits, self.workspace)]
        rows, passes = ctypes.c_ssize_t(len(self.x)), ctypes.c_ssize_t(count)
        self.loop(self.function, self.params, *places, rows, passes)


def prepare(case: Case, given: Given, threads: int) -> Epochs | Forwards:
    module = compiled(case, TARGET, threads)
    return Forwards(module, given) if case.kind == "forward" else Epochs(module, case, given)
