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

from benchmarks.cases import CONTEXT, Arrays, CannotRun, Case, Given  # noqa: E402
from benchmarks.models import forward  # noqa: E402


class Ops:
    """PyTensor's operations for benchmarks/models.py: it has no convolution over channels."""

    @staticmethod
    def relu(x):
        return pt.maximum(x, np.float32(0))

    @staticmethod
    def dense(x, w, b):
        flat = x.reshape((-1, x.shape[-1])) @ w  # one matrix product, however many dimensions
        y = flat.reshape((*x.shape[:-1], w.shape[-1])) if x.ndim > 2 else flat
        return y if b is None else y + b

    @staticmethod
    def gelu(x):
        return np.float32(0.5) * x * (np.float32(1) + pt.erf(x * np.float32(2**-0.5)))

    @staticmethod
    def embed(table, tokens):
        return table[tokens]

    @staticmethod
    def norm(x, w, b):
        apart = x - x.mean(axis=-1, keepdims=True)
        variance = pt.sqr(apart).mean(axis=-1, keepdims=True)
        return apart / pt.sqrt(variance + np.float32(1e-5)) * w + b

    @staticmethod
    def attention(q, k, v, heads):
        rows, length, width = q.shape
        shape = (rows, length, heads, width // heads)
        q, k, v = (t.reshape(shape).transpose(0, 2, 1, 3) for t in (q, k, v))
        flat = (rows * heads, length, width // heads)
        q, k, v = (t.reshape(flat) for t in (q, k, v))
        scores = pt.matmul(q, k.transpose(0, 2, 1)) / pt.sqrt(pt.cast(width // heads, "float32"))
        later = np.triu(np.full((CONTEXT, CONTEXT), -np.inf, np.float32), 1)
        mixed = pt.matmul(pt.special.softmax(scores + later, axis=-1), v)
        mixed = mixed.reshape((rows, heads, length, width // heads))
        return mixed.transpose(0, 2, 1, 3).reshape((rows, length, width))


class Racer:
    """One function without arguments, called again and again."""

    steps = 1

    def __init__(self, case: Case, given: Given) -> None:
        self.kind = case.kind
        self.params = {
            n: pytensor.shared(p, name=n, shape=p.shape) for n, p in given.params.items()
        }
        x, label = (pytensor.shared(a, shape=a.shape) for a in given.features_and_labels())
        logits = forward(case.model, Ops, self.params, x)
        if case.kind == "forward":
            self.call = pytensor.function([], logits)
            return
        logits, label = logits.reshape((-1, logits.shape[-1])), label.flatten()
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
    if case.model not in ("perceptron", "small_gpt"):
        raise CannotRun("PyTensor 3 has no two-dimensional convolution over channels")
    return Racer(case, given)
