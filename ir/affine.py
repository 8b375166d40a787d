"""Integer index algebra: linear forms over atoms, and what can be proved about them.

    linear(2*p + r - 1)            # {p: 2, r: 1} - 1
    linear(k // 28)                # {k//28: 1}: an atom of its own

    Linear ::= constant + sum of integer × atom
    atom   ::= index | size | FloorDiv(Linear, d) | Remainder(Linear, d) | integer Access

`Facts` hold the ranges of the indices and the conditions that stand; `Facts.nonnegative` proves
`e >= 0` or says it cannot. It is sound, not complete: intervals, plus the elimination of one atom
by a known inequality, to a small depth.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from math import lcm
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


@dataclass
class Facts:
    """What is known where an expression stands: ranges of indices, limits of values, inequalities.

    `sizes` maps an index to its size, `limits` an integer tensor's name to its exclusive upper
    bound, `batch` is the largest value of the symbolic size (None: any), `known` are forms >= 0.
    """

    sizes: Mapping[Symbol, int | Symbol]
    limits: Mapping[str, int] = field(default_factory=dict)
    batch: int | None = None
    known: tuple[Linear, ...] = ()
    _ends: dict[Expr, tuple[int | None, int | None]] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        for fact in self.known:
            if len(fact.terms) == 1:
                self._note_end(fact.terms[0][0], fact.terms[0][1], fact.const)

    def _note_end(self, atom: Expr, c: int, const: int) -> None:
        """c*atom + const >= 0 is an end of the atom's interval."""
        low, high = self._ends.get(atom, (None, None))
        if c > 0:
            low = max(-(const // c), -(const // c) if low is None else low)
        else:
            high = min(const // -c, const // -c if high is None else high)
        self._ends[atom] = low, high

    def assuming(self, conditions: Iterable[Any]) -> Facts:
        """The same, with conditions that hold."""
        stated = tuple(conditions)
        more = tuple(f for c in stated for f in inequalities(c))
        more += tuple(f for fact in more for f in _without_divisions(fact))
        facts = Facts(self.sizes, self.limits, self.batch, self.known + more)
        apart = tuple(f for c in stated for f in facts._unequal(c))
        return Facts(self.sizes, self.limits, self.batch, facts.known + apart) if apart else facts

    def _unequal(self, condition: Any) -> list[Linear]:
        """`e != 0` where e is known not to be below 0, or not above it, moves that end by one."""
        if isinstance(condition, sympy.And):
            return [f for c in condition.args for f in self._unequal(c)]
        if not isinstance(condition, sympy.Ne):
            return []
        try:
            form = linear(condition.lhs) - linear(condition.rhs)
        except IndexLanguageError:
            return []
        return [side - 1 for side in (form, -form) if self.nonnegative(side)]

    def nonnegative(self, form: Linear, depth: int = 2) -> bool:
        """Whether `form >= 0` can be proved."""
        low = self.bounds(form)[0]
        if low is not None and low >= 0:
            return True
        if depth > 0 and any(
            self.nonnegative(form - fact * factor, depth - 1)
            for fact in self.known
            for factor in _factors(form, fact)
        ):
            return True
        return bool(self.known) and any(
            self.nonnegative(_without_division(form, atom, c, inner, divisor), depth)
            for atom, c in form.terms
            if isinstance(atom, FloorDiv)
            for inner, divisor in self._divisions(atom)
        )

    def _divisions(self, atom: FloorDiv) -> list[tuple[Linear, int]]:
        """What it is the quotient of: x//4 is that of x by 4, and of a known x//2 by 2."""
        value, divisor = linear(atom.args[0]), int(atom.args[1])
        known = {a for f in self.known for a in f.atoms if isinstance(a, FloorDiv) and a != atom}
        finer = [a for a in known if not divisor % a.args[1] and linear(a.args[0]) == value]
        return [(value, divisor), *((linear(a), divisor // int(a.args[1])) for a in finer)]

    def within(self, form: Linear, size: int | Symbol) -> bool:
        """Whether `0 <= form < size` can be proved."""
        return self.nonnegative(form) and self.nonnegative(linear(size) - form - 1)

    def bounds(self, form: Linear) -> tuple[int | None, int | None]:
        """The smallest and the largest value by intervals; None where there is no bound."""
        return self._low(form), _negated(self._low(-form))

    def _low(self, form: Linear) -> int | None:
        form = self._without_symbolic_ranges(form)
        total = form.const
        for atom, c in form.terms:
            low, high = self._atom_bounds(atom)
            end = low if c > 0 else high
            if end is None:
                return None
            total += c * end
        return total

    def _without_symbolic_ranges(self, form: Linear) -> Linear:
        """An index below the batch is worst at 0 or batch - 1: so `batch - 1 - n` is at least 0."""
        for atom, c in form.terms:
            size = self.sizes.get(atom) if isinstance(atom, Symbol) else None
            if isinstance(size, Symbol):
                form = form.without(atom)
                if c < 0:
                    form = form + (linear(size) - 1) * c
        return form

    def _atom_bounds(self, atom: Expr) -> tuple[int | None, int | None]:
        """The interval of the ranges, within what the conditions say of this atom alone."""
        low, high = self._atom_range(atom)
        least, most = self._ends.get(atom, (None, None))
        lows = [e for e in (low, least) if e is not None]
        highs = [e for e in (high, most) if e is not None]
        return max(lows, default=None), min(highs, default=None)

    def _atom_range(self, atom: Expr) -> tuple[int | None, int | None]:
        if isinstance(atom, Symbol):
            size = self.sizes.get(atom)
            if size is None:
                return (1, self.batch) if atom.is_positive else (0, None)
            return (0, int(size) - 1)
        if isinstance(atom, Access):
            limit = self.limits.get(atom.tensor)
            return (0, limit - 1) if limit is not None else (None, None)
        divisor = int(atom.args[1])
        low, high = self.bounds(linear(atom.args[0]))
        if isinstance(atom, Remainder):
            inside = low is not None and high is not None and low // divisor == high // divisor
            return (low % divisor, high % divisor) if inside else (0, divisor - 1)  # type: ignore[operator]
        return (None if low is None else low // divisor, None if high is None else high // divisor)

    def simplified(self, form: Linear) -> Linear:
        """The form without floor divisions and remainders that its ranges decide.

        Conditions decide nothing here: one may be simplified, and must not by itself.
        """
        if self.known:
            return Facts(self.sizes, self.limits, self.batch).simplified(form)
        result = Linear((), form.const)
        for atom, c in form.terms:
            result = result + self._simplified_atom(atom) * c
        return result

    def _simplified_atom(self, atom: Expr) -> Linear:
        if not isinstance(atom, (FloorDiv, Remainder)):
            return Linear(((atom, 1),), 0)
        inner, divisor = self.simplified(linear(atom.args[0])), int(atom.args[1])
        low, high = self.bounds(inner)
        if low is not None and high is not None and low // divisor == high // divisor:
            quotient = low // divisor
            return (
                Linear((), quotient) if isinstance(atom, FloorDiv) else inner - quotient * divisor
            )
        return floordiv(inner, divisor) if isinstance(atom, FloorDiv) else remainder(inner, divisor)


def _without_division(form: Linear, atom: Expr, c: int, inner: Linear, divisor: int) -> Linear:
    """A form that is only >= 0 where this one is, without one of its `//`: atom = inner // divisor.

    d*(x//d) lies in x - (d - 1) … x, and an integer is >= 0 if d times it is above -d.
    """
    most = c * (divisor - 1) if c > 0 else 0
    return form.without(atom) * divisor + inner * c + (divisor - 1 - most)


def _without_divisions(fact: Linear) -> list[Linear]:
    """What a fact says without one of its `//`: from 1 - i//2 >= 0 follows 3 - i >= 0."""
    found = []
    for atom, c in fact.terms:
        if isinstance(atom, FloorDiv):
            inner, divisor = linear(atom.args[0]), int(atom.args[1])
            least = divisor - 1 if c < 0 else 0
            found.append(fact.without(atom) * divisor + (inner - least) * c)
    return found


def _negated(value: int | None) -> int | None:
    return None if value is None else -value


def _factors(form: Linear, fact: Linear) -> list[int]:
    """Positive multiples of a fact that would cancel one atom of the form."""
    mine = dict(form.terms)
    found = {mine[a] // c for a, c in fact.terms if a in mine and mine[a] % c == 0}
    return sorted(f for f in found if f > 0)


def _whole(difference: Any) -> Any:
    """The difference times its denominators: SymPy's Piecewise writes 2*j <= 17 as j <= 17/2."""
    scale = lcm(*(int(r.q) for r in difference.atoms(sympy.Rational)))
    return difference if scale == 1 else sympy.expand(difference * scale)


def inequalities(condition: Any) -> list[Linear]:
    """The linear forms that are >= 0 where the condition holds; a condition may say none."""
    if isinstance(condition, sympy.And):
        return [f for c in condition.args for f in inequalities(c)]
    if isinstance(condition, sympy.Not):
        inner = condition.args[0]
        return (
            inequalities(inner.negated)
            if isinstance(inner, sympy.core.relational.Relational)
            else []
        )
    if not isinstance(condition, sympy.core.relational.Relational):
        return []
    try:
        difference = linear(_whole(condition.lhs - condition.rhs))
    except IndexLanguageError:
        return []
    match condition:
        case sympy.Eq():
            return [difference, -difference]
        case sympy.Ge():
            return [difference]
        case sympy.Gt():
            return [difference - 1]
        case sympy.Le():
            return [-difference]
        case sympy.Lt():
            return [-difference - 1]
    return []
