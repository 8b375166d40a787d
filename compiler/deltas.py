"""The index algebra: Kronecker deltas solved over the integers, with their conditions kept.

    δ(u, 2p + r - 1)            p = (u - r + 1)//2   where (u - r + 1) % 2 == 0, 0 <= p < P
    δ(a, k//28) δ(b, k % 28)    k = 28a + b
    δ(a, i) δ(b, i)             i = a                where b == a
    δ(a, label[n]) δ(m, n)      n = m                where a == label[m]

A delta δ(a, e(V)) says that output index a of the adjoint equals the index e of the forward access.
`solve` eliminates as many of the forward variables V as it can; those that remain are reduced over.

How: each `//` and `%` is opened as value = d·q + s with new variables q and 0 <= s < d; equations
whose parts have different magnitudes are split (28·(q - a) + (s - b) = 0 with |s - b| < 28 gives
two); then one variable an equation is eliminated, the one with the largest range first. An equation
that nothing can be solved for stays as a condition, so the result is right in any case.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import sympy
from sympy import Expr, Symbol
from sympy.core.relational import Relational

from ir.affine import Linear, floordiv, linear, remainder
from ir.errors import IndexLanguageError
from ir.expression import Access, FloorDiv, Random, Remainder, index_symbol, symbols_of
from ir.facts import Facts
from ir.program import Size


@dataclass(frozen=True, slots=True)
class Delta:
    """δ(output, index): the adjoint's output index equals the forward access's index expression."""

    output: Symbol
    index: Expr


@dataclass
class Solution:
    """What the deltas say: forward variables by outputs and remaining variables; what must hold.

    `values` are exact where `conditions` hold. `remaining` maps each variable that is still to be
    reduced over to its size. `impossible`: the deltas contradict one another, the term is zero.
    """

    values: dict[Symbol, Linear]
    remaining: dict[Symbol, Size]
    conditions: list[Any]
    exact: dict[Symbol, tuple[Linear, int]] = field(default_factory=dict)
    facts: Facts = field(default_factory=lambda: Facts({}))
    impossible: bool = False

    def apply(self, expr: Any) -> Any:
        """The expression with every eliminated variable replaced."""
        return replace_indices(expr, self)


@dataclass
class _System:
    """The equations (each form = 0) on their way to a solution.

    `closed` leaves `//` and `%` as they are.
    """

    sizes: dict[Symbol, Size]
    unknown: dict[Symbol, Size]
    limits: Mapping[str, int]
    closed: bool = False
    equations: list[Linear] = field(default_factory=list)
    quotients: dict[tuple[Linear, int], tuple[Linear, Linear]] = field(default_factory=dict)
    solved: list[tuple[Symbol, Linear, int]] = field(default_factory=list)
    kept: list[Linear] = field(default_factory=list)
    count: int = 0

    @property
    def facts(self) -> Facts:
        return Facts(self.sizes, self.limits)


def solve(
    deltas: Iterable[Delta],
    outputs: Mapping[Symbol, Size],
    variables: Mapping[Symbol, Size],
    limits: Mapping[str, int],
) -> Solution:
    """Solve the deltas for the forward variables; see the top of the file."""
    wanted = list(deltas)
    solution = _solve(wanted, outputs, variables, limits, closed=False)
    if sympy.oo in solution.remaining.values():
        solution = _solve(wanted, outputs, variables, limits, closed=True)
    return solution


def _solve(
    deltas: list[Delta],
    outputs: Mapping[Symbol, Size],
    variables: Mapping[Symbol, Size],
    limits: Mapping[str, int],
    *,
    closed: bool,
) -> Solution:
    system = _System({**outputs, **variables}, dict(variables), limits, closed)
    for delta in deltas:
        form = linear(delta.output) - _opened(linear(delta.index), system)
        system.equations.append(form)
    if not _split_all(system):
        return Solution({}, {}, [], impossible=True)
    while _eliminate(system):
        if not _split_all(system):
            return Solution({}, {}, [], impossible=True)
    return _solution(system)


def _opened(form: Linear, system: _System) -> Linear:
    """The form with every `//` and `%` over unknowns replaced by a variable with an equation."""
    result = Linear((), form.const)
    for atom, c in form.terms:
        opened = (
            isinstance(atom, (FloorDiv, Remainder))
            and not system.closed
            and symbols_of([atom]) & set(system.unknown)
        )
        result = result + (_parts(atom, system) if opened else Linear(((atom, 1),), 0)) * c
    return result


def _parts(atom: Expr, system: _System) -> Linear:
    inner, divisor = linear(atom.args[0]), int(atom.args[1])
    if (inner, divisor) not in system.quotients:
        low, high = system.facts.bounds(inner)
        quotient = _new(
            system,
            "q",
            None if low is None or high is None else high // divisor - low // divisor + 1,
        )
        rest = _new(system, "s", divisor)
        value = linear(quotient) + (0 if low is None else low // divisor)
        system.quotients[inner, divisor] = (value, linear(rest))
        system.equations.append(_opened(inner, system) - value * divisor - linear(rest))
    return system.quotients[inner, divisor][isinstance(atom, Remainder)]


def _new(system: _System, base: str, size: int | None) -> Symbol:
    """A fresh unknown. Without a size it must be eliminated, or the delta stays closed."""
    system.count += 1
    symbol = index_symbol(f"{base}__{system.count}")
    system.unknown[symbol] = size if size is not None else sympy.oo
    if size is not None:
        system.sizes[symbol] = size
    return symbol


def _split_all(system: _System) -> bool:
    """Split equations by magnitude until none can be; False if one cannot hold."""
    pending, done = list(system.equations), []
    while pending:
        form = pending.pop()
        if form.is_constant:
            if form.const != 0:
                return False
            continue
        parts = _split(form, system.facts)
        if parts is None:
            return False
        if len(parts) == 1:
            parts = _digits(parts[0], system)
        if len(parts) == 1:
            done.append(parts[0])
        else:
            pending.extend(parts)
    system.equations = done[::-1]
    return True


def _split(form: Linear, facts: Facts) -> list[Linear] | None:
    """[form], or the two forms it splits into; None if it cannot hold.

    g·big + small = 0 splits where a single multiple of g lies in small's range.
    """
    for g in sorted({abs(c) for _, c in form.terms if abs(c) > 1}, reverse=True):
        small = Linear(tuple((a, c) for a, c in form.terms if c % g), form.const)
        big = Linear(tuple((a, c // g) for a, c in form.terms if c % g == 0), 0)
        low, high = facts.bounds(small)
        if low is None or high is None:
            continue
        first, last = -(-low // g), high // g
        if first > last:
            return None
        if first == last and not small.is_constant:
            return [big + first, small - first * g]
        if small.is_constant:
            return [big + small.const // g] if len(big.terms) else None
    return [form]


def _digits(form: Linear, system: _System) -> list[Linear]:
    """[form], or K = c·P + S with 0 <= S < c as two: P = K//c and S = K % c, K being known.

    So a pixel u = 2p + r of pooling windows that do not overlap lies in window u//2, at tap u % 2.
    """
    unknown = [(a, c) for a, c in form.terms if symbols_of([a]) & set(system.unknown)]
    if sum(1 if c > 0 else -1 for _, c in unknown) < 0:
        form, unknown = -form, [(a, -c) for a, c in unknown]
    for c in sorted({abs(c) for _, c in unknown if abs(c) > 1}, reverse=True):
        large = Linear.make({a: f // c for a, f in unknown if f % c == 0})
        small = Linear.make({a: f for a, f in unknown if f % c})
        low, high = system.facts.bounds(small)
        if small.is_constant or low is None or high is None or high - low >= c:
            continue
        known = -(form - large * c - small) - low
        return [large - floordiv(known, c), small - low - remainder(known, c)]
    return [form]


def _eliminate(system: _System) -> bool:
    """Solve one equation for one unknown and put it into the others; False when none can be."""
    choices = [
        (_rank(system, form, atom, c), position, atom, c)
        for position, form in enumerate(system.equations)
        for atom, c in form.terms
        if atom in system.unknown and not _inside(atom, form)
    ]
    if not choices:
        system.kept.extend(system.equations)
        system.equations = []
        return False
    _, position, atom, c = min(choices, key=lambda choice: choice[0])
    form = system.equations.pop(position)
    rest = -form.without(atom) if c > 0 else form.without(atom)
    system.solved.append((atom, rest, abs(c)))
    system.unknown.pop(atom)
    system.equations = [_substituted(e, atom, rest, abs(c)) for e in system.equations]
    system.kept = [_substituted(e, atom, rest, abs(c)) for e in system.kept]
    return True


def _rank(system: _System, form: Linear, atom: Symbol, c: int) -> tuple[Any, ...]:
    """Digits last, a split may yet decide them; else the largest range, then a unit coefficient."""
    size = system.unknown[atom]
    extent = (
        float("inf") if size == sympy.oo else 1e18 if isinstance(size, Symbol) else float(int(size))
    )
    elsewhere = sum(atom in e.atoms for e in system.equations) > 1
    digit = atom.name.startswith("s__")
    return (abs(c) != 1 and elsewhere, digit, -extent, abs(c) != 1, atom.name)


def _inside(symbol: Symbol, form: Linear) -> bool:
    """Whether the symbol also stands inside a `//`, a `%` or an index of the form."""
    return any(symbol in symbols_of([a]) for a in form.atoms if not isinstance(a, Symbol))


def _substituted(form: Linear, symbol: Symbol, rest: Linear, divisor: int) -> Linear:
    """The form with symbol = rest / divisor, exact where the coefficient allows."""
    result = Linear((), form.const)
    for atom, c in form.terms:
        if atom == symbol:
            exact = c % divisor == 0
            result = result + (rest * (c // divisor) if exact else floordiv(rest, divisor) * c)
        elif not isinstance(atom, Symbol) and symbol in symbols_of([atom]):
            result = result + _substituted_atom(atom, symbol, rest, divisor) * c
        else:
            result = result + Linear(((atom, c),), 0)
    return result


def _substituted_atom(atom: Expr, symbol: Symbol, rest: Linear, divisor: int) -> Linear:
    if isinstance(atom, Access):
        indices = (_substituted(linear(e), symbol, rest, divisor).expr() for e in atom.indices)
        return linear(Access(atom.args[0], *indices))
    inner = _substituted(linear(atom.args[0]), symbol, rest, divisor)
    by = int(atom.args[1])
    return floordiv(inner, by) if isinstance(atom, FloorDiv) else remainder(inner, by)


def _solution(system: _System) -> Solution:
    remaining = dict(system.unknown)
    gone = {v for v, _, _ in system.solved}
    facts = Facts({s: n for s, n in system.sizes.items() if s not in gone}, system.limits)
    exact: dict[Symbol, tuple[Linear, int]] = {}
    conditions: list[Any] = []
    for symbol, form, divisor in reversed(system.solved):
        rest = facts.simplified(_resolved(form, exact))
        exact[symbol] = (rest, divisor)
        if divisor > 1:
            conditions.append(_divides(divisor, rest))
        if symbol in system.sizes:
            value = facts.simplified(floordiv(rest, divisor))
            conditions.extend(_in_range(value, system.sizes[symbol], facts))
    conditions += [_equal(facts.simplified(_resolved(form, exact))) for form in system.kept]
    holds = [c for c in dict.fromkeys(conditions) if c != sympy.true]
    values = {s: facts.simplified(floordiv(rest, d)) for s, (rest, d) in exact.items()}
    return Solution(values, remaining, holds, exact, facts, any(c == sympy.false for c in holds))


def _resolved(form: Linear, exact: Mapping[Symbol, tuple[Linear, int]]) -> Linear:
    for symbol, (rest, divisor) in exact.items():
        form = _substituted(form, symbol, rest, divisor)
    return form


def _divides(divisor: int, form: Linear) -> Any:
    return sympy.Eq(remainder(form, divisor).expr(), 0)


def _equal(form: Linear) -> Any:
    """form = 0, written with its positive terms on the left."""
    if form.is_constant:
        return sympy.true if form.const == 0 else sympy.false
    left = Linear(tuple(t for t in form.terms if t[1] > 0), max(form.const, 0))
    right = left - form
    return sympy.Eq(left.expr(), right.expr())


def _in_range(form: Linear, size: Size, facts: Facts) -> list[Any]:
    """0 <= form < size, those of the two that are not certain; `false` where one cannot be."""
    found = []
    if not facts.nonnegative(form):
        found.append(_unless(-form - 1, facts, sympy.Ge(form.expr(), 0)))
    if not facts.nonnegative(linear(size) - form - 1):
        found.append(_unless(form - linear(size), facts, sympy.Lt(form.expr(), size)))
    return found


def _unless(opposite: Linear, facts: Facts, condition: Any) -> Any:
    """The condition, or `false` where the opposite, a form >= 0, is certain."""
    return sympy.false if facts.nonnegative(opposite) else condition


def replace_indices(expr: Any, solution: Solution) -> Any:
    """An expression with the solution's values in every index, condition and bare variable."""
    if not set(solution.values) & symbols_of([expr]):
        return expr
    if isinstance(expr, (Symbol, FloorDiv, Remainder)):
        return _index(expr, solution)
    if isinstance(expr, Access):
        return Access(expr.args[0], *(_index(e, solution) for e in expr.indices))
    if isinstance(expr, Random):
        return Random(*expr.args[:3], *(_index(e, solution) for e in expr.indices))
    if isinstance(expr, Relational):
        return expr.func(*(_side(a, solution) for a in expr.args))
    return expr.func(*(replace_indices(a, solution) for a in expr.args))


def _index(expr: Expr, solution: Solution) -> Expr:
    return solution.facts.simplified(_resolved(linear(expr), solution.exact)).expr()


def _side(side: Any, solution: Solution) -> Any:
    """One side of a relation: as a linear form where it is one, so that 2·((u - r)//2) is u - r."""
    try:
        return _index(side, solution)
    except IndexLanguageError:
        return replace_indices(side, solution)


def guard(term: Expr, conditions: list[Any]) -> Expr:
    """The term where the conditions hold, else 0; those that read a tensor are asked last.

    What they read may be out of bounds where the others do not hold.
    """
    asked = [c for c in conditions if c.atoms(Access)]
    plain = [c for c in conditions if not c.atoms(Access)]
    for group in (asked, plain):
        if group:
            term = sympy.Piecewise((term, sympy.And(*group)), (0, True))
    return term
