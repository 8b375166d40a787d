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

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import inf, prod
from typing import Literal

import sympy
from sympy import Expr, Integer, Symbol

from compiler import loop_bounds as bounds
from compiler.conditional_loads import guarded, hoisted
from compiler.contraction import LANES, Contraction, few_rows, recognise, scratch_shapes
from compiler.digits import split_digits
from compiler.inner_products import inner_products
from compiler.lanes import in_lanes
from ir.affine import Facts
from ir.expression import Access, accesses, index_symbol, tensor_symbol, value_accesses
from ir.kernel import Kernel
from ir.loops import (
    Accumulate,
    Choose,
    Contract,
    For,
    Local,
    Nest,
    Parameter,
    Place,
    Position,
    Statement,
    Store,
    stride_of,
    walk,
)
from ir.program import Definition, DType, Program, Range

CHUNK = 64  # elements of a row that stay in locals: 4 or 8 cache lines
FEW_ROWS = 4  # below it, a batch is few rows: as in the emitted source
SMALL_WINDOW = 32  # terms; a larger one read at stride 2 is left as it is
LONG_ROW = 16  # a shorter row is left for inner products, if there are any
WORTH_A_ROW = 4  # a shorter row costs more in loops than it saves


def loop_nest(kernel: Kernel, program: Program) -> Nest:
    """The nest that computes the kernel; its parameters are the arrays it touches."""
    scope = Scope.of(kernel, program)
    if kernel.members[0].reduce == "scatter":
        body = _scatter(scope)
    elif (found := _contraction(scope)) is not None:
        body = _tiled(scope, found)
    else:
        body = _untiled(scope)
    body = split_digits(body)
    parameters = (*_parameters(scope, body), *_scratch(scope, body))
    arrays = {p.name for p in parameters if not p.scalar}
    return Nest(kernel.name, parameters, body, scope.rows, _free(scope), guarded(body, arrays))


@dataclass(frozen=True, slots=True)
class Scope:
    """A kernel with its buffers named: accesses of updates already point to what they replace."""

    kernel: Kernel
    program: Program
    members: tuple[Definition, ...]
    homes: dict[str, str]
    rows: Symbol | None

    @staticmethod
    def of(kernel: Kernel, program: Program) -> Scope:
        homes = {definition: tensor for tensor, definition in reversed(program.updates)}
        homes |= dict(kernel.replaces)
        members = tuple(_with_homes(m, kernel, homes) for m in kernel.members)
        rows = program.batch.symbol if program.batch else None
        return Scope(kernel, program, members, homes, rows)

    def facts(self, member: Definition) -> Facts:
        batch = self.program.batch
        return Facts(member.ranges, self.program.limits, batch.maximum if batch else None)

    @property
    def largest(self) -> int:
        batch = self.program.batch
        return (batch.maximum if batch else None) or 1

    def stored_at(self, member: Definition) -> Access:
        """The element of the buffer that the member writes."""
        access = member.access()
        name = self.homes.get(member.name, member.name)
        return Access(tensor_symbol(name, member.dtype), *access.indices)

    def places(self, at: dict[str, Place]) -> dict[Expr, Expr]:
        """What stands for the accesses of members at their own point."""
        return {m.access(): at[m.name] for m in self.members if m.name in at}


def _with_homes(member: Definition, kernel: Kernel, homes: dict[str, str]) -> Definition:
    """The member with reads of replaced tensors' new values spelled as reads of their memory."""
    own = {m.access() for m in kernel.members}
    moved = {
        a: Access(tensor_symbol(homes[a.tensor], member.dtype), *a.indices)
        for a in accesses(sympy.Tuple(member.body, *member.where))
        if a.tensor in homes and a not in own
    }
    return bounds.substituted(member, moved) if moved else member


def local(name: str, dtype: str) -> Symbol:
    """The scalar that holds a member's value at the point."""
    return Symbol(name, integer=True) if dtype.startswith("int") else Symbol(name, real=True)


def _nested(ranges: tuple[Range, ...], body: tuple[Statement, ...]) -> tuple[Statement, ...]:
    """The body inside one loop for every range, the first outermost."""
    for r in reversed(ranges):
        body = (For(r.index, (Integer(0),), (sympy.sympify(r.size),), body),)
    return body


def _shared(body: tuple[Statement, ...]) -> tuple[Statement, ...]:
    """The body with its outermost loop open to threads.

    Not one without a loop inside: cut elsewhere, its elements could be computed by other vectors.
    """
    match body:
        case (For() as loop,) if any(isinstance(s, For) for s in walk(loop.body)):
            return (replace(loop, shared=True),)
    return body


