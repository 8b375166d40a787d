"""Pools: the largest or the mean element of a window. Forward lines only.

    h = gw.max_pool2d(x, 2)                     # stride = window
    h = gw.global_avg_pool(h)                   # [rows, channels]

Names and defaults are PyTorch's. Of equal largest elements the first one counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import sympy
from sympy import Expr

from compiler import notation as gw
from compiler.notation import Tensor, define_as
from compiler.oplib.common import each, fixed, here, loops_of, need
from compiler.oplib.windows import Sizes, Windows, sliding
from ir.errors import GradwrightError
from ir.expression import Index

SomeSizes: TypeAlias = int | None | Sequence[int | None]


def max_pool1d(
    x: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    *,
    name: str | None = None,
) -> Tensor:
    """y[…, p] = max over r of x[…, stride p + dilation r - padding] (stride: the window's)."""
    return _max_pool(1, x, kernel_size, stride, padding, dilation, ceil_mode, name)


def max_pool2d(
    x: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    *,
    name: str | None = None,
) -> Tensor:
    """y[…, p, q] = max over r, s of x[…, stride p + dilation r - padding, …]."""
    return _max_pool(2, x, kernel_size, stride, padding, dilation, ceil_mode, name)


def max_pool3d(
    x: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    *,
    name: str | None = None,
) -> Tensor:
    """`max_pool2d` along the last three dimensions."""
    return _max_pool(3, x, kernel_size, stride, padding, dilation, ceil_mode, name)


def avg_pool1d(
    x: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    *,
    name: str | None = None,
) -> Tensor:
    """y[…, p] = sum over r of x[…, stride p + r - padding] / count.

    The count is the window's, with the padding if `count_include_pad`, less what ceil_mode adds.
    """
    return _avg_pool(1, x, kernel_size, stride, padding, ceil_mode, count_include_pad, name)


def avg_pool2d(
    x: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    name: str | None = None,
) -> Tensor:
    """`avg_pool1d` along the last two dimensions; `divisor_override` stands for the count."""
    return _avg_pool(
        2, x, kernel_size, stride, padding, ceil_mode, count_include_pad, name, divisor_override
    )


def avg_pool3d(
    x: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    name: str | None = None,
) -> Tensor:
    """`avg_pool2d` along the last three dimensions."""
    return _avg_pool(
        3, x, kernel_size, stride, padding, ceil_mode, count_include_pad, name, divisor_override
    )


def global_avg_pool(x: Tensor, *, name: str | None = None) -> Tensor:
    """[rows, channels, *sizes] to [rows, channels]: the mean over all places."""
    need(x, "global_avg_pool", 3)
    *loops, places = *loops_of(x.shape)[:2], loops_of(x.shape)[2:]
    body = gw.mean(x[(*loops, *places)], over=places)
    return define_as("global_avg_pool", loops, body, name=name)


def global_max_pool(x: Tensor, *, name: str | None = None) -> Tensor:
    """[rows, channels, *sizes] to [rows, channels]: the largest element of all places."""
    need(x, "global_max_pool", 3)
    *loops, places = *loops_of(x.shape)[:2], loops_of(x.shape)[2:]
    body = gw.max(x[(*loops, *places)], over=places)
    return define_as("global_max_pool", loops, body, name=name)


def adaptive_avg_pool1d(x: Tensor, output_size: int, *, name: str | None = None) -> Tensor:
    """y[…, p] = mean of x[…, a:b], a = floor(p n / size), b = ceil((p + 1) n / size)."""
    return _adaptive(1, x, output_size, name)


def adaptive_avg_pool2d(x: Tensor, output_size: SomeSizes, *, name: str | None = None) -> Tensor:
    """`adaptive_avg_pool1d` along the last two dimensions; None keeps a size."""
    return _adaptive(2, x, output_size, name)


def adaptive_avg_pool3d(x: Tensor, output_size: SomeSizes, *, name: str | None = None) -> Tensor:
    """`adaptive_avg_pool2d` along the last three dimensions."""
    return _adaptive(3, x, output_size, name)


def _max_pool(
    places: int,
    x: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None,
    padding: Sizes,
    dilation: Sizes,
    ceil_mode: bool,
    name: str | None,
) -> Tensor:
    op = f"max_pool{places}d"
    _, w = _windows(op, places, x, kernel_size, stride, padding, dilation, ceil_mode)
    rows = loops_of(x.shape[:-places])
    body = gw.max(x[(*rows, *w.at)], over=w.taps)
    return define_as(op, (*rows, *w.positions), body, name=name)


def _avg_pool(
    places: int,
    x: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None,
    padding: Sizes,
    ceil_mode: bool,
    count_include_pad: bool,
    name: str | None,
    divisor: int | None = None,
) -> Tensor:
    op = f"avg_pool{places}d"
    border, w = _windows(op, places, x, kernel_size, stride, padding, 1, ceil_mode)
    rows, sizes = loops_of(x.shape[:-places]), fixed(x, range(-places, 0), op)
    counted = border if count_include_pad else (0,) * places
    dimensions = zip(w.positions, w.taps, w.at, sizes, counted, strict=True)
    count = divisor or sympy.Mul(*(_inside(*dimension) for dimension in dimensions))
    body = gw.sum(x[(*rows, *w.at)], over=w.taps) / count
    return define_as(op, (*rows, *w.positions), body, name=name)


def _inside(p: Index, r: Index, at: Expr, size: int, border: int) -> Expr:
    """How many taps of the window at p lie inside the tensor or its border: at best, a number."""
    start, window = at.subs(r, 0), int(str(r.extent))
    count = sympy.Min(start + window, size + border) - sympy.Max(start, -border)
    found = {count.subs(p, v) for v in range(int(str(p.extent)))}
    return found.pop() if len(found) == 1 else count


def _adaptive(places: int, x: Tensor, output_size: SomeSizes, name: str | None) -> Tensor:
    op = f"adaptive_avg_pool{places}d"
    need(x, op, places + 1)
    sizes = fixed(x, range(-places, 0), op)
    given = [output_size] * places if isinstance(output_size, int | None) else output_size
    kept = [sizes[d % places] if m is None else m for d, m in enumerate(given)]
    counts = each(kept, places, "output_size", 1)
    rows = loops_of(x.shape[:-places])
    p = [gw.index(name, m) for name, m in zip("pqu", counts, strict=False)]
    starts, many, widest = zip(*(_share(i, n) for i, n in zip(p, sizes, strict=True)), strict=True)
    r = [gw.index(name, w) for name, w in zip("rst", widest, strict=False)]
    at = [a + k for a, k in zip(starts, r, strict=True)]
    inside = sympy.And(*(k < c for k, c, w in zip(r, many, widest, strict=True) if c != w))
    body = gw.sum(sympy.Piecewise((x[(*rows, *at)], inside), (0, True)), over=r) / sympy.Mul(*many)
    return define_as(op, (*rows, *p), body, name=name)


def _share(p: Index, size: int) -> tuple[Expr, Expr, int]:
    """Where position p's share of so many elements starts, how many it has, the most any has."""
    positions = int(str(p.extent))
    start = p * size // positions
    count: Expr = ((p + 1) * size + positions - 1) // positions - start
    return start, count, max(int(count.subs(p, v)) for v in range(positions))


def _windows(
    op: str,
    places: int,
    x: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None,
    padding: Sizes,
    dilation: Sizes,
    ceil_mode: bool,
) -> tuple[tuple[int, ...], Windows]:
    """The padding in each dimension, and the windows."""
    need(x, op, places + 1)
    window = each(kernel_size, places, "kernel_size", 1)
    border = each(padding, places, "padding", 0)
    if any(2 * b > w for b, w in zip(border, window, strict=True)):
        raise GradwrightError(f"{op}(): padding {padding!r} is over half the window", at=here())
    stride = window if stride is None else stride
    return border, sliding(x, window, stride, border, dilation, ceil_mode=ceil_mode)
