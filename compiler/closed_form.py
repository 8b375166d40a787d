"""An adjoint written out: every definition it reads put in, as far as that stays short.

    d_x[q] = sum over p of 2*w[p, q]*x[q]*d_g[p]
        ->   4*x[q]*Sum(w[p, q]*Sum(w[p, q_2]*x[q_2]**2, …), …)

A recurrence, a maximum or a scatter has no closed form here, and a long one helps nobody: the line
is then given as it stands.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import sympy
from sympy import Expr

from compiler.count import operations
from ir.expression import Access, accesses, index_symbol, symbols_of
from ir.names import fresh
from ir.program import Definition, Program

LONGEST = 24


def closed_form(program: Program, definition: Definition) -> Expr:
    """The definition in terms of inputs and parameters; as it stands, where that would be long."""
    by_name = program.by_name()
    if _length(definition, by_name) > LONGEST:
        return as_expression(definition)
    taken = {str(r.index) for d in program.definitions for r in d.variables}
    return _written_out(by_name, definition, taken)


def _length(d: Definition, by_name: Mapping[str, Definition]) -> int:
    """Operations and sums of the line written out, or more than the longest; nothing is built."""
    if d.scan or d.reduce in ("max", "argmax", "scatter"):
        return LONGEST + 1
    total = operations(d.body) + len(d.over) + len(d.where)
    for access in accesses(d.body):
        if access.tensor in by_name and total <= LONGEST:
            total += _length(by_name[access.tensor], by_name)
    return total


def _written_out(by_name: Mapping[str, Definition], d: Definition, taken: set[str]) -> Expr:
    body = d.body
    for access in accesses(body):
        home = by_name.get(access.tensor)
        if home is None:
            continue
        inner = _written_out(by_name, _renamed(home, taken), taken)
        renamed = dict(zip((r.index for r in home.indices), access.indices, strict=True))
        body = body.xreplace({access: inner.xreplace(renamed)})
    return as_expression(replace(d, body=body))


def _renamed(d: Definition, taken: set[str]) -> Definition:
    """The definition with reduced indices of its own: nested sums must not capture one another."""
    return d.renamed(
        {
            r.index: index_symbol(fresh(f"{str(r.index).partition('__')[0]}_2", taken))
            for r in d.over
        }
    )


def as_expression(d: Definition) -> Expr:
    """A definition's right-hand side as one SymPy expression; sums are `sympy.Sum`."""
    body = d.body
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
