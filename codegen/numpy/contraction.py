"""Sums of products as matrix products.

    y[n, j] = sum over k of x[n, k]*W[k, j]           np.matmul(x, W)
    d_W[k, j] = sum over n of x[n, k]*d_y[n, j]       np.matmul(x.T, d_y)

The factors are gathered into operands: a factor whose axes another has is multiplied into it. Two
operands make a matrix product: the axes of both and the result are its stack, those of one and the
result its rows or columns, those of both and not the result are summed. Several axes become one by
a reshape (a convolution's windows become a matrix that way). One operand, or no matrix in it, is an
`einsum` or an `np.add.reduce`; three or more an `einsum`. The whole product is never stored.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import sympy
from sympy import Expr, Symbol

from codegen.numpy.evaluate import Evaluation
from codegen.numpy.gathers import RESHAPED
from codegen.numpy.hidden import held
from codegen.numpy.padding import covered
from codegen.numpy.reductions import write_total
from codegen.numpy.writer import (
    Frame,
    Operand,
    Writer,
    frame_of,
    sizes_of,
)
from ir.expression import Access, symbols_of
from ir.program import Definition, DType, Range

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass
class Factor:
    """A product of factors over the same axes, with the masks that leave terms out of it."""

    product: Expr
    axes: frozenset[Symbol]
    masks: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Sum:
    """A sum while it is written: the definition's ranges, and the name of its result."""

    w: Writer
    space: Frame
    over: Frame
    name: str
    dtype: DType

    @property
    def ranges(self) -> Frame:
        return self.space + self.over

    def frame(self, axes: Any) -> Frame:
        """The ranges of some axes, in the order of the result, then of the sum."""
        return tuple(r for r in self.ranges if r.index in axes)


def write_sum(w: Writer, d: Definition, space: Frame, conditions: list[Any], name: str) -> Expr:
    """Writes the sum; the expression of its value over `space` comes back.

    A factor of a sum over the batch goes to one operand: a few rows are less than a matrix.
    """
    total = Sum(w, space, d.over, name, d.dtype)
    body, masks = covered(w, d.body, conditions, total.ranges)
    over = frozenset(r.index for r in d.over)
    outside, factors = _split(body, over)
    needed = [_axes(f, total) for f in factors]
    missing = over - frozenset().union(*needed, *(_axes(m, total) for m in masks))
    for r in d.over:
        if r.index in missing:
            outside *= sympy.sympify(r.size)
    groups = _gathered(total, factors, masks)
    batch = [r.size for r in d.over] == [w.program.batch.symbol] if w.program.batch else False
    if batch and outside != 1 and not _axes(outside, total) and len(groups) == 2:
        small = min(groups, key=lambda g: _count(total, g.axes))
        small.product, outside = outside * small.product, sympy.Integer(1)
    value = outside * _product(total, groups)
    if masks and total.dtype == w.real and (len(groups) > 1 or outside.has(Access)):
        return held(w, value, space, d.over, body, masks, d.dtype)
    return value


def _count(total: Sum, axes: frozenset[Symbol]) -> int:
    """The number of elements over some axes, at the largest batch."""
    largest = total.w.program.largest_batch
    sizes = [r.size for r in total.ranges if r.index in axes]
    return prod(s if isinstance(s, int) else largest for s in sizes)


def _axes(expr: Any, total: Sum) -> frozenset[Symbol]:
    return frozenset(symbols_of([expr])) & frozenset(r.index for r in total.ranges)


def _split(body: Expr, over: frozenset[Symbol]) -> tuple[Expr, list[Expr]]:
    """The factors that the sum does not touch, and those that it does."""
    outside, inside = sympy.Integer(1), []
    for factor in sympy.Mul.make_args(body):
        if frozenset(symbols_of([factor])) & over:
            inside.append(factor)
        else:
            outside *= factor
    return outside, inside or [sympy.Integer(1)]


def _gathered(total: Sum, factors: list[Expr], masks: list[Any]) -> list[Factor]:
    """The operands: nested axes merged, every mask on an operand that has its axes."""
    groups: list[Factor] = []
    for factor in sorted(factors, key=lambda f: -len(_axes(f, total))):
        axes = _axes(factor, total)
        home = next((g for g in reversed(groups) if axes <= g.axes), None)
        if home is None:
            groups.append(Factor(factor, axes))
        else:
            home.product = home.product * factor
    for mask in masks:
        axes = _axes(mask, total)
        home = next((g for g in groups if axes <= g.axes), None)
        if home is None:
            every = axes.union(*(g.axes for g in groups))
            home = Factor(sympy.Mul(*(g.product for g in groups)), every,
                          tuple(m for g in groups for m in g.masks))
            groups = [home]
        home.masks = (*home.masks, mask)
    return groups


def _product(total: Sum, groups: list[Factor]) -> Expr:
    """The value of the sum of the operands' product."""
    if len(groups) == 1:
        return _alone(total, groups[0])
    if len(groups) > 2:
        return _einsum(total, groups)
    left, right = (_reduced(total, g, other) for g, other in (groups, groups[::-1]))
    both = left.axes & right.axes
    summed = [r for r in total.over if r.index in both]
    if not summed:
        return _held(total, left) * _held(total, right)
    plan = _plan(total, left, right)
    if plan is None:
        return _einsum(total, [left, right])
    return _matmul(total, plan)


