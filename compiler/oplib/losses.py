"""Losses: forward lines only. Names and defaults are PyTorch's."""

from __future__ import annotations

import sympy

from compiler import notation as gw
from compiler.notation import Tensor, define_as
from compiler.oplib.common import here, loops_of, need
from ir.errors import ShapeError


def cross_entropy(logits: Tensor, label: Tensor, *, name: str | None = None) -> Tensor:
    """Mean over the rows of -log softmax(logits)[label]: logits real [rows, classes], labels integer [rows]."""
    need(logits, "cross_entropy", 2, exactly=True)
    if label.shape != logits.shape[:1] or not label.dtype.startswith("int"):
        raise ShapeError(
            f"cross_entropy() needs an integer label a row, got {label!r} for logits {logits!r}",
            at=here(),
        )
    n, k = gw.index("n", logits.shape[0]), gw.index("k", logits.shape[1])
    row = sympy.log(gw.sum(sympy.exp(logits[n, k]), over=k)) - logits[n, label[n]]
    return define_as("cross_entropy", (), gw.mean(row, over=n), name=name)


def mse(x: Tensor, target: Tensor, *, name: str | None = None) -> Tensor:
    """Mean of (x - target)**2 over all elements, as torch.nn.MSELoss."""
    if x.shape != target.shape:
        raise ShapeError(
            f"mse() needs two tensors of one shape, got {x!r} and {target!r}", at=here()
        )
    loops = loops_of(x.shape)
    if not loops:
        return define_as("mse", (), (x[()] - target[()]) ** 2, name=name)
    return define_as("mse", (), gw.mean((x[loops] - target[loops]) ** 2, over=loops), name=name)
