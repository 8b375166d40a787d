"""Our C target, one call from Python a training step (or a forward pass).

Also tells the race what it needs about a case: the start parameters, the operations, the bytes.
"""

from __future__ import annotations

import tempfile
from functools import lru_cache
from typing import Any

import numpy as np

import gradwright as gw
from benchmarks.agreement import rounding
from benchmarks.cases import Arrays, Case, Given, inputs
from benchmarks.networks import network
from compiler.driver import lowered
from gradwright.kernel_costs import multiply_adds
from ir.kernel import Schedule
from ir.program import Tensor

TARGET = "c"


@lru_cache(maxsize=1)
def compiled(case: Case, target: str, threads: int = 1) -> Any:
    """The module of a case, from a folder that goes with the process."""
    folder = tempfile.mkdtemp(prefix="gradwright-bench-")
    return gw.compile(
        network(case.model), target=target, batch=case.batch, dtype="float32",
        optimizer=gw.sgd(lr=case.rate), out=folder, threads=threads,
    )  # fmt: skip


class Steps:
    """`train_step` on one batch, again and again."""

    steps = 1

    def __init__(self, module: Any, given: Given) -> None:
        self.step = module.train_step
        self.params = given.params
        self.state = module.init_state(self.params)
        self.inputs = tuple(given.first_batch().values())

    def first(self) -> Arrays:
        loss = self.step(self.params, self.state, *self.inputs)
        return {"losses": np.array([loss]), **self.params}

    def run(self, count: int) -> None:
        for _ in range(count):
            self.step(self.params, self.state, *self.inputs)


class Forwards:
    """`forward` of one batch, again and again."""

    steps = 1

    def __init__(self, module: Any, given: Given) -> None:
        self.forward, self.params = module.forward, given.params
        self.x = next(iter(given.first_batch().values()))

    def first(self) -> Arrays:
        return {"logits": self.forward(self.params, self.x).logits}

    def run(self, count: int) -> None:
        for _ in range(count):
            self.forward(self.params, self.x)


def prepare(case: Case, given: Given, threads: int) -> Steps | Forwards:
    return _racer(case, compiled(case, TARGET, threads), given)


def facts(case: dict[str, Any], params: str) -> dict[str, Any]:
    """Writes the start parameters; operations and compulsory bytes of a step or a forward pass.

    `moved` is how far rounding alone moves the results of the first pass.
    """
    asked = Case(**case)
    module = compiled(asked, TARGET)
    start = module.init_params(seed=0)
    np.savez(params, **start)
    made = lowered(network(asked.model), batch=asked.batch, optimizer=gw.sgd(lr=asked.rate))
    schedule = made.forward if asked.kind == "forward" else made.step
    read, written = _bytes(schedule, asked)
    rows, order = inputs(asked)

    def first(params: Arrays) -> Arrays:
        return _racer(asked, module, Given(params, rows, order, asked.batch)).first()

    return {
        "operations": multiply_adds(schedule),
        "read": read,
        "written": written,
        "workspace": schedule.workspace_bytes,
        "temporaries": schedule.temporaries_bytes,
        "moved": rounding(first, start),
    }


def _racer(case: Case, module: Any, given: Given) -> Steps | Forwards:
    return Forwards(module, given) if case.kind == "forward" else Steps(module, given)


def _bytes(schedule: Schedule, case: Case) -> tuple[int, int]:
    """Parameters and inputs once, and the parameters that are updated or the outputs."""
    program = schedule.program
    read = sum(_size(t, case) for t in (*program.inputs, *program.parameters))
    if case.kind == "forward":
        return read, sum(_size(program.definition(d), case) for _, d in program.outputs)
    return read, sum(_size(program.tensors()[name], case) for name, _ in program.updates)


def _size(tensor: Tensor | Any, case: Case) -> int:
    return 4 * int(np.prod([s if isinstance(s, int) else case.batch for s in tensor.shape]))
