"""SymPy's derivative of a scalar body by each of the elements that it reads.

    x[n, k]*W[k, j]    ->    (x[n, k], W[k, j]), (W[k, j], x[n, k])

Each distinct access becomes a symbol and SymPy differentiates. Accesses inside an index of another
are no values: nothing is differentiated by them. Quotients of exponentials are written safely; what
SymPy has no derivative of is an error here.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import sympy
from sympy import Expr, Symbol

from compiler.safe_scalars import safe
from ir.errors import DifferentiationError
from ir.expression import Access, value_accesses, without_ite


@lru_cache(maxsize=4096)
def local_derivatives(body: Expr) -> tuple[tuple[Access, Expr], ...]:
    """Each distinct access of a body with SymPy's derivative of the body by it."""
    reads = [a for a in value_accesses(body) if not a.is_integer]
    stand_in = {a: Symbol(f"v{i}", real=True) for i, a in enumerate(reads)}
    plain = _replace_accesses(body, stand_in)
    back = {s: a for a, s in stand_in.items()}
    found = []
    for access, symbol in stand_in.items():
        slope = _slope(plain, symbol)
        if slope.has(sympy.Derivative, sympy.Subs):
            raise DifferentiationError(f"SymPy has no derivative of {body} by {access}")
        if slope.has(sympy.DiracDelta):
            slope = slope.replace(sympy.DiracDelta, lambda *_: sympy.S.Zero)
        found.append((access, without_ite(safe(slope.xreplace(back)))))
    return tuple(found)


def _slope(body: Expr, symbol: Symbol) -> Expr:
    """The derivative; every value is real, also a logarithm or a root that SymPy is not sure of."""
    unsure = {
        node: sympy.Dummy(real=True)
        for node in sympy.core.traversal.preorder_traversal(body)
        if isinstance(node, sympy.Abs | sympy.sign) and not node.args[0].is_extended_real
    }
    plain = body.xreplace(unsure)
    slope = sympy.diff(plain, symbol)
    for node, stand_in in unsure.items():
        if isinstance(node, sympy.Abs) and plain.has(stand_in):
            inner = sympy.sign(node.args[0]) * _slope(node.args[0], symbol)
            slope += sympy.diff(plain, stand_in) * inner
    return slope.xreplace({stand_in: node for node, stand_in in unsure.items()})


def _replace_accesses(node: Any, mapping: dict[Access, Symbol]) -> Any:
    """Replace accesses read as values; those inside an index of another stay."""
    if isinstance(node, Access):
        return mapping.get(node, node)
    if not node.args:
        return node
    return node.func(*(_replace_accesses(a, mapping) for a in node.args))
