"""Ops that move or combine elements: forward lines only."""

from __future__ import annotations

import sympy

from compiler import notation as gw
from compiler.notation import Tensor, define_as, elementwise
from compiler.oplib.common import digits, need


def add(a: Tensor, b: Tensor | float, *, name: str | None = None) -> Tensor:
    """a + b, element-wise with NumPy's broadcasting."""
    return elementwise(lambda u, v: u + v, a, b, op="add", name=name)


def mul(a: Tensor, b: Tensor | float, *, name: str | None = None) -> Tensor:
    """a * b, element-wise with NumPy's broadcasting."""
    return elementwise(lambda u, v: u * v, a, b, op="mul", name=name)


def flatten(x: Tensor, *, name: str | None = None) -> Tensor:
    """[batch, a, b, …] to [batch, a*b*…], row-major."""
    need(x, "flatten", 2)
    sizes = [int(s) for s in x.shape[1:]]
    n, k = gw.index("n", x.shape[0]), gw.index("k", int(sympy.prod(sizes)))
    return define_as("flatten", (n, k), x[n, *digits(k, sizes)], name=name)
