"""The numbers of a network whose values are known: every tensor, every adjoint, every factor.

    known_values(graph, ("x",), {})               # {"x": -2.0, "q": 3.0, ..., "d_x": -4.0}
    single_path(e, "hidden.W", (0, 0))            # the factors of one weight, where one path leads

Values are known where the caller gives them, or where a network has no inputs and its parameters
start at constants. They are computed by `compiler/evaluate.py`, in float64: for small sizes only.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import sympy
from sympy import Expr, Symbol

from compiler.chain import Link
from compiler.evaluate import evaluate
from compiler.network import Network
from compiler.pipeline import stages
from ir.errors import DifferentiationError, InputError
from ir.expression import Access, FloorDiv, Remainder
from ir.program import Definition, Program

if TYPE_CHECKING:
    from compiler.explain import Explanation

_MOST_PATHS = 64


@dataclass(frozen=True, slots=True)
class Factor:
    """One factor of a chain: ∂of/∂by at an element, as an expression and as a number."""

    of: str
    by: str
    local: Expr
    value: float


def known_values(
    network: Network, wrt: tuple[str, ...] | None, given: Mapping[str, Any]
) -> dict[str, Any]:
    """Every value and adjoint by name; empty where something of the network is not known.

    The adjoints of all parameters are among them, whatever `wrt` is, as far as they exist.
    """
    program = network.trace(dtype="float64")
    unknown = set(given) - set(program.tensors())
    if unknown:
        raise InputError(
            f"{network.name} has no tensor {sorted(unknown)[0]}",
            at=network.origin,
            notes=(f"it has {', '.join(program.tensors())}",),
        )
    owned = _constants(program) | {n: _fitting(program, n, given[n]) for n in given}
    if not all(t.name in owned for t in (*program.inputs, *program.parameters)):
        return {}
    rows = _rows(program, owned)
    known: dict[str, Any] = {**owned}
    for names in (None, wrt):
        with suppress(DifferentiationError):
            found = {s.after: s.program for s in stages(program, wrt=names)}
            known |= evaluate(found["differentiate"], owned, rows)
    return known


def _constants(program: Program) -> dict[str, Any]:
    found = {}
    for p in program.parameters:
        if p.init is not None and p.init.kind in ("constant", "zeros"):
            sizes = [int(s) for s in p.shape]
            flat = np.asarray(p.init.values or (0.0,), dtype=np.float64)
            found[p.name] = flat.reshape(sizes) if flat.size == prod(sizes) else flat[0]
            found[p.name] = np.broadcast_to(found[p.name], sizes)
    return found


def _fitting(program: Program, name: str, value: Any) -> Any:
    array = np.asarray(value)
    sizes = program.shape_of(name)
    if array.ndim != len(sizes) or any(
        isinstance(s, int) and s != n for s, n in zip(sizes, array.shape, strict=True)
    ):
        raise InputError(f"{name} must have shape {sizes}, got {array.shape}")
    return array


def _rows(program: Program, owned: Mapping[str, Any]) -> int:
    for tensor in program.inputs:
        for size, have in zip(tensor.shape, np.shape(owned[tensor.name]), strict=True):
            if isinstance(size, Symbol):
                return int(have)
    return 1


def local_value(link: Link, values: Mapping[str, Any]) -> float | None:
    """The number that a local derivative is, where every tensor in it is a known scalar."""
    read = link.local.atoms(Access)
    if not values or any(np.ndim(values.get(a.tensor, [0])) for a in read):
        return None
    known = link.local.xreplace({a: sympy.Float(float(values[a.tensor])) for a in read})
    return float(known) if known.is_number else None


def single_path(e: Explanation, wrt: str, element: tuple[int, ...]) -> tuple[Factor, ...]:
    """The factors from the loss to one element, where a single path leads there; else none."""
    if not e.values or e.stable.loss is None:
        return ()
    name, at, factors = wrt, element, []
    while name != e.stable.loss:
        steps = [s for link in e.links if link.of == name for s in _terms(link, at, e)]
        if len(steps) != 1:
            return ()
        factor, name, at = steps[0]
        factors.append(factor)
    return tuple(factors[::-1])


Term: TypeAlias = tuple[Factor, str, tuple[int, ...]]


def _terms(link: Link, at: tuple[int, ...], e: Explanation) -> list[Term]:
    """What one link adds to one element: a factor, and the consumer's element, for each term.

    Two empty terms stand for more than anybody would want to see as factors.
    """
    points = _points(link, at, e)
    if points is None:
        return [(Factor("", "", sympy.S.Zero, 0.0), "", ())] * 2
    found: list[Term] = []
    d = link.consumer
    for point in points:
        if all(_number(c, point, e) for c in d.where):
            there = tuple(int(_number(i, point, e)) for i in d.access().indices)
            of, by = _element(d.name, there), _element(link.of, at)
            rows = {e.stable.batch.symbol: sympy.Integer(_batch(e))} if e.stable.batch else {}
            local = link.local.xreplace({v: sympy.Integer(i) for v, i in point.items()} | rows)
            value = float(_number(link.local, point, e))
            found.append((Factor(of, by, local, value), d.name, there))
    return found


def _points(link: Link, at: tuple[int, ...], e: Explanation) -> list[dict[Symbol, Any]] | None:
    """The values of the consumer's indices at which it reads the element; None: not followed."""
    solution = link.solution
    if solution is None or link.consumer.reduce == "max":
        return None
    outputs = {x.output: i for x, i in zip(link.deltas, at, strict=True)}
    sizes = [s if isinstance(s, int) else _batch(e) for s in solution.remaining.values()]
    if prod(sizes) > _MOST_PATHS:
        return None
    found = []
    for choice in product(*map(range, sizes)):
        point = outputs | dict(zip(solution.remaining, choice, strict=True))
        if all(_number(c, point, e) for c in solution.conditions):
            solved = {v: int(_number(x.expr(), point, e)) for v, x in solution.values.items()}
            found.append(point | solved)
    return found


def _batch(e: Explanation) -> int:
    return _rows(e.stable, e.values)


def _number(node: Any, point: Mapping[Symbol, Any], e: Explanation) -> Any:
    """An expression at a point of its indices, tensors read from the known values."""
    if isinstance(node, Access):
        return e.values[node.tensor][tuple(int(_number(i, point, e)) for i in node.indices)]
    if isinstance(node, Symbol):
        return point.get(node, _batch(e))
    if not node.args:
        return node
    if isinstance(node, FloorDiv):
        return int(_number(node.args[0], point, e)) // int(node.args[1])
    if isinstance(node, Remainder):
        return int(_number(node.args[0], point, e)) % int(node.args[1])
    return node.func(*(sympy.sympify(_number(a, point, e)) for a in node.args))


def _element(name: str, at: tuple[int, ...]) -> str:
    return f"{name}[{', '.join(map(str, at))}]" if at else name


def element_value(values: Mapping[str, Any], name: str, at: tuple[int, ...]) -> float | None:
    """One number of a known tensor."""
    return float(np.asarray(values[name])[at]) if name in values else None


def is_scalar_graph(definitions: tuple[Definition, ...], values: Mapping[str, Any]) -> bool:
    """Whether every tensor of a program is one known number: a graph as lectures draw it."""
    return bool(values) and all(not d.shape for d in definitions)
