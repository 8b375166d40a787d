"""Kernel to loop nest: which loops, in which order, and what is kept in locals.

    nest = loop_nest(kernel, program)

    tiled       a plane of a contraction in vector registers (compiler/contraction.py)
    pointwise   for every point: the members in order, reductions in a scalar
    rowwise     for every row of a chunk: the reductions in an array over the last index, their
                loops outside it, so that the innermost loop is unit stride; then the rest

Conditions become bounds of the loops (compiler/loop_bounds.py), not branches inside them. The
order of the terms of a sum is that of the source, whatever the batch.

Stores of an update go to the tensor that it replaces: one name for one piece of memory.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod

import sympy
from sympy import Integer, Symbol

from compiler import loop_bounds as bounds
from compiler.added import added
from compiler.conditional_loads import guarded
from compiler.contraction import LANES, Contraction, few_rows, one_line, recognise, scratch_shapes
from compiler.digits import split_digits
from compiler.part_columns import in_parts
from compiler.points import epilogue, with_terms_written
from compiler.rowwise import row_index, rowwise
from compiler.scope import Scope, nested, real_of
from compiler.shares import by_columns, shared
from ir.expression import Access, accesses, index_symbol, value_accesses
from ir.kernel import Kernel
from ir.loops import FEW_ROWS, Accumulate, Contract, If, Nest, Parameter, Statement, Store, walk
from ir.program import Definition, Program, Range


def loop_nest(kernel: Kernel, program: Program, threads: int = 1) -> Nest:
    """The nest that computes the kernel; its parameters are the arrays it touches.

    Several threads share out one of its loops, where there is one (compiler/shares.py).
    """
    scope = Scope.of(kernel, program, threads)
    if kernel.members[0].reduce == "scatter":
        body = _scatter(scope)
    elif (found := _contraction(scope)) is not None:
        body = _tiled(scope, found)
    elif (total := sum_of_few(scope)) is not None:
        body = _few(scope, total)
    else:
        body = _untiled(scope)
    body = split_digits(body)
    parameters = (*parameters_of(scope), *_scratch(scope, body))
    arrays = {p.name for p in parameters if not p.scalar}
    return Nest(kernel.name, parameters, body, scope.rows, _free(scope), guarded(body, arrays))


# ---------------------------------------------------------------- tiled


def _contraction(scope: Scope) -> Contraction | None:
    """The kernel's one reduction, if it is a contraction of arrays that the kernel only reads."""
    reductions = [m for m in scope.members if m.reduce]
    if len(reductions) != 1:
        return None
    member = reductions[0]
    own = {scope.homes.get(m.name, m.name) for m in scope.members}
    if own & set(member.reads()) & set(scope.kernel.stored):
        return None
    if set(value_accesses(member.body)) & {m.access() for m in scope.members}:
        return None
    return recognise(member, scope.kernel.space, scope.facts(member), scope.program)


def _tiled(scope: Scope, found: Contraction) -> tuple[Statement, ...]:
    """The contraction, and what to do instead for a batch of few rows."""
    few = few_rows(found, scope.rows)
    if few and scope.largest < FEW_ROWS:
        return _few(scope, found.member)
    if one_line(found) and row_index(scope) is not None:
        return _untiled(scope)
    first, *others = (_plane(*part) for part in in_parts(scope, found, _contraction))
    return (replace(first, few=_few(scope, found.member) if few else ()), *others)


def _plane(scope: Scope, found: Contraction) -> Contract:
    tile = Symbol(f"{found.member.name}_tile", real=True)
    at = [r.index for r in (*found.outer, *found.rows, *found.columns)]
    total = Access(tile, *at)
    statements = tuple(epilogue(scope, {found.member.name: found.factor * total}))
    return Contract(
        tile,
        found.outer,
        found.rows,
        found.columns,
        found.pitch,
        found.terms,
        found.left.operand,
        found.right.operand,
        statements,
        by_columns=scope.threads > 1 and by_columns(found, scope.threads),
        strip=found.strip,
        onto=added(statements, total),
    )


