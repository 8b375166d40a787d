"""Activations, and softmax with its logarithm: forward lines only."""

from __future__ import annotations

import sympy

from compiler import notation as gw
from compiler.notation import Tensor, define_as, elementwise
from compiler.oplib.common import along


def relu(x: Tensor, *, name: str | None = None) -> Tensor:
    """max(x, 0); the derivative at 0 is 0, and NaN stays NaN."""
    return elementwise(lambda v: sympy.Max(v, 0), x, op="relu", name=name)


def sigmoid(x: Tensor, *, name: str | None = None) -> Tensor:
    """1 / (1 + exp(-x))."""
    return elementwise(lambda v: 1 / (1 + sympy.exp(-v)), x, op="sigmoid", name=name)


def tanh(x: Tensor, *, name: str | None = None) -> Tensor:
    """The hyperbolic tangent."""
    return elementwise(sympy.tanh, x, op="tanh", name=name)


def softmax(x: Tensor, *, axis: int = -1, name: str | None = None) -> Tensor:
    """exp(x[…, j]) / sum over k of exp(x[…, k])."""
    loops, other, k = along(x, axis, "softmax")
    body = sympy.exp(x[loops]) / gw.sum(sympy.exp(x[other]), over=k)
    return define_as("softmax", loops, body, name=name)


def log_softmax(x: Tensor, *, axis: int = -1, name: str | None = None) -> Tensor:
    """x[…, j] - log(sum over k of exp(x[…, k]))."""
    loops, other, k = along(x, axis, "log_softmax")
    body = x[loops] - sympy.log(gw.sum(sympy.exp(x[other]), over=k))
    return define_as("log_softmax", loops, body, name=name)
