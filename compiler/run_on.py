"""Rows that fill no whole number of vectors: their last lanes run on into the next row.

    for k < 784: for j < 100: y[j] += x[k]*W[k, j]

    float y[112]
    for k < 783: for j < 112: y[j] += x[k]*W[k, j]        100 to 111 are of row k + 1: not read
    for j < 100: y[j] += x[783]*W[783, j]

The four columns behind six vectors would be a running sum in memory, and every row would wait for
the one before. A vector more costs less, and all sums stay in registers. The last row ends where
the array does, and is apart.
"""

from __future__ import annotations

from dataclasses import replace
from math import ceil

from sympy import Integer

from compiler.contraction import LANES
from ir.expression import Access, value_accesses
from ir.loops import Accumulate, For, Statement
from ir.program import Definition, Program, Range


def length(member: Definition, row: Range, program: Program) -> int:
    """The elements of a running row in whole vectors; 0 where they cannot run on, or need not."""
    if member.reduce != "sum" or member.where or len(member.over) != 1:
        return 0
    if not isinstance(row.size, int) or not isinstance(member.over[0].size, int):
        return 0
    lanes = LANES.get(member.dtype, row.size)
    whole = ceil(row.size / lanes) * lanes
    follow = all(_rows_follow(a, member, row, program) for a in value_accesses(member.body))
    return whole if follow and row.size < whole <= 2 * row.size else 0


def _rows_follow(access: Access, member: Definition, row: Range, program: Program) -> bool:
    """Whether behind each of its rows but the last there lies another."""
    if not any(row.index in e.free_symbols for e in access.indices):
        return True
    last = (member.over[0].index, row.index)
    shape = program.shape_of(access.tensor)
    held = {s for e in access.indices[:-2] for s in e.free_symbols}
    alone = not held & set(last)
    return alone and access.indices[-2:] == last and shape[-2:] == (member.over[0].size, row.size)


def loops(member: Definition, row: Range, count: int, term: Accumulate) -> tuple[Statement, ...]:
    """All rows but the last in whole vectors, and the last one."""
    (over,) = member.over
    end = Integer(over.size) - 1
    start = (Integer(0),)
    vectors = For(row.index, start, (Integer(count),), (term,))
    last = replace(term, value=term.value.xreplace({over.index: end}))
    return (
        For(over.index, start, (end,), (vectors,)),
        For(row.index, start, (Integer(row.size),), (last,)),
    )
