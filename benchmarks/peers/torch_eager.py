"""PyTorch, eager: gradients by autograd, the update as one fused call over all parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.cases import Arrays, Case, Given
from benchmarks.models import forward
from benchmarks.peers import torch_ops as ops

Loss = Callable[[dict[str, Tensor], Tensor, Tensor], Tensor]


class Steps:
    """One batch, again and again."""

    steps = 1

    def __init__(self, case: Case, given: Given) -> None:
        self.case = case
        self.params = {n: ops.tensor(p).requires_grad_() for n, p in given.params.items()}
        self.inputs = [ops.tensor(a) for a in given.features_and_labels()]
        self.owned = list(self.params.values())

    def first(self) -> Arrays:
        loss = self.once()
        after = {name: p.detach().numpy() for name, p in self.params.items()}
        return {"losses": np.array([loss.item()]), **after}

    def run(self, count: int) -> None:
        for _ in range(count):
            self.once()

    def once(self) -> Tensor:
        x, label = self.inputs
        loss = ops.cross_entropy(forward(self.case.model, ops, self.params, x), label)
        grads = torch.autograd.grad(loss, self.owned)
        with torch.no_grad():
            torch._foreach_add_(self.owned, grads, alpha=-self.case.rate)
        return loss.detach()


class Forwards:
    """A forward pass in inference mode."""

    steps = 1

    def __init__(self, case: Case, given: Given, wrap: Callable[[Any], Any] = lambda f: f) -> None:
        self.params = {n: ops.tensor(p) for n, p in given.params.items()}
        self.x = ops.tensor(given.features_and_labels()[0])
        self.forward = wrap(lambda w, x: forward(case.model, ops, w, x))

    def first(self) -> Arrays:
        with torch.inference_mode():
            return {"logits": self.forward(self.params, self.x).numpy()}

    def run(self, count: int) -> None:
        with torch.inference_mode():
            for _ in range(count):
                self.forward(self.params, self.x)


def prepare(case: Case, given: Given, threads: int) -> Steps | Forwards:
    torch.set_num_threads(threads)
    return Forwards(case, given) if case.kind == "forward" else Steps(case, given)