# ---------------------------------------------------------------- pointwise


def _point(scope: Scope) -> tuple[Statement, ...]:
    """The members in order at one point of the space."""
    return tuple(_epilogue(scope, {}))


def _member(
    scope: Scope, member: Definition, value: Symbol, known: dict[Expr, Expr]
) -> list[Statement]:
    """One member as a local: a map in one statement, a reduction in a loop."""
    here = bounds.substituted(member, known)
    loads, body = hoisted(here.body, scope.facts(here), scope.program, member.name)
    if member.reduce is None:
        return [*loads, Local(value, member.dtype, body)]
    if member.reduce == "argmax":
        return _argmax(scope, here, value)
    kind, start = _kind(member)
    inner: tuple[Statement, ...] = (*loads, Accumulate(value, kind, body))
    loops = bounds.reduction_loops(here, scope.facts(here), inner)
    if member.dtype.startswith("float"):
        loops = in_lanes(value, member.dtype, start, inner_products(loops))
    return [Local(value, member.dtype, start, changes=True), *loops]


def _kind(member: Definition) -> tuple[Literal["sum", "max"], Expr]:
    """How the terms are joined, and what they start from."""
    return ("max", -sympy.oo) if member.reduce == "max" else ("sum", Integer(0))


def _argmax(scope: Scope, member: Definition, place: Symbol) -> list[Statement]:
    """The flat position of the first largest term."""
    best = Symbol(f"{member.name}_best", real=True)
    inner: tuple[Statement, ...] = (_choice(member, best, place),)
    chosen = [
        Local(best, _real_of(scope.program), -sympy.oo, changes=True),
        Local(place, member.dtype, _nowhere(member), changes=True),
        *bounds.reduction_loops(member, scope.facts(member), inner),
    ]
    return chosen if not member.where else [*chosen, Store(place, _somewhere(place))]


def _choice(member: Definition, best: Place, place: Place) -> Choose:
    position: Expr = Integer(0)
    for r in member.over:
        position = position * r.size + r.index
    return Choose(best, place, member.body, position, certain=not member.where)


def _nowhere(member: Definition) -> Integer:
    """The position before any term: under conditions there may be none."""
    return Integer(-1 if member.where else 0)


def _somewhere(place: Place) -> Expr:
    return sympy.Piecewise((Integer(0), place < 0), (place, True))


def _real_of(program: Program) -> DType:
    """The floating type of the program."""
    kinds = [d.dtype for d in program.definitions] + [t.dtype for t in program.tensors().values()]
    return next((k for k in kinds if k.startswith("float")), "float32")


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
    tile = Symbol(f"{found.member.name}_tile", real=True)
    at = [r.index for r in (*found.outer, *found.rows, *found.columns)]
    value = found.factor * Access(tile, *at)
    few = few_rows(found, scope.rows)
    if few and scope.largest < FEW_ROWS:
        return _untiled(scope)
    plane = Contract(
        tile,
        found.outer,
        found.rows,
        found.columns,
        found.pitch,
        found.terms,
        found.left.operand,
        found.right.operand,
        tuple(_epilogue(scope, {found.member.name: value})),
        _untiled(scope) if few else (),
    )
    return (plane,)


def _untiled(scope: Scope) -> tuple[Statement, ...]:
    if (row := _row_index(scope)) is not None:
        return _rowwise(scope, row)
    return _shared(_nested(scope.kernel.space, _point(scope)))


def _scratch(scope: Scope, body: tuple[Statement, ...]) -> list[Parameter]:
    """The memory that a contraction copies operands to and keeps partial sums in."""
    real = _real_of(scope.program)
    shapes = {
        name: shape
        for s in walk(body)
        if isinstance(s, Contract)
        for name, shape in scratch_shapes(s, LANES[real], scope.largest).items()
    }
    return [Parameter(name, real, shape, True, scratch=True) for name, shape in shapes.items()]


# ---------------------------------------------------------------- rowwise


def _row_index(scope: Scope) -> Range | None:
    """The last index of the space, if every reduction reads along it at a small stride."""
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
        if not _small_stride(member, row.index):
            return None
        if isinstance(row.size, int) and row.size < LONG_ROW and _inner_product(member):
            return None
    return row


