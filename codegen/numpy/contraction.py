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
from typing import Any

import sympy
from sympy import Expr, Symbol

from codegen.numpy.evaluate import Evaluation
from codegen.numpy.padding import covered
from codegen.numpy.writer import Frame, Writer, axes_text, frame_of
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
    """Writes the sum; the expression of its value over `space` comes back."""
    total = Sum(w, space, d.over, name, d.dtype)
    body, masks = covered(w, d.body, conditions, total.ranges)
    over = frozenset(r.index for r in d.over)
    outside, factors = _split(body, over)
    needed = [_axes(f, total) for f in factors]
    missing = over - frozenset().union(*needed, *(_axes(m, total) for m in masks))
    for r in d.over:
        if r.index in missing:
            outside *= sympy.sympify(r.size)
    result = _product(total, _gathered(total, factors, masks))
    return outside * result


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
    value = _operand(total, group, frame)
    if not positions:
        return w.hold(_named(w, value), kept, total.dtype)
    w.say(f"{name} = np.add.reduce({value}, axis={axes_text(positions)})")
    w.fresh.add(name)
    return w.hold(name, kept, total.dtype)


def _held(total: Sum, group: Factor) -> Expr:
    """The operand as an expression, its masks applied."""
    if not group.masks:
        return group.product
    frame = total.frame(group.axes)
    return total.w.hold(_named(total.w, _operand(total, group, frame)), frame, total.dtype)


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


def _operand(total: Sum, group: Factor, frame: Frame) -> str:
    """The text of the operand, its axes those of the frame, zero where a mask leaves it out."""
    w = total.w
    real = total.dtype.startswith("float")
    if group.masks and real and not group.product.is_number:
        masked = sympy.Piecewise((group.product, sympy.And(*group.masks)), (0, True))
        return Evaluation(w, frame).of(masked).text
    mask = Evaluation(w, frame).of(sympy.And(*group.masks)).text if group.masks else ""
    value = Evaluation(w, frame, real=real).of(group.product)
    if mask:
        zero = f"np.{total.dtype}(0)" if value.literal else "0"
        return f"np.where({mask}, {value.text}, {zero})"
    if value.literal or value.axes != frozenset(r.index for r in frame):
        return f"np.full({w.shape(tuple(r.size for r in frame))}, {value.text}, np.{total.dtype})"
    return value.text


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
    text = f"np.matmul({a}, {b})"
    if _is_outer_for_one_row(plan):
        text = f"np.multiply({a}, {b}) if {w.rows} == 1 else {text}"
    if any(len(axes) > 1 for axes in (plan.rows, plan.columns)):
        text += f".reshape{w.shape(tuple(r.size for r in plan.result))}"
    w.say(f"{total.name} = {text}")
    w.fresh.add(total.name)
    return w.hold(total.name, plan.result, total.dtype)


def _is_outer_for_one_row(plan: Plan) -> bool:
    """A sum over the batch of two matrices: for one row `multiply` is several times quicker."""
    return (
        not plan.stack
        and all(len(axes) == 1 for axes in (plan.rows, plan.columns, plan.summed))
        and isinstance(plan.summed[0].size, Symbol)
    )


def _matrix(total: Sum, group: Factor, plan: Plan, sides: tuple[Frame, Frame]) -> str:
    """The operand as a stack of matrices; several axes of one side become one."""
    w = total.w
    stack = plan.stack if set(plan.stack) & set(total.frame(group.axes)) else ()
    frame = stack + sides[0] + sides[1]
    text = _operand_in(total, group, frame)
    if all(len(axes) == 1 or (not axes and not plan.stack) for axes in sides):
        return text
    sizes = [w.size(r.size) if r.index in group.axes else "1" for r in stack]
    sizes += [w.count(axes) for axes in sides if axes or plan.stack]
    return f"{text}.reshape({', '.join(sizes)})"


def _operand_in(total: Sum, group: Factor, frame: Frame) -> str:
    """The operand in a frame that may have axes it lacks: those have length one."""
    mine = tuple(r for r in frame if r.index in group.axes)
    text = _operand(total, group, mine)
    if mine == frame:
        return text
    first = next(i for i, r in enumerate(frame) if r.index in group.axes)
    parts = [":" if r.index in group.axes else "None" for r in frame[first:]]
    while parts and parts[-1] == ":":
        parts.pop()
    return text + (f"[{', '.join(parts)}]" if parts else "")


def _einsum(total: Sum, groups: list[Factor]) -> Expr:
    """`np.einsum("nk,nk->n", a, b)`."""
    w = total.w
    letters = _letters(total.ranges)
    listed, names = [], []
    for group in groups:
        frame = _natural(total, group)
        names.append("".join(letters[r.index] for r in frame))
        listed.append(_operand(total, group, frame))
    every = frozenset().union(*(g.axes for g in groups))
    kept = tuple(r for r in total.space if r.index in every)
    spec = ",".join(names) + "->" + "".join(letters[r.index] for r in kept)
    more = ", optimize=True" if len(groups) > 2 else ""
    w.say(f'{total.name} = np.einsum("{spec}", {", ".join(listed)}{more})')
    w.fresh.add(total.name)
    return w.hold(total.name, kept, total.dtype)


def _letters(ranges: tuple[Range, ...]) -> dict[Symbol, str]:
    """One letter for each axis, its own initial if that is free."""
    found: dict[Symbol, str] = {}
    for r in ranges:
        own = str(r.index)[0]
        free = [c for c in own + LETTERS if c not in found.values()]
        found[r.index] = free[0]
    return found
