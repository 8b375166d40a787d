"""The memory plan: an offset in one workspace for every temporary, storage reused when it is free.

    steps = in_place(program, steps)
    offsets, workspace, temporaries = plan(program, steps)

A temporary lives from the step that writes it to the last step that reads it; two that live at the
same time never overlap (ir/placement.py). A recurrence is one step. `workspace` against
`temporaries` (the sum of all sizes) is what the plan saves.

    d_up[n, j] = d_h[n, j]*up[n, j]       d_up takes the place of up, if nothing reads up later

Such a line overwrites each element once it has read it, so the two share their storage. Inside a
recurrence that is not attempted.

What the caller owns has no place here: inputs, parameters, outputs, the loss, gradients, updates.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import prod

from ir.errors import ShapeError
from ir.kernel import Kernel, Step
from ir.placement import Lifetime, aligned, placed
from ir.program import Program, Shape

LARGEST = 2**62  # bytes of one array: offsets and their sums stay within ptrdiff_t
SMALL = 4096  # bytes: those that a place of its own costs are not worth a wait
ITEM_BYTES = {"float32": 4, "float64": 8, "int32": 4, "int64": 8}


def plan(
    program: Program, steps: tuple[Step, ...], threads: int = 1
) -> tuple[dict[str, int], int, int]:
    """Offsets in bytes by name, the bytes of the workspace, and the bytes without any reuse.

    What is small shares no place if there are several threads: they would wait for one another.
    """
    for name in program.tensors():
        size_in_bytes(program, name)
    lifetimes = temporaries(program, steps)
    homes = _homes(steps)
    lives = _shared(lifetimes, homes)
    if threads > 1:
        lives = [replace(i, first=0, last=len(steps)) if i.size <= SMALL else i for i in lives]
    offsets, workspace = placed(lives)
    offsets |= {name: offsets[home] for name, home in homes.items()}
    return offsets, workspace, sum(item.size for item in lifetimes)


def in_place(program: Program, steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """The steps, with what kernels write onto temporaries that they are the last to read.

    Only where memory is short: what else a kernel writes has a place of its own, so that programs
    which share the kernel share its function.
    """
    lives = temporaries(program, steps)
    every = tuple(_heirs(program, s, lives, number) for number, s in enumerate(steps))
    most = plan(program, every)[1]
    held = [sum(i.size for i in lives if i.first <= n <= i.last) for n in range(len(steps))]
    few = tuple(e if size > most else s for e, s, size in zip(every, steps, held, strict=True))
    return few if plan(program, few)[1] <= most else every


def _heirs(program: Program, step: Step, lives: list[Lifetime], number: int) -> Step:
    """The step with all that it can write in place."""
    if not isinstance(step, Kernel):
        return step
    known = {item.name: item for item in lives}
    dying = [n for n in step.reads() if n in known and known[n].last == number]
    return replace(step, replaces=tuple(_replacements(program, step, known, dying)))


def _replacements(
    program: Program, kernel: Kernel, lives: dict[str, Lifetime], dying: list[str]
) -> Iterator[tuple[str, str]]:
    """What the kernel stores, each beside the dying tensor whose place it takes."""
    for position, member in enumerate(kernel.members):
        name = member.name
        if name not in kernel.stored or name not in lives or name in kernel.reads():
            continue
        for old in dying:
            like = (program.shape_of(old), program.dtype_of(old)) == (member.shape, member.dtype)
            if like and _is_read_at_the_point(kernel, old, position):
                dying.remove(old)
                yield name, old
                break


def _is_read_at_the_point(kernel: Kernel, name: str, until: int) -> bool:
    """Whether maps alone read it, where the kernel stands, no later than the member `until`."""
    point = tuple(r.index for r in kernel.space)
    for position, member in enumerate(kernel.members):
        found = [a for a in member.accesses() if a.tensor == name]
        if found and (member.reduce is not None or position > until):
            return False
        if any(a.indices != point for a in found):
            return False
    return True


def _homes(steps: tuple[Step, ...]) -> dict[str, str]:
    """What shares the place of an earlier tensor, with the first that had the place."""
    homes: dict[str, str] = {}
    for step in steps:
        if isinstance(step, Kernel):
            homes |= {name: homes.get(old, old) for name, old in step.replaces}
    return homes


def _shared(lifetimes: list[Lifetime], homes: dict[str, str]) -> list[Lifetime]:
    """One life for all that share a place, from the first of them to the last."""
    last = {item.name: item.last for item in lifetimes}
    for name, home in homes.items():
        last[home] = max(last[home], last[name])
    return [replace(i, last=last[i.name]) for i in lifetimes if i.name not in homes]


def temporaries(program: Program, steps: tuple[Step, ...]) -> list[Lifetime]:
    """What the workspace must hold, in the order it is first written."""
    owned = set(program.tensors()) | set(program.results())
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    for number, step in enumerate(steps):
        for kernel in step.kernels if not isinstance(step, Kernel) else (step,):
            for name in (*kernel.stored, *kernel.reads()):
                if name not in owned:
                    first.setdefault(name, number)
                    last[name] = number
    return [
        Lifetime(name, aligned(size_in_bytes(program, name)), first[name], last[name])
        for name in first
    ]


def size_in_bytes(program: Program, name: str) -> int:
    """The storage of a tensor when the batch has its largest size."""
    shape = static_shape(program, program.shape_of(name))
    size = prod(shape) * ITEM_BYTES[program.dtype_of(name)]
    if size > LARGEST:
        raise ShapeError(
            f"{name} of shape {shape} would take {size} bytes, more than an address can reach",
            fix="compile with a smaller batch, or use smaller sizes",
        )
    return size


def static_shape(program: Program, shape: Shape) -> tuple[int, ...]:
    """The shape with the batch at its largest size."""
    return tuple(size if isinstance(size, int) else program.largest_batch for size in shape)
