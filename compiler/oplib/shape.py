"""Ops that move or combine elements: forward lines only, as PyTorch's, whose `dim` is `axis` here.

heads = gw.permute(gw.reshape(x, (-1, 64, 4, 32)), (0, 2, 1, 3))
both = gw.concat([a, b], axis=1)
"""

from __future__ import annotations

from collections.abc import Sequence

import sympy

from compiler import notation as gw
from compiler.notation import Tensor, define_as, elementwise
from compiler.oplib.common import axis_of, digits, fixed, here, loops_of, need, part, refuse
from ir.errors import GradwrightError
from ir.program import Size


def add(a: Tensor, b: Tensor | float, *, name: str | None = None) -> Tensor:
    """a + b, element-wise with NumPy's broadcasting."""
    return elementwise(lambda u, v: u + v, a, b, op="add", name=name)


def mul(a: Tensor, b: Tensor | float, *, name: str | None = None) -> Tensor:
    """a * b, element-wise with NumPy's broadcasting."""
    return elementwise(lambda u, v: u * v, a, b, op="mul", name=name)


def flatten(x: Tensor, start_dim: int = 1, end_dim: int = -1, *, name: str | None = None) -> Tensor:
    """[batch, a, b, …] to [batch, a*b*…], row-major: one dimension of those from start to end."""
    need(x, "flatten", 2)
    first, last = axis_of(x, start_dim, "flatten"), axis_of(x, end_dim, "flatten")
    if first > last:
        refuse(f"flatten() of {x!r} starts at {start_dim}, behind its end {end_dim}", x)
    sizes = fixed(x, range(first, last + 1), "flatten")
    loops, k = loops_of(x.shape), gw.index("k", int(sympy.prod(sizes)))
    before, after = loops[:first], loops[last + 1 :]
    place = (*before, *digits(k, sizes), *after)
    return define_as("flatten", (*before, k, *after), x[place], name=name)


def reshape(x: Tensor, shape: Sequence[Size], *, name: str | None = None) -> Tensor:
    """The same elements, row-major, in another shape; one size may be -1, the batch stays in front.

    y = gw.reshape(x, (-1, 4, 8))
    """
    lead = x.shape[:1] if x.shape and not isinstance(x.shape[0], int) else ()
    if lead and (not shape or shape[0] not in (-1, lead[0])):
        refuse(f"reshape() keeps the batch in front, got {list(shape)} for {x!r}", x)
    old = fixed(x, range(len(lead), len(x.shape)), "reshape")
    new = _whole(list(shape)[len(lead) :], int(sympy.prod(old)), x)
    loops = loops_of((*lead, *new))
    flat = sympy.S.Zero
    for index, size in zip(loops[len(lead) :], new, strict=True):
        flat = flat * size + index
    return define_as("reshape", loops, x[(*loops[: len(lead)], *digits(flat, old))], name=name)


def permute(x: Tensor, dims: Sequence[int], *, name: str | None = None) -> Tensor:
    """y[i_dims[0], i_dims[1], …] = x[i_0, i_1, …]: dimension d of the result is dims[d] of x."""
    order = [axis_of(x, d, "permute") for d in dims]
    if sorted(order) != list(range(len(x.shape))):
        refuse(f"permute() needs each dimension of {x!r} once, got {list(dims)}", x)
    loops = loops_of(tuple(x.shape[d] for d in order))
    return define_as(
        "permute", loops, x[tuple(loops[order.index(d)] for d in range(len(loops)))], name=name
    )


def transpose(x: Tensor, axis0: int, axis1: int, *, name: str | None = None) -> Tensor:
    """x with two dimensions exchanged."""
    order = list(range(len(x.shape)))
    a, b = axis_of(x, axis0, "transpose"), axis_of(x, axis1, "transpose")
    order[a], order[b] = b, a
    return permute(x, order, name=name)


def squeeze(
    x: Tensor, axis: int | Sequence[int] | None = None, *, name: str | None = None
) -> Tensor:
    """x without its dimensions of size 1, or without those of the axes that are of size 1."""
    axes = range(len(x.shape)) if axis is None else (axis,) if isinstance(axis, int) else axis
    gone = {d for d in (axis_of(x, a, "squeeze") for a in axes) if x.shape[d] == 1}
    loops = loops_of(tuple(s for d, s in enumerate(x.shape) if d not in gone))
    rest = iter(loops)
    at = tuple(0 if d in gone else next(rest) for d in range(len(x.shape)))
    return define_as("squeeze", loops, x[at], name=name)


