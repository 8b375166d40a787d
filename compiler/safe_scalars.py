"""Equations between scalars that keep the value and mend the rounding.

    exp(a)*exp(b)                ->  exp(a + b)
    log(exp(a)*b)                ->  a + log(b)
    log(c + exp(a))              ->  log(c) + max(b, 0) + log(1 + exp(-|b|)),  b = a - log(c)
    log(exp(a) + exp(b))         ->  a + log(1 + exp(b - a))
    log(a*b), log(1/a)           ->  log(a) + log(b), -log(a)       a = exp(c), or a sum of such
    exp(a)**k/(c + exp(a))**n    ->  (1 + c*exp(-a))**-k * (c + exp(a))**(k - n)
    (p*exp(a) + q*exp(b))/(c*exp(a) + d*exp(b))  ->  (p + q*exp(b - a))/(c + d*exp(b - a)), a > b

What stays has bounded factors, or grows only where the value does. Nothing here knows what an
expression is for.
"""

from __future__ import annotations

from typing import Any

import sympy
from sympy import Expr

from ir.expression import Access


def safe(node: Any, small: frozenset[Expr] = frozenset()) -> Any:
    """An expression with the equations of this file applied, from the leaves up.

    `small` are exponents known not to be positive, from the conditions of the choices around.
    """
    if not node.args or isinstance(node, Access) or not node.has(sympy.exp, sympy.log):
        return node
    if isinstance(node, sympy.Piecewise):
        return _safe_choice(node, small)
    rebuilt = node.func(*(safe(a, small) for a in node.args))
    if isinstance(rebuilt, sympy.Mul):
        return _quotient(rebuilt) or _one_exponential(rebuilt)
    if isinstance(rebuilt, sympy.log):
        return _safe_log(rebuilt, small)
    return rebuilt


def _safe_choice(node: sympy.Piecewise, small: frozenset[Expr]) -> Expr:
    """Each branch with what its condition says, and that the ones before do not hold."""
    branches = []
    for value, condition in node.args:
        branches.append((safe(value, small | _negative(condition)), safe(condition, small)))
        small = small | _negative(sympy.Not(condition))
    return sympy.Piecewise(*branches)


def _negative(condition: Any) -> frozenset[Expr]:
    """The difference that a comparison says is not positive."""
    if isinstance(condition, (sympy.Gt, sympy.Ge)):
        return frozenset([sympy.expand(condition.rhs - condition.lhs)])
    if isinstance(condition, (sympy.Lt, sympy.Le)):
        return frozenset([sympy.expand(condition.lhs - condition.rhs)])
    return frozenset()


def _quotient(product: sympy.Mul) -> Expr | None:
    """A sum of two exponentials over another of the same: both divided by the larger of the two."""
    for below in product.args:
        base, exponent = _base_and_exponent(below)
        divisor = _exponentials(base)
        if exponent != -1 or len(divisor) != 2 or not all(c.is_positive for c in divisor.values()):
            continue
        for above in product.args:
            terms = _exponentials(above)
            if len(terms) == 2 and terms.keys() == divisor.keys():
                rest = [f for f in product.args if f not in (above, below)]
                return safe(sympy.Mul(*rest)) * _by_the_larger(terms, divisor)
    return None


def _exponentials(total: Expr) -> dict[Expr, Expr]:
    """{a: c, 0: d} of c*exp(a) + d, for numbers c and d; nothing for any other sum."""
    found: dict[Expr, Expr] = {}
    for term in sympy.Add.make_args(total):
        number, rest = term.as_independent(sympy.exp, as_Add=False)
        if not number.is_number or not (rest == 1 or isinstance(rest, sympy.exp)):
            return {}
        found[rest.args[0] if rest.args else sympy.S.Zero] = number
    return found


def _by_the_larger(terms: dict[Expr, Expr], divisor: dict[Expr, Expr]) -> Expr:
    a, b = divisor
    first, second = (
        sympy.Add(*(c * sympy.exp(e - most) for e, c in terms.items()))
        / sympy.Add(*(c * sympy.exp(e - most) for e, c in divisor.items()))
        for most in (a, b)
    )
    return sympy.Piecewise((first, a > b), (second, True))


