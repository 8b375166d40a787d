"""Contractions: a sum of a product of two accesses, found and laid out for register tiles.

    y[n, j] = sum over k of x[n, k] * W[k, j]    rows n (left: x), columns j (right: W)
    d[k, j] = sum over n of x[n, k] * e[n, j]    rows k, columns j: the same, summed over rows
    b[n, k] = sum over j of e[n, j] * W[k, j]    columns k have stride: copy a panel of W first

Nothing here knows a matrix product from a convolution: the column is the last output index, the
right operand the one that depends on it, the row an output index that only the left one depends on.
Every other output index is a loop outside. Factors that the sum does not run over go to the
epilogue. Left to the row schedule: three factors, a panel too deep for the cache, and columns of
fewer than four elements or a symbolic number.

A condition that holds the column (the padding of a convolution) goes into the panel as zeros; so a
weight that is not finite shows in the sums of the border as well.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

import sympy
from sympy import Expr, Integer, Symbol

from compiler.loop_bounds import reduction_loops
from ir.affine import Facts
from ir.expression import Access, index_symbol, symbols_of
from ir.loops import Accumulate, Dot, For, If, MultiplyAdd, Panel, Statement, stride_of
from ir.program import Definition, Range

SMALLEST = 4  # columns of the narrowest tile
WIDEST = {"float32": 16, "float64": 8}  # lanes of the longest vector, 64 bytes
STRIP = 3  # vectors side by side in a tile, at most: what a panel must hold
DEEPEST = 1 << 14  # rows of a panel: a strip of it is at most 3 MiB
WORTH_A_DOT = 8  # terms of an inner product that stands alone
WORTH_DOTS = 16  # terms of a dot product that is vectorised along the sum


@dataclass(frozen=True, slots=True)
class Contraction:
    """What is known of one: its operands, its plane, and what multiplies the whole sum."""

    member: Definition
    left: Access
    right: Access
    row: Range
    column: Range
    factor: Expr

    @property
    def lanes(self) -> int:
        """0, the machine's own, where even the longest fits; else a power of two that does."""
        size = int(self.column.size)
        if size >= WIDEST[self.member.dtype]:
            return 0
        return 8 if size >= 8 else SMALLEST

    @property
    def padded(self) -> bool:
        """Whether a condition holds the column: then a zero stands for a term left out."""
        return self.column.index in symbols_of(self.member.where)

    @property
    def direct(self) -> bool:
        """Whether vectors can be loaded from the right operand where it lies."""
        return stride_of(self.right, self.column.index) == 1 and not self.padded

    @property
    def without_column(self) -> Definition:
        """The member with only those conditions that are the same for every column."""
        column = self.column.index
        kept = tuple(c for c in self.member.where if column not in symbols_of([c]))
        return replace(self.member, where=kept)


def inner_products(body: tuple[Statement, ...]) -> tuple[Statement, ...]:
    """Innermost loops that sum a product along unit strides, as inner products of their own."""
    return tuple(_inner_product(s) for s in body)


def _inner_product(statement: Statement) -> Statement:
    if isinstance(statement, If):
        return replace(statement, body=inner_products(statement.body))
    if not isinstance(statement, For):
        return statement
    match statement.body:
        case (Accumulate(kind="sum") as term,) if statement.step == 1:
            return _as_dot(statement, term) or statement
    return replace(statement, body=inner_products(statement.body))


def _as_dot(loop: For, term: Accumulate) -> Dot | None:
    longest = loop.upper[0]
    if longest.is_Integer and int(longest) < WORTH_A_DOT:
        return None
    operands, factor = _split(term.value, {loop.index})
    if len(operands) != 2 or any(stride_of(a, loop.index) != 1 for a in operands):
        return None
    left, right = operands
    return Dot(term.place, factor, left, right, loop.index, loop.lower, loop.upper)


def recognise(member: Definition, space: tuple[Range, ...]) -> Contraction | None:
    """The contraction that a member is, if it is one that tiles can hold."""
    if member.reduce != "sum" or not space or member.dtype not in WIDEST:
        return None
    column = space[-1]
    if not isinstance(column.size, int) or column.size < SMALLEST:
        return None
    operands, factor = _factors(member)
    if len(operands) != 2:
        return None
    along = [a for a in operands if column.index in symbols_of(a.indices)]
    if len(along) != 1:
        return None
    right = along[0]
    left = operands[1] if right is operands[0] else operands[0]
    taken = symbols_of(right.indices) | symbols_of(member.where)
    rows = [r for r in space[:-1] if r.index not in taken and r.index in symbols_of(left.indices)]
    row = max(rows, key=_extent) if rows else Range(index_symbol("one_row"), 1)
    found = Contraction(member, left, right, row, column, factor)
    return None if found.padded and _extent(row) < SMALLEST else found


def _extent(r: Range) -> float:
    return float("inf") if isinstance(r.size, Symbol) else float(r.size)


def _factors(member: Definition) -> tuple[list[Access], Expr]:
    """The accesses under the sum, and the product of the factors that the sum does not run over."""
    return _split(member.body, {r.index for r in member.over})


def _split(body: Expr, reduced: set[Symbol]) -> tuple[list[Access], Expr]:
    """The accesses that hold a reduced index and the other factors; none if another factor does."""
    operands: list[Access] = []
    factor: Expr = Integer(1)
    for part in sympy.Mul.make_args(body):
        if not symbols_of([part]) & reduced:
            factor = factor * part
        elif isinstance(part, Access):
            operands.append(part)
        else:
            return [], factor
    return operands, factor


def terms(found: Contraction, facts: Facts) -> tuple[Statement, ...]:
    """The loops of the sum around one multiply-add."""
    return reduction_loops(found.without_column, facts, (MultiplyAdd(found.left, found.right),))


def panel_of(found: Contraction, facts: Facts, name: str, largest: int) -> Panel | None:
    """Room for a strip of the right operand, a row for every term of the sum."""
    if found.direct:
        return None
    sizes = [largest if isinstance(r.size, Symbol) else int(r.size) for r in found.member.over]
    position: Expr = Integer(0)
    for r, size in zip(found.member.over, sizes, strict=True):
        position = position * size + r.index
    copy = reduction_loops(found.member, facts, (MultiplyAdd(found.left, found.right),))
    return Panel(name, prod(sizes), position, copy, found.padded)


def panel_elements(panel: Panel, dtype: str) -> int:
    """The elements of a panel for the longest vectors that any machine has."""
    return panel.depth * STRIP * WIDEST[dtype]


def dot_index(found: Contraction, statements: tuple[Statement, ...]) -> Symbol | None:
    """The innermost index of the sum, if both operands run along it at unit stride, far enough."""
    last = found.member.over[-1]
    if found.direct or found.padded or not isinstance(last.size, int) or last.size < WORTH_DOTS:
        return None
    if stride_of(found.left, last.index) != 1 or stride_of(found.right, last.index) != 1:
        return None
    inner = statements
    while inner and isinstance(inner[0], For):
        if inner[0].index == last.index and inner[0].step == 1 and len(inner) == 1:
            return last.index
        inner = inner[0].body
    return None
