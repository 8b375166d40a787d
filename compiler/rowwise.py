"""Kernels whose reductions read along the last index of the output: row by row, in chunks.

    for n:
        float total[64] = {0}
        for k: for j < 64: total[j] += x[n, k]*W[k, j]
        for j < 64: y[n, j] = relu(total[j] + b[j])

So the innermost loop is unit stride, and neighbours are computed side by side.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import sympy
from sympy import Expr, Integer, Symbol

from compiler import long_rows, run_on
from compiler import loop_bounds as bounds
from compiler.conditional_loads import hoisted
from compiler.points import choice, chosen_with_maximum, epilogue, kind_of, nowhere, somewhere
from compiler.scope import Scope, local, nested, real_of
from compiler.shares import LINE, chunk_size, cuts_row, shared
from ir.expression import Access, index_symbol, value_accesses
from ir.loops import Accumulate, For, Local, Place, Position, Statement, stride_of
from ir.program import Definition, DType, Range

CHUNK = 128  # elements of a row that stay in locals: 8 or 16 cache lines
WHOLE = 256  # elements of the one row of a batch that a compiler can keep in registers
LONG_ROW = 16  # a shorter row is left for inner products, if there are any
WORTH_A_ROW = 4  # a shorter row costs more in loops than it saves


def row_index(scope: Scope) -> Range | None:
    """The last index of the space, if every reduction reads along it at unit stride."""
    reductions = [m for m in scope.members if m.reduce]
    if not reductions or not scope.kernel.space:
        return None
    row = scope.kernel.space[-1]
    if isinstance(row.size, int) and row.size < WORTH_A_ROW:
        return None
    names = {m.name for m in scope.members}
    for member in reductions:
        if member.reduce == "scatter" or names & set(member.reads()):
            return None
        if not _unit_stride(member, row.index):
            return None
        if isinstance(row.size, int) and row.size < LONG_ROW and _inner_product(member):
            return None
    return row


def _inner_product(member: Definition) -> bool:
    """Whether it is a sum whose operands all run at unit stride along its innermost index."""
    last = member.over[-1].index
    strides = {stride_of(a, last) for a in value_accesses(member.body)}
    return member.reduce == "sum" and strides == {1}


def _unit_stride(member: Definition, index: Symbol) -> bool:
    """Whether the body reads at stride 0 or 1 along the index, and at 1 at least once."""
    strides = {stride_of(a, index) for a in value_accesses(member.body)}
    return 1 in strides and strides <= {0, 1}


def rowwise(scope: Scope, row: Range) -> tuple[Statement, ...]:
    """Rows in chunks: every reduction into an array over the chunk, then the other members."""
    chunk = _part(row.size, scope.largest) if isinstance(row.size, int) else CHUNK
    if chunk != row.size and long_rows.are_worth_it(scope, row):
        chunk = int(row.size)
    if cuts_row(scope, row):
        chunk = chunk_size(int(row.size), scope.threads, CHUNK)
    start, end = (Integer(0), sympy.sympify(row.size))
    whole = chunk == row.size
    if not whole:
        start, end = index_symbol(f"{row.index}_chunk"), index_symbol(f"{row.index}_chunk_end")
    body = _chunk(scope, row, chunk, start, end)
    if not whole:
        even = isinstance(row.size, int) and row.size % chunk == 0
        ends = (start + chunk,) if even else (start + chunk, sympy.sympify(row.size))
        last = Position(end, ends, smallest=True)
        body = (For(start, (Integer(0),), (sympy.sympify(row.size),), (last, *body), step=chunk),)
    return shared(nested(scope.kernel.space[:-1], body), scope)


def _part(size: int, rows: int) -> int:
    """The elements of a chunk: of one row of a batch a long part that cuts it evenly, if any."""
    if size <= (CHUNK if rows > 1 else WHOLE):
        return size
    parts = range(CHUNK, WHOLE + 1, LINE) if rows == 1 else range(0)
    return max((part for part in parts if size % part == 0), default=CHUNK)


def _chunk(scope: Scope, row: Range, chunk: int, start: Expr, end: Expr) -> tuple[Statement, ...]:
    body: list[Statement] = []
    rows: dict[str, Place] = {}
    chosen = chosen_with_maximum(scope.members)
    for member in scope.members:
        if not member.reduce or member.name in chosen.values():
            continue
        place = rows[member.name] = _row_of(member, row, start)
        loads, term = hoisted(member.body, scope.facts(member), scope.program, member.name)
        accumulate: Statement
        if member.reduce == "argmax":
            best = _best_row(scope, member, chosen, row, start)
            rows[chosen.get(member.name, "")] = best
            accumulate = choice(replace(member, body=term), best, place)
            body += [_row_local(best, real_of(scope.program), -sympy.oo, chunk)]
            body += [_row_local(place, member.dtype, nowhere(member), chunk)]
        else:
            kind, first = kind_of(member)
            accumulate = Accumulate(place, kind, term)
            whole = chunk == row.size and not loads
            count = run_on.length(member, row, scope.program) if whole and chunk <= WHOLE else 0
            body.append(_row_local(place, member.dtype, first, max(chunk, count)))
            if count:
                body += run_on.loops(member, row, count, accumulate)
                continue
            if whole and chunk > WHOLE:
                body += long_rows.loops(member, row, accumulate)
                continue
        body += bounds.reduction_loops(
            member,
            scope.facts(member),
            (*loads, accumulate),
            Range(row.index, row.size),
            (start, end),
        )
    sums = {name: _known(scope, name, place) for name, place in rows.items() if name}
    point = tuple(epilogue(scope, sums))
    return (*body, For(row.index, (start,), (end,), point))


def _row_of(member: Definition, row: Range, start: Expr, part: str = "row") -> Access:
    whole = member.dtype.startswith("int") and part == "row"
    name = local(f"{member.name}_{part}", "int32" if whole else "float32")
    return Access(name, row.index - start)


def _best_row(
    scope: Scope, member: Definition, chosen: Mapping[str, str], row: Range, start: Expr
) -> Access:
    """Where the largest terms are kept: in the row of the maximum, if that is wanted too."""
    maximum = chosen.get(member.name)
    if maximum is None:
        return _row_of(member, row, start, "best")
    return _row_of(next(m for m in scope.members if m.name == maximum), row, start)


def _row_local(place: Access, dtype: DType, first: Expr, chunk: int) -> Local:
    return Local(place.args[0], dtype, first, (chunk,), changes=True)


def _known(scope: Scope, name: str, place: Place) -> Expr:
    """What a member is where its row has been gone through."""
    member = next(m for m in scope.members if m.name == name)
    return somewhere(place) if member.reduce == "argmax" and member.where else place
