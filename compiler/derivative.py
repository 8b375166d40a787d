"""The derivative of a bare index-notation expression by a symbol or by one element of a tensor.

    derivative(gw.sum(w[p, q] * x[q]**2, over=q), x[k])        # 2*w[p, k]*x[k]

The deltas appear as in `compiler/differentiate.py` and are solved by `compiler/deltas.py`. Indices
that stand free in the expression are given points: a delta between two of them stays, as a
KroneckerDelta. A bare maximum has no derivative here: in a network its argmax would be stored.
"""

from __future__ import annotations

from typing import Any

import sympy
from sympy import Expr, Symbol

from compiler.deltas import Delta, solve
from compiler.local_derivative import local_derivatives, real_slope
from ir.affine import linear
from ir.errors import DifferentiationError, RangeError
from ir.expression import Access, Index, Reduce, accesses, index_symbol, symbols_of
from ir.program import Size


def derivative(expr: Expr, wrt: Any) -> Expr:
    """∂expr/∂wrt as a SymPy expression; DifferentiationError unless by a symbol or an access."""
    if isinstance(wrt, Access):
        at = tuple(index_symbol(f"{position}__of") for position in range(len(wrt.indices)))
        made = _by_access(expr, wrt, at, {})
        return made.xreplace(dict(zip(at, (linear(e).expr() for e in wrt.indices), strict=True)))
    if isinstance(wrt, Symbol) and not isinstance(wrt, Index):
        return real_slope(expr, wrt)
    raise DifferentiationError(
        f"cannot differentiate by {wrt!r}", fix="give a symbol, or an element such as x[k]"
    )


def _by_access(expr: Any, wrt: Access, at: tuple[Symbol, ...], sizes: dict[Symbol, Size]) -> Expr:
    """The derivative by wrt's tensor at the indices `at`; reductions one by one, inside out."""
    stand_in = {node: Symbol(f"reduced_{i}", real=True) for i, node in enumerate(_outermost(expr))}
    plain = expr.xreplace(stand_in)
    total: Expr = sympy.S.Zero
    for access, local in local_derivatives(plain):
        if access.tensor == wrt.tensor:
            deltas = (sympy.KroneckerDelta(a, e) for a, e in zip(at, access.indices, strict=True))
            total += local * sympy.Mul(*deltas)
    for node, symbol in stand_in.items():
        slope = real_slope(plain, symbol)
        if slope != 0:
            total += slope * _reduced(node, wrt, at, sizes)
    return total.xreplace({symbol: _as_sum(node, sizes) for node, symbol in stand_in.items()})


def _outermost(node: Any) -> list[Reduce]:
    if isinstance(node, Reduce):
        return [node]
    return list(dict.fromkeys(r for a in node.args for r in _outermost(a)))


def _reduced(node: Reduce, wrt: Access, at: tuple[Symbol, ...], sizes: dict[Symbol, Size]) -> Expr:
    if node.kind not in ("sum", "mean"):
        raise DifferentiationError(
            f"a bare {node.kind} has no derivative in closed form",
            fix="define it in a network, then derive the network",
        )
    inner = {**sizes, **_extents(node)}
    scale = sympy.Mul(*(inner[v] for v in node.over)) if node.kind == "mean" else sympy.S.One
    total: Expr = sympy.S.Zero
    for term in sympy.Add.make_args(sympy.expand_mul(_by_access(node.body, wrt, at, inner))):
        total += _summed(term, node, at, inner) / scale
    return total


def _summed(term: Expr, node: Reduce, at: tuple[Symbol, ...], sizes: dict[Symbol, Size]) -> Expr:
    """Sum over the reduction's indices of one term, its deltas solved for them."""
    factors = sympy.Mul.make_args(term)
    deltas = [f for f in factors if isinstance(f, sympy.KroneckerDelta)]
    rest = sympy.Mul(*(f for f in factors if f not in deltas))
    if rest == 0:
        return sympy.S.Zero
    over = {v: sizes[v] for v in node.over}
    posed = [_delta(d, at) for d in deltas]
    outputs = {a: Symbol(f"size_{a}", integer=True, positive=True) for a in at}
    solution = solve([d for d in posed if d], outputs, over, {})
    kept = [c for c in solution.conditions if isinstance(c, sympy.Eq)]
    closed = [sympy.KroneckerDelta(c.lhs, c.rhs) for c in kept]
    body = solution.apply(rest) * sympy.Mul(*closed)
    limits = [(v, 0, s - 1) for v, s in solution.remaining.items()]
    return _sum(body, limits)


def _delta(delta: sympy.KroneckerDelta, at: tuple[Symbol, ...]) -> Delta | None:
    first, second = delta.args
    return Delta(first, second) if first in at else Delta(second, first)


def _sum(body: Expr, limits: list[Any]) -> Expr:
    if not limits:
        return body
    over = {v for v, _, _ in limits}
    factors = sympy.Mul.make_args(body)
    inside = [f for f in factors if symbols_of([f]) & over]
    return sympy.Mul(*(f for f in factors if f not in inside)) * sympy.Sum(
        sympy.Mul(*inside), *limits
    )


def _as_sum(node: Reduce, sizes: dict[Symbol, Size]) -> Expr:
    inner = {**sizes, **_extents(node)}
    body = node.body.xreplace({n: _as_sum(n, inner) for n in _outermost(node.body)})
    scale = sympy.Mul(*(inner[v] for v in node.over)) if node.kind == "mean" else sympy.S.One
    return sympy.Sum(body, *((v, 0, inner[v] - 1) for v in node.over)) / scale


def _extents(node: Reduce) -> dict[Symbol, Size]:
    """The sizes of a reduction's indices: given, or a symbol named after the index."""
    found: dict[Symbol, Size] = {}
    for v in node.over:
        if not any(v in symbols_of(a.indices) for a in accesses(node.body)):
            raise RangeError(f"index {v} stands in no access of {node}")
        extent = getattr(v, "extent", None)
        found[v] = (
            extent if extent is not None else Symbol(str(v).upper(), integer=True, positive=True)
        )
    return found
