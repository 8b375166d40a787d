"""Integer index algebra: linear forms over atoms.

    linear(2*p + r - 1)            # {p: 2, r: 1} - 1
    linear(k // 28)                # {k//28: 1}: an atom of its own

    Linear ::= constant + sum of integer × atom
    atom   ::= index | size | FloorDiv(Linear, d) | Remainder(Linear, d) | integer Access
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import sympy
from sympy import Expr, Integer, Symbol

from ir.errors import IndexLanguageError
from ir.expression import Access, FloorDiv, Remainder


@dataclass(frozen=True)
class Linear:
    """An integer linear form. Immutable; `terms` is sorted by the atoms' text."""

    terms: tuple[tuple[Expr, int], ...] = ()
    const: int = 0

    @staticmethod
    def make(terms: Mapping[Expr, int], const: int = 0) -> Linear:
        kept = [(atom, c) for atom, c in terms.items() if c]
        return Linear(tuple(sorted(kept, key=lambda t: _key(t[0]))), const)

    def __add__(self, other: Linear | int) -> Linear:
        if isinstance(other, int):
            return Linear(self.terms, self.const + other)
        if not (self.terms and other.terms):
            return Linear(self.terms or other.terms, self.const + other.const)
        terms = dict(self.terms)
        for atom, c in other.terms:
            terms[atom] = terms.get(atom, 0) + c
        return Linear.make(terms, self.const + other.const)

    def __mul__(self, factor: int) -> Linear:
        if factor == 0:
            return Linear()
        return Linear(tuple((a, c * factor) for a, c in self.terms), self.const * factor)

    def __neg__(self) -> Linear:
        return self * -1

    def __sub__(self, other: Linear | int) -> Linear:
        return self + (-other)

    def coefficient(self, atom: Expr) -> int:
        return next((c for a, c in self.terms if a == atom), 0)

    def without(self, atom: Expr) -> Linear:
        return Linear(tuple((a, c) for a, c in self.terms if a != atom), self.const)

    @property
    def atoms(self) -> tuple[Expr, ...]:
        return tuple(a for a, _ in self.terms)

    @property
    def is_constant(self) -> bool:
        return not self.terms

    @property
    def plain(self) -> Symbol | None:
        """The single index or size this form is, if it is one."""
        if self.const == 0 and len(self.terms) == 1 and self.terms[0][1] == 1:
            atom = self.terms[0][0]
            return atom if isinstance(atom, Symbol) else None
        return None

    def expr(self) -> Expr:
        """The form as a SymPy expression."""
        return sympy.Add(*(a * c for a, c in self.terms), Integer(self.const))


@lru_cache(maxsize=65536)
def _key(atom: Expr) -> str:
    return atom.name if isinstance(atom, Symbol) else str(atom)


@lru_cache(maxsize=65536)
def linear(expr: Any) -> Linear:
    """The linear form of an index expression; `IndexLanguageError` if it is not quasi-affine."""
    if isinstance(expr, int):
        return Linear((), expr)
    if isinstance(expr, Integer):
        return Linear((), int(expr))
    if isinstance(expr, (Symbol, Access)):
        return Linear(((expr, 1),), 0)
    if isinstance(expr, sympy.Add):
        total = Linear()
        for arg in expr.args:
            total = total + linear(arg)
        return total
    if isinstance(expr, sympy.Mul):
        coefficient, rest = expr.as_coeff_Mul()
        if isinstance(coefficient, Integer) and coefficient != 1:
            return linear(rest) * int(coefficient)
        return _expanded(expr)
    if isinstance(expr, sympy.floor):
        return _floor(expr.args[0])
    if isinstance(expr, sympy.Mod):
        return remainder(linear(expr.args[0]), _divisor(expr.args[1]))
    if isinstance(expr, FloorDiv):
        return floordiv(linear(expr.args[0]), int(expr.args[1]))
    if isinstance(expr, Remainder):
        return remainder(linear(expr.args[0]), int(expr.args[1]))
    raise _not_affine(expr)


def _expanded(expr: Expr) -> Linear:
    wide = sympy.expand(expr)
    if wide == expr or isinstance(wide, sympy.Mul):
        raise _not_affine(expr)
    return linear(wide)


def _floor(inner: Expr) -> Linear:
    numerator, denominator = sympy.fraction(sympy.together(inner))
    return floordiv(linear(sympy.expand(numerator)), _divisor(denominator))


def _divisor(expr: Any) -> int:
    if isinstance(expr, Integer) and expr > 0:
        return int(expr)
    raise IndexLanguageError(
        f"an index is divided by {expr}",
        notes=("// and % in an index take a positive integer constant",),
    )


def _not_affine(expr: Any) -> IndexLanguageError:
    return IndexLanguageError(
        f"the index {expr} is not quasi-affine",
        notes=(
            (
                "an index is a sum of integer multiples of index variables, // and % by constants, "
                "or an element of an integer tensor"
            ),
        ),
        fix="write it as such a sum, or split the operation in two definitions",
    )


def floordiv(value: Linear, divisor: int) -> Linear:
    """`value // divisor`, with the exact multiples taken out."""
    if divisor == 1:
        return value
    outside = Linear.make({a: c // divisor for a, c in value.terms if c % divisor == 0})
    inside = Linear(tuple((a, c) for a, c in value.terms if c % divisor), value.const % divisor)
    outside = outside + value.const // divisor
    if inside.is_constant:
        return outside
    if len(inside.terms) == 1 and inside.const == 0:
        atom, c = inside.terms[0]
        if c == 1 and isinstance(atom, FloorDiv):
            nested = floordiv(linear(atom.args[0]), int(atom.args[1]) * divisor)
            return outside + nested
        if c == 1 and isinstance(atom, Remainder) and int(atom.args[1]) % divisor == 0:
            digits = floordiv(linear(atom.args[0]), divisor)  # (k % 784) // 28 is (k // 28) % 28
            return outside + remainder(digits, int(atom.args[1]) // divisor)
    return outside + Linear(((FloorDiv(inside.expr(), divisor), 1),), 0)


def remainder(value: Linear, divisor: int) -> Linear:
    """`value % divisor`, with the exact multiples dropped."""
    if divisor == 1:
        return Linear()
    inside = Linear(
        tuple((a, c % divisor) for a, c in value.terms if c % divisor), value.const % divisor
    )
    if inside.is_constant:
        return inside
    if len(inside.terms) == 1 and inside.const == 0 and inside.terms[0][1] == 1:
        atom = inside.terms[0][0]
        if isinstance(atom, Remainder) and int(atom.args[1]) % divisor == 0:
            return remainder(linear(atom.args[0]), divisor)
    return Linear(((Remainder(inside.expr(), divisor), 1),), 0)


def recombined(form: Linear) -> Linear:
    """The form with `d*(x//d) + x%d` as `x`."""
    for rest, c in form.terms:
        if not isinstance(rest, Remainder):
            continue
        value, divisor = linear(rest.args[0]), int(rest.args[1])
        parts = floordiv(value, divisor) * (c * divisor)
        if parts.terms and all(form.coefficient(a) == k for a, k in parts.terms):
            return recombined(form - parts - Linear(((rest, c),), 0) + value * c)
    return form
