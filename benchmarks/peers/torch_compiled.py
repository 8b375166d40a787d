"""torch.compile: loss, gradients and update as one compiled function, with static shapes."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.cases import Case, Given
from benchmarks.models import forward
from benchmarks.peers import torch_eager
from benchmarks.peers import torch_ops as ops
from benchmarks.peers.torch_eager import Forwards


class Steps(torch_eager.Steps):
    """The eager step's data; the step itself is compiled."""

    def __init__(self, case: Case, given: Given) -> None:
        super().__init__(case, given)
        self.params = {name: p.detach() for name, p in self.params.items()}
        model, rate = case.model, case.rate

        def loss(w: dict[str, Tensor], x: Tensor, label: Tensor) -> Tensor:
            return ops.cross_entropy(forward(model, ops, w, x), label)

        def step(w: dict[str, Tensor], x: Tensor, label: Tensor) -> Tensor:
            grads, value = torch.func.grad_and_value(loss)(w, x, label)
            for name, grad in grads.items():
                w[name].sub_(grad, alpha=rate)
            return value

        self.step = torch.compile(step, fullgraph=True, dynamic=False)

    def once(self) -> Tensor:
        with torch.no_grad():
            return self.step(self.params, *self.inputs)


def prepare(case: Case, given: Given, threads: int) -> Steps | Forwards:
    torch.set_num_threads(threads)
    torch._dynamo.reset()
    if case.kind == "forward":
        return Forwards(case, given, lambda f: torch.compile(f, fullgraph=True, dynamic=False))
    return Steps(case, given)