def _alone(total: Sum, group: Factor) -> Expr:
    """One operand: two plain arrays multiplied and added by einsum, anything else by add.reduce."""
    if group.product.is_number and not group.masks:
        return group.product
    factors = _plain_factors(group)
    if factors and not group.masks:
        return _einsum(total, [Factor(f, _axes(f, total)) for f in factors])
    return _reduce(total, group, frozenset(r.index for r in total.over), total.name)


def _plain_factors(group: Factor) -> list[Expr] | None:
    factors = list(sympy.Mul.make_args(group.product))
    if len(factors) == 1 and isinstance(factors[0], sympy.Pow) and factors[0].exp == 2:
        factors = [factors[0].base] * 2
    plain = all(isinstance(f, Access) and not f.is_integer for f in factors)
    return factors if plain and len(factors) == 2 else None


def _reduced(total: Sum, group: Factor, other: Factor) -> Factor:
    """The operand summed over what the other does not have."""
    mine = frozenset(r.index for r in total.over) & group.axes - other.axes
    if not mine:
        return group
    value = _reduce(total, group, mine, total.w.name("t"))
    return Factor(value, group.axes - mine)


def _reduce(total: Sum, group: Factor, over: frozenset[Symbol], name: str) -> Expr:
    """`np.add.reduce` of the operand over some of its axes."""
    w, frame = total.w, _natural(total, group)
    positions = [i for i, r in enumerate(frame) if r.index in over]
    kept = tuple(r for r in frame if r.index not in over)
    value = _valued(total, group, frame)
    if not positions:
        return w.hold(_named(w, value.text), kept, total.dtype, value)
    write_total(w, value, frame, positions, name, total.dtype)
    return w.hold(name, kept, total.dtype)


def _held(total: Sum, group: Factor) -> Expr:
    """The operand as an expression, its masks applied."""
    if not group.masks:
        return group.product
    frame = total.frame(group.axes)
    value = _valued(total, group, frame)
    return total.w.hold(_named(total.w, value.text), frame, total.dtype, value)


def _natural(total: Sum, group: Factor) -> Frame:
    """The operand's axes in the order that is quickest to write."""
    space = tuple(r for r in total.space if r.index in group.axes)
    over = tuple(r for r in total.over if r.index in group.axes)
    return frame_of(group.product, space, over)


def _named(w: Writer, text: str) -> str:
    if text.isidentifier():
        return text
    name = w.name("t")
    w.say(f"{name} = {text}")
    return name


def _valued(total: Sum, group: Factor, frame: Frame) -> Operand:
    """The operand over all axes of the frame, zero where a mask leaves it out."""
    w = total.w
    real = total.dtype.startswith("float")
    axes = frozenset(r.index for r in frame)
    body = group.product
    if group.masks:
        body = sympy.Piecewise((body, sympy.And(*group.masks)), (0, True))
    value = Evaluation(w, frame, real=real).of(body)
    if value.axes == axes:
        return value
    place = w.place(w.name("t"), sizes_of(frame), total.dtype)
    w.say(f"np.copyto({place}, {value.text})")
    return Operand(place, axes, temporary=True)


# ---------------------------------------------------------------- matrix products


@dataclass(frozen=True)
class Plan:
    """left (stack, rows, summed) @ right (stack, summed, columns), and the order that results."""

    left: Factor
    right: Factor
    stack: Frame
    rows: Frame
    columns: Frame
    summed: Frame

    @property
    def result(self) -> Frame:
        return self.stack + self.rows + self.columns


def _plan(total: Sum, left: Factor, right: Factor) -> Plan | None:
    """A matrix product, its result in the order of the space if that can be had."""
    space = total.frame((left.axes | right.axes) & frozenset(r.index for r in total.space))
    summed = total.frame(left.axes & right.axes - {r.index for r in space})
    shared = left.axes & right.axes
    if not any(r.index not in shared for r in space):
        return None
    for depth in range(len(space)):
        stack, rest = space[:depth], space[depth:]
        for a, b in ((left, right), (right, left)):
            rows = tuple(r for r in rest if r.index in a.axes)
            columns = tuple(r for r in rest if r.index in b.axes)
            apart = not any(r.index in shared for r in rest)
            if apart and rows + columns == rest and (depth == 0 or (rows and columns)):
                return Plan(a, b, stack, rows, columns, summed)
    stack = tuple(r for r in space if r.index in shared)
    rows = tuple(r for r in space if r.index in left.axes - shared)
    columns = tuple(r for r in space if r.index in right.axes - shared)
    return Plan(left, right, stack, rows, columns, summed) if rows and columns else None


