"""The calls of a public function, in the order they run, and where a team of threads waits.

    statements = calls(schedule, function_of, spelled, threads)

One thread just calls. In a team every thread makes every call and does its part there; what cannot
be shared out is done by the first alone.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod

from codegen.c.arrays import BYTES
from codegen.c.statements import INDENT, ROWS, TEAM, Function
from codegen.c.waits import ALWAYS, Call, Region, Waits
from ir.kernel import Kernel, Loop, Schedule
from ir.program import Program

WORKSPACE = "workspace"


def calls(
    schedule: Schedule,
    function_of: Callable[[Kernel], Function],
    spelled: dict[str, str],
    copies: list[str],
    threads: int,
) -> list[str]:
    """The statements: calls, loops of recurrences around calls, copies of results."""
    team = Team(schedule, spelled) if threads > 1 else None
    lines: list[str] = []
    for step in schedule.steps:
        kernels = step.kernels if isinstance(step, Loop) else (step,)
        functions = [function_of(k) for k in kernels]
        texts = [call(f, spelled, team is not None) for f in functions]
        waits = team.waits(functions, isinstance(step, Loop)) if team else [""] * len(texts)
        found = [t for pair in zip(waits, texts, strict=True) for t in pair if t]
        lines += _around(step, spelled, found) if isinstance(step, Loop) else found
    if copies and team:
        return [*lines, ALWAYS, *map(_alone, copies)]
    return [*lines, *copies]


def call(function: Function, spelled: dict[str, str], team: bool = False) -> str:
    """The statement that calls a kernel."""
    arguments = [a[1:] if a in (ROWS, TEAM) else spelled[a] for a in function.arguments]
    text = f"{function.name}({', '.join(arguments)});"
    return _alone(text) if team and not function.shared else text


def _alone(statement: str) -> str:
    """A statement that the first thread runs by itself."""
    return f"if (team.thread == 0) {{ {statement} }}"


def _around(step: Loop, spelled: dict[str, str], lines: list[str]) -> list[str]:
    """The loop of a recurrence."""
    index = spelled[f"[{step.index.name}]"]
    size = step.size if isinstance(step.size, int) else "rows"
    opening = f"for (ptrdiff_t {index} = 0; {index} < {size}; {index}++) {{"
    if step.downwards:
        opening = f"for (ptrdiff_t {index} = {size} - 1; {index} >= 0; {index}--) {{"
    return [opening, *(INDENT + line for line in lines), "}"]


class Team:
    """The waits of one program."""

    def __init__(self, schedule: Schedule, spelled: dict[str, str]) -> None:
        self._schedule = schedule
        self._spelled = spelled
        self._waits = Waits()

    def waits(self, functions: list[Function], loop: bool) -> list[str]:
        """What stands before each call."""
        found = [Call.of(f.touches, self._region) for f in functions]
        return self._waits.around(found) if loop else [self._waits.before(c) for c in found]

    def _region(self, name: str) -> Region:
        program, offset = self._schedule.program, self._schedule.offsets.get(name)
        item = BYTES[program.dtype_of(name)]
        first, *rest = program.shape_of(name) or (1,)
        row = prod(_most(s, program) for s in rest) * item
        if offset is None:
            return Region(self._spelled[name], 0, _most(first, program) * row, row)
        return Region(WORKSPACE, offset, offset + _most(first, program) * row, row)


def _most(size: object, program: Program) -> int:
    return size if isinstance(size, int) else program.largest_batch
