"""The meaning of a program, as slowly and plainly as can be: nested loops over every index.

    values = {"x": x, "W": W}                       # inputs, parameters, state, scalars by name
    interpret(program, values, rows=2)["y"]         # every definition, float64 (integers: int64)

Read it beside the grammar of ir/program.py: a map, a reduction, a scatter, a recurrence. Branches
of a Piecewise are taken lazily, every access is checked against its bounds, and nothing may be read
before it was written. It is for tests of small sizes only, and knows nothing of float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from itertools import groupby, product
from typing import Any

import numpy as np
import sympy
from sympy import Symbol

from ir.expression import Access, FloorDiv, Random, Remainder
from ir.program import Definition, Program, Range, Size

Point = dict[Symbol, int]
Rule = Callable[[Point], Any]

FUNCTIONS: dict[Any, Callable[..., Any]] = {
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
    sympy.atan2: np.arctan2,
    sympy.erf: math.erf,
    sympy.erfc: math.erfc,
    sympy.Abs: np.abs,
    sympy.sign: np.sign,
    sympy.Eq: lambda a, b: a == b,
    sympy.Ne: lambda a, b: a != b,
    sympy.Lt: lambda a, b: a < b,
    sympy.Le: lambda a, b: a <= b,
    sympy.Gt: lambda a, b: a > b,
    sympy.Ge: lambda a, b: a >= b,
    sympy.Not: lambda a: not a,
    FloorDiv: lambda a, d: float(int(a) // int(d)),
    Remainder: lambda a, d: float(int(a) % int(d)),
    Random: lambda *args: uniform(*(int(a) for a in args)),
}


def uniform(seed: int, step: int, stream: int, *indices: int) -> float:
    """The number of ir.expression.Random, from its words."""
    golden = 0x9E3779B97F4A7C15
    h = mix(mix(mix(seed + golden) + (stream + 2**32) * golden) + step * golden)
    for index in indices:
        h = mix(h + (index + 1) * golden)
    return (h >> 40) / 2**24


def mix(z: int) -> int:
    """The finaliser of splitmix64."""
    z %= 2**64
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) % 2**64
    return z ^ (z >> 31)


def interpret(
    program: Program, values: Mapping[str, Any], rows: int | None = None
) -> dict[str, np.ndarray]:
    """Every definition's array. `values`: all the caller owns; scalars have their defaults."""
    machine = Machine(program, values, rows)
    with np.errstate(all="ignore"):
        for _, group in groupby(program.definitions, key=lambda d: d.scan and d.scan.group):
            machine.run(list(group))
    return {d.name: machine.memory[d.name] for d in program.definitions}


