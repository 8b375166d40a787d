"""Loads out of the branches of a Piecewise, wherever the ranges alone prove them in bounds.

    v = g[n, j] if h[n, j] > 0 else 0      g_at = g[n, j];  v = g_at if h[n, j] > 0 else 0

A choice between two values is quicker than a load under a condition, and safer: some releases of
GCC 12 vectorise neighbouring conditional loads wrongly (a stride of three is enough to see it).
What must stay conditional because it may be out of bounds, `guarded` finds, and the target turns
vectorising off for that function.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import sympy
from sympy import Expr, Symbol

from ir.bounds import doubts
from ir.expression import Access, accesses, symbols_of
from ir.facts import Facts
from ir.loops import Accumulate, For, If, Local, Statement, Store, walk
from ir.program import Program


def hoisted(body: Expr, facts: Facts, program: Program, owner: str) -> tuple[list[Statement], Expr]:
    """Locals for the loads in branches that are always in bounds, and the body that uses them.

    They are named after `owner` too: members of a kernel share a block.
    """
    found: list[Statement] = []
    mapping: dict[Expr, Expr] = {}
    shapes = set(program.tensors()) | set(program.by_name())
    for access in dict.fromkeys(_in_branches(body, inside=False)):
        if access.tensor not in shapes or not access.indices:
            continue
        if list(doubts(access, facts, program.shape_of)):
            continue
        dtype = program.dtype_of(access.tensor)
        symbol = _local(f"{owner}_{access.tensor}_{len(found) + 1}", dtype)
        found.append(Local(symbol, dtype, access))
        mapping[access] = symbol
    return found, body.xreplace(mapping) if mapping else body


def _local(name: str, dtype: str) -> Symbol:
    return Symbol(name, integer=True) if dtype.startswith("int") else Symbol(name, real=True)


def _in_branches(node: Any, *, inside: bool) -> Iterator[Access]:
    """The accesses that only some branch reads; not those inside an index of another."""
    if isinstance(node, Access):
        if inside:
            yield node
        return
    for number, arg in enumerate(node.args):
        if isinstance(node, sympy.Piecewise):
            value, condition = arg.args
            yield from _in_branches(condition, inside=inside or number > 0)
            yield from _in_branches(value, inside=True)
        else:
            yield from _in_branches(arg, inside=inside)


def guarded(body: tuple[Statement, ...], arrays: set[str]) -> bool:
    """Whether a load of one of the arrays is left under a condition that a loop changes."""
    moving = {s.index for s in walk(body) if isinstance(s, For)}
    for statement in walk(body):
        if isinstance(statement, If) and _varies(statement.condition, moving):
            if any(_loads(s, arrays) for s in walk(statement.body)):
                return True
            continue
        value = _value(statement)
        if value is not None and any(a.tensor in arrays for a in _in_branches(value, inside=False)):
            return True
    return False


def _varies(condition: Expr, moving: set[Symbol]) -> bool:
    return bool(list(accesses(condition)) or symbols_of([condition]) & moving)


def _value(statement: Statement) -> Expr | None:
    return statement.value if isinstance(statement, Local | Store | Accumulate) else None


def _loads(statement: Statement, arrays: set[str]) -> bool:
    value = _value(statement)
    return value is not None and any(a.tensor in arrays for a in accesses(value))