def _few(scope: Scope, member: Definition) -> tuple[Statement, ...]:
    """A sum over few rows alone is a map for each number of rows, with the terms written out."""
    if len(member.over) > 1 or member.over[0].size != scope.rows or member.where:
        return _untiled(scope)
    counts = range(1, min(FEW_ROWS - 1, scope.largest) + 1)
    written = [_written_out(scope, member, count) for count in counts]
    if scope.largest == 1:
        return written[0]
    return tuple(
        If(sympy.Eq(scope.rows, count), body) for count, body in zip(counts, written, strict=True)
    )


def sum_of_few(scope: Scope) -> Definition | None:
    """The kernel's one reduction, if it is a sum over a batch of one row; of few, for a matrix."""
    reductions = [m for m in scope.members if m.reduce]
    least = 1 if scope.largest == 1 else 2
    if len(reductions) != 1 or scope.largest >= FEW_ROWS or len(scope.kernel.space) < least:
        return None
    (member,) = reductions
    over_rows = [r.size for r in member.over] == [scope.rows]
    return member if over_rows and member.reduce == "sum" and not member.where else None


def _written_out(scope: Scope, member: Definition, count: int) -> tuple[Statement, ...]:
    points = tuple(with_terms_written(scope, member, count))
    return shared(nested(scope.kernel.space, points), scope)


def _untiled(scope: Scope) -> tuple[Statement, ...]:
    if (row := row_index(scope)) is not None:
        return rowwise(scope, row)
    return shared(nested(scope.kernel.space, tuple(epilogue(scope, {}))), scope)


def _scratch(scope: Scope, body: tuple[Statement, ...]) -> list[Parameter]:
    """The memory that a contraction copies operands to and keeps partial sums in."""
    real = real_of(scope.program)
    shapes: dict[str, tuple[int, ...]] = {}
    for plane in (s for s in walk(body) if isinstance(s, Contract)):
        for name, shape in scratch_shapes(plane, LANES[real], scope.largest).items():
            shapes[name] = max(shapes.get(name, ()), shape, key=prod)
    return [Parameter(name, real, shape, True, scratch=True) for name, shape in shapes.items()]


# ---------------------------------------------------------------- scatter, parameters


def _scatter(scope: Scope) -> tuple[Statement, ...]:
    """Zero everywhere, then one addition for every point, in row-major order."""
    member = scope.members[0]
    cells = tuple(
        Range(index_symbol(f"cell{i}"), size) for i, size in enumerate(member.target_shape)
    )
    target = scope.stored_at(member)
    zero = Store(Access(target.args[0], *(r.index for r in cells)), Integer(0))
    add: tuple[Statement, ...] = (Accumulate(target, "sum", member.body),)
    everything = bounds.as_reduction(member)
    return (
        *nested(cells, (zero,)),
        *bounds.reduction_loops(everything, scope.facts(member), add),
    )


def parameters_of(scope: Scope) -> tuple[Parameter, ...]:
    """The arrays that the kernel reads, then those it writes."""
    written = {
        scope.homes.get(m.name, m.name): m for m in scope.members if m.name in scope.kernel.stored
    }
    found: dict[str, Parameter] = {}
    for name in _reads(scope):
        found[name] = _parameter(scope.program, name, name in written)
    for name in written:
        found.setdefault(name, _parameter(scope.program, name, True))
    return tuple(found.values())


def _reads(scope: Scope) -> list[str]:
    """Buffers that are read from memory, in the order of the source."""
    own = {m.access() for m in scope.members}
    found: dict[str, None] = {}
    for member in scope.members:
        for access in accesses(sympy.Tuple(member.body, *member.where, *member.target)):
            if access not in own:
                found.setdefault(access.tensor)
    return list(found)


def _parameter(program: Program, name: str, writable: bool) -> Parameter:
    scalar = any(t.name == name for t, _ in program.scalars)
    return Parameter(name, program.dtype_of(name), program.shape_of(name), writable, scalar)


def _free(scope: Scope) -> tuple[Symbol, ...]:
    """The index of the recurrence around the kernel."""
    inside = {r.index for r in scope.kernel.space}
    found = {
        r.index: None
        for m in scope.members
        if m.reduce != "scatter"
        for r in m.indices
        if r.index not in inside
    }
    return tuple(found)
