"""What the op library's files share: loops over a shape, one axis apart, digits of a flat index, checks."""

from __future__ import annotations

from collections.abc import Sequence

import sympy

from compiler import notation as gw
from compiler.notation import Tensor
from compiler.source import caller
from ir.errors import Origin, ShapeError
from ir.expression import Index
from ir.program import Shape

_NAMES = ("n", "i1", "i2", "i3", "i4", "i5", "i6", "i7")


def loops_of(shape: Shape) -> tuple[Index, ...]:
    """One index a dimension: n, i1, i2, …"""
    return tuple(gw.index(name, size) for name, size in zip(_NAMES, shape, strict=False))


def along(x: Tensor, axis: int, op: str) -> tuple[tuple[Index, ...], tuple[Index, ...], Index]:
    """Loops over all of x, the same with another index at `axis`, and that index."""
    if not -len(x.shape) <= axis < len(x.shape):
        raise ShapeError(f"{op}() has no axis {axis} in {x!r}", at=here())
    loops, k = loops_of(x.shape), gw.index("k", x.shape[axis])
    at = axis % len(loops)
    return loops, (*loops[:at], k, *loops[at + 1 :]), k


def digits(k: Index, sizes: Sequence[int]) -> list[sympy.Expr]:
    """The row-major indices of position k in a block of the given sizes."""
    found: list[sympy.Expr] = []
    stride = 1
    for position, size in reversed(list(enumerate(sizes))):
        outer = k // stride if stride > 1 else k
        found.append(outer % size if position else outer)
        stride *= size
    return found[::-1]


def need(x: Tensor, op: str, dimensions: int, *, exactly: bool = False) -> None:
    if len(x.shape) < dimensions or (exactly and len(x.shape) != dimensions):
        least = "" if exactly else "at least "
        raise ShapeError(
            f"{op}() needs {least}{dimensions} dimensions, got {x!r}",
            at=here(),
            notes=(x.provenance(),),
        )


def here() -> Origin | None:
    """The user's line."""
    return caller()[0]
