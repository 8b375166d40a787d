"""Simplify sums: conditions become `where`, equalities are solved, constant factors go outside.

sum over r of (e if c else 0)*w        ->  sum over r where c of e*w
sum over r where r == e of f(r)        ->  f(e) if 0 <= e < size else 0
sum over r of a*f(r), r not in a       ->  a * sum over r of f(r)
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import sympy
from sympy import Expr
from sympy.core.relational import Relational

from compiler.deltas import Delta, Solution, guard, solve
from ir.affine import linear
from ir.bounds import doubts
from ir.errors import IndexLanguageError
from ir.expression import accesses, index_symbol, symbols_of
from ir.facts import Facts, inequalities
from ir.names import fresh
from ir.program import Definition, Program, Range


def simplify(program: Program) -> Program:
    """The program with every sum in its simplest form."""
    names = set(program.tensors()) | set(program.by_name())
    made: list[Definition] = []
    for d in program.definitions:
        if d.reduce == "sum":
            solved = _solved(_needed(_guarded(d), program), program)
            made.extend(_outside(solved, names, program))
        else:
            made.append(d)
    return replace(program, definitions=tuple(made))


def _guarded(d: Definition) -> Definition:
    """Conditions that make a whole term zero become conditions of the sum."""
    factors, where = [], list(d.where)
    for factor in sympy.Mul.make_args(d.body):
        if isinstance(factor, sympy.Piecewise) and _zero_elsewhere(factor):
            where.extend(sympy.And.make_args(factor.args[0].cond))
            factors.append(factor.args[0].expr)
        else:
            factors.append(factor)
    if len(where) == len(d.where):
        return d
    again = replace(d, body=sympy.Mul(*factors), where=tuple(dict.fromkeys(where)))
    return _guarded(again)


def _needed(d: Definition, program: Program) -> Definition:
    """Without conditions that the ranges imply."""
    if not d.where:
        return d
    facts = Facts(d.ranges, program.limits)
    return replace(d, where=tuple(c for c in d.where if not _always(c, facts)))


def _always(condition: Any, facts: Facts) -> bool:
    forms = inequalities(condition)
    return bool(forms) and all(facts.nonnegative(f) for f in forms)


def _zero_elsewhere(factor: sympy.Piecewise) -> bool:
    first, *rest = factor.args
    return (
        len(rest) == 1
        and rest[0] == (0, True)
        and all(_about_indices(c) for c in sympy.And.make_args(first.cond))
    )


def _about_indices(condition: Any) -> bool:
    """Whether a condition compares index forms; one on values stays a choice, better in vectors."""
    if not isinstance(condition, Relational):
        return False
    try:
        linear(condition.lhs)
        linear(condition.rhs)
    except IndexLanguageError:
        return False
    return True


def _solved(d: Definition, program: Program) -> Definition:
    """Equalities between a reduced index and what is known: the sum has one term for them."""
    for condition in d.where:
        delta = _as_delta(condition, d)
        if delta is None:
            continue
        solution = solve(
            [delta],
            {r.index: r.size for r in d.indices} | {delta.output: 1},
            {r.index: r.size for r in d.over},
            program.limits,
        )
        if solution.values and len(solution.remaining) < len(d.over):
            rest = [c for c in d.where if c != condition]
            return _solved(_with_solution(d, solution, rest, delta), program)
    return d


_ZERO = index_symbol("zero__")


def _as_delta(condition: Any, d: Definition) -> Delta | None:
    """An equality of index forms as δ(0, difference), if a plain variable of it is reduced over."""
    if not isinstance(condition, sympy.Eq):
        return None
    try:
        form = linear(condition.lhs) - linear(condition.rhs)
    except IndexLanguageError:
        return None
    plain = {a for a, c in form.terms if abs(c) == 1}
    closed = symbols_of(a for a in form.atoms if not isinstance(a, sympy.Symbol))
    if (plain & {r.index for r in d.over}) - closed:
        return Delta(_ZERO, form.expr())
    return None


def _with_solution(d: Definition, solution: Solution, rest: list[Any], delta: Delta) -> Definition:
    nothing = {delta.output: sympy.S.Zero}
    conditions = [solution.apply(c) for c in rest] + list(solution.conditions)
    kept = [c.xreplace(nothing) for c in conditions]
    kept = [c for c in dict.fromkeys(kept) if c != sympy.true]
    body = solution.apply(d.body).xreplace(nothing)
    over = tuple(Range(v, s) for v, s in solution.remaining.items())
    if any(c == sympy.false for c in kept):
        return replace(d, body=sympy.S.Zero, reduce=None, over=(), where=())
    if over:
        return replace(d, body=_at_zero(body), over=over, where=tuple(map(_at_zero, kept)))
    guarded = guard(body, kept)
    return replace(d, body=_at_zero(guarded), reduce=None, over=(), where=())


def _at_zero(expr: Any) -> Any:
    return expr.xreplace({_ZERO: sympy.S.Zero})


def _outside(d: Definition, names: set[str], program: Program) -> list[Definition]:
    """Factors without a reduced index leave the sum, and so do conditions without one.

    Where the sum has no terms it is 0; what leaves it must then not be out of bounds or infinite.
    """
    if d.reduce != "sum":
        return [d]
    over = {r.index for r in d.over}
    factors = sympy.Mul.make_args(d.body)
    outer = [f for f in factors if not symbols_of([f]) & over]
    if d.where and outer:
        facts = Facts({r.index: r.size for r in d.indices}, program.limits)
        if not all(_safe(f, d, facts, program) for f in outer):
            held = [c for c in d.where if not symbols_of([c]) & over]
            facts = facts.assuming(held)
            outer = [f for f in outer if _safe(f, d, facts, program)]
            return _outside_guarded(d, outer, held, names)
    if len(outer) == len(factors) and not d.where:
        count = sympy.Mul(*(sympy.sympify(r.size) for r in d.over))
        return [replace(d, body=count * d.body, reduce=None, over=())]
    if not outer or len(outer) == len(factors):
        return [d]
    inner: Expr = sympy.Mul(*(f for f in factors if f not in outer))
    name = fresh(f"{d.name}_sum", names)
    total = replace(d, name=name, body=inner)
    return [
        total,
        replace(d, body=sympy.Mul(*outer) * total.access(), reduce=None, over=(), where=()),
    ]


def _outside_guarded(
    d: Definition, outer: list[Expr], held: list[Any], names: set[str]
) -> list[Definition]:
    """The same under conditions: those in `held` guard the line that multiplies."""
    factors = sympy.Mul.make_args(d.body)
    if not outer or len(outer) == len(factors):
        return [d]
    inner: Expr = sympy.Mul(*(f for f in factors if f not in outer))
    total = replace(d, name=fresh(f"{d.name}_sum", names), body=inner)
    body = guard(sympy.Mul(*outer) * total.access(), held)
    return [total, replace(d, body=body, reduce=None, over=(), where=())]


def _safe(factor: Expr, d: Definition, facts: Facts, program: Program) -> bool:
    """Whether a factor has a value, and a finite one, even where the sum has no terms."""
    shapes = {a.tensor: program.shape_of(a.tensor) for a in accesses(factor)}
    if doubts(factor, facts, shapes.__getitem__):
        return False
    return not any(map(_partial, factor.atoms(sympy.Function, sympy.Pow))) or _never_empty(d, facts)


def _partial(node: Expr) -> bool:
    """Whether a function or power may be infinite, or no number, of a number."""
    if isinstance(node, sympy.Pow):
        return not (node.is_number or node.exp.is_Integer and node.exp >= 0)
    return isinstance(node, (sympy.log, sympy.tan, sympy.asin, sympy.acos))


def _never_empty(d: Definition, facts: Facts) -> bool:
    """Whether the first term, or the last, is there whatever the output's indices."""
    ends = [
        {r.index: sympy.S.Zero for r in d.over},
        {r.index: r.size - sympy.S.One for r in d.over},
    ]
    return any(_hold([c.xreplace(end) for c in d.where], facts) for end in ends)


def _hold(conditions: list[Any], facts: Facts) -> bool:
    forms = [(c, inequalities(c)) for c in conditions if c != sympy.true]
    return all(f and all(map(facts.nonnegative, f)) for _, f in forms)
