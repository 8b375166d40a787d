"""An adjoint written out: every definition it reads put in, as far as that stays short.

    d_x[q] = sum over p of 2*w[p, q]*x[q]*d_g[p]
        ->   4*x[q]*Sum(w[p, q]*Sum(w[p, q_2]*x[q_2]**2, …), …)

A recurrence, a maximum or a scatter has no closed form here, and a long one helps nobody: the line
is then given as it stands.
"""

from __future__ import annotations

from typing import Any

import sympy
from sympy import Expr

from ir.expression import Access, accesses, index_symbol, symbols_of
from ir.names import fresh
from ir.program import Definition, Program

LONGEST = 120


def closed_form(program: Program, definition: Definition) -> Expr:
    """The definition in terms of inputs and parameters; as it stands, where that would be long."""
    taken = {str(r.index) for d in program.definitions for r in d.variables}
    whole = _written_out(program, definition, set(taken), depth=40)
    if whole is not None and sympy.count_ops(whole) <= LONGEST:
        return whole
    return _as_expression(definition, definition.body)


def _written_out(program: Program, d: Definition, taken: set[str], depth: int) -> Expr | None:
    body = d.body
    by_name = program.by_name()
    for access in accesses(body):
        home = by_name.get(access.tensor)
        if home is None:
            continue
        if home.scan or home.reduce in ("max", "argmax", "scatter") or depth == 0:
            return None
        inner = _written_out(program, _renamed(home, taken), taken, depth - 1)
        if inner is None or sympy.count_ops(inner) > LONGEST:
            return None
        renamed = dict(zip((r.index for r in home.indices), access.indices, strict=True))
        body = body.xreplace({access: inner.xreplace(renamed)})
    return _as_expression(d, body)


def _renamed(d: Definition, taken: set[str]) -> Definition:
    """The definition with reduced indices of its own: nested sums must not capture one another."""
    return d.renamed(
        {
            r.index: index_symbol(fresh(f"{str(r.index).partition('__')[0]}_2", taken))
            for r in d.over
        }
    )


def _as_expression(d: Definition, body: Expr) -> Expr:
    """A definition's right-hand side as one SymPy expression; sums are `sympy.Sum`."""
    if d.reduce is None:
        return body
    if d.reduce != "sum":
        return Access(sympy.Symbol(d.name, real=True), *(r.index for r in d.indices))
    if d.where:
        body = sympy.Piecewise((body, sympy.And(*d.where)), (0, True))
    over = {r.index for r in d.over}
    factors = sympy.Mul.make_args(body)
    inside = [f for f in factors if symbols_of([f]) & over]
    outside = [f for f in factors if f not in inside]
    limits: list[Any] = [(r.index, 0, r.size - 1) for r in d.over]
    return sympy.Mul(*outside) * sympy.Sum(sympy.Mul(*inside), *limits)
