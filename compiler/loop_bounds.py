"""Conditions of a reduction as bounds and strides of its loops, so that no branch is left inside.

    sum over r < 3, where 0 <= p + r - 1 < 8      for r = max(0, 1 - p); r < min(3, 9 - p); r++
    sum over r < 3, where (u + 1 - r) % 2 == 0    for r = first of that parity; r < 3; r += 2
    sum over k < 10, where k == label[n]          for k = label[n]; k < label[n] + 1; k++

A condition belongs to the innermost of the loops whose index it holds: it is solved there for that
index, over the integers. One that cannot be solved (two congruences for one index, a product, a
comparison of values) stays as an `if` inside the loop. Bounds that the ranges already prove are
left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import gcd

import sympy
from sympy import Expr, Integer, Symbol
from sympy.core.relational import Relational
from sympy.logic.boolalg import Boolean

from ir.affine import Linear, linear
from ir.errors import IndexLanguageError
from ir.expression import FloorDiv, Remainder, index_symbol
from ir.facts import Facts, inequalities
from ir.loops import For, If, Position, Statement
from ir.program import Definition, Range


@dataclass(slots=True)
class Loop:
    """A loop while it is being built: what its index must satisfy."""

    range: Range
    lower: list[Expr]
    upper: list[Expr]
    congruences: list[tuple[Linear, int]] = field(default_factory=list)
    conditions: list[Boolean] = field(default_factory=list)


def substituted(member: Definition, mapping: Mapping[Expr, Expr]) -> Definition:
    """The member with accesses replaced everywhere."""
    if not mapping:
        return member
    return replace(
        member,
        body=member.body.xreplace(mapping),
        where=tuple(c.xreplace(mapping) for c in member.where),
        target=tuple(e.xreplace(mapping) for e in member.target),
    )


def as_reduction(scatter: Definition) -> Definition:
    """A scatter's loops are those of a reduction over all its indices."""
    return replace(scatter, indices=(), over=scatter.indices)


def reduction_loops(
    member: Definition,
    facts: Facts,
    inner: tuple[Statement, ...],
    row: Range | None = None,
    span: tuple[Expr, Expr] | None = None,
) -> tuple[Statement, ...]:
    """The reduction's loops around `inner`; `row` is one more loop inside them, over `span`."""
    loops = [Loop(r, [Integer(0)], [sympy.sympify(r.size)]) for r in member.over]
    if row is not None and span is not None:
        loops.append(Loop(row, [span[0]], [span[1]]))
    outside: list[Boolean] = []
    for condition in member.where:
        for part in _parts(condition):
            _assign(part, loops, facts, outside)
    body = inner
    for loop in reversed(loops):
        body = _built(loop, facts, body)
    for condition in reversed(outside):
        body = (If(condition, body),)
    return body


def _parts(condition: Boolean) -> Sequence[Boolean]:
    if isinstance(condition, sympy.And):
        return [p for c in condition.args for p in _parts(c)]
    condition = _normal(condition)
    return [] if condition == sympy.true else [condition]


def _normal(condition: Boolean) -> Boolean:
    """Both sides as linear forms, so that an index which cancels is gone."""
    if not isinstance(condition, Relational) or not all(a.is_integer for a in condition.args):
        return condition
    try:
        return condition.func(*(linear(side).expr() for side in condition.args))
    except IndexLanguageError:
        return condition


def _assign(condition: Boolean, loops: list[Loop], facts: Facts, outside: list[Boolean]) -> None:
    """Give the condition to the innermost loop that it depends on."""
    symbols = condition.free_symbols
    owner = next((loop for loop in reversed(loops) if loop.range.index in symbols), None)
    if owner is None:
        outside.append(condition)
    elif not (_bound(owner, condition, facts) or _congruence(owner, condition)):
        owner.conditions.append(condition)


def _bound(loop: Loop, condition: Boolean, facts: Facts) -> bool:
    """`c*v + rest >= 0` as `v >= ceil(-rest / c)` or `v < floor(rest / -c) + 1`."""
    if not isinstance(condition, Relational) or isinstance(condition, sympy.Ne):
        return False
    if not all(side.is_integer for side in condition.args):
        return False
    forms = inequalities(condition)
    index = loop.range.index
    if not forms or any(
        index in f.without(index).expr().free_symbols or not f.coefficient(index) for f in forms
    ):
        return False
    for form in forms:
        c, rest = form.coefficient(index), form.without(index)
        if c > 0:
            _limit(loop.lower, _divided(-rest + (c - 1), c), facts, below=True)
        else:
            _limit(loop.upper, _divided(rest, -c) + 1, facts, below=False)
    return True


def _divided(form: Linear, divisor: int) -> Expr:
    return form.expr() if divisor == 1 else FloorDiv(form.expr(), divisor)


def _limit(limits: list[Expr], new: Expr, facts: Facts, *, below: bool) -> None:
    """Add a limit, unless the first one (the range's own) is proved to imply it."""
    try:
        difference = linear(limits[0]) - linear(new) if below else linear(new) - linear(limits[0])
    except IndexLanguageError:
        limits.append(new)
        return
    if not facts.nonnegative(difference):
        limits.append(new)


def _congruence(loop: Loop, condition: Boolean) -> bool:
    """`Eq(e % d, value)` for an `e` whose coefficient of the index is prime to d."""
    if not isinstance(condition, sympy.Eq) or loop.congruences:
        return False
    left, right = condition.args
    if not isinstance(left, Remainder):
        left, right = right, left
    if not isinstance(left, Remainder) or not isinstance(right, Integer):
        return False
    form, divisor = linear(left.args[0]) - int(right), int(left.args[1])
    index = loop.range.index
    if index in form.without(index).expr().free_symbols:
        return False
    if gcd(form.coefficient(index), divisor) != 1 or not 0 <= int(right) < divisor:
        return False
    loop.congruences.append((form, divisor))
    return True


def _built(loop: Loop, facts: Facts, body: tuple[Statement, ...]) -> tuple[Statement, ...]:
    """The loop with what it must satisfy put into its bounds; the rest is an `if` inside."""
    for condition in reversed(loop.conditions):
        body = (If(condition, body),)
    index = loop.range.index
    lower, upper = tuple(loop.lower), tuple(loop.upper)
    if not loop.congruences:
        return (For(index, lower, upper, body),)
    form, divisor = loop.congruences[0]
    first = index_symbol(f"{index}_first")
    return (
        Position(first, lower),
        For(index, (first + _steps(form, index, first, divisor),), upper, body, divisor),
    )


def _steps(form: Linear, index: Symbol, first: Symbol, divisor: int) -> Expr:
    """How far from `first` the next index with `form % divisor == 0` lies."""
    inverse = pow(form.coefficient(index) % divisor, -1, divisor)
    at_first = linear(first) * form.coefficient(index) + form.without(index)
    return Remainder((at_first * -inverse).expr(), divisor)
