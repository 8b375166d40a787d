"""How far rounding can move a program's values: a running error analysis, for two precisions.

    found = bounded(program, values, rows=3)
    found["y"].centre, found["y"].radius[0], found["y"].radius[1]      # float64, float32

Every definition is evaluated in float64 beside a radius: however its operations are ordered, fused
into multiply-adds or replaced by functions of ULPS ulp, a machine of that precision gives a number
within the radius of the centre. An operation passes the radii of its operands on (through its range
over the interval, not only its slope) and adds one rounding of its own result, n - 1 for n terms. A
comparison that rounding can turn makes the value as uncertain as its branches are apart. An index
that rounding can turn makes it unknown: the radius is infinite.

Inputs are taken to be exact in both precisions. The analysis shares no code with the targets nor
with compiler/evaluate.py. Bodies are evaluated over the whole box of their indices: small sizes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import reduce
from itertools import groupby
from typing import Any

import numpy as np
import sympy

from ir.expression import Access, FloorDiv, Remainder
from ir.program import Definition, Program

UNITS = np.array([2.0**-53, 2.0**-24])
TINY = np.array([2.0**-1074, 2.0**-149])
LARGEST = np.array([1.79e308, 3.4e38])
_ERF, _ERFC = (np.vectorize(f, otypes=[float]) for f in (math.erf, math.erfc))
ULPS = 4  # emitted C states at most 2.1, libm below 1, NumPy's vector loops at most 4


@dataclass(frozen=True, slots=True)
class Rounded:
    """Centres, and radii with an axis for the two precisions before all others."""

    centre: Any
    radius: Any


def _wide(factor: np.ndarray, like: Any) -> np.ndarray:
    return factor.reshape((2,) + (1,) * np.ndim(like))


def _made(centre: Any, radius: Any, roundings: float = 1.0) -> Rounded:
    """The result of an operation, with its own roundings added."""
    centre = np.asarray(centre, dtype=float)
    size = np.abs(centre) + radius
    radius = radius + roundings * (_wide(UNITS, centre) * size + _wide(TINY, centre))
    radius = np.where(size > _wide(LARGEST, centre), np.inf, radius)
    return Rounded(centre, np.where(np.isnan(radius), np.inf, radius))


def _exact(value: Any) -> Rounded:
    value = np.asarray(value, dtype=float)
    return Rounded(value, np.zeros((2, *value.shape)))


def _add(*terms: Rounded) -> Rounded:
    centre = reduce(np.add, (t.centre for t in terms))
    radius = reduce(np.add, (_fit(t.radius, t.centre, centre) for t in terms))
    sizes = reduce(np.add, (_fit(np.abs(t.centre) + t.radius, t.centre, centre) for t in terms))
    own = (len(terms) - 1) * _wide(UNITS, centre) * sizes
    return _made(centre, radius + own, 1.0)


def _fit(radius: Any, centre: Any, like: Any) -> Any:
    """A radius with as many axes as another centre, so that both broadcast alike."""
    missing = np.ndim(like) - np.ndim(centre)
    return np.reshape(radius, (2,) + (1,) * missing + np.shape(radius)[1:])


def _mul(*factors: Rounded) -> Rounded:
    result = factors[0]
    for other in factors[1:]:
        centre = result.centre * other.centre
        a, b = (_fit(f.radius, f.centre, centre) for f in (result, other))
        radius = np.abs(result.centre) * b + np.abs(other.centre) * a + a * b
        result = _made(centre, np.where((a == 0) & (b == 0), 0.0, radius), 1.0)
    return result


def _monotone(f: Callable[[Any], Any]) -> Callable[[Rounded], Rounded]:
    """A function that only grows or only falls: the ends of the interval tell its range."""
    return lambda x: _over(f, x, f(x.centre + x.radius), f(x.centre - x.radius))


def _over(f: Callable[[Any], Any], x: Rounded, *ends: Any) -> Rounded:
    centre = f(x.centre)
    radius = reduce(np.maximum, (np.abs(e - centre) for e in ends))
    return _made(centre, np.where(np.isnan(radius), np.inf, radius), 2.0 * ULPS)


def _lipschitz(f: Callable[[Any], Any]) -> Callable[[Rounded], Rounded]:
    """A function whose slope is nowhere beyond 1."""
    return lambda x: _made(f(x.centre), x.radius, 2.0 * ULPS)


def _clipped(f: Callable[[Any], Any]) -> Callable[[Rounded], Rounded]:
    """asin and acos: what rounding carries out of [-1, 1] is not a number on a machine."""

    def apply(x: Rounded) -> Rounded:
        made = _monotone(lambda z: f(np.clip(z, -1, 1)))(x)
        outside = (np.abs(x.centre) + x.radius > 1) & (x.radius > 0)
        return Rounded(made.centre, np.where(outside, np.inf, made.radius))

    return apply


def _tan(x: Rounded) -> Rounded:
    pole = np.floor((x.centre + x.radius) / np.pi + 0.5) != np.floor(
        (x.centre - x.radius) / np.pi + 0.5
    )
    made = _monotone(np.tan)(x)
    return Rounded(made.centre, np.where(pole, np.inf, made.radius))


def _cosh(x: Rounded) -> Rounded:
    return _over(np.cosh, x, np.cosh(np.abs(x.centre) + x.radius), np.cosh(_nearest_zero(x)))


def _nearest_zero(x: Rounded) -> Any:
    return np.maximum(np.abs(x.centre) - x.radius, 0.0)


def _abs(x: Rounded) -> Rounded:
    return Rounded(np.abs(x.centre), x.radius)


def _sign(x: Rounded) -> Rounded:
    return Rounded(np.sign(x.centre), np.where(np.abs(x.centre) > x.radius, 0.0, 2.0))


def _atan2(y: Rounded, x: Rounded) -> Rounded:
    centre = np.arctan2(y.centre, x.centre)
    a, b = (_fit(v.radius, v.centre, centre) for v in (y, x))
    least = np.hypot(y.centre, x.centre) - a - b
    radius = np.where(least > 0, (a + b) / np.where(least > 0, least, 1.0), np.inf)
    return _made(centre, np.where((a == 0) & (b == 0), 0.0, radius), 2.0 * ULPS)


def _erfc(x: Rounded) -> Rounded:
    """As 1 - erf(x) too, with a rounding of 1."""
    made = _monotone(_ERFC)(x)
    return Rounded(made.centre, made.radius + 4 * ULPS * _wide(UNITS, made.centre))


def _pow(base: Rounded, exponent: Rounded) -> Rounded:
    power = exponent.centre
    if np.ndim(power) == 0 and float(power) == int(power) and not np.any(exponent.radius):
        return _integer_power(base, int(power))
    centre = np.power(np.asarray(base.centre, dtype=float), exponent.centre)
    a, b = (_fit(v.radius, v.centre, centre) for v in (base, exponent))
    ends = [
        _positive_power(base.centre + s * a, exponent.centre + t * b)
        for s in (-1, 1)
        for t in (-1, 1)
    ]
    radius = reduce(np.maximum, (np.abs(e - centre) for e in ends))
    return _made(centre, np.where(np.isnan(radius), np.inf, radius), 4.0 * ULPS)


def _positive_power(base: Any, exponent: Any) -> Any:
    return np.where(base >= 0, np.power(np.maximum(base, 0.0), exponent), np.nan)


def _integer_power(base: Rounded, power: int) -> Rounded:
    size = np.abs(base.centre)
    centre = np.power(np.asarray(base.centre, dtype=float), power)
    ends = [np.power(size + base.radius, float(power))]
    low = size - base.radius
    ends.append(np.where(low > 0, np.power(np.where(low > 0, low, 1.0), float(power)), np.inf))
    if power >= 0:
        ends[1] = np.where(low > 0, ends[1], -np.power(np.abs(low), float(power)))
    radius = reduce(np.maximum, (np.abs(e - np.abs(centre)) for e in ends))
    exact = (base.radius == 0) & np.isfinite(centre)
    return _made(centre, np.where(exact, 0.0, radius), 2.0 * ULPS)


def _of_integers(f: Callable[[Any, Any], Any], a: Rounded, by: Rounded) -> Rounded:
    return Rounded(f(a.centre, by.centre), np.where(a.radius == 0, 0.0, np.inf))


FUNCTIONS: dict[Any, Callable[..., Rounded]] = {
    sympy.Add: _add,
    sympy.Mul: _mul,
    sympy.Pow: _pow,
    sympy.exp: _monotone(np.exp),
    sympy.log: _monotone(np.log),
    sympy.tanh: _monotone(np.tanh),
    sympy.sinh: _monotone(np.sinh),
    sympy.cosh: _cosh,
    sympy.sin: _lipschitz(np.sin),
    sympy.cos: _lipschitz(np.cos),
    sympy.tan: _tan,
    sympy.asin: _clipped(np.arcsin),
    sympy.acos: _clipped(np.arccos),
    sympy.atan: _lipschitz(np.arctan),
    sympy.atan2: _atan2,
    sympy.erf: _monotone(_ERF),
    sympy.erfc: _erfc,
    sympy.Abs: _abs,
    sympy.sign: _sign,
    FloorDiv: lambda a, by: _of_integers(np.floor_divide, a, by),
    Remainder: lambda a, by: _of_integers(np.remainder, a, by),
}


# ---------------------------------------------------------------- programs


@dataclass
class _Run:
    """One evaluation: the values so far. Integer tensors have a radius too, of 0 or infinity."""

    program: Program
    rows: int
    values: dict[str, Rounded] = field(default_factory=dict)

    def size(self, size: Any) -> int:
        return size if isinstance(size, int) else self.rows


def bounded(program: Program, values: Mapping[str, Any], rows: int = 1) -> dict[str, Rounded]:
    """The centre and the radius of every definition's elements."""
    run = _Run(program, rows)
    defaults = {t.name: default for t, default in program.scalars}
    for name in program.tensors():
        run.values[name] = _exact(values.get(name, defaults.get(name, 0.0)))
    with np.errstate(all="ignore"):
        for _, block in groupby(program.definitions, lambda d: d.scan.group if d.scan else d.name):
            _block(run, list(block))
    return {d.name: run.values[d.name] for d in program.definitions}


