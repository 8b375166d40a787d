"""What of a kernel threads share out: a loop over its space, or lines or columns of a contraction.

    for n: for j: ...                 threads take some n each
    for j: for n: total[j] += ...     chunks of j, a whole number of cache lines each
    contraction                       planes; else lines, or columns where those cost less

Never the terms of a sum, so that the bits do not depend on how many threads there are. One thread
has nothing to share: its loops are those of the schedule.
"""

from __future__ import annotations

from dataclasses import replace
from math import ceil, prod

from sympy import Integer

from compiler.contraction import LANES, TILE, Contraction, extent
from compiler.scope import Scope
from ir.expression import index_symbol
from ir.loops import Dot, For, Position, Statement, stride_of, walk
from ir.program import Range

LINE = 16  # elements that stay together: a cache line of floats, the longest vector
WORTH_CUTTING = 256  # elements of a loop without loops inside
FETCHED = 0.3  # cycles for an element that a thread reads: half of them come from another's cache
TORN = 100  # cycles for a cache line of the result that two threads write


def shared(body: tuple[Statement, ...], scope: Scope) -> tuple[Statement, ...]:
    """The body with one of its loops open to threads: the first that comes out about even."""
    if scope.threads == 1:
        return body
    chain = _chain(body)
    extents = [_steps(loop, scope.largest) if _has_loops(loop) else 1 for loop in chain]
    even = [e % scope.threads == 0 or e >= 4 * scope.threads for e in extents]
    if max(extents, default=1) > 1:
        chosen = chain[even.index(True) if any(even) else extents.index(max(extents))]
        return _opened(body, chosen, replace(chosen, shared=True))
    if chain and not _has_loops(chain[-1]):
        return _opened(body, chain[-1], _in_chunks(chain[-1], scope.threads))
    return body


def _chain(body: tuple[Statement, ...]) -> list[For]:
    """The loops that hold nothing but the next one."""
    match body:
        case (For() as loop,):
            return [loop, *_chain(loop.body)]
    return []


def _has_loops(loop: For) -> bool:
    return any(isinstance(s, For | Dot) for s in walk(loop.body))


def _steps(loop: For, largest: int) -> int:
    size = int(loop.upper[0]) if loop.upper[0].is_Integer else largest
    return ceil(size / loop.step)


def _opened(body: tuple[Statement, ...], chosen: For, shared: For) -> tuple[Statement, ...]:
    """The loops around nothing else, with the chosen one as it is shared."""
    (loop,) = body
    assert isinstance(loop, For)
    return (shared if loop is chosen else replace(loop, body=_opened(loop.body, chosen, shared)),)


def _in_chunks(loop: For, threads: int) -> For:
    """A loop without loops inside, in whole cache lines: so its elements keep their vectors."""
    size = loop.upper[0]
    if not size.is_Integer or int(size) < WORTH_CUTTING:
        return loop
    chunk = chunk_size(int(size), threads, int(size))
    first, end = index_symbol(f"{loop.index}_chunk"), index_symbol(f"{loop.index}_chunk_end")
    last = Position(end, (first + chunk, size), smallest=True)
    inner = replace(loop, lower=(first,), upper=(end,))
    return For(first, (Integer(0),), (size,), (last, inner), step=chunk, shared=True)


def chunk_size(size: int, threads: int, most: int) -> int:
    """Elements of a chunk, `most` at most or little more: as many chunks for every thread."""
    chunks = threads * ceil(size / (threads * most))
    return ceil(size / (chunks * LINE)) * LINE


def cuts_row(scope: Scope, row: Range) -> bool:
    """Whether a row is shared out in chunks, because there is but one."""
    others = (r.size for r in scope.kernel.space[:-1])
    alone = prod(s if isinstance(s, int) else scope.largest for s in others) == 1
    return scope.threads > 1 and alone and isinstance(row.size, int) and row.size >= 2 * LINE


def by_columns(found: Contraction, threads: int) -> bool:
    """Whether threads take columns each, rather than lines of all columns.

    Each thread brings what it multiplies: with lines the whole right operand and its part of the
    left one, with columns the other way round. Where two parts of a run along memory meet, a cache
    line of the result is torn. Tiles along the terms, and strips of lines, are shared by lines.
    """
    if found.strip or found.terms.along is not None:
        return False
    lanes = LANES[found.member.dtype]
    vectors = ceil(found.run / lanes)
    lines = prod(extent(r.size, found.largest) for r in found.rows)
    across_lines = TORN * found.run * _is_run(found, found.rows)
    across_columns = TORN * lines * _is_run(found, found.columns)
    by_lines = _cycles(found, ceil(lines / threads), vectors) + across_lines
    return _cycles(found, lines, ceil(vectors / threads)) + across_columns < by_lines


def _is_run(found: Contraction, ranges: tuple[Range, ...]) -> bool:
    """Whether the last of the indices runs along the memory of the result."""
    return stride_of(found.member.access(), ranges[-1].index) == 1


def _cycles(found: Contraction, lines: int, vectors: int) -> float:
    """Roughly what one thread needs for so much of a plane; as compiler/contraction.py counts."""
    depth = prod(extent(r.size, found.largest) for r in found.member.over)
    columns = vectors * LANES[found.member.dtype]
    products = max(lines * vectors, ceil(lines / TILE) * vectors + lines) * depth / 2
    bring = found.right.cycles(depth, columns)
    bring += found.left.cycles(depth, lines) * (ceil(vectors / 3) if found.left.packed else 1)
    return products + bring + FETCHED * depth * (lines + columns)
