"""What each pass did to a network: definitions, kernels, operations, bytes, workspace, time.

    r = report(mnist_mlp, batch=128)
    r.passes[-1].kernels, r.memory.workspace

Before `fuse` every definition counts as a loop nest of its own, which is what would run if the
compiler stopped there. Bytes are what the loop nests read and write, every tensor once in each, at
the largest batch; workspace is the memory plan for them. Times are of one run, verifier included.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from time import perf_counter

from compiler.count import program_flops
from compiler.memory import plan, size_in_bytes, temporaries
from compiler.network import Network
from compiler.optimizers import Optimizer, sgd
from compiler.pipeline import schedule, stages
from compiler.prune import prune
from ir.kernel import Kernel, Loop, Schedule, Step
from ir.placement import Lifetime
from ir.program import Definition, Program


@dataclass(frozen=True, slots=True)
class PassReport:
    """A program as a pass left it, in figures."""

    after: str
    definitions: int
    kernels: int
    flops: int
    bytes: int
    workspace: int
    seconds: float


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """Every temporary with its life and its offset; `steps` names the loop nests in order."""

    steps: tuple[str, ...]
    lifetimes: tuple[Lifetime, ...]
    offsets: dict[str, int]
    workspace: int
    temporaries: int


@dataclass(frozen=True, slots=True)
class Report:
    """What the compiler did to a network, pass by pass, and the memory plan at the end."""

    network: str
    batch: int
    passes: tuple[PassReport, ...]
    memory: MemoryPlan


def report(network: Network, *, batch: int = 128, optimizer: Optimizer | None = None) -> Report:
    """Run the passes for a training step (without a loss: the outputs) and measure each."""
    start = perf_counter()
    found: list[PassReport] = []
    program = network.trace(batch=batch)
    for stage in stages(program, optimizer or sgd(lr=0.01)):
        seconds = perf_counter() - start
        program = _one_program(stage.program)
        found.append(_measured(stage.after, program, _apart(program), seconds))
        start = perf_counter()
    made = schedule(program)
    found.append(_measured("fuse", made.program, made.steps, perf_counter() - start))
    return Report(network.name, batch, tuple(found), memory_plan(made))


def memory_plan(made: Schedule) -> MemoryPlan:
    """The memory plan of a scheduled program, as data for a picture.

    In the step that writes another tensor onto its place, a tensor is no more.
    """
    replaced = {old for kernel in made.kernels() for _, old in kernel.replaces}
    lifetimes = temporaries(made.program, made.steps)
    return MemoryPlan(
        tuple(_name(step) for step in made.steps),
        tuple(replace(i, last=i.last - 1) if i.name in replaced else i for i in lifetimes),
        made.offsets,
        made.workspace_bytes,
        made.temporaries_bytes,
    )


def _one_program(program: Program) -> Program:
    """What runs in one call: with updates, gradients and outputs are no results of their own."""
    if program.updates and program.gradients:
        program = replace(program, outputs=(), gradients=())
    elif program.gradients:
        program = replace(program, outputs=())
    return prune(program)


def _apart(program: Program) -> tuple[Step, ...]:
    """A loop nest for every definition; those of a recurrence share their loop."""
    return tuple(_unfused(program))


def _unfused(program: Program) -> Iterator[Step]:
    groups = groupby(program.definitions, key=lambda d: d.scan.group if d.scan else d.name)
    for group, members in groups:
        kernels = list(members)
        scan = kernels[0].scan
        if scan is None:
            yield from map(_alone, kernels)
            continue
        size = kernels[0].ranges[scan.index]
        inside = tuple(map(_alone, kernels))
        yield Loop(group, scan.index, size, scan.downwards, inside)


def _alone(d: Definition) -> Kernel:
    space = tuple(r for r in d.indices if d.scan is None or r.index != d.scan.index)
    return Kernel(d.name, space, (d,), (d.name,))


def _measured(after: str, program: Program, steps: tuple[Step, ...], seconds: float) -> PassReport:
    kernels = [k for s in steps for k in (s.kernels if isinstance(s, Loop) else (s,))]
    moved = sum(size_in_bytes(program, n) for k in kernels for n in {*k.stored, *k.reads()})
    return PassReport(
        after,
        len(program.definitions),
        len(kernels),
        program_flops(program),
        moved,
        plan(program, steps)[1],
        seconds,
    )


def _name(step: Step) -> str:
    return step.group if isinstance(step, Loop) else step.name