def unsqueeze(x: Tensor, axis: int, *, name: str | None = None) -> Tensor:
    """x with another dimension of size 1 before `axis`."""
    if not -len(x.shape) - 1 <= axis <= len(x.shape):
        refuse(f"unsqueeze() has no place {axis} in {x!r}", x)
    at = axis % (len(x.shape) + 1)
    loops = loops_of((*x.shape[:at], 1, *x.shape[at:]))
    return define_as("unsqueeze", loops, x[loops[:at] + loops[at + 1 :]], name=name)


def expand(x: Tensor, shape: Sequence[Size], *, name: str | None = None) -> Tensor:
    """x repeated along dimensions of size 1 or new ones in front, to a shape; -1 keeps a size."""
    extra = len(shape) - len(x.shape)
    mine = (1,) * extra + x.shape
    sizes = tuple(m if s == -1 else s for m, s in zip(mine, shape, strict=False))
    if (
        extra < 0
        or any(m not in (1, s) for m, s in zip(mine, sizes, strict=True))
        or -1 in shape[:extra]
    ):
        refuse(f"expand() cannot make {list(shape)} of {x!r}", x)
    loops = loops_of(sizes)
    at = tuple(0 if s == 1 else i for i, s in zip(loops[extra:], x.shape, strict=True))
    return define_as("expand", loops, x[at], name=name)


def broadcast_to(x: Tensor, shape: Sequence[Size], *, name: str | None = None) -> Tensor:
    """`expand` under NumPy's name."""
    return expand(x, shape, name=name)


def concat(tensors: Sequence[Tensor], axis: int = 0, *, name: str | None = None) -> Tensor:
    """The tensors one after another along an axis; their other sizes are the same."""
    at, sizes = _alike(tensors, axis, "concat")
    loops = loops_of((*tensors[0].shape[:at], sum(sizes), *tensors[0].shape[at + 1 :]))
    choices, end = [], 0
    for x, size in zip(tensors, sizes, strict=True):
        element = x[(*loops[:at], loops[at] - end, *loops[at + 1 :])]
        end += size
        choices.append((element, loops[at] < end if end < sum(sizes) else True))
    return define_as("concat", loops, sympy.Piecewise(*choices), name=name)


def stack(tensors: Sequence[Tensor], axis: int = 0, *, name: str | None = None) -> Tensor:
    """The tensors, all of one shape, along a new dimension before `axis`."""
    if not tensors or any(x.shape != tensors[0].shape for x in tensors):
        refuse(f"stack() needs tensors of one shape, got {list(tensors)!r}", *tensors)
    at = axis % (len(tensors[0].shape) + 1)
    loops = loops_of((*tensors[0].shape[:at], len(tensors), *tensors[0].shape[at:]))
    elements = [x[loops[:at] + loops[at + 1 :]] for x in tensors]
    choices = [(e, sympy.Eq(loops[at], number)) for number, e in enumerate(elements[:-1])]
    return define_as("stack", loops, sympy.Piecewise(*choices, (elements[-1], True)), name=name)


def split(
    x: Tensor, split_size: int | Sequence[int], axis: int = 0, *, name: str | None = None
) -> tuple[Tensor, ...]:
    """x in parts of these sizes along an axis; of one size, the last part may be smaller."""
    at = axis_of(x, axis, "split")
    (whole,) = fixed(x, (at,), "split")
    starts = range(0, whole, split_size) if isinstance(split_size, int) and split_size > 0 else ()
    sizes = (
        [min(split_size, whole - s) for s in starts]
        if isinstance(split_size, int)
        else list(split_size)
    )
    if sum(sizes) != whole or min(sizes, default=0) < 1:
        refuse(f"split() cannot part {whole} of {x!r} into {split_size!r}", x)
    ends = [sum(sizes[: number + 1]) for number in range(len(sizes))]
    name = name or gw.suggest("split")
    return tuple(
        slice(x, at, end - size, end, name=part(name, str(number)))
        for number, (size, end) in enumerate(zip(sizes, ends, strict=True))
    )


