"""Evaluate a program directly, definition by definition, in float64 or complex128.

    values = evaluate(program, {"x": x, "label": label, "fc1.W": W}, rows=4)
    values["fc1_sum"]                    # every definition by name

It shares nothing with the targets, so it can check them, and it takes complex numbers, so that a
derivative can be checked by a complex step: comparisons look at the real part. Every body is
evaluated over the whole box of its indices at once: for small sizes only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import numpy as np
import sympy
from numpy.typing import NDArray
from sympy import Symbol

from ir.expression import Access, FloorDiv, Random, Remainder
from ir.program import Definition, Program, Size

Array = NDArray[Any]


@dataclass
class _Run:
    """One evaluation: the values so far, the number of rows, and the numbers' type."""

    program: Program
    rows: int
    kind: type
    values: dict[str, Array] = field(default_factory=dict)

    def size(self, size: Size) -> int:
        return size if isinstance(size, int) else self.rows


def evaluate(
    program: Program,
    values: Mapping[str, Any],
    rows: int = 1,
    *,
    kind: type = np.float64,
    known: Mapping[str, Array] | None = None,
) -> dict[str, Array]:
    """The value of every definition. `values` holds inputs, parameters and state by name.

    What is `known` of the definitions, from another evaluation, is not worked out again.
    """
    run = _Run(program, rows, kind)
    for name, tensor in program.tensors().items():
        if name in values:
            integer = tensor.dtype.startswith("int")
            run.values[name] = np.asarray(values[name], dtype=np.int64 if integer else kind)
    for tensor, default in program.scalars:
        run.values.setdefault(tensor.name, np.asarray(default, dtype=kind))
    for tensor in program.state:
        run.values.setdefault(tensor.name, np.zeros([int(s) for s in tensor.shape], dtype=np.int64))
    with np.errstate(all="ignore"):
        for _, block in groupby(
            program.definitions, key=lambda d: d.scan.group if d.scan else d.name
        ):
            _evaluate_block(run, list(block), known or {})
    return {d.name: run.values[d.name] for d in program.definitions}


def _evaluate_block(run: _Run, block: list[Definition], known: Mapping[str, Array]) -> None:
    if all(d.name in known for d in block):
        run.values.update({d.name: known[d.name].astype(_dtype(run, d)) for d in block})
        return
    scan = block[0].scan
    if scan is None:
        run.values[block[0].name] = _value(run, block[0], {})
        return
    for d in block:
        run.values[d.name] = np.zeros([run.size(s) for s in d.shape], dtype=_dtype(run, d))
    steps = range(run.size(block[0].ranges[scan.index]))
    for t in reversed(steps) if scan.downwards else steps:
        for d in block:
            axis = [r.index for r in d.indices].index(scan.index)
            place = (slice(None),) * axis + (t,)
            run.values[d.name][place] = _value(run, d, {scan.index: t})


def _dtype(run: _Run, d: Definition) -> type:
    return np.int64 if d.dtype.startswith("int") else run.kind


def _value(run: _Run, d: Definition, fixed: dict[Symbol, int]) -> Array:
    """The array of one definition, without the axes of `fixed` indices."""
    loops = [r for r in d.variables if r.index not in fixed]
    box = tuple(run.size(r.size) for r in loops)
    place: dict[Symbol, Any] = dict(fixed)
    for axis, (r, size) in enumerate(zip(loops, box, strict=True)):
        place[r.index] = np.arange(size).reshape((-1,) + (1,) * (len(box) - axis - 1))
    body = np.broadcast_to(_eval(d.body, place, run), box)
    mask = np.broadcast_to(
        np.logical_and.reduce([np.broadcast_to(_eval(c, place, run), box) for c in d.where])
        if d.where
        else True,
        box,
    )
    if d.reduce is None:
        return np.array(body, dtype=_dtype(run, d))
    if d.reduce == "scatter":
        return _scattered(run, d, place, body, mask, box)
    return _reduced(d, body, mask, box[: len(box) - len(d.over)])


def _reduced(d: Definition, body: Array, mask: Array, outer: tuple[int, ...]) -> Array:
    if d.reduce == "sum":
        return np.asarray(np.where(mask, body, 0).reshape((*outer, -1)).sum(axis=-1))
    flat = np.where(mask, body, -np.inf).reshape((*outer, -1))
    best = np.argmax(flat.real, axis=-1)
    if d.reduce == "argmax":
        return np.asarray(best)
    return np.asarray(np.take_along_axis(flat, best[..., None], axis=-1)[..., 0])


def _scattered(
    run: _Run,
    d: Definition,
    place: dict[Symbol, Any],
    body: Array,
    mask: Array,
    box: tuple[int, ...],
) -> Array:
    result: Array = np.zeros([run.size(s) for s in d.target_shape], dtype=run.kind)
    where = tuple(np.broadcast_to(_eval(e, place, run), box)[mask] for e in d.target)
    np.add.at(result, where, body[mask])
    return result


