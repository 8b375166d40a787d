"""tinygrad on its CPU device: loss, gradients and update, captured by TinyJit as one list.

NUM_CPU_THREADS and THREADS, set by process.py, are its thread settings.
"""

from __future__ import annotations

from tinygrad import Device, Tensor, TinyJit

from benchmarks.cases import Arrays, CannotRun, Case, Given
from benchmarks.models import forward


class Ops:
    """tinygrad's own operations for benchmarks/models.py."""

    relu = staticmethod(Tensor.relu)

    @staticmethod
    def gelu(x: Tensor) -> Tensor:
        return x.gelu(approximate="none")

    @staticmethod
    def dense(x: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
        return x.linear(w, b)

    @staticmethod
    def conv(x: Tensor, w: Tensor, b: Tensor, padding: int) -> Tensor:
        return x.conv2d(w, b, padding=padding)

    pool = staticmethod(Tensor.max_pool2d)

    @staticmethod
    def flatten(x: Tensor) -> Tensor:
        return x.flatten(1)

    @staticmethod
    def embed(table: Tensor, tokens: Tensor) -> Tensor:
        return table[tokens]

    @staticmethod
    def norm(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        return x.layernorm() * w + b

    @staticmethod
    def attention(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
        q, k, v = (t.reshape(*t.shape[:-1], heads, -1).transpose(1, 2) for t in (q, k, v))
        return q.scaled_dot_product_attention(k, v, is_causal=True).transpose(1, 2).flatten(2)


class Racer:
    """One jitted function, called again and again."""

    steps = 1

    def __init__(self, case: Case, given: Given) -> None:
        self.params = {n: Tensor(p).contiguous().realize() for n, p in given.params.items()}
        self.inputs = [Tensor(a).realize() for a in given.features_and_labels()]
        self.case = case
        self.jitted = TinyJit(self._step if case.kind == "step" else self._forward)

    def _forward(self, x: Tensor, label: Tensor) -> Tensor:
        return forward(self.case.model, Ops, self.params, x).realize()

    def _step(self, x: Tensor, label: Tensor) -> Tensor:
        logits = forward(self.case.model, Ops, self.params, x)
        if logits.ndim == 3:
            logits, label = logits.flatten(0, 1), label.flatten()
        loss = logits.sparse_categorical_crossentropy(label)
        owned = list(self.params.values())
        for p, grad in zip(owned, loss.gradient(*owned), strict=True):
            p.assign(p - self.case.rate * grad)
        return loss.realize(*owned)

    def first(self) -> Arrays:
        made = self.jitted(*self.inputs).numpy()
        if self.case.kind == "forward":
            return {"logits": made}
        return {"losses": made[None], **{n: p.numpy() for n, p in self.params.items()}}

    def run(self, count: int) -> None:
        for _ in range(count):
            self.jitted(*self.inputs)
        Device["CPU"].synchronize()


def prepare(case: Case, given: Given, threads: int) -> Racer:
    if Device.DEFAULT != "CPU":
        raise CannotRun(f"its default device is {Device.DEFAULT}")
    return Racer(case, given)
