"""Kernels: definitions that share one loop nest, in the order they run.

    Schedule ::= (Kernel | Loop)…
    Kernel   ::= for every point of `space`: the members in order, each a scalar at that point
    Loop     ::= for index upwards | downwards: Kernel…                  a recurrence

Every member of a kernel has exactly the ranges of `space` as its output indices, with the same
symbols (inside a `Loop`, the loop's index is one of a member's indices, but not of the space). A
member reads an earlier member of its kernel only at its own point; that value is a local. Members
named in `stored` are written to memory as well, those in `replaces` onto the place of a tensor that
nothing reads any more once the point is done. A scatter stands alone in its kernel.

Fusion makes these from a program; a target turns each into a loop nest or into array statements.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

from sympy import Symbol

from ir.expression import accesses
from ir.program import Definition, Program, Range, Size


@dataclass(frozen=True, slots=True)
class Kernel:
    """One loop nest over `space`; `name` is unique within its program and an identifier."""

    name: str
    space: tuple[Range, ...]
    members: tuple[Definition, ...]
    stored: tuple[str, ...]
    replaces: tuple[tuple[str, str], ...] = ()

    def reads(self) -> list[str]:
        """The tensors that come from memory."""
        own = {m.name for m in self.members}
        names = dict.fromkeys(t for m in self.members for t in m.reads())
        return [t for t in names if t not in own or t in self._read_elsewhere()]

    def _read_elsewhere(self) -> set[str]:
        """Members that are read at another point than their own: earlier steps of a recurrence."""
        found = set()
        for member in self.members:
            for access in accesses(member.body):
                home = next((m for m in self.members if m.name == access.tensor), None)
                if home is not None and access != home.access():
                    found.add(access.tensor)
        return found


def surroundings(kernel: Kernel, program: Program) -> tuple[Any, ...]:
    """All that a loop nest is made of: equal for a kernel that two programs share."""
    touched = dict.fromkeys([*kernel.stored, *(t for m in kernel.members for t in m.reads())])
    scalars = {t.name for t, _ in program.scalars}
    return (
        kernel,
        program.batch,
        tuple((n, program.shape_of(n), program.dtype_of(n), n in scalars) for n in touched),
        tuple(program.limits.get(n) for n in touched),
        tuple(pair for pair in program.updates if pair[0] in touched or pair[1] in touched),
    )


@dataclass(frozen=True, slots=True)
class Loop:
    """The sequential loop of a recurrence around its kernels."""

    group: str
    index: Symbol
    size: Size
    downwards: bool
    kernels: tuple[Kernel, ...]


Step: TypeAlias = Kernel | Loop


@dataclass(frozen=True, slots=True)
class Schedule:
    """A program in the order it runs.

    Every stored definition that is not an output, a gradient or an update of the program lives in
    the workspace, at the offset (bytes) that the memory plan gives.
    """

    program: Program
    steps: tuple[Step, ...]
    offsets: dict[str, int]
    workspace_bytes: int
    temporaries_bytes: int = 0

    def kernels(self) -> list[Kernel]:
        """Every kernel, those inside recurrences included."""
        found: list[Kernel] = []
        for step in self.steps:
            found.extend(step.kernels if isinstance(step, Loop) else (step,))
        return found


@dataclass(frozen=True, slots=True)
class Module:
    """What is emitted: the three programs of one network, scheduled, and what describes it."""

    name: str
    forward: Schedule | None
    gradient: Schedule | None
    step: Schedule | None
    content_hash: str
    version: str
    flops_per_step: int
    portable: bool = False
    threads: int = 1
