"""Borders and changes of size, dimension by dimension: forward lines only, as PyTorch's.

    y = gw.pad(x, (1, 1, 2, 2), mode="reflect")          # last dimension first, as torch
    y = gw.upsample(x, scale_factor=2, mode="bilinear")

Both read x[…, e, …] at an index e that the position decides; where e leaves the tensor, the mode
says what is read instead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import partial
from typing import TypeAlias

import sympy
from sympy import Expr

from compiler import notation as gw
from compiler.notation import Tensor, define_as
from compiler.oplib.common import each, fixed, here, loops_of, need, part, refuse
from compiler.oplib.options import choice, number
from ir.errors import GradwrightError, InputError
from ir.expression import FloorDiv, Remainder

Reading: TypeAlias = Callable[[Expr], Expr]
BORDERS = ("constant", "reflect", "replicate", "circular")
LINEAR = {"linear": 1, "bilinear": 2, "trilinear": 3}


def pad(
    x: Tensor,
    pad: Sequence[int],
    mode: str = "constant",
    value: float = 0.0,
    *,
    name: str | None = None,
) -> Tensor:
    """x with (before, after) elements added, the last dimension first; negative numbers take away.

        y = gw.pad(x, (1, 2))                       # [rows, n] to [rows, n + 3], zeros around
        y = gw.pad(x, (1, 1, 2, 2), mode="reflect")

    What is added is `value`, or the elements that mode "reflect", "replicate" or "circular" tells.
    """
    if choice(mode, "mode", BORDERS) != "constant" and value:
        raise InputError(f"mode {mode!r} takes no value, got {value!r}", at=here())
    pairs = [(int(a), int(b)) for a, b in zip(pad[::2], pad[1::2], strict=False)]
    if len(pad) % 2 or not pairs or len(pairs) > len(x.shape):
        raise GradwrightError(f"pad() needs pairs (before, after), got {pad!r}", at=here())
    base, last = name or gw.suggest("pad"), len(x.shape) - len(pairs)
    for axis, (before, after) in zip(range(len(x.shape) - 1, -1, -1), pairs, strict=False):
        into = name if axis == last else part(base, f"axis{axis}")
        x = _padded(x, axis, before, after, mode, value, into)
    return x


def upsample(
    x: Tensor,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest",
    align_corners: bool = False,
    recompute_scale_factor: bool = False,
    *,
    name: str | None = None,
) -> Tensor:
    """[rows, channels, *sizes] resampled to other sizes, or to sizes times a factor, rounded down.

        y = gw.upsample(x, scale_factor=2, mode="bilinear")

    Modes: "nearest", "nearest-exact", and "linear", "bilinear", "trilinear" over one, two and three
    dimensions. `align_corners` lays the corners' centres on one another instead of their outer
    edges. A given factor is also the distance of two positions, unless it is recomputed from the
    sizes.
    """
    need(x, "upsample", 3)
    places = len(x.shape) - 2
    if choice(mode, "mode", (*NEAREST, *LINEAR)) in LINEAR and LINEAR[mode] != places:
        refuse(f"mode {mode!r} does not fit {x!r}", x)
    if align_corners and mode in NEAREST:
        raise InputError(f"mode {mode!r} knows no align_corners", at=here())
    old = fixed(x, range(2, places + 2), "upsample")
    new, steps = _sizes(x, old, size, scale_factor, recompute_scale_factor)
    base = name or gw.suggest("upsample")
    read = _aligned if align_corners else NEAREST.get(mode, _linear)
    for axis, (n, m, step) in enumerate(zip(old, new, steps, strict=True), 2):
        into = name if axis == places + 1 else part(base, f"axis{axis}")
        x = _along(x, axis, m, "upsample", into, partial(read, old=n, new=m, step=step))
    return x


def _sizes(
    x: Tensor,
    old: Sequence[int],
    size: int | Sequence[int] | None,
    scale_factor: float | Sequence[float] | None,
    recompute: bool,
) -> tuple[Sequence[int], list[Fraction]]:
    """The new sizes, and how far apart in x two neighbouring positions are."""
    if (size is None) == (scale_factor is None):
        raise GradwrightError("upsample() needs a size or a scale_factor", at=here())
    if scale_factor is None:
        new: Sequence[int] = each(size or 0, len(old), "size", 1)
        return new, [Fraction(n, m) for n, m in zip(old, new, strict=True)]
    count = len(old)
    given = (scale_factor,) * count if isinstance(scale_factor, int | float) else scale_factor
    factors = [Fraction(str(number(f, "scale_factor"))) for f in given]
    factors = [f.limit_denominator(1000) for f in factors]
    new = [int(n * f) for n, f in zip(old, factors, strict=False)]
    if len(factors) != count or min(new) < 1:
        refuse(f"scale_factor {scale_factor!r} does not fit {x!r}", x)
    if recompute:
        return new, [Fraction(n, m) for n, m in zip(old, new, strict=True)]
    return new, [1 / f for f in factors]


def _along(
    x: Tensor,
    axis: int,
    size: int,
    op: str,
    name: str | None,
    body: Callable[[Reading, Expr], Expr],
) -> Tensor:
    """Another size at one axis: `body` gets x at any place of that axis, and the position."""
    loops = loops_of((*x.shape[:axis], size, *x.shape[axis + 1 :]))
    read = body(lambda e: x[(*loops[:axis], e, *loops[axis + 1 :])], loops[axis])
    return define_as(op, loops, read, name=name)


def _padded(
    x: Tensor, axis: int, before: int, after: int, mode: str, value: float, name: str | None
) -> Tensor:
    (n,) = fixed(x, (axis,), "pad")
    reach = {
        "constant": n + before + after,
        "replicate": n + before + after,
        "reflect": n - 1,
        "circular": n,
    }
    if n + before + after < 1 or max(before, after) > reach[mode]:
        refuse(f"pad() cannot add {before} and {after} to the {n} of {x!r} by {mode!r}", x)

    def body(at: Reading, i: Expr) -> Expr:
        e = i - before
        if mode == "constant":
            return sympy.Piecewise((at(e), sympy.And(e >= 0, e < n)), (value, True))
        outside = {
            "reflect": (at(-e), at(2 * n - 2 - e)),
            "replicate": (at(sympy.S.Zero), at(sympy.Integer(n - 1))),
            "circular": (at(e + n), at(e - n)),
        }[mode]
        low = [(outside[0], e < 0)] if before > 0 else []
        high = [(outside[1], e >= n)] if after > 0 else []
        return sympy.Piecewise(*low, *high, (at(e), True))

    return _along(x, axis, n + before + after, "pad", name, body)


def _nearest(at: Reading, i: Expr, old: int, new: int, step: Fraction) -> Expr:
    return at(i * step.numerator // step.denominator)


def _nearest_exact(at: Reading, i: Expr, old: int, new: int, step: Fraction) -> Expr:
    return at((2 * i + 1) * step.numerator // (2 * step.denominator))


def _aligned(at: Reading, i: Expr, old: int, new: int, step: Fraction) -> Expr:
    return _between(at, i * (old - 1), max(new - 1, 1), old)


def _linear(at: Reading, i: Expr, old: int, new: int, step: Fraction) -> Expr:
    p, q = step.numerator, step.denominator
    return _between(at, (2 * i + 1) * p - q, 2 * q, old)


NEAREST = {"nearest": _nearest, "nearest-exact": _nearest_exact}


def _between(at: Reading, numerator: Expr, denominator: int, size: int) -> Expr:
    """x at numerator / denominator: between its neighbours; beyond an end, the outermost."""
    # FloorDiv, because SymPy turns floor(e/d) < 0 into e/d < 0, which says nothing about an index
    e, share = FloorDiv(numerator, denominator), Remainder(numerator, denominator) / denominator
    low = sympy.Piecewise((at(sympy.S.Zero), e < 0), (at(e), True))
    high = sympy.Piecewise((at(sympy.Integer(size - 1)), e + 1 >= size), (at(e + 1), True))
    return (1 - share) * low + share * high
