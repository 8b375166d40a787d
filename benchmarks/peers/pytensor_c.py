"""PyTensor with its C backend: shared parameters, one compiled function with updates.

It links the BLAS that BENCH_BLAS names (-lopenblas unless set); without one its matrix products
are far slower, which the first line of the results says.
"""

from __future__ import annotations

import os

BLAS = os.environ.get("BENCH_BLAS", "-lopenblas")
# Read when PyTensor loads.
os.environ["PYTENSOR_FLAGS"] = f"floatX=float32,linker=cvm,optimizer=fast_run,blas__ldflags={BLAS}"

import numpy as np  # noqa: E402
import pytensor  # noqa: E402
import pytensor.tensor as pt  # noqa: E402

from benchmarks.cases import Arrays, CannotRun, Case, Given  # noqa: E402
from benchmarks.models import forward  # noqa: E402


class Ops:
    """PyTensor's operations for benchmarks/models.py: it has no convolution over channels."""

    @staticmethod
    def relu(x):
        return pt.maximum(x, np.float32(0))

    @staticmethod
    def dense(x, w, b):
        return x @ w if b is None else x @ w + b


class Racer:
    """One function without arguments, called again and again."""

    steps = 1

    def __init__(self, case: Case, given: Given) -> None:
        self.kind = case.kind
        self.params = {n: pytensor.shared(p, name=n) for n, p in given.params.items()}
        x, label = map(pytensor.shared, given.features_and_labels())
        logits = forward(case.model, Ops, self.params, x)
        if case.kind == "forward":
            self.call = pytensor.function([], logits)
            return
        chosen = pt.special.log_softmax(logits, axis=-1)[pt.arange(label.shape[0]), label]
        loss = -chosen.mean()
        owned = list(self.params.values())
        grads = pytensor.grad(loss, owned)
        rate = np.float32(case.rate)
        updates = [(p, p - rate * g) for p, g in zip(owned, grads, strict=True)]
        self.call = pytensor.function([], loss, updates=updates)
        self.call.trust_input = True

    def first(self) -> Arrays:
        made = np.asarray(self.call())
        if self.kind == "forward":
            return {"logits": made}
        return {"losses": made[None], **{n: p.get_value() for n, p in self.params.items()}}

    def run(self, count: int) -> None:
        for _ in range(count):
            self.call()


def prepare(case: Case, given: Given, threads: int) -> Racer:
    if case.model == "small_gpt":
        raise CannotRun("written for the perceptron only")
    if case.model != "perceptron":
        raise CannotRun("PyTensor 3 has no two-dimensional convolution over channels")
    return Racer(case, given)