def slice(
    x: Tensor,
    axis: int,
    start: int | None = None,
    stop: int | None = None,
    step: int = 1,
    *,
    name: str | None = None,
) -> Tensor:
    """x[start:stop:step] along an axis, with Python's rules; a negative step goes backwards."""
    at = axis_of(x, axis, "slice")
    (size,) = fixed(x, (at,), "slice")
    chosen = range(size)[start:stop:step] if step else range(0)
    if not chosen:
        refuse(f"slice() of {x!r} from {start} to {stop} by {step} is empty", x)
    loops = loops_of((*x.shape[:at], len(chosen), *x.shape[at + 1 :]))
    place = chosen.start + chosen.step * loops[at]
    return define_as("slice", loops, x[(*loops[:at], place, *loops[at + 1 :])], name=name)


def select(x: Tensor, axis: int, index: int, *, name: str | None = None) -> Tensor:
    """x at one position of an axis, without that axis; -1 is the last position."""
    at = axis_of(x, axis, "select")
    (size,) = fixed(x, (at,), "select")
    if not -size <= index < size:
        refuse(f"select() has no position {index} at axis {axis} of {x!r}", x)
    loops = loops_of(x.shape[:at] + x.shape[at + 1 :])
    return define_as("select", loops, x[(*loops[:at], index % size, *loops[at:])], name=name)


def index_select(x: Tensor, axis: int, index: Tensor, *, name: str | None = None) -> Tensor:
    """y[…, k, …] = x[…, index[k], …]: the positions of an axis that an integer vector names."""
    at = axis_of(x, axis, "index_select")
    if len(index.shape) != 1 or not index.dtype.startswith("int"):
        refuse(f"index_select() needs an integer vector, got {index!r}", index)
    loops = loops_of((*x.shape[:at], *index.shape, *x.shape[at + 1 :]))
    return define_as(
        "index_select", loops, x[(*loops[:at], index[loops[at]], *loops[at + 1 :])], name=name
    )


def gather(x: Tensor, axis: int, index: Tensor, *, name: str | None = None) -> Tensor:
    """y[i, k, …] = x[i, index[i, k, …], …]: a position of the axis for each integer of `index`."""
    at = axis_of(x, axis, "gather")
    pairs = [p for d, p in enumerate(zip(index.shape, x.shape, strict=False)) if d != at]
    fits = all(a == b or (isinstance(a, int) and isinstance(b, int) and a < b) for a, b in pairs)
    if not fits or len(index.shape) != len(x.shape) or not index.dtype.startswith("int"):
        refuse(f"gather() needs integers of x's dimensions, got {index!r} for {x!r}", x, index)
    loops = loops_of(index.shape)
    return define_as("gather", loops, x[(*loops[:at], index[loops], *loops[at + 1 :])], name=name)


def one_hot(ids: Tensor, num_classes: int, *, name: str | None = None) -> Tensor:
    """y[…, k] = 1 where ids[…] is k, else 0: real numbers."""
    if not ids.dtype.startswith("int"):
        refuse(f"one_hot() needs an integer tensor, got {ids!r}", ids)
    loops, k = loops_of(ids.shape), gw.index("k", num_classes)
    body = sympy.Piecewise((1, sympy.Eq(ids[loops], k)), (0, True))
    return define_as("one_hot", (*loops, k), body, name=name)


def _whole(sizes: list[Size], total: int, x: Tensor) -> list[int]:
    """Integer sizes whose product is `total`, a -1 among them filled in."""
    given = [s for s in sizes if s != -1]
    known = int(sympy.prod(given)) if all(isinstance(s, int) and s > 0 for s in given) else 0
    rest = total // known if known else 0
    if len(sizes) - len(given) > 1 or known * (rest if -1 in sizes else 1) != total:
        refuse(f"reshape() cannot make {sizes} of {x!r}", x)
    return [rest if s == -1 else int(s) for s in sizes]


def _alike(tensors: Sequence[Tensor], axis: int, op: str) -> tuple[int, list[int]]:
    """The axis counted from the front, and the sizes there."""
    if not tensors:
        raise GradwrightError(f"{op}() needs at least one tensor", at=here())
    at = axis_of(tensors[0], axis, op)
    rest = [x.shape[:at] + x.shape[at + 1 :] for x in tensors]
    if any(
        r != rest[0] or len(x.shape) != len(tensors[0].shape)
        for x, r in zip(tensors, rest, strict=True)
    ):
        refuse(
            f"{op}() along axis {axis} needs the same other sizes, got {list(tensors)!r}", *tensors
        )
    return at, [fixed(x, (at,), op)[0] for x in tensors]
