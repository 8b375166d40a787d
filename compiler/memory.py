"""The memory plan: an offset in one workspace for every temporary, storage reused when it is free.

    offsets, workspace, temporaries = plan(program, steps)

A temporary lives from the step that writes it to the last step that reads it; two that live at the
same time never overlap (ir/placement.py). A recurrence is one step. `workspace` against
`temporaries` (the sum of all sizes) is what the plan saves.

What the caller owns has no place here: inputs, parameters, outputs, the loss, gradients, updates.
An output written onto the place of an input that dies in the same kernel is not attempted.
"""

from __future__ import annotations

from math import prod

from ir.errors import ShapeError
from ir.kernel import Kernel, Step
from ir.placement import Lifetime, aligned, placed
from ir.program import Program, Shape

LARGEST = 2**62  # bytes of one array: offsets and their sums stay within ptrdiff_t
ITEM_BYTES = {"float32": 4, "float64": 8, "int32": 4, "int64": 8}


def plan(program: Program, steps: tuple[Step, ...]) -> tuple[dict[str, int], int, int]:
    """Offsets in bytes by name, the bytes of the workspace, and the bytes without any reuse."""
    for name in program.tensors():
        size_in_bytes(program, name)
    lifetimes = temporaries(program, steps)
    offsets, workspace = placed(lifetimes)
    return offsets, workspace, sum(item.size for item in lifetimes)


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
    largest = (program.batch.maximum if program.batch else None) or 1
    return tuple(size if isinstance(size, int) else largest for size in shape)
