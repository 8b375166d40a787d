"""Sums and maxima of many terms as several running ones, side by side.

    for q < 28: total += x[p, q]

    float lanes[28] = {0}
    for q < 28: lanes[q] += x[p, q]           neighbours in memory, neighbours in lanes
    total = the total of the lanes            once, behind all loops of the sum

One running sum waits for itself at every addition; lanes are added as vectors. How many lanes there
are depends on the size of the index alone, so that a sum has one order on every machine.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import sympy
from sympy import Expr, Integer, Symbol

from ir.expression import Access, index_symbol, value_accesses
from ir.loops import Accumulate, Fold, For, If, Local, Position, Statement, stride_of
from ir.program import DType

WORTH_LANES = {"sum": 8, "max": 16}  # terms of the innermost loop
MOST_LANES = 64
USUAL_LANES = 32  # where no divisor of the size will do


def in_lanes(
    value: Symbol, dtype: DType, start: Expr, loops: tuple[Statement, ...]
) -> tuple[Statement, ...]:
    """The value and the loops that accumulate into it, over lanes if that can be."""
    term, size = _innermost(loops), _longest(loops)
    plain = (Local(value, dtype, start, changes=True), *loops)
    if term is None or term.place != value or not _runs_along_memory(term, loops):
        return plain
    if size is None or size < WORTH_LANES[term.kind]:
        return plain
    count = lane_count(size)
    name = Symbol(f"{value.name}_lanes", real=True)
    kind: Literal["sum", "max"] = term.kind
    return (
        Local(name, dtype, start, (count,), changes=True),
        *(_with_lanes(s, str(name.name), count) for s in loops),
        Fold(value, dtype, kind, name, count),
    )


def lane_count(size: int) -> int:
    """How many lanes sums over an index of that size have: a divisor, the rounder the better."""
    if size <= MOST_LANES:
        return size
    divisors = [d for d in range(MOST_LANES, USUAL_LANES // 2 - 1, -1) if size % d == 0]
    for round_to in (16, 8, 4, 1):
        found = next((d for d in divisors if d % round_to == 0), None)
        if found is not None:
            return found
    return USUAL_LANES


def _innermost(body: tuple[Statement, ...]) -> Accumulate | None:
    """The accumulation inside all loops, if it is all that they do but for local loads."""
    match body:
        case (*before, (For() | If()) as inner) if all(isinstance(s, Position) for s in before):
            return _innermost(inner.body)
        case (*before, Accumulate() as term) if all(isinstance(s, Local) for s in before):
            return term
    return None


def _loop(body: tuple[Statement, ...]) -> For | None:
    """The innermost loop, if nothing but loads stands between it and the term."""
    last = body[-1]
    if isinstance(last, For):
        return last if isinstance(last.body[-1], Accumulate) else _loop(last.body)
    return _loop(last.body) if isinstance(last, If) else None


def _runs_along_memory(term: Accumulate, loops: tuple[Statement, ...]) -> bool:
    loop = _loop(loops)
    if loop is None or loop.step != 1:
        return False
    values = [term.value, *(s.value for s in loop.body if isinstance(s, Local) and s.value)]
    strides = {stride_of(a, loop.index) for v in values for a in value_accesses(v)}
    return 1 in strides and strides <= {0, 1}


def _longest(loops: tuple[Statement, ...]) -> int | None:
    """The size of the innermost index, if it is a number."""
    loop = _loop(loops)
    size = loop.upper[0] if loop else None
    return int(size) if size is not None and size.is_Integer else None


def _with_lanes(statement: Statement, name: str, count: int) -> Statement:
    """The statement with its innermost loop gone through in runs of `count`."""
    if isinstance(statement, For) and isinstance(statement.body[-1], Accumulate):
        return _in_runs(statement, name, count)
    if isinstance(statement, For | If):
        return replace(statement, body=tuple(_with_lanes(s, name, count) for s in statement.body))
    return statement


def _in_runs(loop: For, name: str, count: int) -> For:
    *loads, term = loop.body
    assert isinstance(term, Accumulate)
    first = index_symbol(f"{loop.index}_run")
    whole = len(loop.upper) == 1 and loop.lower == (Integer(0),) and loop.upper[0] == count
    lane = loop.index if whole else loop.index - first
    body = (*loads, replace(term, place=Access(Symbol(name, real=True), lane)))
    if whole:
        return replace(loop, body=body)
    ends = (first + count,) if _divides(loop, count) else (first + count, *loop.upper)
    run = For(loop.index, (first,), tuple(sympy.sympify(e) for e in ends), body)
    return For(first, loop.lower, loop.upper, (run,), step=count)


def _divides(loop: For, count: int) -> bool:
    return (
        len(loop.upper) == 1 and loop.lower == (Integer(0),) and int(loop.upper[0]) % count == 0
    )
