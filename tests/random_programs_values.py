"""Values of random programs: the text of an expression, and an interval that holds its value.

    unary(pick, Value("@a[i]", -1.0, 1.5))       # sympy.exp(@a[i]), sympy.log(@a[i] + 1.3), ...

Every scalar function of the language stands in one of the two tables. An argument that might leave
the domain of a function is moved or scaled into it; intervals are wider than the values are.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

Pick = Callable[[int], int]


@dataclass(frozen=True, slots=True)
class Value:
    text: str
    low: float
    high: float

    @property
    def size(self) -> float:
        return max(abs(self.low), abs(self.high))


NUMBERS = ("1", "2", "0.5", "-1", "sympy.Rational(1, 3)", "0.3", "-1.75", "sympy.pi/4")
WORTH = (1.0, 2.0, 0.5, -1.0, 1 / 3, 0.3, -1.75, math.pi / 4)


def number(which: int) -> Value:
    return Value(NUMBERS[which], WORTH[which], WORTH[which])


def scaled(v: Value, most: float) -> Value:
    """The value, divided by an integer if it may exceed `most`."""
    if v.size <= most:
        return v
    by = math.ceil(v.size / most)
    return Value(f"({v.text})/{by}", v.low / by, v.high / by)


def above(v: Value, least: float) -> Value:
    """The value, moved up if it may lie below `least`."""
    if v.low >= least:
        return v
    shift = math.ceil((least - v.low) * 8) / 8
    return Value(f"({shift} + {v.text})", v.low + shift, v.high + shift)


def _grows(name: str, f: Callable[[float], float], most: float = 1e9) -> Callable[[Value], Value]:
    """A function that only grows, of arguments up to `most` in size."""

    def make(v: Value) -> Value:
        a = scaled(v, most)
        return Value(f"sympy.{name}({a.text})", f(a.low), f(a.high))

    return make


def _even(name: str, f: Callable[[float], float], most: float) -> Callable[[Value], Value]:
    def make(v: Value) -> Value:
        a = scaled(v, most)
        return Value(f"sympy.{name}({a.text})", f(0.0), f(a.size))

    return make


def _between(name: str) -> Callable[[Value], Value]:
    return lambda v: Value(f"sympy.{name}({v.text})", -1.0, 1.0)


def _of_positive(name: str, f: Callable[[float], float]) -> Callable[[Value], Value]:
    def make(v: Value) -> Value:
        a = above(v, 0.25)
        return Value(f"sympy.{name}({a.text})", f(a.low), f(a.high))

    return make


def _power(exponent: str, worth: float) -> Callable[[Value], Value]:
    def make(v: Value) -> Value:
        a = above(v, 0.25)
        ends = a.low**worth, a.high**worth
        return Value(f"({a.text})**{exponent}", min(ends), max(ends))

    return make


def _square(v: Value) -> Value:
    return Value(f"({v.text})**2", 0.0, v.size**2)


def _cube(v: Value) -> Value:
    return Value(f"({v.text})**3", -(v.size**3), v.size**3)


def _sigmoid(v: Value) -> Value:
    return Value(f"1/(1 + sympy.exp(-({v.text})))", 0.0, 1.0)


def _softplus(v: Value) -> Value:
    return Value(f"sympy.log(1 + sympy.exp({v.text}))", 0.0, v.size + 1)


def _magnitude(v: Value) -> Value:
    return Value(f"sympy.Abs({v.text})", 0.0, v.size)


def _acos(v: Value) -> Value:
    a = scaled(v, 0.9)
    return Value(f"sympy.acos({a.text})", 0.0, 3.2)


def _signed(v: Value) -> Value:
    return Value(f"sympy.sign({v.text})*sympy.exp({scaled(v, 2.0).text})", -8.0, 8.0)


def _step(v: Value) -> Value:
    return Value(f"sympy.Heaviside({v.text})*({v.text})", min(v.low, 0.0), max(v.high, 0.0))


UNARY: tuple[Callable[[Value], Value], ...] = (
    _square,
    _grows("exp", math.exp, 2.0),
    _grows("tanh", math.tanh),
    _of_positive("log", math.log),
    _of_positive("sqrt", math.sqrt),
    _between("sin"),
    _between("cos"),
    _sigmoid,
    _softplus,
    _magnitude,
    _cube,
    _grows("sinh", math.sinh, 2.0),
    _even("cosh", math.cosh, 2.0),
    _grows("tan", math.tan, 1.2),
    _grows("asin", math.asin, 0.9),
    _acos,
    _grows("atan", math.atan),
    _grows("erf", math.erf),
    lambda v: Value(f"sympy.erfc({scaled(v, 2.0).text})", 0.0, 2.0),
    _power("-1", -1.0),
    _power("1.5", 1.5),
    _power("sympy.Rational(-1, 2)", -0.5),
    _power("0.3", 0.3),
    _signed,
    _step,
)


def unary(pick: Pick, v: Value, *, branching: bool = True) -> Value:
    """A function of the value; `branching` allows the last, a choice, which must be in bounds."""
    return scaled(UNARY[pick(len(UNARY) - (not branching))](v), 8.0)


def binary(pick: Pick, a: Value, b: Value) -> Value:
    """A combination of two values."""
    kind = pick(7)
    if kind == 0:
        return Value(f"({a.text} + {b.text})", a.low + b.low, a.high + b.high)
    if kind == 1:
        return Value(f"({a.text} - {b.text})", a.low - b.high, a.high - b.low)
    if kind in (2, 3):
        ends = [x * y for x in (a.low, a.high) for y in (b.low, b.high)]
        return Value(f"({a.text})*({b.text})", min(ends), max(ends))
    below = above(b, 0.25)
    if kind == 4:
        ends = [x / y for x in (a.low, a.high) for y in (below.low, below.high)]
        return scaled(Value(f"({a.text})/({below.text})", min(ends), max(ends)), 8.0)
    if kind == 5:
        return Value(f"sympy.atan2({a.text}, {below.text})", -1.6, 1.6)
    base, exponent = scaled(above(a, 0.25), 4.0), scaled(b, 2.0)
    base = above(base, 0.25)
    ends = [x**y for x in (base.low, base.high) for y in (exponent.low, exponent.high)]
    return scaled(Value(f"({base.text})**({exponent.text})", min(ends), max(ends)), 8.0)
