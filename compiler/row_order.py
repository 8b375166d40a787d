"""Kernels that threads share out by rows of the batch, before those that need all the rows.

    h, d_h, d_x: each of some rows n        one after the other, each thread its own rows
    d_W: sum over n                         threads wait once, then do all such sums

Else they wait wherever a sum over the rows stands between two of the others. It takes memory: what
the sums read lives longer. Where that is much, the kernels stay in the order of the program.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from compiler.in_order import in_order
from ir.kernel import Kernel, Loop, Step
from ir.program import Program

MORE = 1.25  # times the workspace, at most


@dataclass(frozen=True, slots=True)
class _Use:
    """What a step reads and writes, and whether each row of the batch is by itself."""

    reads: frozenset[str]
    writes: frozenset[str]
    by_rows: bool

    def follows(self, earlier: _Use) -> bool:
        """Whether it must stay behind the other one."""
        touched = self.reads | self.writes
        return bool(earlier.writes & touched or earlier.reads & self.writes)


def rows_first(
    program: Program, steps: tuple[Step, ...], size: Callable[[tuple[Step, ...]], int]
) -> tuple[Step, ...]:
    """The steps in such an order, if their workspace has a `size` that is not much larger."""
    found = _gathered(steps, [_use(program, step) for step in steps])
    return found if size(found) <= MORE * size(steps) else steps


def _gathered(steps: tuple[Step, ...], uses: list[_Use]) -> tuple[Step, ...]:
    waits = {
        n: {m for m, earlier in enumerate(uses[:n]) if use.follows(earlier)}
        for n, use in enumerate(uses)
    }
    order = in_order(waits, rank=lambda n: (not uses[n].by_rows, n))
    assert order is not None, "a step waits for earlier ones alone"
    return tuple(steps[n] for n in order)


def _use(program: Program, step: Step) -> _Use:
    kernels = step.kernels if isinstance(step, Loop) else (step,)
    writes = {name for k in kernels for name in k.stored}
    replaced = {target for target, name in program.updates if name in writes}
    reads = frozenset(name for k in kernels for name in k.reads())
    return _Use(reads, frozenset(writes | replaced), _by_rows(program, step))


def _by_rows(program: Program, step: Step) -> bool:
    batch = program.batch.symbol if program.batch else None
    return isinstance(step, Kernel) and bool(step.space) and step.space[0].size == batch
