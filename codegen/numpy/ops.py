"""Bodies as array operations: a small graph of binary operations over views of arrays.

    -x + y*z**2/3      becomes      subtract(multiply(multiply(y, square(z)), 0.333), x)

    Op   ::= name of a NumPy function, applied to Ops          add, exp, where, less, …
           | access | random | index | number | truth          leaves, holding the SymPy expression
           | cast, indicator                                   an integer, or a truth, as a number

Small operands are combined first, so that the large arrays are passed over least often. A Piecewise
becomes `where`, or `choose` where every condition is plain Python (the step of a recurrence).
Nothing here knows shapes: `axes` says which loop variables an expression depends on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sympy
from sympy import Symbol

from ir.affine import linear
from ir.errors import IndexLanguageError, VerifyError
from ir.expression import Access, FloorDiv, Random, Remainder, symbols_of

FUNCTIONS: dict[Any, str] = {
    sympy.exp: "exp",
    sympy.log: "log",
    sympy.tanh: "tanh",
    sympy.sinh: "sinh",
    sympy.cosh: "cosh",
    sympy.sin: "sin",
    sympy.cos: "cos",
    sympy.tan: "tan",
    sympy.asin: "arcsin",
    sympy.acos: "arccos",
    sympy.atan: "arctan",
    sympy.atan2: "arctan2",
    sympy.erf: "erf",
    sympy.erfc: "erfc",
    sympy.Abs: "abs",
    sympy.sign: "sign",
    sympy.Eq: "equal",
    sympy.Ne: "not_equal",
    sympy.Lt: "less",
    sympy.Le: "less_equal",
    sympy.Gt: "greater",
    sympy.Ge: "greater_equal",
    sympy.And: "logical_and",
    sympy.Or: "logical_or",
    sympy.Not: "logical_not",
}


@dataclass(frozen=True, slots=True)
class Op:
    """An operation; a leaf holds the expression it stands for."""

    name: str
    args: tuple[Op, ...] = ()
    leaf: Any = None


@dataclass(frozen=True, slots=True)
class Lowering:
    """Turns bodies into graphs. `axes` are the loop variables that are array axes here."""

    axes: frozenset[Symbol]
    real: bool = True

    def count(self, expr: Any) -> int:
        """How many axes an expression has: what is combined first."""
        return len(symbols_of([expr]) & self.axes)

    def lower(self, expr: Any) -> Op:
        """The graph of a body or a condition."""
        if expr.is_number and not isinstance(expr, sympy.logic.boolalg.Boolean):
            return Op("number", (), float(expr) if self.real else int(expr))
        if _is_index(expr) or (not self.real and _is_affine(expr)):
            index = Op("index", (), expr)
            return Op("cast", (index,)) if self.real else index
        for kind, rule in RULES.items():
            if isinstance(expr, kind):
                return rule(self, expr)
        name = FUNCTIONS.get(expr.func)
        if name is None:
            raise VerifyError(f"the NumPy target cannot say {expr.func.__name__}")
        return _fold(name, [self.lower(a) for a in expr.args])

    def condition(self, expr: Any) -> Op:
        """A relation: between integers where both sides are, so that no index becomes a float."""
        whole = all(side.is_integer for side in expr.args)
        sides = Lowering(self.axes, not whole)
        return Op(FUNCTIONS[expr.func], tuple(sides.lower(side) for side in expr.args))

    def total(self, expr: sympy.Add) -> Op:
        """A sum, smallest operands first; what is negative is subtracted."""
        terms = []
        for term in sorted(expr.args, key=self.count):
            coefficient, rest = term.as_coeff_Mul()
            negative = bool(coefficient.is_negative)
            terms.append((self.lower(-coefficient * rest if negative else term), negative))
        return _combined(terms, "add", "subtract", lambda op: Op("negative", (op,)))

    def product(self, expr: sympy.Mul) -> Op:
        """A product, smallest operands first; reciprocals are divided by."""
        coefficient, value = expr.as_coeff_Mul()
        if coefficient == -1:
            return Op("negative", (self.lower(value),))
        numbers = [a for a in expr.args if a.is_number]
        rest = [a for a in expr.args if not a.is_number]
        factors = [(self.lower(sympy.Mul(*numbers)), False)] if numbers else []
        for factor in sorted(rest, key=self.count):
            below = _is_reciprocal(factor)
            factors.append((self.lower(1 / factor if below else factor), below))
        return _combined(factors, "multiply", "divide", lambda op: Op("divide", (ONE, op)))

    def power(self, expr: sympy.Pow) -> Op:
        """Small whole powers are products; halves are square roots."""
        base, exponent = self.lower(expr.base), expr.exp
        if _is_reciprocal(expr):
            return Op("divide", (ONE, self.lower(1 / expr)))
        if exponent == sympy.Rational(1, 2):
            return Op("sqrt", (base,))
        if exponent == 2:
            return Op("square", (base,))
        if exponent == 3:
            return Op("multiply", (Op("square", (base,)), base))
        if exponent == 4:
            return Op("square", (Op("square", (base,)),))
        return Op("power", (base, self.lower(exponent)))

    def piecewise(self, expr: sympy.Piecewise) -> Op:
        """`where` from the last branch inwards; simple cases are functions of NumPy's own."""
        if all(self.is_fixed(c) for _, c in expr.args):
            return Op("choose", tuple(self.lower(v) for v, _ in expr.args), expr)
        if (relu := _relu(expr)) is not None:
            name, value = relu
            return Op(name, (self.lower(value), Op("number", (), 0.0)))
        if self.real and tuple(v for v, _ in expr.args) in ((1, 0), (0, 1)):
            held = self.lower(expr.args[0][1])
            return Op("indicator", (held if expr.args[0][0] == 1 else Op("logical_not", (held,)),))
        *branches, (value, _) = expr.args
        result = self.lower(value)
        for value, condition in reversed(branches):
            result = Op("where", (self.lower(condition), self.lower(value), result))
        return result

    def either(self, expr: sympy.ITE) -> Op:
        """What SymPy makes of a comparison of a Piecewise."""
        test, first, second = (self.lower(a) for a in expr.args)
        other = Op("logical_and", (Op("logical_not", (test,)), second))
        return Op("logical_or", (Op("logical_and", (test, first)), other))

    def is_fixed(self, condition: Any) -> bool:
        """Whether it is one truth for the whole array, known to Python."""
        return not condition.has(Access) and not symbols_of([condition]) & self.axes


