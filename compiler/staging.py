"""The copy of what an operand of a contraction reads, with zeros where an index is out of bounds.

    x[n, c, p + r - 1, q + s - 1]        of 28 by 28, p and q below 28, r and s below 3

    copy[c, z1, z2] = x[n, c, z1 - 1, z2 - 1]        z1 and z2 from 1 to 28; the rest are zeros
    copy[c, p + r, q + s]                            is the element, or the zero in its place

The zeros behind a line are those before the next one, so a line has 29 elements here, not 30.

The dimensions of a copy may stand in another order, the last of them where lanes are wanted:

    W[k, j + 96], j below 4        copy[j, k]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sympy import Expr, Integer, Symbol

from ir.affine import Linear, linear
from ir.expression import Access, index_symbol
from ir.loops import For, Staging, Statement, Store
from ir.program import Shape


@dataclass(frozen=True, slots=True)
class Moving:
    """A dimension of the tensor along which a plane reads `size` places, `start` the first.

    `offset` is the index in the copy: from 0 up, without what stands still in a plane.
    """

    dimension: int
    start: Linear
    offset: Linear
    size: int

    def inside(self, shape: Shape) -> bool:
        """Whether all the places are surely in the tensor."""
        start = self.start
        if not start.is_constant:
            return False
        return start.const >= 0 and start.const + self.size <= _length(shape, self)


def staging(copy: Symbol, access: Access, moving: Sequence[Moving], shape: Shape) -> Staging:
    """The copy of a tensor of that shape, its dimensions in this order, and the loops that fill it.

    The loops go through the tensor in its own order.
    """
    indices: list[Expr] = [linear(e).expr() for e in access.indices]
    loops = []
    for number, m in enumerate(moving):
        z = index_symbol(f"z{number}")
        indices[m.dimension] = (m.start + linear(z)).expr()
        end = -m.start + _length(shape, m)
        bounds = _largest(Linear(), -m.start), _smallest(linear(m.size), end)
        loops.append((m.dimension, z, *bounds))
    place = Access(copy, *(z for _, z, _, _ in loops))
    fill: tuple[Statement, ...] = (Store(place, Access(access.args[0], *indices)),)
    for _, z, lower, upper in sorted(loops, key=lambda loop: -loop[0]):
        fill = (For(z, lower, upper, fill),)
    padded = not all(m.inside(shape) for m in moving)
    once = all(m.start.is_constant for m in moving)
    return Staging(str(copy.name), _sizes(moving, shape), fill, padded, once)


def _length(shape: Shape, m: Moving) -> int:
    length = shape[m.dimension]
    assert isinstance(length, int)
    return length


def _sizes(moving: Sequence[Moving], shape: Shape) -> tuple[int, ...]:
    """The sizes of the copy; lines that share their zeros are followed by one more."""
    sizes = tuple(m.size for m in moving)
    last = moving[-1]
    if len(sizes) < 2 or not last.start.is_constant:
        return sizes
    first, end = max(0, -last.start.const), _length(shape, last) - last.start.const
    length = max(min(last.size, end), last.size - first)
    if length >= last.size:
        return sizes
    return (*sizes[:-2], sizes[-2] + 1, length)


def _largest(a: Linear, b: Linear) -> tuple[Expr, ...]:
    if b.is_constant and a.is_constant:
        return (Integer(max(a.const, b.const)),)
    return (a.expr(), b.expr())


def _smallest(a: Linear, b: Linear) -> tuple[Expr, ...]:
    if b.is_constant and a.is_constant:
        return (Integer(min(a.const, b.const)),)
    return (a.expr(), b.expr())
