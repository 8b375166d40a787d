"""SymPy's derivative of a scalar body by each of the elements that it reads.

    x[n, k]*W[k, j]    ->    (x[n, k], W[k, j]), (W[k, j], x[n, k])

Each distinct access becomes a symbol and SymPy differentiates. Accesses inside an index of another
are no values: nothing is differentiated by them. Quotients of exponentials are written safely; what
SymPy has no derivative of is an error here. Every value is a real number, which SymPy cannot know
of log(x[n]): where it asks (|u|, sign), a real symbol stands in for u, and the chain rule goes on.
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
        slope = real_slope(plain, symbol)
        if slope.has(sympy.Derivative, sympy.Subs):
            raise DifferentiationError(f"SymPy has no derivative of {body} by {access}")
        if slope.has(sympy.DiracDelta):
            slope = slope.replace(sympy.DiracDelta, lambda *_: sympy.S.Zero)
        found.append((access, without_ite(safe(slope.xreplace(back)))))
    return tuple(found)


def real_slope(body: Expr, symbol: Symbol) -> Expr:
    """SymPy's derivative by a symbol, of a body whose every part is real."""
    inner = {node.args[0]: sympy.Dummy(real=True) for node in _asking(body)}
    if not inner:
        return sympy.diff(body, symbol)
    outer = body.xreplace({node: node.func(inner[node.args[0]]) for node in _asking(body)})
    total = sympy.diff(outer, symbol)
    for argument, stand_in in inner.items():
        total += sympy.diff(outer, stand_in) * real_slope(argument, symbol)
    return total.xreplace({stand_in: argument for argument, stand_in in inner.items()})


def _asking(node: Any) -> list[Expr]:
    """The outermost |u| and sign(u) whose u may be complex, for all that SymPy knows."""
    if isinstance(node, (sympy.Abs, sympy.sign)) and not node.args[0].is_extended_real:
        return [node]
    return [found for a in node.args for found in _asking(a)]


def _replace_accesses(node: Any, mapping: dict[Access, Symbol]) -> Any:
    """Replace accesses read as values; those inside an index of another stay."""
    if isinstance(node, Access):
        return mapping.get(node, node)
    if not node.args:
        return node
    return node.func(*(_replace_accesses(a, mapping) for a in node.args))