def _block(run: _Run, block: list[Definition]) -> None:
    scan = block[0].scan
    if scan is None:
        run.values[block[0].name] = _value(run, block[0], {})
        return
    for d in block:
        run.values[d.name] = _exact(np.zeros([run.size(s) for s in d.shape]))
    steps = range(run.size(block[0].ranges[scan.index]))
    for t in reversed(steps) if scan.downwards else steps:
        for d in block:
            axis = [r.index for r in d.indices].index(scan.index)
            place = (slice(None),) * axis + (t,)
            made, home = _value(run, d, {scan.index: t}), run.values[d.name]
            home.centre[place], home.radius[(slice(None), *place)] = made.centre, made.radius


def _value(run: _Run, d: Definition, fixed: dict[Any, int]) -> Rounded:
    loops = [r for r in d.variables if r.index not in fixed]
    box = tuple(run.size(r.size) for r in loops)
    place: dict[Any, Any] = dict(fixed)
    for axis, (r, size) in enumerate(zip(loops, box, strict=True)):
        place[r.index] = np.arange(size).reshape((-1,) + (1,) * (len(box) - axis - 1))
    body = _over_box(_as_rounded(_eval(d.body, place, run)), box)
    held, sure = np.ones(box, bool), np.ones((2, *box), bool)
    for c in d.where:
        truth, certain = _eval(c, place, run)
        held, sure = held & truth, sure & _fit(certain, truth, held)
    if d.reduce is None:
        return body
    if d.reduce == "scatter":
        return _scattered(run, d, place, body, held, box)
    return _reduced(d.reduce, body, held, sure, box[: len(box) - len(d.over)])


