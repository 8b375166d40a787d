"""What is known of integers where an expression stands, and what can be proved from it.

    facts = Facts({p: 14, r: 3}).assuming([p + r < 14])
    facts.nonnegative(13 - linear(p) - linear(r))          True

`Facts` hold the ranges of the indices and the conditions that stand; `Facts.nonnegative` proves
`e >= 0` or says it cannot. It is sound, not complete: intervals, plus the elimination of one atom
by a known inequality, to a small depth.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import lcm
from typing import Any

import sympy
from sympy import Expr, Symbol

from ir.affine import Linear, floordiv, linear, recombined, remainder
from ir.errors import IndexLanguageError
from ir.expression import Access, FloorDiv, Remainder


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
        facts = Facts(self.sizes, self.limits, self.batch, self.known + more)
        follows = tuple(f for fact in more for f in facts._without_divisions(fact))
        follows += tuple(f for c in stated for f in facts._unequal(c))
        known = facts.known + follows
        return Facts(self.sizes, self.limits, self.batch, known) if follows else facts

    def _without_divisions(self, fact: Linear) -> list[Linear]:
        """What it says without one of its `//`: from 1 - i//2 >= 0 follows 3 - i >= 0.

        And 2 - i >= 0 where i is known to be even: d*(x//d) is x - x%d.
        """
        found = []
        for atom, c in fact.terms:
            if isinstance(atom, FloorDiv):
                inner, divisor = linear(atom.args[0]), int(atom.args[1])
                least, most = self.bounds(remainder(inner, divisor))
                rest = (divisor - 1 if most is None else most) if c < 0 else least or 0
                found.append(fact.without(atom) * divisor + (inner - rest) * c)
        return found

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

    def nonnegative(self, form: Linear) -> bool:
        """Whether `form >= 0` can be proved."""
        return any(self._proved(f, 2) for f in (form, *self._divided(form)))

    def _divided(self, form: Linear) -> Iterator[Linear]:
        """The form with x as d*(x//d) + x%d, for every x%d of which something is known."""
        for atom in {a for f in self.known for a in f.atoms if isinstance(a, Remainder)}:
            inner, divisor = linear(atom.args[0]), int(atom.args[1])
            whole = floordiv(inner, divisor) * divisor + Linear(((atom, 1),), 0)
            mine = dict(form.terms)
            for factor in {mine[a] // c for a, c in inner.terms if a in mine and not mine[a] % c}:
                yield form + (whole - inner) * factor

    def _proved(self, form: Linear, depth: int) -> bool:
        low = self.bounds(form)[0]
        if low is not None and low >= 0:
            return True
        if depth > 0 and any(
            self._proved(form - fact * factor, depth - 1)
            for fact in self.known
            for factor in _factors(form, fact)
        ):
            return True
        return bool(self.known) and any(
            self._proved(_without_division(form, atom, c, inner, divisor), depth)
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
        form = self._without_symbolic_ranges(recombined(form))
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
        return recombined(result)

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
