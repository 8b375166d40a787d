"""The memory plan: an offset in one workspace for every temporary, storage reused when it is free.

    offsets, workspace, temporaries = plan(program, steps)

A temporary lives from the step that writes it to the last step that reads it; two temporaries that
live at the same time never overlap. A recurrence is one step. The largest are placed first, each at
the lowest offset that is free for its whole life, so the result does not depend on any hash.
`workspace` against `temporaries` (the sum of all sizes) is what the plan saves.

What the caller owns has no place here: inputs, parameters, outputs, the loss, gradients, updates.
An output written onto the place of an input that dies in the same kernel is not attempted.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from ir.errors import ShapeError
from ir.kernel import Kernel, Step
from ir.program import Program, Shape

ALIGNMENT = 64
LARGEST = 2**62  # bytes of one array: offsets and their sums stay within ptrdiff_t
ITEM_BYTES = {"float32": 4, "float64": 8, "int32": 4, "int64": 8}


@dataclass(frozen=True, slots=True)
class Lifetime:
    """A temporary, its size in bytes, and the first and the last step that need it."""

    name: str
    size: int
    first: int
    last: int

    def meets(self, other: Lifetime) -> bool:
        return self.first <= other.last and other.first <= self.last


def plan(program: Program, steps: tuple[Step, ...]) -> tuple[dict[str, int], int, int]:
    """Offsets in bytes by name, the bytes of the workspace, and the bytes without any reuse."""
    for name in program.tensors():
        size_in_bytes(program, name)
    lifetimes = temporaries(program, steps)
    placed: list[tuple[Lifetime, int]] = []
    for item in sorted(lifetimes, key=lambda t: (-t.size, t.first, t.name)):
        placed.append((item, _lowest_free(item, placed)))
    ends = [offset + item.size for item, offset in placed]
    offsets = {
        item.name: offset for item, offset in sorted(placed, key=lambda p: (p[1], p[0].first))
    }
    return offsets, max(ends, default=0), sum(item.size for item in lifetimes)


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
        Lifetime(name, _aligned(size_in_bytes(program, name)), first[name], last[name])
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


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def _lowest_free(item: Lifetime, placed: list[tuple[Lifetime, int]]) -> int:
    """The lowest offset at which the item meets nothing that lives when it does."""
    busy = sorted((offset, other.size) for other, offset in placed if other.meets(item))
    offset = 0
    for start, size in busy:
        if offset + item.size <= start:
            break
        offset = max(offset, start + size)
    return offset