def _over_box(x: Rounded, box: tuple[int, ...]) -> Rounded:
    like = np.empty(box)
    radius = np.broadcast_to(_fit(x.radius, x.centre, like), (2, *box))
    return Rounded(np.broadcast_to(x.centre, box).copy(), radius.copy())


def _reduced(kind: str, body: Rounded, held: Any, sure: Any, outer: tuple[int, ...]) -> Rounded:
    """A term that rounding may leave out or let in counts as uncertain by all that it is worth."""
    term, mask = body.centre.reshape((*outer, -1)), held.reshape((*outer, -1))
    radius = body.radius.reshape((2, *outer, term.shape[-1]))
    sure = sure.reshape(radius.shape)
    if kind == "sum":
        term = np.where(mask, term, 0.0)
        radius = np.where(mask & sure, radius, np.where(sure, 0.0, np.abs(term) + radius))
        size = (np.abs(term) + radius).sum(axis=-1)
        centre = term.sum(axis=-1)
        own = (term.shape[-1] - 1) * _wide(UNITS, centre) * size
        return _made(centre, radius.sum(axis=-1) + own, float(term.shape[-1] > 1))
    term = np.where(mask, term, -np.inf)
    radius = np.where(mask, radius, 0.0)
    radius = np.where(sure, radius, np.inf)
    if kind == "max":
        return _made(term.max(axis=-1), radius.max(axis=-1), 0.0)
    best = np.argmax(term, axis=-1)
    low = np.take_along_axis(term - radius, best[None, ..., None], axis=-1)
    rivals = term + radius >= low
    certain = rivals.sum(axis=-1) <= 1
    return Rounded(best.astype(float), np.where(certain, 0.0, np.inf))


def _scattered(
    run: _Run, d: Definition, place: dict[Any, Any], body: Rounded, held: Any, box: tuple[int, ...]
) -> Rounded:
    shape = [run.size(s) for s in d.target_shape]
    centre, size, count = np.zeros(shape), np.zeros((2, *shape)), np.zeros(shape)
    radius = np.zeros((2, *shape))
    where, unknown = [], np.zeros((2, *box), bool)
    for e in d.target:
        found = _eval(e, place, run)
        if isinstance(found, Rounded):
            unknown |= ~np.isfinite(_over_box(found, box).radius)
            found = found.centre
        where.append(np.broadcast_to(found, box).astype(int)[held])
    np.add.at(centre, tuple(where), body.centre[held])
    np.add.at(count, tuple(where), 1.0)
    for unit in range(2):
        np.add.at(radius[unit], tuple(where), body.radius[unit][held])
        np.add.at(size[unit], tuple(where), (np.abs(body.centre) + body.radius[unit])[held])
        if unknown[unit].any():
            radius[unit] = np.inf
    return _made(centre, radius + count * _wide(UNITS, centre) * size, 1.0)


