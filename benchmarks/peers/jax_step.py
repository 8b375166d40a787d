"""JAX: loss, gradients and update in one `jit`, the parameters donated; one call a step."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from benchmarks.cases import Arrays, Case, Given
from benchmarks.models import forward
from benchmarks.peers import jax_ops as ops


def descent(case: Case) -> Any:
    """`step(params, x, label)` gives the parameters after it and the loss before it."""

    def loss(w: Any, x: jax.Array, label: jax.Array) -> jax.Array:
        return ops.cross_entropy(forward(case.model, ops, w, x), label)

    def step(w: Any, x: jax.Array, label: jax.Array) -> Any:
        value, grads = jax.value_and_grad(loss)(w, x, label)
        return {name: w[name] - case.rate * grads[name] for name in w}, value

    return step


class Steps:
    steps = 1

    def __init__(self, case: Case, given: Given) -> None:
        self.step = jax.jit(descent(case), donate_argnums=0)
        self.params = {n: jax.numpy.array(p) for n, p in given.params.items()}
        self.inputs = tuple(map(jax.numpy.array, given.features_and_labels()))

    def first(self) -> Arrays:
        self.params, loss = self.step(self.params, *self.inputs)
        return {"losses": np.array([loss]), **{n: np.array(p) for n, p in self.params.items()}}

    def run(self, count: int) -> None:
        for _ in range(count):
            self.params, _ = self.step(self.params, *self.inputs)
        jax.block_until_ready(self.params)


class Forwards:
    steps = 1

    def __init__(self, case: Case, given: Given) -> None:
        self.forward = jax.jit(lambda w, x: forward(case.model, ops, w, x))
        self.params = {n: jax.numpy.array(p) for n, p in given.params.items()}
        self.x = jax.numpy.array(given.features_and_labels()[0])

    def first(self) -> Arrays:
        return {"logits": np.array(self.forward(self.params, self.x))}

    def run(self, count: int) -> None:
        for _ in range(count):
            jax.block_until_ready(self.forward(self.params, self.x))


def prepare(case: Case, given: Given, threads: int) -> Steps | Forwards:
    return Forwards(case, given) if case.kind == "forward" else Steps(case, given)
