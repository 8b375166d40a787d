"""What a kernel has to do at least: its operations, and the bytes that it reads and writes.

    cost = cost_of(kernel, program)
    limits.seconds(cost.operations, cost.read, cost.written)     no implementation can be faster

Bytes are compulsory traffic: every element of an array once, however often the loops come back to
it. Values that stay inside the kernel cost nothing. Terms that a border leaves out are not counted,
unless an integer tensor decides about them. All at the largest batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from sympy import Integer, Symbol
from sympy.logic.boolalg import Boolean

from compiler.count import flops
from compiler.evaluate import evaluate
from ir.expression import Access, accesses
from ir.kernel import Kernel, Schedule
from ir.program import Definition, Program, Range, Shape, Size

BYTES = {"float32": 4, "float64": 8, "int32": 4, "int64": 8}
LARGEST_BOX = 1_000_000
"""Conditions over more index values than this are taken to hold everywhere."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Operations and bytes; `multiply_adds` are the operations in sums of products alone."""

    operations: int
    multiply_adds: int
    read: int
    written: int


def cost_of(kernel: Kernel, program: Program) -> Cost:
    """Of one kernel; inside a recurrence, of all its turns."""
    own = {m.name for m in kernel.members}
    touched: dict[str, int] = {}
    for member in kernel.members:
        for access in member.accesses():
            if access.tensor not in own:
                known = touched.get(access.tensor, 0)
                whole = _elements(program.shape_of(access.tensor), program)
                touched[access.tensor] = min(whole, known + _points(access, member, program))
    return Cost(
        sum(round(flops(m, program) * kept(m, program)) for m in kernel.members),
        sum(_multiply_adds(m, program) for m in kernel.members),
        sum(count * BYTES[program.dtype_of(name)] for name, count in touched.items()),
        sum(
            _elements(m.shape, program) * BYTES[m.dtype]
            for m in kernel.members
            if m.name in kernel.stored
        ),
    )


def multiply_adds(schedule: Schedule) -> int:
    """Operations in sums of products, two a term: what the multiply-add peak limits."""
    return sum(_multiply_adds(d, schedule.program) for d in schedule.program.definitions)


def _multiply_adds(definition: Definition, program: Program) -> int:
    """Two a term if the sum is over a product; a sum along what only one factor has is no less."""
    if definition.reduce != "sum" or len(_factors(definition)) < 2:
        return 0
    terms = prod(_size(r.size, program) for r in definition.variables)
    return round(2 * terms * kept(definition, program))


def _factors(definition: Definition) -> list[Access]:
    """The elements that the terms of a sum multiply, as far as they change along it."""
    over = {r.index for r in definition.over}
    return [a for a in definition.accesses() if a.free_symbols & over]


def kept(definition: Definition, program: Program) -> float:
    """The share of a definition's terms that its conditions keep."""
    share = 1.0
    for together, conditions in _groups(definition):
        over = tuple(
            Range(r.index, _size(r.size, program))
            for r in definition.variables
            if r.index in together
        )
        box = prod(_size(r.size, program) for r in over)
        if box <= LARGEST_BOX:
            share *= _count(over, conditions) / box
    return share


def _count(over: tuple[Range, ...], conditions: tuple[Boolean, ...]) -> float:
    """How many index values satisfy the conditions: a sum of ones, evaluated."""
    line = Definition("kept", "float64", (), Integer(1), "sum", over, where=conditions)
    return float(evaluate(Program("count", definitions=(line,)), {})["kept"])


def _groups(definition: Definition) -> list[tuple[set[Symbol], tuple[Boolean, ...]]]:
    """Conditions on index values alone, those that share an index together."""
    groups: list[tuple[set[Symbol], tuple[Boolean, ...]]] = []
    for condition in definition.where:
        if accesses(condition):
            continue
        symbols, conditions = set(condition.free_symbols), (condition,)
        for other in [g for g in groups if g[0] & symbols]:
            groups.remove(other)
            symbols, conditions = symbols | other[0], (*other[1], *conditions)
        groups.append((symbols, conditions))
    return groups


def _points(access: Access, definition: Definition, program: Program) -> int:
    """How many different elements an access can touch."""
    return prod(
        _size(r.size, program) for r in definition.variables if r.index in access.free_symbols
    )


def _elements(shape: Shape, program: Program) -> int:
    return prod(_size(size, program) for size in shape)


def _size(size: Size, program: Program) -> int:
    return size if isinstance(size, int) else program.largest_batch