def _eval(node: Any, place: Mapping[Symbol, Any], run: _Run) -> Any:
    """The value of an expression over the box; branches not taken may hold anything."""
    if isinstance(node, Access):
        array = run.values[node.tensor]
        at = [_eval(e, place, run) for e in node.indices]
        return array[tuple(np.clip(i, 0, n - 1) for i, n in zip(at, array.shape, strict=True))]
    if isinstance(node, Random):
        return _uniform([_eval(a, place, run) for a in node.args])
    if isinstance(node, Symbol):
        return place.get(node, run.rows)
    if isinstance(node, sympy.Integer):
        return int(node)
    if node in (sympy.true, sympy.false):
        return bool(node)
    if node.is_number and not node.args:
        return float(node)
    if isinstance(node, sympy.Piecewise):
        return _choice(node, place, run)
    operands = [_eval(a, place, run) for a in node.args]
    if isinstance(node, sympy.core.relational.Relational):
        return _RELATIONS[node.rel_op](np.real(operands[0]), np.real(operands[1]))
    return _FUNCTIONS[node.func](*operands)


def _choice(node: sympy.Piecewise, place: Mapping[Symbol, Any], run: _Run) -> Any:
    result: Any = np.nan
    for value, condition in reversed(node.args):
        result = np.where(_eval(condition, place, run), _eval(value, place, run), result)
    return result


def _power(base: Any, exponent: Any) -> Any:
    """Integer powers by multiplication, so that a complex step stays exact at 0."""
    if isinstance(exponent, int) and abs(exponent) <= 64:
        result = np.asarray(base) ** abs(exponent)
        return result if exponent >= 0 else 1 / result
    return np.asarray(base) ** exponent


_GOLDEN = 0x9E3779B97F4A7C15


def _mix(z: Any) -> Any:
    """The finaliser of splitmix64 (Steele, Lea and Flood, 2014), modulo 2**64."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def _uniform(args: list[Any]) -> Any:
    """The number of ir.expression.Random."""
    seed, step, stream, *indices = (np.asarray(a).astype(np.uint64) for a in args)
    golden = np.uint64(_GOLDEN)
    h = _mix(_mix(_mix(seed + golden) + (stream + np.uint64(1 << 32)) * golden) + step * golden)
    for index in indices:
        h = _mix(h + (index + np.uint64(1)) * golden)
    return (h >> np.uint64(40)).astype(np.float64) / 2.0**24


def _erf(z: Any) -> Any:
    """erf by its series, 2/sqrt(pi) exp(-z²) times the sum of 2^n z^(2n+1)/(2n+1)!!.

    Beyond |Re z| = 6 it is ±1 in float64.
    """
    z = np.asarray(z)
    term = np.where(np.abs(z.real) < 6, z, 0)
    small, total = term, term
    for n in range(1, 160):
        term = term * (2 * small * small / (2 * n + 1))
        total = total + term
    series = 2 / math.sqrt(math.pi) * np.exp(-small * small) * total
    return np.where(np.abs(z.real) < 6, series, np.sign(z.real))


def _angle(y: Any, x: Any) -> Any:
    """atan2, and its derivative along the imaginary parts: a complex step is that short."""
    angle = np.arctan2(y.real, x.real)
    if not (np.iscomplexobj(y) or np.iscomplexobj(x)):
        return angle
    turn = (x.real * y.imag - y.real * x.imag) / (x.real**2 + y.real**2)
    return angle + 1j * turn


_RELATIONS: dict[str, Callable[[Any, Any], Any]] = {
    "==": np.equal,
    "!=": np.not_equal,
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
}
_FUNCTIONS: dict[Any, Callable[..., Any]] = {
    sympy.Add: lambda *a: sum(a[1:], start=a[0]),
    sympy.Mul: lambda *a: math.prod(a[1:], start=a[0]),
    sympy.Pow: _power,
    sympy.exp: np.exp,
    sympy.log: np.log,
    sympy.tanh: np.tanh,
    sympy.sinh: np.sinh,
    sympy.cosh: np.cosh,
    sympy.sin: np.sin,
    sympy.cos: np.cos,
    sympy.tan: np.tan,
    sympy.asin: np.arcsin,
    sympy.acos: np.arccos,
    sympy.atan: np.arctan,
    sympy.atan2: lambda y, x: _angle(np.asarray(y), np.asarray(x)),
    sympy.erf: _erf,
    sympy.erfc: lambda z: 1 - _erf(z),
    sympy.Abs: lambda z: np.where(np.real(z) < 0, -np.asarray(z), z),
    sympy.sign: lambda z: np.sign(np.real(z)),
    sympy.And: lambda *a: np.logical_and.reduce(np.broadcast_arrays(*a)),
    sympy.Or: lambda *a: np.logical_or.reduce(np.broadcast_arrays(*a)),
    sympy.Not: np.logical_not,
    FloorDiv: lambda a, b: a // b,
    Remainder: lambda a, b: a % b,
}
