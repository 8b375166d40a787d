"""JAX with a whole epoch in one call: the rows gathered in order, then `lax.scan` over batches."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from benchmarks.cases import Arrays, CannotRun, Case, Given
from benchmarks.peers.jax_step import descent


class Epochs:
    def __init__(self, case: Case, given: Given) -> None:
        self.steps = case.epoch
        step = descent(case)

        def epoch(w: Any, inputs: Any, order: jax.Array) -> Any:
            batches = [a[order].reshape(case.epoch, case.batch, *a.shape[1:]) for a in inputs]
            return jax.lax.scan(lambda w, batch: step(w, *batch), w, tuple(batches))

        self.epoch = jax.jit(epoch, donate_argnums=0)
        self.params = {n: jax.numpy.array(p) for n, p in given.params.items()}
        self.inputs = tuple(map(jax.numpy.array, given.inputs.values()))
        self.order = jax.numpy.array(given.order.astype(np.int32))

    def first(self) -> Arrays:
        self.params, losses = self.epoch(self.params, self.inputs, self.order)
        after = {n: np.array(p) for n, p in self.params.items()}
        return {"losses": np.array(losses), **after}

    def run(self, count: int) -> None:
        for _ in range(count):
            self.params, _ = self.epoch(self.params, self.inputs, self.order)
        jax.block_until_ready(self.params)


def prepare(case: Case, given: Given, threads: int) -> Epochs:
    if case.kind == "forward":
        raise CannotRun("a forward pass has no epoch")
    if case.epoch == 1:
        raise CannotRun("an epoch of one batch is JAX jit")
    return Epochs(case, given)
