"""What the op library's files share: loops over a shape, digits of a flat index, checks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

import sympy
from sympy import Expr

from compiler import notation as gw
from compiler.notation import Tensor
from compiler.source import caller
from compiler.trace import current
from ir.errors import GradwrightError, Origin, ShapeError
from ir.expression import Index
from ir.program import Shape

_NAMES = ("n", "i1", "i2", "i3", "i4", "i5", "i6", "i7")


def loops_of(shape: Shape) -> tuple[Index, ...]:
    """One index a dimension: n, i1, i2, …"""
    return tuple(gw.index(name, size) for name, size in zip(_NAMES, shape, strict=False))


def along(x: Tensor, axis: int, op: str) -> tuple[tuple[Index, ...], tuple[Index, ...], Index]:
    """Loops over all of x, the same with another index at `axis`, and that index."""
    at = axis_of(x, axis, op)
    loops, k = loops_of(x.shape), gw.index("k", x.shape[at])
    return loops, (*loops[:at], k, *loops[at + 1 :]), k


def axis_of(x: Tensor, axis: int, op: str) -> int:
    """The axis counted from the front: -1 is the last."""
    if not -len(x.shape) <= axis < len(x.shape):
        raise ShapeError(f"{op}() has no axis {axis} in {x!r}", at=here())
    return axis % len(x.shape)


def position(axis: int, count: int, op: str) -> int:
    """`axis_of` for a shape that no tensor has yet, of so many dimensions."""
    if not -count <= axis < count:
        raise ShapeError(f"{op}() has no axis {axis} among {count}", at=here())
    return axis % count


def broadcast(op: str, *tensors: Tensor, last: int = 0) -> Shape:
    """The shape that the tensors' shapes, less `last` dimensions, broadcast to as in NumPy."""
    shapes = [x.shape[: len(x.shape) - last] for x in tensors]
    padded = [(1,) * (max(map(len, shapes)) - len(s)) + tuple(s) for s in shapes]
    found = [{s for s in sizes if s != 1} or {1} for sizes in zip(*padded, strict=True)]
    if any(len(sizes) > 1 for sizes in found):
        refuse(f"{op}() cannot broadcast {' and '.join(map(repr, tensors))}", *tensors)
    return tuple(sizes.pop() for sizes in found)


def repeated(shape: Shape, loops: Sequence[Index]) -> tuple[Expr, ...]:
    """Where a tensor of this shape is read when it is broadcast to the loops: 0 where it is 1."""
    mine = zip(shape, loops[len(loops) - len(shape) :], strict=True)
    return tuple(sympy.S.Zero if size == 1 else i for size, i in mine)


def digits(k: Index, sizes: Sequence[int]) -> list[Expr]:
    """The row-major indices of position k in a block of the given sizes."""
    found: list[Expr] = []
    stride = 1
    for position, size in reversed(list(enumerate(sizes))):
        outer = k // stride if stride > 1 else k
        found.append(outer % size if position else outer)
        stride *= size
    return found[::-1]


def fixed(x: Tensor, axes: Sequence[int], op: str) -> list[int]:
    """The sizes of x at these axes, which must be integers."""
    sizes = [x.shape[a] for a in axes]
    if not all(isinstance(s, int) for s in sizes):
        wanted = ", ".join(str(a) for a in axes)
        refuse(f"{op}() needs a fixed size at axis {wanted}, got {x!r}", x)
    return [int(s) for s in sizes]


def each(value: int | Sequence[int], count: int, what: str, least: int) -> tuple[int, ...]:
    """An option given once for all of `count` dimensions, or once for each."""
    given = (value,) * count if isinstance(value, int) else tuple(value)
    whole = all(isinstance(v, int) and not isinstance(v, bool) for v in given)
    if len(given) != count or not whole or min(given) < least:
        raise GradwrightError(
            f"{what} must be an integer of at least {least}, or {count} of them, got {value!r}",
            at=here(),
        )
    return given


def need(x: Tensor, op: str, dimensions: int, *, exactly: bool = False) -> None:
    """Refuse a tensor with fewer dimensions (or, exactly, another number)."""
    if len(x.shape) < dimensions or (exactly and len(x.shape) != dimensions):
        least = "" if exactly else "at least "
        refuse(f"{op}() needs {least}{dimensions} dimensions, got {x!r}", x)


def refuse(what: str, *tensors: Tensor, fix: str | None = None) -> NoReturn:
    """A ShapeError on the user's line that says where the tensors come from."""
    raise ShapeError(what, at=here(), notes=tuple(t.provenance() for t in tensors), fix=fix)


def part(name: str, of: str) -> str:
    """A free name for an intermediate of an op: `norm_mean`."""
    return current().unclaimed(f"{name}_{of}")


def here() -> Origin | None:
    """The user's line."""
    return caller()[0]