def _inner_product(member: Definition) -> bool:
    """Whether it is a sum whose operands all run at unit stride along its innermost index."""
    last = member.over[-1].index
    strides = {stride_of(a, last) for a in value_accesses(member.body)}
    return member.reduce == "sum" and strides == {1}


def _small_stride(member: Definition, index: Symbol) -> bool:
    """Whether the body reads along the index, and at a stride of 1, or of 2 in a small window."""
    strides = {stride_of(a, index) for a in value_accesses(member.body)}
    return bool(strides & {1, 2}) and strides <= {0, 1, 2} and (
        2 not in strides or _terms(member) <= SMALL_WINDOW
    )


def _terms(member: Definition) -> float:
    """How many terms a reduction has, infinite if that is not known."""
    sizes = [r.size for r in member.over]
    return prod(s for s in sizes if isinstance(s, int)) if all(
        isinstance(s, int) for s in sizes
    ) else inf


def _rowwise(scope: Scope, row: Range) -> tuple[Statement, ...]:
    """Rows in chunks: every reduction into an array over the chunk, then the other members."""
    chunk = row.size if isinstance(row.size, int) and row.size <= CHUNK else CHUNK
    start, end = (Integer(0), sympy.sympify(row.size))
    whole = chunk == row.size
    if not whole:
        start, end = index_symbol(f"{row.index}_chunk"), index_symbol(f"{row.index}_chunk_end")
    body = _chunk(scope, row, chunk, start, end)
    if not whole:
        last = Position(end, (start + chunk, sympy.sympify(row.size)), smallest=True)
        body = (For(start, (Integer(0),), (sympy.sympify(row.size),), (last, *body), step=chunk),)
    return _shared(_nested(scope.kernel.space[:-1], body)) if scope.kernel.space[:-1] else body


def _chunk(scope: Scope, row: Range, chunk: int, start: Expr, end: Expr) -> tuple[Statement, ...]:
    body: list[Statement] = []
    rows: dict[str, Place] = {}
    chosen = _chosen_with_maximum(scope.members)
    for member in scope.members:
        if not member.reduce or member.name in chosen.values():
            continue
        place = rows[member.name] = _row_of(member, row, start)
        loads, term = hoisted(member.body, scope.facts(member), scope.program, member.name)
        accumulate: Statement
        if member.reduce == "argmax":
            best = _best_row(scope, member, chosen, row, start)
            rows[chosen.get(member.name, "")] = best
            accumulate = _choice(replace(member, body=term), best, place)
            body += [_row_local(best, _real_of(scope.program), -sympy.oo, chunk)]
            body += [_row_local(place, member.dtype, _nowhere(member), chunk)]
        else:
            kind, first = _kind(member)
            accumulate = Accumulate(place, kind, term)
            body.append(_row_local(place, member.dtype, first, chunk))
        body += bounds.reduction_loops(
            member,
            scope.facts(member),
            (*loads, accumulate),
            Range(row.index, row.size),
            (start, end),
        )
    sums = {name: _known(scope, name, place) for name, place in rows.items() if name}
    point = tuple(_epilogue(scope, sums))
    return (*body, For(row.index, (start,), (end,), point))


def _chosen_with_maximum(members: tuple[Definition, ...]) -> dict[str, str]:
    """The maximum that each argmax finds on its way, where it is a member too."""
    found = {}
    for member in members:
        for other in members:
            same = (other.body, other.over, other.where) == (member.body, member.over, member.where)
            if member.reduce == "argmax" and other.reduce == "max" and same:
                found[member.name] = other.name
    return found


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
    return _somewhere(place) if member.reduce == "argmax" and member.where else place


def _epilogue(scope: Scope, sums: Mapping[str, Expr]) -> list[Statement]:
    """The members at one point, those in `sums` already summed; then what is stored.

    Stores come last, so that a member may read the old value of what another replaces.
    """
    body: list[Statement] = []
    stores: list[Statement] = []
    at: dict[str, Place] = {}
    for member in scope.members:
        value = local(member.name, member.dtype)
        if member.name in sums:
            total = sums[member.name].xreplace(scope.places(at))
            body.append(Local(value, member.dtype, total))
        else:
            body += _member(scope, member, value, scope.places(at))
        at[member.name] = value
        if member.name in scope.kernel.stored:
            stores.append(Store(scope.stored_at(member), value))
    return body + stores


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
        *_nested(cells, (zero,)),
        *bounds.reduction_loops(everything, scope.facts(member), add),
    )


def _parameters(scope: Scope, body: tuple[Statement, ...]) -> tuple[Parameter, ...]:
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
