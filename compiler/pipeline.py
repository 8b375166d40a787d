"""The passes, in order. This is the only file that knows it.

    lower > stabilise > differentiate > look_through > simplify > merge > update > fuse

Each takes a valid program and gives a valid one; the verifier runs after every pass. `stages` gives
the program after each of them, so that `--stop-after PASS` can print it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from compiler.chain import Link
from compiler.count import program_flops
from compiler.differentiate import differentiate
from compiler.fuse import fuse
from compiler.memory import in_place, plan
from compiler.optimizers import Optimizer
from compiler.prune import look_through, merge, prune
from compiler.reuse import reuse
from compiler.row_order import rows_first
from compiler.simplify import simplify
from compiler.stabilise import stabilise
from compiler.tangent import tangents
from compiler.update import update
from ir.errors import GradwrightError
from ir.expression import symbols_of
from ir.kernel import Module, Schedule
from ir.program import Program
from ir.verify import verify

PASSES = (
    "lower",
    "stabilise",
    "differentiate",
    "look_through",
    "simplify",
    "merge",
    "update",
    "fuse",
)


@dataclass(frozen=True, slots=True)
class Stage:
    """A program as a pass left it. `links` are the chain rule's, from `differentiate` on."""

    after: str
    program: Program
    links: tuple[Link, ...] = ()


def stages(
    program: Program, optimizer: Optimizer | None = None, wrt: tuple[str, ...] | None = None
) -> Iterator[Stage]:
    """The program after each pass up to `update`.

    A network without a loss, or without parameters, has no gradients.
    """
    yield Stage("lower", verify(program, "lower"))
    program = verify(stabilise(program), "stabilise")
    yield Stage("stabilise", program)
    links: tuple[Link, ...] = ()
    if program.loss is not None and (wrt or any(p.trainable for p in program.parameters)):
        gradients = differentiate(program, wrt)
        program, links = gradients.program, tuple(gradients.links)
    yield Stage("differentiate", verify(program, "differentiate"), links)
    for name, run in (
        ("look_through", look_through),
        ("simplify", simplify),
        ("merge", lambda p: merge(reuse(p))),
    ):
        program = verify(prune(run(program)), name)
        yield Stage(name, program, links)
    if optimizer is not None and program.gradients:
        program = verify(update(program, optimizer), "update")
    yield Stage("update", program, links)


def stage(program: Program, after: str, optimizer: Optimizer | None = None) -> Stage:
    """The program after one pass."""
    if after not in PASSES:
        raise GradwrightError(f"no pass {after!r}", notes=(f"the passes are {', '.join(PASSES)}",))
    found = list(stages(program, optimizer))
    return next((s for s in found if s.after == after), found[-1])


def schedule(program: Program, threads: int = 1) -> Schedule:
    """Kernels and the memory plan of one program, with the run-time scalars that it reads."""
    program = prune(program)
    read = {name for d in program.definitions for name in d.reads()}
    program = replace(program, scalars=tuple(s for s in program.scalars if s[0].name in read))
    steps = fuse(program)
    if threads > 1:
        steps = rows_first(program, steps, lambda some: plan(program, some, threads)[1])
    steps = in_place(program, steps)
    offsets, workspace, temporaries = plan(program, steps, threads)
    return Schedule(program, steps, offsets, workspace, temporaries)


def module(
    program: Program,
    optimizer: Optimizer | None,
    *,
    content_hash: str,
    version: str,
    in_use: Program | None = None,
    portable: bool = False,
    threads: int = 1,
) -> Module:
    """The three programs of a network, scheduled: its outputs, its gradients, its training step.

    `in_use` is the program of the outputs where it differs from that of the loss: with dropout,
    with batch norm.
    """
    *_, final = stages(program, optimizer)
    whole = final.program
    counters = tuple((t, 0.0) for t in program.state)
    bare = replace(whole, updates=(), state=(), scalars=counters)
    forward = None
    if whole.outputs and in_use is None:
        forward = _forward(replace(bare, loss=None, gradients=()))
    elif in_use is not None and in_use.outputs:
        *_, used = stages(replace(in_use, loss=None, updates=(), state=()))
        forward = _forward(used.program)
    gradient = replace(bare, outputs=()) if whole.loss else None
    step = replace(whole, outputs=(), gradients=()) if whole.updates else None
    counted = prune(step or gradient or whole)
    return Module(
        name=program.name,
        forward=schedule(forward, threads) if forward else None,
        gradient=schedule(gradient, threads) if gradient else None,
        step=schedule(step, threads) if step else None,
        content_hash=content_hash,
        version=version,
        flops_per_step=program_flops(counted),
        portable=portable,
        threads=threads,
    )


def _forward(program: Program) -> Program:
    """The program of the outputs alone, without inputs that they do not need, such as labels.

    Outputs that depend on the number of rows need an input that tells it, even if they read none.
    """
    program = prune(program)
    read = {name for d in program.definitions for name in d.reads()}
    batched = [t.name for t in program.inputs if program.batch and program.batch.symbol in t.shape]
    if batched and not read.intersection(batched) and _counts_rows(program):
        read.add(batched[0])
    return replace(program, inputs=tuple(t for t in program.inputs if t.name in read))


def with_gradients(program: Program, wrt: tuple[str, ...] | None) -> Program:
    """A forward program with the adjoints of its loss: the program of `gw.grad`."""
    return look_through(differentiate(stabilise(program), wrt).program)


def with_tangents(program: Program, wrt: tuple[str, ...]) -> Program:
    """A forward program with the tangents of its results: the program of `gw.jvp`."""
    return look_through(simplify(tangents(stabilise(program), wrt)))


def _counts_rows(program: Program) -> bool:
    """Whether a shape, a range or a value depends on the number of rows."""
    rows = program.batch.symbol if program.batch else None
    return any(
        rows in (*d.shape, *d.ranges.values()) or rows in symbols_of([d.body, *d.where])
        for d in program.definitions
    )
