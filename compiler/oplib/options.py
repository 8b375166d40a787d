"""The options of an op, checked on the user's line: numbers and choices.

number(0.01, "negative_slope")      0.01
number(1.0, "alpha")                1, an integer: multiplying by it is no operation
"""

from __future__ import annotations

import math

import sympy

from compiler.source import caller
from ir.errors import InputError


def number(value: float, what: str, *, not_zero: bool = False) -> sympy.Number:
    """An option as a SymPy number. Raises InputError unless it is finite (and, if asked, not 0)."""
    fits = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not fits or (not_zero and value == 0):
        wanted = "a finite number other than 0" if not_zero else "a finite number"
        raise InputError(f"{what} must be {wanted}, got {value!r}", at=caller()[0])
    return sympy.Integer(int(value)) if value == int(value) else sympy.Float(value)


def choice(value: str, what: str, allowed: tuple[str, ...]) -> str:
    """An option that is one of a few words. Raises InputError otherwise."""
    if value not in allowed:
        words = " or ".join(f'"{word}"' for word in allowed)
        raise InputError(f"{what} must be {words}, got {value!r}", at=caller()[0])
    return value