ONE = Op("number", (), 1.0)

RULES: dict[Any, Callable[[Lowering, Any], Op]] = {
    Access: lambda lowering, expr: Op("access", (), expr),
    Random: lambda lowering, expr: Op("random", (), expr),
    sympy.Add: Lowering.total,
    sympy.Mul: Lowering.product,
    sympy.Pow: Lowering.power,
    sympy.Piecewise: Lowering.piecewise,
    sympy.ITE: Lowering.either,
    sympy.core.relational.Relational: Lowering.condition,
    sympy.logic.boolalg.BooleanAtom: lambda lowering, expr: Op("truth", (), bool(expr)),
}


def _is_index(expr: Any) -> bool:
    """An integer of the index language: a loop variable, a size, // or %, or an integer element."""
    whole = isinstance(expr, Access) and expr.is_integer
    return whole or isinstance(expr, (Symbol, FloorDiv, Remainder))


def _is_affine(expr: Any) -> bool:
    """A sum of integer multiples of indices; a condition may hold products of indices, too."""
    if not isinstance(expr, (sympy.Add, sympy.Mul)):
        return False
    try:
        linear(expr)
    except IndexLanguageError:
        return False
    return True


def _is_reciprocal(expr: Any) -> bool:
    """`1/x`, `x**-2`, but not `exp(-x)`, which is a function of its own."""
    return isinstance(expr, sympy.Pow) and bool(expr.exp.could_extract_minus_sign())


def is_relu(body: Any) -> bool:
    """Whether a body is `0 if v <= 0 else v`."""
    found = _relu(body) if isinstance(body, sympy.Piecewise) else None
    return found is not None and found[0] == "maximum"


def _relu(expr: sympy.Piecewise) -> tuple[str, Any] | None:
    """The NumPy function that this is, and of what: `v if v > 0 else 0` turns NaN into 0, as fmax
    does, and `0 if v <= 0 else v` keeps it, as maximum does."""
    if len(expr.args) != 2 or expr.args[1][1] != sympy.true:
        return None
    (first, condition), (second, _) = expr.args
    if second == 0 and condition in (sympy.Gt(first, 0), sympy.Ge(first, 0)):
        return "fmax", first
    if first == 0 and condition in (sympy.Le(second, 0), sympy.Lt(second, 0)):
        return "maximum", second
    return None


def _fold(name: str, ops: list[Op]) -> Op:
    """And, Or of several conditions, two at a time; any other function as it is."""
    if name not in ("logical_and", "logical_or"):
        return Op(name, tuple(ops))
    result = ops[0]
    for op in ops[1:]:
        result = Op(name, (result, op))
    return result


def _combined(
    terms: list[tuple[Op, bool]], join: str, inverse: str, alone: Callable[[Op], Op]
) -> Op:
    """Folds terms, each plain or inverted (negative, or a divisor), from the left."""
    result, inverted = terms[0]
    for op, flag in terms[1:]:
        if inverted == flag:
            result = Op(join, (result, op))
        elif flag:
            result = Op(inverse, (result, op))
        else:
            result, inverted = Op(inverse, (op, result)), False
    return alone(result) if inverted else result