def _one_exponential(product: sympy.Mul) -> Expr:
    """exp(a)*exp(b)/exp(c)*w  ->  exp(a + b - c)*w, then against 1 + exp(a) if it stands below."""
    power: Expr = sympy.S.Zero
    rest: list[Expr] = []
    for factor in product.args:
        base, exponent = _base_and_exponent(factor)
        exps = [f for f in sympy.Mul.make_args(base) if isinstance(f, sympy.exp)]
        power += exponent * sympy.Add(*(f.args[0] for f in exps))
        rest.append(sympy.Mul(*(f for f in sympy.Mul.make_args(base) if f not in exps)) ** exponent)
    return _bounded(power, rest)


def _base_and_exponent(factor: Expr) -> tuple[Expr, Expr]:
    if isinstance(factor, sympy.Pow):
        return factor.base, factor.exp
    return factor, sympy.S.One


def _bounded(power: Expr, rest: list[Expr]) -> Expr:
    """exp(a)**k/(c + exp(a))**n  ->  1/((1 + c*exp(-a))**k*(c + exp(a))**(n - k)).

    Each factor is bounded.
    """
    for position, factor in enumerate(rest):
        base, exponent = _base_and_exponent(factor)
        grown = _constant_plus_exponential(base)
        if grown is None or not exponent.is_Integer or exponent >= 0:
            continue
        constant, a = grown
        times = power / a if a != 0 else sympy.S.Zero
        if times.is_Integer and 0 < times <= -exponent:
            small = (1 + constant * sympy.exp(-a)) ** -times
            others = rest[:position] + rest[position + 1 :]
            return small * base ** (exponent + times) * sympy.Mul(*others)
    return sympy.exp(power) * sympy.Mul(*rest)


def _constant_plus_exponential(base: Expr) -> tuple[Expr, Expr] | None:
    """(c, a) of c + exp(a) with a positive number c."""
    if isinstance(base, sympy.Add) and len(base.args) == 2:
        constant, other = base.args
        if constant.is_number and constant.is_positive and isinstance(other, sympy.exp):
            return constant, other.args[0]
    return None


def _safe_log(node: Expr, small: frozenset[Expr], factored: bool = False) -> Expr:
    """A logarithm with the exponentials inside it taken out; a sum is factored once."""
    if not isinstance(node, sympy.log):
        return node
    inside = node.args[0]
    if isinstance(inside, sympy.exp):
        return inside.args[0]
    if isinstance(inside, sympy.Pow) and inside.exp == -1:
        return -_safe_log(sympy.log(inside.base), small, factored)
    if isinstance(inside, sympy.Mul):
        positive = [f for f in inside.args if _is_positive(f)]
        rest = sympy.log(sympy.Mul(*(f for f in inside.args if f not in positive)))
        logs = [_safe_log(sympy.log(f), small, factored) for f in positive]
        return sympy.Add(*logs, _safe_log(rest, small, factored)) if positive else node
    if isinstance(inside, sympy.Add):
        return _log_of_sum(node, inside, small, factored)
    return node


def _is_positive(factor: Expr) -> bool:
    """Whether it is an exponential, or a sum of some: no other logarithm may stand alone."""
    total = _exponentials(_base_and_exponent(factor)[0])
    return bool(total) and factor.has(sympy.exp) and all(c.is_positive for c in total.values())


def _log_of_sum(
    node: Expr, inside: sympy.Add, small: frozenset[Expr], factored: bool
) -> Expr:
    grown = _constant_plus_exponential(inside)
    if grown is not None:
        constant, a = grown
        if sympy.expand(a - sympy.log(constant)) in small:
            return node
        return sympy.log(constant) + _softplus(a - sympy.log(constant))
    exps = [f for f in inside.args if isinstance(f, sympy.exp)]
    if len(exps) == len(inside.args) == 2:
        first, second = (f.args[0] for f in exps)
        return first + _softplus(second - first)
    if inside.has(sympy.exp) and not factored:
        quotient = safe(sympy.factor(sympy.cancel(inside)), small)
        if any(_is_positive(f) for f in sympy.Mul.make_args(quotient)):
            return _safe_log(sympy.log(quotient), small, factored=True)
    return node


def _softplus(a: Expr) -> Expr:
    """log(1 + exp(a)) with the exponential of a number that is never positive."""
    return sympy.Piecewise(
        (a + sympy.log(1 + sympy.exp(-a)), a > 0), (sympy.log(1 + sympy.exp(a)), True)
    )
