"""Recurrences: lines that read one another at earlier values of one shared index.

    c[t] = c[t - 1] + x[t], c[0] = x[0]        runs along t, upwards

The shared index and its direction are found from the accesses. The lines become one group of
definitions with a common loop; a line that reads a later value as well is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from compiler import lower
from compiler.statement import context, located
from compiler.tensor import Tensor, expression
from compiler.trace import Trace
from ir.affine import linear
from ir.errors import GradwrightError, IndexLanguageError, Origin
from ir.expression import Access, Index, accesses
from ir.program import Shape


def recurrence_of(
    heads: Sequence[tuple[str, tuple[Index, ...]]],
    body: Callable[..., Sequence[Any]],
    at: Origin | None,
    trace: Trace,
) -> list[Tensor]:
    """Enter the lines of a recurrence: `heads` are their names and indices, `body` gives the rest.

    While it runs, its tensors have as many dimensions as indices; their sizes are not known yet.
    """
    handles = [Tensor(name, ("?",) * len(own), trace.real) for name, own in heads]
    values = tuple(body(*handles))
    if len(values) != len(handles):
        raise IndexLanguageError(
            f"a recurrence of {len(handles)} tensors gives {len(values)} values", at=at
        )
    bodies = [expression(b, h.name) for b, h in zip(values, handles, strict=True)]
    shapes: dict[str, Shape] = {}
    around = context(trace, at, shapes)
    unknown = frozenset(h.name for h in handles)
    try:
        lines = [
            lower.read(name, own, b, around) for (name, own), b in zip(heads, bodies, strict=True)
        ]
        for line in lines:
            lower.infer(line, unknown)
            shapes[line.name] = tuple(line.sizes[i] for i in line.indices)
        axis, downwards = _scan_axis(lines, unknown, at)
        group = [lower.split(line) for line in lines]
    except GradwrightError as error:
        raise located(error, at) from None
    for definition in lower.grouped(group, heads[0][0], str(lines[0].indices[axis]), downwards):
        trace.definitions[definition.name] = definition
    return [Tensor(line.name, shapes[line.name], trace.real) for line in lines]


def _scan_axis(
    lines: list[lower.Line], unknown: frozenset[str], at: Origin | None
) -> tuple[int, bool]:
    """The dimension along which the lines read one another at earlier values, and the direction."""
    names = [line.name for line in lines]
    reads = [
        (position, names.index(access.tensor), _lags(line, access))
        for position, line in enumerate(lines)
        for access in accesses(line.body)
        if access.tensor in unknown
    ]
    for axis in range(min(len(line.indices) for line in lines)):
        if len({line.indices[axis] for line in lines}) != 1:
            continue
        for sign, downwards in ((-1, False), (1, True)):
            if reads and all(_earlier(lags[axis], sign, own > other) for own, other, lags in reads):
                return axis, downwards
    raise IndexLanguageError(
        f"{lines[0].name} reads itself, but along no index only at earlier values",
        at=at,
        notes=(
            (
                "a recurrence reads itself at t - 1, t - 2, … of one output index t, "
                "the same in every line"
            ),
        ),
    )


def _lags(line: lower.Line, access: Access) -> list[int | None]:
    """How far from the line's own point an access stands, by dimension; None where it varies."""
    differences = (
        linear(e) - linear(i) for e, i in zip(access.indices, line.indices, strict=False)
    )
    return [d.const if d.is_constant else None for d in differences]


def _earlier(lag: int | None, sign: int, stands_before: bool) -> bool:
    return lag is not None and (lag * sign > 0 or (lag == 0 and stands_before))
