"""Local derivatives through the value that is stored already, found by eliminating the input.

    y = 1/(1 + exp(-x)):   dy/dx = exp(-x)/(1 + exp(-x))**2   ->  y*(1 - y)
    y = tanh(x):           dy/dx = 1 - tanh(x)**2             ->  1 - y**2
    y = max(x, 0):         dy/dx = 0 if x <= 0 else 1         ->  0 if y <= 0 else 1

No function is known here by name: y = F(u) is solved for its one transcendental part u, where F is
a quotient of linear forms in u, and u is replaced in the derivative. For a choice, the condition
may be asked of y instead of x where both ask the same on every branch.
"""

from __future__ import annotations

from functools import lru_cache

import sympy
from sympy import Expr, Symbol

from ir.expression import Access, tensor_symbol, value_accesses


def through_output(body: Expr, local: Expr, output: Access) -> Expr:
    """`local`, a derivative of `body`, by the stored value `output` where that is cheaper.

    Worked out once for lines that differ in the elements they read alone, as repeated blocks do.
    """
    reads = dict.fromkeys((*value_accesses(body), *value_accesses(local), output))
    plain = {a: _stand_in(number, a.args[0].integer) for number, a in enumerate(reads)}
    found = _through_output(body.xreplace(plain), local.xreplace(plain), plain[output])
    return found.xreplace({stand_in: a for a, stand_in in plain.items()})


def _stand_in(number: int, integer: bool) -> Access:
    return Access(tensor_symbol(f"v{number}", "int32" if integer else "float32"))


@lru_cache(maxsize=4096)
def _through_output(body: Expr, local: Expr, output: Access) -> Expr:
    if isinstance(body, sympy.Piecewise):
        return _choice_by_output(body, local, output)
    inner = _transcendental(body)
    if inner is None:
        return local
    u, y = Symbol("u", real=True), Symbol("y", real=True)
    inverse = _inverse(body.xreplace({inner: u}), u, y)
    if inverse is None:
        return local
    by_u = _in_terms(local, inner, u)
    if by_u is None or not _can_cancel(inverse, by_u, u):
        return local
    short = sympy.cancel(by_u.xreplace({u: inverse}))
    divisors = _divisors(local)
    if not _read_by(_divisors(short)) <= _read_by(divisors):
        return local  # in lowest terms already: no way to write it divides by less
    rewritten = _tidy(short, y).xreplace({y: output})
    if not _divisors(rewritten) <= divisors:
        return local
    return rewritten if _cost(rewritten) < _cost(local) else local


def _divisors(expr: Expr) -> set[Expr]:
    """What an expression divides by: elimination must bring no new divisor, which may be zero."""
    return {p.base for p in expr.atoms(sympy.Pow) if p.exp.could_extract_minus_sign()}


def _can_cancel(inverse: Expr, by_u: Expr, u: Symbol) -> bool:
    """Whether the elements that the inverse divides by stand in the derivative as well.

    Those of a polynomial in u that does not read them would be new divisors.
    """
    if not by_u.has(u) or any(divisor.has(u) for divisor in _divisors(by_u)):
        return True
    return _read_by(_divisors(inverse)) <= _read_by({by_u})


def _read_by(exprs: set[Expr]) -> set[Access]:
    return {a for e in exprs for a in value_accesses(e)}


def _transcendental(body: Expr) -> Expr | None:
    """The one outermost transcendental part of a body, if there is exactly one."""
    found: dict[Expr, None] = {}
    stack = [body]
    while stack:
        node = stack.pop()
        if (
            isinstance(node, sympy.Function)
            and not isinstance(node, (sympy.Piecewise, sympy.Abs, sympy.sign))
            or isinstance(node, sympy.Pow)
            and not node.exp.is_integer
        ):
            found.setdefault(node)
        elif not isinstance(node, Access):
            stack.extend(node.args)
    return next(iter(found)) if len(found) == 1 else None


def _inverse(function: Expr, u: Symbol, y: Symbol) -> Expr | None:
    """u = (b - d·y)/(c·y - a) for y = (a·u + b)/(c·u + d); None where F is no such quotient."""
    numerator, denominator = sympy.fraction(sympy.together(function))
    try:
        top, bottom = sympy.Poly(numerator, u), sympy.Poly(denominator, u)
    except sympy.PolynomialError:
        return None
    if max(top.degree(), bottom.degree()) != 1:
        return None
    a, b = top.coeff_monomial(u), top.coeff_monomial(1)
    c, d = bottom.coeff_monomial(u), bottom.coeff_monomial(1)
    return (b - d * y) / (c * y - a)


def _in_terms(local: Expr, inner: Expr, u: Symbol) -> Expr | None:
    """The derivative with u for the transcendental part and its powers; None if any is left."""
    base, exponent = inner.as_base_exp()
    power = isinstance(inner, sympy.Pow)

    def same(node: Expr) -> bool:
        if isinstance(inner, sympy.exp):
            return isinstance(node, sympy.exp) and (node.args[0] / inner.args[0]).is_Integer
        return (
            power
            and isinstance(node, sympy.Pow)
            and node.base == base
            and bool((node.exp / exponent).is_Integer)
        )

    def as_power(node: Expr) -> Expr:
        ratio = (
            node.args[0] / inner.args[0] if isinstance(inner, sympy.exp) else node.exp / exponent
        )
        return u**ratio

    replaced = local.xreplace({inner: u}).replace(same, as_power)
    return None if _transcendental(replaced) is not None else replaced


def _tidy(short: Expr, y: Symbol) -> Expr:
    """The shortest form of what is cancelled: as it is, nested or factored."""
    nested = sympy.horner(short, y) if short.is_polynomial(y) else short
    return min((nested, short, sympy.factor(short)), key=_cost)


def _cost(expr: Expr) -> int:
    """Operations, a transcendental function as twenty and a division as four."""
    functions = sum(1 for f in expr.atoms(sympy.Function) if not isinstance(f, sympy.Piecewise))
    divisions = sum(1 for p in expr.atoms(sympy.Pow) if p.exp.is_negative)
    return int(sympy.count_ops(expr)) + 20 * functions + 3 * divisions


def _choice_by_output(body: sympy.Piecewise, local: Expr, output: Access) -> Expr:
    """Ask a two-way choice's sign condition of the output, where every branch agrees."""
    if not isinstance(local, sympy.Piecewise) or len(body.args) != 2 or len(local.args) != 2:
        return local
    condition = body.args[0].cond
    if local.args[0].cond != condition or not isinstance(
        condition, sympy.core.relational.Relational
    ):
        return local
    x, bound = condition.lhs, condition.rhs
    if (
        not isinstance(x, Access)
        or not bound.is_number
        or local.args[0].expr.has(x)
        or local.args[1].expr.has(x)
    ):
        return local
    if _agrees(body.args[0].expr, condition, x) is not True:
        return local
    other = body.args[1].expr
    if other != x:
        return local
    asked = condition.func(output, bound)
    return sympy.Piecewise((local.args[0].expr, asked), (local.args[1].expr, True))


def _agrees(value: Expr, condition: Expr, x: Access) -> bool | None:
    """Whether the branch's value satisfies the branch's own condition, if numbers decide that."""
    if not value.is_number:
        return None
    decided = condition.xreplace({x: value})
    return True if decided == sympy.true else None