# ---------------------------------------------------------------- expressions


def _as_rounded(value: Any) -> Rounded:
    return value if isinstance(value, Rounded) else _exact(value)


def _eval(node: Any, place: Mapping[Any, Any], run: _Run) -> Any:
    """A Rounded; an index expression as integers; a condition as (truth, whether it is sure)."""
    if isinstance(node, Access):
        return _read(node, place, run)
    if isinstance(node, sympy.Symbol):
        return place.get(node, run.rows)
    if isinstance(node, sympy.Integer):
        return int(node)
    if node in (sympy.true, sympy.false):
        return bool(node), np.ones(2, bool)
    if node.is_number and not node.args:
        worth = float(node)
        rounded = _exact(worth)
        return _made(rounded.centre, rounded.radius, float(float(np.float32(worth)) != worth))
    if isinstance(node, sympy.Piecewise):
        return _choice(node, place, run)
    if isinstance(node, (sympy.And, sympy.Or, sympy.Not)):
        return _logic(node, place, run)
    operands = [_eval(a, place, run) for a in node.args]
    if isinstance(node, sympy.core.relational.Relational):
        return _relation(node.rel_op, *operands)
    whole = not any(isinstance(o, Rounded) for o in operands)
    if whole and (index := _INDEX.get(node.func)) is not None:
        return reduce(index, operands)
    return FUNCTIONS[node.func](*map(_as_rounded, operands))


_INDEX: dict[Any, Callable[[Any, Any], Any]] = {
    sympy.Add: lambda a, b: a + b,
    sympy.Mul: lambda a, b: a * b,
    FloorDiv: lambda a, b: a // b,
    Remainder: lambda a, b: a % b,
}


def _read(node: Access, place: Mapping[Any, Any], run: _Run) -> Any:
    array = run.values[node.tensor]
    at, unknown = [], []
    for e, size in zip(node.indices, array.centre.shape, strict=True):
        index = _eval(e, place, run)
        if isinstance(index, Rounded):
            unknown.append(index)
            index = index.centre.astype(int)
        at.append(np.clip(index, 0, size - 1))
    centre, radius = array.centre[tuple(at)], array.radius[(slice(None), *at)]
    radius = np.reshape(radius, (2, *np.shape(centre)))
    for u in unknown:
        radius = np.where(np.isfinite(_fit(u.radius, u.centre, centre)), radius, np.inf)
    return Rounded(centre, radius)


_RELATIONS = {
    "==": np.equal,
    "!=": np.not_equal,
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
}


def _relation(op: str, left: Any, right: Any) -> tuple[Any, Any]:
    a, b = _as_rounded(left), _as_rounded(right)
    truth = _RELATIONS[op](a.centre, b.centre)
    gap = np.abs(np.asarray(a.centre) - np.asarray(b.centre))
    reach = _fit(a.radius, a.centre, gap) + _fit(b.radius, b.centre, gap)
    return truth, (reach == 0) | (gap > reach)


def _logic(node: Any, place: Mapping[Any, Any], run: _Run) -> tuple[Any, Any]:
    parts = [_eval(a, place, run) for a in node.args]
    if isinstance(node, sympy.Not):
        return np.logical_not(parts[0][0]), parts[0][1]
    join = np.logical_and if isinstance(node, sympy.And) else np.logical_or
    truth = reduce(join, (t for t, _ in parts))
    return truth, reduce(np.logical_and, (_fit(s, t, truth) for t, s in parts))


def _choice(node: sympy.Piecewise, place: Mapping[Any, Any], run: _Run) -> Rounded:
    result: Rounded | None = None
    for value, condition in reversed(node.args):
        mine = _as_rounded(_eval(value, place, run))
        if result is None:
            result = mine
            continue
        truth, sure = _eval(condition, place, run)
        centre = np.where(truth, mine.centre, result.centre)
        a, b = (_fit(v.radius, v.centre, centre) for v in (mine, result))
        chosen = np.where(truth, a, b)
        apart = np.abs(np.subtract(mine.centre, result.centre)) + np.maximum(a, b)
        both = np.where(np.isnan(apart), np.inf, apart)
        result = Rounded(centre, np.where(_fit(sure, truth, centre), chosen, both))
    assert result is not None
    return result
