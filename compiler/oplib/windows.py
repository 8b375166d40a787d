"""Sliding windows, shared by convolutions and pools: where position p and tap r meet in the tensor.

    w = sliding(x, window=(3, 3), stride=1, padding="same")
    gw.sum(x[n, c, *w.at] * weight[o, c, *w.taps], over=w.taps)         # at = p + r - 1, q + s - 1

Sizes are PyTorch's: (n + 2 padding - dilation (window - 1) - 1) // stride + 1. Indices out of
bounds stay as they are: a reduction leaves such terms out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import sympy
from sympy import Expr

from compiler import notation as gw
from compiler.notation import Tensor
from compiler.oplib.common import each, fixed, here, refuse
from ir.errors import GradwrightError
from ir.expression import Index

Sizes: TypeAlias = int | Sequence[int]


@dataclass(frozen=True, slots=True)
class Windows:
    """Positions p…, taps r…, the element `at` that they meet, and whether they meet at all."""

    positions: tuple[Index, ...]
    taps: tuple[Index, ...]
    at: tuple[Expr, ...]
    meet: tuple[sympy.Basic, ...] = ()


def sliding(
    x: Tensor,
    window: Sequence[int],
    stride: Sizes = 1,
    padding: Sizes | str = 0,
    dilation: Sizes = 1,
    *,
    ceil_mode: bool = False,
) -> Windows:
    """A window over the last dimensions of x: at = stride p + dilation r - padding."""
    count = len(window)
    sizes = fixed(x, range(-count, 0), "a window")
    steps, gaps = each(stride, count, "stride", 1), each(dilation, count, "dilation", 1)
    before, after = borders(padding, window, steps, gaps)
    spans = [d * (k - 1) + 1 for k, d in zip(window, gaps, strict=True)]
    counts = [
        _positions(n, b, a, span, s, ceil_mode)
        for n, b, a, span, s in zip(sizes, before, after, spans, steps, strict=True)
    ]
    if min(counts) < 1:
        refuse(f"a window that spans {spans} does not fit into {x!r} with padding {padding!r}", x)
    p, r = _indices("pqu", counts), _indices("rst", window)
    at = (s * i + d * k - b for s, i, d, k, b in zip(steps, p, gaps, r, before, strict=True))
    return Windows(p, r, tuple(at))


def spreading(
    x: Tensor,
    window: Sequence[int],
    stride: Sizes,
    padding: Sizes,
    output_padding: Sizes,
    dilation: Sizes,
) -> Windows:
    """The other way: position q meets element p where stride p + dilation r - padding = q."""
    count = len(window)
    steps, gaps = each(stride, count, "stride", 1), each(dilation, count, "dilation", 1)
    before, more = (
        each(padding, count, "padding", 0),
        each(output_padding, count, "output_padding", 0),
    )
    if any(m >= max(s, d) for m, s, d in zip(more, steps, gaps, strict=True)):
        raise GradwrightError(
            f"output_padding {output_padding!r} must be smaller than the stride or the dilation",
            at=here(),
        )
    sizes = fixed(x, range(-count, 0), "a window")
    counts = [
        (n - 1) * s - 2 * b + d * (k - 1) + m + 1
        for n, s, b, d, k, m in zip(sizes, steps, before, gaps, window, more, strict=True)
    ]
    if min(counts) < 1:
        refuse(f"padding {padding!r} leaves nothing of {x!r}", x)
    q, r = _indices("pqu", counts), _indices("rst", window)
    come = [i + b - d * k for i, b, d, k in zip(q, before, gaps, r, strict=True)]
    meet = tuple(sympy.Eq(e % s, 0) for e, s in zip(come, steps, strict=True) if s > 1)
    at = tuple(e // s if s > 1 else e for e, s in zip(come, steps, strict=True))
    return Windows(q, r, at, meet)


def _positions(size: int, before: int, after: int, span: int, step: int, ceil_mode: bool) -> int:
    room = size + before + after - span
    if room < 0 or not ceil_mode:
        return room // step + 1
    count = -(-room // step) + 1
    # torch: a last window that starts beyond the tensor and its left padding is left out
    return count - 1 if (count - 1) * step >= size + before else count


def borders(
    padding: Sizes | str, window: Sequence[int], stride: Sizes, dilation: Sizes
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """How many elements are added before and after each dimension."""
    steps, gaps = (each(v, len(window), "stride and dilation", 1) for v in (stride, dilation))
    if padding == "same" and max(steps) == 1:
        total = [d * (k - 1) for d, k in zip(gaps, window, strict=True)]
        return tuple(t // 2 for t in total), tuple(t - t // 2 for t in total)
    if isinstance(padding, str) and padding != "valid":
        wrong = "needs stride 1" if padding == "same" else 'is not "same", "valid" or integers'
        raise GradwrightError(f"padding {padding!r} {wrong}", at=here())
    both = each(0 if isinstance(padding, str) else padding, len(window), "padding", 0)
    return both, both


def _indices(names: str, sizes: Sequence[int]) -> tuple[Index, ...]:
    return tuple(gw.index(name, size) for name, size in zip(names, sizes, strict=False))