class Machine:
    """The memory, and which of its elements have been written."""

    def __init__(self, program: Program, values: Mapping[str, Any], rows: int | None) -> None:
        self.batch = {program.batch.symbol: rows} if program.batch else {}
        self.memory: dict[str, np.ndarray] = {}
        self.written: dict[str, np.ndarray] = {}
        defaults = {t.name: default for t, default in program.scalars}
        for name, tensor in program.tensors().items():
            array = np.asarray(values.get(name, defaults.get(name)))
            assert array.shape == self.shape(tensor.shape), (name, array.shape, tensor.shape)
            self.store(name, array.astype(storage(tensor.dtype)), np.ones(array.shape, bool))

    def store(self, name: str, array: np.ndarray, written: np.ndarray) -> None:
        self.memory[name], self.written[name] = array, written

    def size(self, size: Size) -> int:
        value = self.batch[size] if isinstance(size, Symbol) else int(size)
        assert value is not None
        return value

    def shape(self, shape: tuple[Size, ...]) -> tuple[int, ...]:
        return tuple(self.size(s) for s in shape)

    def points(self, ranges: tuple[Range, ...]) -> Iterator[Point]:
        """Every point, in row-major order."""
        for where in product(*(range(self.size(r.size)) for r in ranges)):
            yield {r.index: i for r, i in zip(ranges, where, strict=True)}

    def run(self, group: list[Definition]) -> None:
        """One definition, or the consecutive definitions of one recurrence."""
        for d in group:
            shape, scatter = self.shape(d.shape), d.reduce == "scatter"
            self.store(d.name, np.zeros(shape, storage(d.dtype)), np.full(shape, scatter))
        scan = group[0].scan
        if scan is None:
            for d in group:
                self.define(d, {})
            return
        steps = range(self.size(group[0].ranges[scan.index]))
        for t in reversed(steps) if scan.downwards else steps:
            for d in group:
                assert d.scan is not None
                self.define(d, {d.scan.index: t})

    def define(self, d: Definition, fixed: Point) -> None:
        body, where = self.rule(d.body), [self.rule(c) for c in guards_first(d.where)]
        places = [self.rule(e) for e in (d.target if d.reduce == "scatter" else d.access().indices)]
        free = tuple(r for r in d.indices if r.index not in fixed)
        for outer in self.points(free):
            point = {**outer, **fixed, **self.batch}
            terms = self.terms(d.over, body, where, point)
            if d.reduce == "scatter" and not terms:
                continue
            place = self.place(d.name, [rule(point) for rule in places])
            if d.reduce == "scatter":
                self.memory[d.name][place] += terms[0][1]
            else:
                self.memory[d.name][place] = REDUCTIONS[d.reduce](terms)
            self.written[d.name][place] = True

    def terms(
        self, over: tuple[Range, ...], body: Rule, where: list[Rule], point: Point
    ) -> list[tuple[int, Any]]:
        """The flat position and value of each term whose conditions hold; a map has one."""
        found = []
        for position, inner in enumerate(self.points(over)):
            full = {**point, **inner}
            for condition in where:
                if not condition(full):
                    break
            else:
                found.append((position, body(full)))
        return found

    def place(self, name: str, indices: list[Any]) -> tuple[int, ...]:
        place, shape = tuple(map(int, indices)), self.memory[name].shape
        for index, size in zip(place, shape, strict=True):
            assert 0 <= index < size, (name, place, shape)
        return place

    def rule(self, node: Any) -> Rule:
        """A function from a point to the node's value there."""
        if isinstance(node, Symbol):
            return lambda point: float(point[node])
        if isinstance(node, Access):
            return self.access(node)
        if isinstance(node, sympy.Piecewise):
            return self.piecewise(node)
        if node in (sympy.true, sympy.false):
            return lambda point: bool(node)
        if node.is_Number or node.is_NumberSymbol:
            number = float(node)
            return lambda point: number
        if isinstance(node, (sympy.And, sympy.Or)):
            return self.logic(node)
        return self.function(node)

    def access(self, node: Access) -> Rule:
        indices = [self.rule(e) for e in node.indices]

        def read(point: Point) -> Any:
            place = self.place(node.tensor, [rule(point) for rule in indices])
            assert self.written[node.tensor][place], f"{node} is read before it is written"
            return np.float64(self.memory[node.tensor][place])

        return read

    def piecewise(self, node: sympy.Piecewise) -> Rule:
        branches = [(self.rule(value), self.rule(condition)) for value, condition in node.args]

        def choose(point: Point) -> Any:
            for value, condition in branches:
                if condition(point):
                    return value(point)
            raise AssertionError(f"no branch of {node} holds")

        return choose

    def logic(self, node: Any) -> Rule:
        rules = [self.rule(arg) for arg in guards_first(node.args)]
        test = all if isinstance(node, sympy.And) else any
        return lambda point: test(rule(point) for rule in rules)

    def function(self, node: Any) -> Rule:
        args = [self.rule(arg) for arg in node.args]
        if isinstance(node, sympy.Add):
            return lambda point: sum(rule(point) for rule in args)
        if isinstance(node, sympy.Mul):
            return lambda point: math.prod(rule(point) for rule in args)
        if isinstance(node, sympy.Pow):
            if node.exp == sympy.Rational(1, 2):
                return lambda point: np.sqrt(args[0](point))
            return lambda point: np.power(args[0](point), args[1](point))
        call = FUNCTIONS[node.func]
        return lambda point: call(*(rule(point) for rule in args))


def guards_first(conditions: tuple[Any, ...]) -> list[Any]:
    """Conditions on indices guard those that read tensors, whatever order they stand in."""
    return sorted(conditions, key=lambda c: c.has(Access))


def first(terms: list[tuple[int, Any]]) -> tuple[int, Any]:
    """The first NaN, or else the first largest; of nothing: position 0, minus infinity."""
    best = (0, -np.inf)
    for count, (position, value) in enumerate(terms):
        if count == 0 or value > best[1] or (np.isnan(value) and not np.isnan(best[1])):
            best = (position, value)
    return best


REDUCTIONS: dict[str | None, Callable[[list[tuple[int, Any]]], Any]] = {
    None: lambda terms: terms[0][1],
    "sum": lambda terms: sum((value for _, value in terms), np.float64(0)),
    "max": lambda terms: first(terms)[1],
    "argmax": lambda terms: first(terms)[0],
}


def storage(dtype: str) -> type[np.generic]:
    return np.int64 if dtype.startswith("int") else np.float64
