"""Sums whose terms are left out at the edges, as sums over zeros.

    sum over r where 0 <= 2*p + r - 1 < 9 of x[2*p + r - 1]*w[r]
    x_padded = np.zeros(11); x_padded[1:10] = x;  sum over r of x_padded[2*p + r]*w[r]

    sum over r where (u - r) % 2 == 0, … of g[(u - r)//2]*w[r]
    g_padded = np.zeros(…); g_padded[2:9:2] = g;  sum over r of g_padded[u - r + 2]*w[r]

`covered` puts a copy with zeros in the place of such factors, and drops the conditions that only
kept their indices in bounds. What it cannot cover keeps its conditions, as masks, and so does a
product with a factor such as 1/x[2*p + r] or 1/(u - r): what no term reads may be infinite there.
The zeros meet the other factors: where an element that is read in other terms is infinite or NaN,
the term is NaN instead of left out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import sympy
from sympy import Expr, Integer, Symbol

from codegen.numpy.gathers import subscript
from codegen.numpy.writer import Array, Frame, Writer, inside
from ir.affine import Linear, linear, remainder
from ir.expression import Access, FloorDiv, Remainder, symbols_of, tensor_symbol, value_accesses
from ir.facts import Facts, inequalities
from ir.program import Size

_PARTIAL = (sympy.log, sympy.exp, sympy.tan, sympy.sinh, sympy.cosh, sympy.asin, sympy.acos)


@dataclass(frozen=True, slots=True)
class Cover:
    """One dimension, read at `form / step` where that is whole and in bounds, else as zero."""

    form: Linear
    step: int
    size: Size
    low: int = 0
    high: int = 0

    @property
    def whole(self) -> bool:
        """Whether the dimension stays as it is: `covered` leaves low > high for those."""
        return self.low > self.high


def covered(
    w: Writer, body: Expr, conditions: list[Any], frame: Frame, fill: str = "0"
) -> tuple[Expr, list[Any]]:
    """The body over padded copies, and the conditions that are left."""
    factors = [f for f in sympy.Mul.make_args(body) if isinstance(f, Access)]
    found: dict[Expr, list[Cover]] = {}
    for factor in factors:
        covers = _covers(w, factor, conditions, frame)
        if covers is not None:
            found[factor] = covers
    others = [f for f in sympy.Mul.make_args(body) if f not in factors]
    if not found or any(_leaves(w, f, conditions, frame) or _is_wild(f, frame) for f in others):
        return body, conditions
    edges = [c for covers in found.values() for c in covers if not c.whole]
    left = [c for c in conditions if not _implied(w.facts(frame), c, edges)]
    swap = {a: _padded(w, a, covers, fill) for a, covers in found.items()}
    return body.xreplace(swap), [_covered_condition(w, c, conditions, frame) for c in left]


def _leaves(w: Writer, factor: Expr, conditions: list[Any], frame: Frame) -> bool:
    """Whether it reads out of bounds: there it may be infinite, and zeros would not hide it."""
    return any(_covers(w, a, conditions, frame) is not None for a in value_accesses(factor))


def _is_wild(factor: Expr, frame: Frame) -> bool:
    """Whether it may be infinite at a point that is left out, though it is not at any other."""
    powers = (p for p in factor.atoms(sympy.Pow) if not (p.exp.is_Integer and p.exp > 0))
    if not factor.has(*_PARTIAL) and next(powers, None) is None:
        return False
    return len(symbols_of([factor]) & {r.index for r in frame}) > 1


def reachable(w: Writer, node: Access, frame: Frame) -> Access:
    """The access, or one to a padded copy if it is affine and leaves the array in places.

    What it reads there stands in a branch that is not taken, and is thrown away.
    """
    covers = _covers(w, node, [], frame)
    return node if covers is None else _padded(w, node, covers, "0")


def _covered_condition(w: Writer, condition: Any, conditions: list[Any], frame: Frame) -> Any:
    """The condition over padded copies: where those were padded, a factor of the term was too."""
    swap = {}
    for node in value_accesses(condition):
        covers = _covers(w, node, conditions, frame)
        if covers is not None:
            swap[node] = _padded(w, node, covers, "0")
    return condition.xreplace(swap)


def _covers(w: Writer, node: Access, conditions: list[Any], frame: Frame) -> list[Cover] | None:
    """How each dimension is covered; None if none needs it, or one cannot be."""
    facts, array = w.facts(frame), w.arrays[node.tensor]
    if array.absent:
        return None
    found = [
        _cover(facts, facts.simplified(linear(e)), size, conditions, frame)
        for e, size in zip(node.indices, array.shape, strict=True)
    ]
    covers = [c for c in found if c is not None]
    if len(covers) < len(found) or all(c.whole for c in covers):
        return None
    return covers


def _cover(
    facts: Facts, form: Linear, size: Size, conditions: list[Any], frame: Frame
) -> Cover | None:
    axes = {r.index for r in frame}
    step = 1
    quotient = next((a for a in form.atoms if isinstance(a, FloorDiv)), None)
    if quotient is not None and form.coefficient(quotient) == 1:
        value, step = linear(quotient.args[0]), int(quotient.args[1])
        if not any(_is_divisible(c, value, step) for c in conditions):
            return None
        form = form.without(quotient) * step + value
    if any(a not in axes for a in form.atoms):
        return None
    if step == 1 and inside(facts, form, size):
        return Cover(form, 1, size, 0, -1)
    low, high = facts.bounds(form)
    if low is None or high is None or isinstance(size, Symbol):
        return None
    return Cover(form, step, size, low, high)


def _is_divisible(condition: Any, value: Linear, step: int) -> bool:
    """Whether the condition says `value % step == 0`."""
    if not isinstance(condition, sympy.Eq):
        return False
    sides = {condition.lhs, condition.rhs}
    if Integer(0) not in sides or len(sides) != 2:
        return False
    (other,) = sides - {Integer(0)}
    if not isinstance(other, Remainder) or int(other.args[1]) != step:
        return False
    inner = linear(other.args[0])
    return any(remainder(v, step) == remainder(inner, step) for v in (value, -value))


def _implied(facts: Facts, condition: Any, edges: list[Cover]) -> bool:
    """Whether the condition holds wherever every padded access is in bounds and whole."""
    steps = {(c.form, c.step) for c in edges if c.step > 1}
    if any(_is_divisible(condition, form, step) for form, step in steps):
        return True
    forms = inequalities(condition)
    known = [c.form for c in edges]
    known += [Linear((), (int(c.size) - 1) * c.step) - c.form for c in edges]
    padded = replace(facts, known=(*facts.known, *known))
    scaled = [_scaled(f, [(c.form, c.step) for c in edges]) for f in forms]
    return bool(forms) and all(padded.nonnegative(f) for f in scaled)


def _scaled(form: Linear, steps: list[tuple[Linear, int]]) -> Linear:
    """The form times d, where it holds `v // d` of a v that is a multiple of d."""
    for atom, c in form.terms:
        if not isinstance(atom, FloorDiv):
            continue
        value, divisor = linear(atom.args[0]), int(atom.args[1])
        if any(s == divisor and remainder(v - value, s) == Linear() for v, s in steps):
            return _scaled(form.without(atom) * divisor + value * c, steps)
    return form


def _padded(w: Writer, node: Access, covers: list[Cover], fill: str) -> Access:
    """The access to the padded copy, which is made if this function has none yet."""
    name = _copy(w, w.arrays[node.tensor], tuple(covers), fill)
    indices = [(c.form - (0 if c.whole else c.low)).expr() for c in covers]
    return Access(tensor_symbol(name, w.arrays[node.tensor].dtype), *indices)


def _copy(w: Writer, array: Array, covers: tuple[Cover, ...], fill: str) -> str:
    source = array.text
    parts = [_part(c) for c in covers]
    shape = tuple(c.size if c.whole else c.high - c.low + 1 for c in covers)
    key = ("padded", source, shape, tuple(parts), fill)
    if key not in w.memo:
        name = w.name(f"{source}_padded" if source.isidentifier() else "padded")
        w.place(name, shape, array.dtype)
        w.say(f"{name}.fill({fill})")
        to, of = ([p[side] for p in parts] for side in (0, 1))
        w.say(f"{name}{subscript(to)} = {source}{subscript(of)}")
        w.add(name, name, shape, array.dtype)
        w.memo[key] = name
    return str(w.memo[key])


def _part(cover: Cover) -> tuple[str, str]:
    """Where the copy puts which elements: `1:28:2`, `:14`."""
    if cover.whole:
        return ":", ":"
    step, size = cover.step, int(cover.size)
    first = max(0, -(-cover.low // step))
    last = min(size - 1, cover.high // step)
    if last < first:
        return "0:0", "0:0"
    start, stop = first * step - cover.low, last * step - cover.low + 1
    taken = f"{first or ''}:{last + 1 if last < size - 1 else ''}"
    return f"{start}:{stop}" + (f":{step}" if step > 1 else ""), taken
