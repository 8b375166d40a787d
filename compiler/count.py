"""Operation counts: what a definition costs, at the largest batch.

A sum, product, comparison, choice, division or function counts as one; a reduction adds one a term.
A fused multiply-add is two, as is usual when FLOP/s are quoted. Terms left out at borders count.
"""

from __future__ import annotations

import math
from typing import Any

import sympy

from ir.expression import Access
from ir.program import Definition, Program, Range


def program_flops(program: Program) -> int:
    """Operations of one run of every definition."""
    return sum(flops(d, program) for d in program.definitions)


def flops(definition: Definition, program: Program) -> int:
    """Operations of one definition over all its index values."""
    each = operations(definition.body) + (1 if definition.reduce is not None else 0)
    return each * math.prod(_extent(r, program) for r in definition.variables)


def _extent(r: Range, program: Program) -> int:
    return r.size if isinstance(r.size, int) else program.largest_batch


def operations(node: Any) -> int:
    """Operations of one evaluation of a body; index arithmetic is free."""
    if isinstance(node, Access) or not node.args:
        return 0
    inner = sum(operations(a) for a in node.args)
    if isinstance(node, (sympy.Add, sympy.Mul)):
        signs = sum(1 for a in node.args if a == -1) if isinstance(node, sympy.Mul) else 0
        return inner + max(0, len(node.args) - 1 - signs)
    if isinstance(node, sympy.Piecewise):
        return inner + len(node.args) - 1
    if isinstance(node, sympy.functions.elementary.piecewise.ExprCondPair):
        return inner
    if isinstance(node, sympy.Pow) and node.exp.is_Integer:
        return inner + max(1, abs(int(node.exp)) - 1)
    return inner + 1
