"""One line of a network: its name, and its way through lowering into the open trace.

    y = gw.define((n, j), …)        # named y, lowered to y_sum and y, both entered into the trace

An error that lowering raises without a place is given the user's line here. What a tensor is, and
what a body may be, is not known in this file: see `compiler/tensor.py`.
"""

from __future__ import annotations

from sympy import Expr

from compiler import lower
from compiler.trace import Trace
from ir.errors import GradwrightError, IndexLanguageError, Origin, bounded_depth
from ir.expression import Index
from ir.names import check_name
from ir.program import Definition, Shape


def name_for(
    trace: Trace, given: str | None, target: str | None, op: str, at: Origin | None
) -> str:
    """The name of a line: the one given, else the user's variable, else the operation's."""
    if given is not None:
        return trace.claim(given, "name", at)
    try:
        return trace.fresh(check_name(target or op, "name", at))
    except GradwrightError:
        return trace.fresh(op)


def context(
    trace: Trace, at: Origin | None, unknown: dict[str, Shape] | None = None
) -> lower.Context:
    """What lowering must know; `unknown` gains the shapes of a recurrence as they are inferred."""
    shapes = {} if unknown is None else unknown

    def shape_of(name: str) -> Shape:
        if name in shapes:
            return shapes[name]
        if name in trace.tensors:
            return trace.tensors[name].shape
        if name in trace.definitions:
            return trace.definitions[name].shape
        raise IndexLanguageError(f"{name} does not belong to this network", at=at)

    return lower.Context(trace.real, trace.batch, shape_of, trace.fresh, trace.limits, at)


def enter(
    name: str, own: tuple[Index, ...], body: Expr, at: Origin | None, trace: Trace
) -> Definition:
    """Lower one line and enter its definitions into the trace; the last one is the line's own."""
    try:
        with bounded_depth(at):
            line = lower.read(name, own, body, context(trace, at))
            lower.infer(line)
            made = lower.split(line)
    except GradwrightError as error:
        raise located(error, at) from None
    for definition in made:
        trace.definitions[definition.name] = definition
    return made[-1]


def located(error: GradwrightError, at: Origin | None) -> GradwrightError:
    """The same error on the user's line, where it was raised without one."""
    if error.at is not None:
        return error
    return type(error)(error.what, at=at, notes=error.notes, fix=error.fix)
