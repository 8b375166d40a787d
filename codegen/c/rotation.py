"""An epoch whose steps run into one another: one call ends a step and begins the next one.

    compute_fc1(rows, params->fc1_W, x + order[0] * 784, params->fc1_b, h);
    for each step:
        what is between the first kernel and the last
        compute_d_fc1_W_then_fc1(..., x_now, ..., x_next, ...)     the last step: compute_d_fc1_W_2

Rows are used where they lie. Which kernels can be one, compiler/rotation.py has decided.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from codegen.c.calls import call, calls
from codegen.c.statements import Function
from codegen.c.views import InputView, ProgramView, RotationView, RowView
from ir.kernel import Kernel, Schedule
from ir.loops import Rotation
from ir.names import fresh


def rotation_view(
    schedule: Schedule,
    step: ProgramView,
    rotation: Rotation,
    spelled: dict[str, str],
    functions: Callable[[Kernel], Function],
    both: Function,
) -> RotationView:
    """The calls of such an epoch, with the rows of this step and of the next one as arguments."""
    taken = set(spelled.values())
    arrays = {a.name: a for a in step.inputs if a.inner}
    now = {n: fresh(f"{a.identifier}_now", taken) for n, a in arrays.items()}
    coming = {
        name: fresh(f"{arrays[i].identifier}_next", taken) for i, name in rotation.next_inputs
    }
    begin = {n: f"{a.identifier} + order[0]{_times(a.inner)}" for n, a in arrays.items()}
    here = {**spelled, **now, **coming, str(schedule.program.loss): "&loss"}
    first = schedule.steps[0]
    assert isinstance(first, Kernel)
    steps = tuple(s for s in schedule.steps if s not in (first, rotation.last))
    between = calls(replace(schedule, steps=steps), functions, here, [], 1)
    end = call(functions(rotation.last), here)
    text = "\n".join((*between, call(both, here), end, call(functions(first), here)))
    used = set(re.findall(r"\w+", text))
    return RotationView(
        temporaries=tuple(t for t in step.temporaries if t.identifier in used),
        now=tuple(_row(arrays[n], name) for n, name in now.items() if name in used),
        coming=tuple(_row(arrays[i], coming[name]) for i, name in rotation.next_inputs),
        begin=call(functions(first), {**spelled, **begin}),
        statements=tuple(between),
        both=call(both, here),
        end=end,
    )


def _times(count: int) -> str:
    return f" * {count}" if count != 1 else ""


def _row(array: InputView, name: str) -> RowView:
    return RowView(array.kind, name, array.identifier, array.inner)