def _matmul(total: Sum, plan: Plan) -> Expr:
    w = total.w
    a = _matrix(total, plan.left, plan, (plan.rows, plan.summed))
    b = _matrix(total, plan.right, plan, (plan.summed, plan.columns))
    w.place(total.name, sizes_of(plan.result), total.dtype)
    out = total.name
    if any(len(axes) > 1 for axes in (plan.rows, plan.columns)):
        sizes = [w.size(r.size) for r in plan.stack]
        sizes += [w.count_text(sizes_of(axes)) for axes in (plan.rows, plan.columns) if axes]
        out = f"{out}.reshape({', '.join(sizes)})"
    w.say(f"{_product_of(total, plan)}({a}, {b}, out={out})")
    return w.hold(total.name, plan.result, total.dtype)


def _product_of(total: Sum, plan: Plan) -> str:
    """The function: of one matrix by another `dot`, for a sum of one term ten times quicker.

    For two or three rows BLAS spends its time on packing the other matrix: they go one by one.
    """
    if plan.stack or not (plan.rows and plan.columns) or total.dtype != total.w.real:
        return "np.matmul"
    batch = total.w.program.batch
    others = sizes_of(plan.summed + plan.columns)
    if batch and sizes_of(plan.rows) == (batch.symbol,) and batch.symbol not in others:
        by_row = total.w.helper("by_row")
        return total.w.constant("dot", f"{by_row} if rows in (2, 3) else np.dot")
    return "np.dot"


def _matrix(total: Sum, group: Factor, plan: Plan, sides: tuple[Frame, Frame]) -> str:
    """The operand as a stack of matrices; several axes of one side become one."""
    w = total.w
    mine = total.frame(group.axes)
    stack = plan.stack if set(plan.stack) & set(mine) else ()
    frame = stack + sides[0] + sides[1]
    held = tuple(r for r in frame if r.index in group.axes)
    value = _valued(total, _made(total, group, held), held)
    if not _is_matrix(w, value, sides):
        place = w.place(w.name("t"), sizes_of(held), total.dtype)
        w.say(f"np.copyto({place}, {value.text})")
        value = Operand(place, value.axes)
    if all(len(axes) == 1 or (not axes and not plan.stack) for axes in sides):
        return value.text + _filling(frame, held)
    sizes = [w.size(r.size) if r.index in group.axes else "1" for r in stack]
    sizes += [w.count_text(sizes_of(a)) for a in sides if a or plan.stack]
    return f"{RESHAPED.sub('', value.text)}.reshape({', '.join(sizes)})"


def _made(total: Sum, group: Factor, held: Frame) -> Factor:
    """An operand that is worked out is made as its arrays lie: BLAS reads it either way."""
    frame = _natural(total, group)
    if isinstance(group.product, Access) or group.masks or len(held) != 2 or frame == held:
        return group
    value = _valued(total, group, frame)
    name = _named(total.w, value.text)
    return Factor(total.w.hold(name, frame, total.dtype, value), group.axes)


def _is_matrix(w: Writer, value: Operand, sides: tuple[Frame, Frame]) -> bool:
    """Whether the axes of each side are one in memory, and one side has elements in a row."""
    if value.strides is None:
        return True
    steps = dict(value.strides)
    for axes in sides:
        inner = [r for r in axes if r.size != 1]
        for outer, r in zip(inner, inner[1:], strict=False):
            if steps[outer.index] != steps[r.index] * w.count_of(r.size):
                return False
    last = [steps[axes[-1].index] for axes in sides if axes]
    return len(last) < 2 or 1 in last


def _filling(frame: Frame, mine: Frame) -> str:
    """The subscript that gives axes of length one to a value that lacks them."""
    if mine == frame:
        return ""
    first = next(i for i, r in enumerate(frame) if r in mine)
    parts = [":" if r in mine else "None" for r in frame[first:]]
    while parts and parts[-1] == ":":
        parts.pop()
    return f"[{', '.join(parts)}]" if parts else ""


def _einsum(total: Sum, groups: list[Factor]) -> Expr:
    """`np.einsum("nk,nk->n", a, b)`."""
    w = total.w
    letters = _letters(total.ranges)
    listed, names = [], []
    for group in groups:
        frame = _natural(total, group)
        names.append("".join(letters[r.index] for r in frame))
        listed.append(_valued(total, group, frame).text)
    every = frozenset().union(*(g.axes for g in groups))
    kept = tuple(r for r in total.space if r.index in every)
    spec = ",".join(names) + "->" + "".join(letters[r.index] for r in kept)
    call = f'np.einsum("{spec}", {", ".join(listed)}{", optimize=True" if len(groups) > 2 else ""}'
    if kept:
        w.place(total.name, sizes_of(kept), total.dtype)
        w.say(f"{call}, out={total.name})")
    else:
        w.say(f"{total.name} = {call})")
    return w.hold(total.name, kept, total.dtype)


def _letters(ranges: tuple[Range, ...]) -> dict[Symbol, str]:
    """One letter for each axis, its own initial if that is free."""
    found: dict[Symbol, str] = {}
    for r in ranges:
        own = str(r.index)[0]
        free = [c for c in own + LETTERS if c not in found.values()]
        found[r.index] = free[0]
    return found
