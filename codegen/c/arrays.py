"""Arrays of the caller as the templates' flat data: a name, a type and a shape as strings.

    array_view("fc1.W", (784, 100), "float32")     fc1_W, float, [784][100], (784, 100)

Sizes of the batch are written `rows`. What a name may not be in C has an underscore behind it;
Python callers see it without, because the loader calls nothing of its own so.
"""

from __future__ import annotations

from dataclasses import asdict
from math import prod

from codegen.c.scalars import C_TYPES, ScalarPrinter
from codegen.c.views import ArrayView, HyperparameterView, InputView, StartView
from ir.names import identifier as plain_identifier
from ir.program import Program, Shape, Tensor

# What the public functions call something of their own.
OWN_NAMES = frozenset("base total count losses first coming code i team".split())
ALIGNMENT = 64
BYTES = {"float32": 4, "float64": 8, "int32": 4, "int64": 8}


def identifier(name: str) -> str:
    """The spelling of a name among the arguments of a public function."""
    flat = plain_identifier(name)
    return flat + "_" if flat in OWN_NAMES else flat


def shape_text(shape: Shape) -> str:
    return "".join(f"[{s if isinstance(s, int) else 'rows'}]" for s in shape) or "scalar"


def count_text(shape: Shape) -> str:
    """The number of elements as C text."""
    fixed = prod(s for s in shape if isinstance(s, int))
    rows = ["rows"] * sum(not isinstance(s, int) for s in shape)
    return " * ".join([*rows, str(fixed)] if fixed > 1 or not rows else rows)


def array_view(name: str, shape: Shape, dtype: str) -> ArrayView:
    sizes = [repr(s) if isinstance(s, int) else repr(str(s)) for s in shape]
    python = "(" + ", ".join(sizes) + ("," if len(sizes) == 1 else "") + ")"
    spelled, kind = (identifier(name), plain_identifier(name)), C_TYPES[dtype]
    return ArrayView(
        name, *spelled, kind, shape_text(shape), python, dtype, count_text(shape)
    )


def inputs_of(program: Program, start: int) -> tuple[tuple[InputView, ...], int]:
    """The inputs; those with a batch dimension get room from `start` for one batch of rows."""
    found, offset = [], start
    largest = program.largest_batch
    for tensor in program.inputs:
        axes = [i for i, s in enumerate(tensor.shape) if not isinstance(s, int)]
        outer = prod(s for s in tensor.shape[: axes[0]] if isinstance(s, int)) if axes else 0
        inner = prod(s for s in tensor.shape[axes[0] + 1 :] if isinstance(s, int)) if axes else 0
        array = array_view(tensor.name, tensor.shape, tensor.dtype)
        limit = program.limits.get(tensor.name, 0)
        found.append(InputView(**asdict(array), limit=limit, outer=outer, inner=inner,
                               gathered=offset))
        offset += aligned(outer * inner * largest * BYTES[tensor.dtype])
    return tuple(found), offset


def settings_of(program: Program, printer: ScalarPrinter) -> tuple[HyperparameterView, ...]:
    """The numbers that a program takes at run time."""
    found = []
    for tensor, value in program.scalars:
        whole = tensor.dtype.startswith("int")
        default = str(int(value)) if whole else printer.number(value)
        python = str(int(value)) if whole else repr(float(value))
        spelled = identifier(tensor.name)
        kind = C_TYPES[tensor.dtype]
        found.append(HyperparameterView(tensor.name, spelled, kind, default, python))
    return tuple(found)


def start_of(stream: int, tensor: Tensor, printer: ScalarPrinter) -> StartView:
    """The initial value of a parameter; its stream is its position in the declaration."""
    count = prod(s for s in tensor.shape if isinstance(s, int))
    init = tensor.init
    if init is None or init.kind == "zeros":
        return StartView(identifier(tensor.name), stream, count, "zeros")
    if init.kind == "constant":
        values = tuple(printer.number(v) for v in init.values)
        kind = "filled" if len(values) == 1 else "constant"
        return StartView(identifier(tensor.name), stream, count, kind, values=values)
    first, second = init.values
    return StartView(identifier(tensor.name), stream, count, init.kind, repr(first), repr(second))


def aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
