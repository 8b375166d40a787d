"""One row by a large matrix, four terms at a time: what fits no registers is read less often.

    for k < 25088: for j < 4096: y[j] += x[k]*W[k, j]

    for k < 25088, four by four: for j < 4096:
        at = y[j]
        at += x[k]*W[k, j]; at += x[k + 1]*W[k + 1, j]; ...
        y[j] = at

The matrix is read in long runs from one end to the other, as memory likes it best. The terms keep
their order.
"""

from __future__ import annotations

import sympy
from sympy import Integer

from compiler.scope import Scope, local, real_of
from ir.expression import Access
from ir.loops import Accumulate, For, Local, Statement, Store
from ir.program import Definition, Range

AT_ONCE = 4  # terms
LONGEST = {"float32": 4096, "float64": 2048}  # elements on the stack: 16 KB


def are_worth_it(scope: Scope, row: Range) -> bool:
    """Whether the reductions are sums over one index each, and the row the only one of a batch."""
    reductions = [m for m in scope.members if m.reduce]
    sums = all(m.reduce == "sum" and not m.where and _has_terms(m) for m in reductions)
    if not sums or scope.largest > 1 or scope.threads > 1 or not isinstance(row.size, int):
        return False
    return row.size * len(reductions) <= LONGEST[real_of(scope.program)]


def _has_terms(member: Definition) -> bool:
    size = member.over[0].size
    return len(member.over) == 1 and isinstance(size, int) and size >= AT_ONCE


def loops(member: Definition, row: Range, term: Accumulate) -> tuple[Statement, ...]:
    """All terms by fours, and those that are left one by one."""
    (over,) = member.over
    assert isinstance(term.place, Access)
    fours = Integer(over.size) // AT_ONCE * AT_ONCE
    at = local(f"{member.name}_at", member.dtype)
    terms = [term.value.xreplace({over.index: over.index + i}) for i in range(AT_ONCE)]
    point: tuple[Statement, ...] = (
        Local(at, member.dtype, term.place, changes=True),
        *(Accumulate(at, "sum", value) for value in terms),
        Store(term.place, at),
    )
    start, end = (Integer(0),), (sympy.sympify(row.size),)
    several = For(over.index, start, (fours,), (For(row.index, start, end, point),), step=AT_ONCE)
    rest = For(over.index, (fours,), (Integer(over.size),), (For(row.index, start, end, (term,)),))
    return (several,) if fours == over.size else (several, rest)
