"""The last kernel of a training step and the first of the next one, as one loop nest.

    for k: for j:
        W[k, j] = W[k, j] - lr*x[k]*d[j]          the update that ends a step
        sum[j] += x_next[k]*W[k, j]               the sums that begin the next one, of the next row
    for j: h[j] = relu(sum[j] + b[j])

With one row a step, reading the weights takes most of the time: so they are read and written once a
step, and not read again. Only where the first kernel multiplies the row by a matrix that the last
one updates, and reads nothing else that it writes. The terms stay in their order, so the bits do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from sympy import Expr, Integer, Symbol

from compiler.conditional_loads import guarded
from compiler.inner_products import split_product
from compiler.memory import size_in_bytes
from compiler.points import epilogue, with_terms_written
from compiler.schedule import parameters_of, sum_of_few
from compiler.scope import Scope, local, nested
from ir.expression import Access, accesses, tensor_symbol
from ir.kernel import Kernel, Schedule, Step
from ir.loops import Accumulate, For, Local, Nest, Parameter, Position, Rotation, Statement
from ir.names import fresh
from ir.program import Definition, Program

NARROWEST, WIDEST = 16, 256  # columns: a vector, and what a compiler keeps in registers


def rotated(schedule: Schedule) -> Rotation | None:
    """The nest of both kernels, if this step begins with what the one before it ends with."""
    ends = _ends(schedule)
    if ends is None:
        return None
    first, last = (Scope.of(kernel, schedule.program) for kernel in ends)
    meeting = _meeting(first, last)
    if meeting is None or not _apart(schedule, *ends):
        return None
    total, weight, update = meeting
    names = dict(_next_names(schedule.program, first))
    points = _points(last)
    place = last.stored_at(update).indices
    moved: dict[Expr, Expr] = dict(zip(weight.indices, place, strict=True))
    known = total.body.xreplace({weight: local(update.name, update.dtype)})
    term = _of_next_row(known.xreplace(moved), names, schedule.program)
    column = first.kernel.space[-1]
    sums = Symbol(f"{total.name}_row", real=True)
    add = Accumulate(Access(sums, place[-1]), "sum", term)
    finish = epilogue(first, {total.name: Access(sums, column.index)})
    body: tuple[Statement, ...] = (
        Position(first.kernel.space[0].index, (Integer(0),)),
        Local(sums, total.dtype, Integer(0), (int(column.size),), changes=True),
        *nested(last.kernel.space, (*points, add)),
        For(column.index, (Integer(0),), (Integer(column.size),), tuple(finish)),
    )
    parameters = _parameters(first, last, names)
    arrays = {p.name for p in parameters if not p.scalar}
    name = f"{last.kernel.name}_then_{first.kernel.name}"
    nest = Nest(name, parameters, body, first.rows, (), guarded(body, arrays))
    return Rotation(nest, last.kernel, tuple(names.items()))


def _ends(schedule: Schedule) -> tuple[Kernel, Kernel] | None:
    """The first kernel, and the one that can be last and updates a matrix that the first reads."""
    program, (first, *others) = schedule.program, schedule.steps
    if program.batch is None or program.batch.maximum != 1 or not isinstance(first, Kernel):
        return None
    summed = {name for m in first.members if m.reduce for name in m.reads()}
    wanted = {name for tensor, name in program.updates if tensor in summed}
    if not all(name in schedule.offsets for name in first.stored):
        return None
    for number, last in enumerate(others):
        if isinstance(last, Kernel) and wanted & set(last.stored):
            after = others[number + 1 :]
            return (first, last) if number and _can_be_last(schedule, last, after) else None
    return None


def _can_be_last(schedule: Schedule, last: Kernel, after: Sequence[Step]) -> bool:
    """Whether it stores updates alone, and what is after it neither sees them nor disturbs it."""
    updates = {name: tensor for tensor, name in schedule.program.updates}
    written = {*last.stored, *(updates.get(name, "") for name in last.stored)}
    read = set(last.reads())
    for kernel in after:
        if not isinstance(kernel, Kernel) or written & set(kernel.reads()):
            return False
        changed = {updates.get(name, name) for name in kernel.stored}
        if read & changed or not _apart(schedule, kernel, last):
            return False
    return set(last.stored) <= set(updates)


def _meeting(first: Scope, last: Scope) -> tuple[Definition, Access, Definition] | None:
    """The sum that begins a step, the element that it multiplies by, and what updates that."""
    updated = {tensor: name for tensor, name in first.program.updates if name in last.kernel.stored}
    reads = [a for m in first.members for a in accesses(m.body) if a.tensor in updated]
    reductions = [m for m in first.members if m.reduce]
    if len(reads) != 1 or len(reductions) != 1 or any(m.where for m in first.members):
        return None
    (total,), (weight,) = reductions, reads
    update = next(m for m in last.members if m.name == updated[weight.tensor])
    row, *columns = first.kernel.space
    if len(columns) != 1 or len(total.over) != 1 or row.size != first.rows:
        return None
    (column,), (term,) = columns, total.over
    operands, factor = split_product(total.body, {term.index})
    place = last.stored_at(update).indices
    space = tuple(r.index for r in last.kernel.space)
    fits = (
        total.reduce == "sum"
        and weight in operands
        and (len(operands), factor) == (2, 1)
        and weight.indices == (term.index, column.index)
        and place == space
        and row.index not in space
        and isinstance(column.size, int)
        and NARROWEST <= column.size <= WIDEST
        and _is_map(last)
    )
    return (total, weight, update) if fits else None


def _is_map(last: Scope) -> bool:
    """Whether one point of the kernel needs no loop."""
    sums = [m for m in last.members if m.reduce]
    return not any(m.where for m in last.members) and (not sums or sum_of_few(last) is not None)


def _points(last: Scope) -> list[Statement]:
    total = sum_of_few(last)
    return epilogue(last, {}) if total is None else with_terms_written(last, total, 1)


def _apart(schedule: Schedule, writer: Kernel, last: Kernel) -> bool:
    """Whether what a kernel writes lies beside what the last one reads."""
    starts, program = schedule.offsets, schedule.program
    ends = {name: at + size_in_bytes(program, name) for name, at in starts.items()}
    read = [name for name in last.reads() if name in starts]
    return all(
        ends[a] <= starts[b] or ends[b] <= starts[a]
        for a in writer.stored
        if a in starts
        for b in read
    )


def _next_names(program: Program, first: Scope) -> Iterator[tuple[str, str]]:
    """The inputs with rows that the first kernel reads, and their names of the next row."""
    inputs = {t.name for t in program.inputs if first.rows in t.shape}
    taken = {*program.tensors(), *(d.name for d in program.definitions)}
    for name in first.kernel.reads():
        if name in inputs:
            yield name, fresh(f"{name}_next", taken)


def _of_next_row(body: Expr, names: dict[str, str], program: Program) -> Expr:
    """The same of inputs under the names that they have there."""
    moved = {}
    for a in accesses(body):
        if a.tensor in names:
            tensor = tensor_symbol(names[a.tensor], program.dtype_of(a.tensor))
            moved[a] = Access(tensor, *a.indices)
    return body.xreplace(moved)


def _parameters(first: Scope, last: Scope, names: dict[str, str]) -> tuple[Parameter, ...]:
    """Those of the last kernel, then those of the first that are not among them."""
    found = {p.name: p for p in parameters_of(last)}
    for p in parameters_of(first):
        name = names.get(p.name, p.name)
        found.setdefault(name, replace(p, name=name))
    return tuple(found.values())
