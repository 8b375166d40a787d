"""Convolutions over one, two or three dimensions, and their transposes: forward lines only.

    y = gw.conv2d(x, 32, 3, padding="same")              # parameters y.W and y.b
    edges = gw.convolve(x, sobel, padding=1)             # a kernel that is given

A border of zeros is never stored: a term of a sum that reads outside its tensor is left out.
"""

from __future__ import annotations

import sympy

from compiler import notation as gw
from compiler.initializers import Init, he_normal, zeros
from compiler.notation import Tensor, define_as
from compiler.oplib.common import each, fixed, loops_of, need, part, refuse
from compiler.oplib.options import choice
from compiler.oplib.resample import pad
from compiler.oplib.windows import Sizes, borders, sliding, spreading

PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


def convolve(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    stride: Sizes = 1,
    padding: Sizes | str = 0,
    dilation: Sizes = 1,
    groups: int = 1,
    name: str | None = None,
) -> Tensor:
    """y[…, o, p] = sum over c, r of x[…, c, stride p + dilation r - padding] W[o, c, r] + b[o].

        edges = gw.convolve(x, sobel, padding=1)

    x is [rows, in, *sizes] or [in, *sizes], W is [out, in / groups, *window], b is [out], p and r
    stand for as many indices: torch's conv1d, conv2d and conv3d. Padding "same" keeps the sizes
    (stride 1 only), "valid" is 0.
    Raises ShapeError where they do not fit, GradwrightError for a wrong option.
    """
    out, channels, *window = _kernel(x, weight, "convolve")
    _check(x, len(window), channels * groups, out, groups, bias, "convolve")
    w = sliding(x, window, stride, padding, dilation)
    rows = loops_of(x.shape[: -len(window) - 1])
    o, c = gw.index("o", out), gw.index("c", channels)
    channel = c if groups == 1 else o // (out // groups) * channels + c
    body = gw.sum(x[(*rows, channel, *w.at)] * weight[(o, c, *w.taps)], over=(c, *w.taps))
    return define_as("convolve", (*rows, o, *w.positions), _biased(body, bias, o), name=name)


def convolve_transpose(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
    name: str | None = None,
) -> Tensor:
    """y[…, o, stride p + dilation r - padding] += x[…, c, p] W[c, o, r] for all c, p, r; from b[o].

        large = gw.convolve_transpose(x, kernel, stride=2)

    x is [rows, in, *sizes] or [in, *sizes], W is [in, out / groups, *window] and b is [out]:
    torch's conv_transpose1d to 3d. Raises as `convolve`.
    """
    total, out, *window = _kernel(x, weight, "convolve_transpose")
    _check(x, len(window), total, out * groups, groups, bias, "convolve_transpose")
    w = spreading(x, window, stride, padding, output_padding, dilation)
    rows = loops_of(x.shape[: -len(window) - 1])
    o, c = gw.index("o", out * groups), gw.index("c", total // groups)
    channel, column = (c, o) if groups == 1 else (o // out * (total // groups) + c, o % out)
    where = sympy.Piecewise((1, sympy.And(*w.meet)), (0, True))
    term = x[(*rows, channel, *w.at)] * weight[(channel, column, *w.taps)] * where
    body = gw.sum(term, over=(c, *w.taps))
    return define_as(
        "convolve_transpose", (*rows, o, *w.positions), _biased(body, bias, o), name=name
    )


def conv1d(
    x: Tensor,
    out_channels: int,
    kernel_size: Sizes,
    *,
    stride: Sizes = 1,
    padding: Sizes | str = 0,
    dilation: Sizes = 1,
    groups: int = 1,
    bias: bool = True,
    padding_mode: str = "zeros",
    name: str | None = None,
    init: Init | None = None,
) -> Tensor:
    """`convolve` over [rows, in, length]: `name.W` of (out, in / groups, window), `name.b`.

    A `padding_mode` other than "zeros" is one of `pad`'s: the border is then stored.
    """
    name = name or gw.suggest("conv1d")
    w, b = _parameters(1, x, out_channels, kernel_size, groups, bias, name, init)
    if choice(padding_mode, "padding_mode", PADDING_MODES) != "zeros":
        x, padding = _bordered(x, w, stride, padding, dilation, padding_mode, name), 0
    return convolve(
        x, w, b, stride=stride, padding=padding, dilation=dilation, groups=groups, name=name
    )


def conv2d(
    x: Tensor,
    out_channels: int,
    kernel_size: Sizes,
    *,
    stride: Sizes = 1,
    padding: Sizes | str = 0,
    dilation: Sizes = 1,
    groups: int = 1,
    bias: bool = True,
    padding_mode: str = "zeros",
    name: str | None = None,
    init: Init | None = None,
) -> Tensor:
    """`convolve` over [rows, in, height, width], with parameters `name.W` and `name.b`.

        h = gw.conv2d(x, 32, 3, padding="same", name="conv1")

    W is (out, in / groups, *window); as many groups as channels make it depthwise. Raises as
    `convolve`.
    """
    name = name or gw.suggest("conv2d")
    w, b = _parameters(2, x, out_channels, kernel_size, groups, bias, name, init)
    if choice(padding_mode, "padding_mode", PADDING_MODES) != "zeros":
        x, padding = _bordered(x, w, stride, padding, dilation, padding_mode, name), 0
    return convolve(
        x, w, b, stride=stride, padding=padding, dilation=dilation, groups=groups, name=name
    )


def conv3d(
    x: Tensor,
    out_channels: int,
    kernel_size: Sizes,
    *,
    stride: Sizes = 1,
    padding: Sizes | str = 0,
    dilation: Sizes = 1,
    groups: int = 1,
    bias: bool = True,
    padding_mode: str = "zeros",
    name: str | None = None,
    init: Init | None = None,
) -> Tensor:
    """`convolve` over [rows, in, depth, height, width], with parameters `name.W` and `name.b`."""
    name = name or gw.suggest("conv3d")
    w, b = _parameters(3, x, out_channels, kernel_size, groups, bias, name, init)
    if choice(padding_mode, "padding_mode", PADDING_MODES) != "zeros":
        x, padding = _bordered(x, w, stride, padding, dilation, padding_mode, name), 0
    return convolve(
        x, w, b, stride=stride, padding=padding, dilation=dilation, groups=groups, name=name
    )


def conv_transpose1d(
    x: Tensor,
    out_channels: int,
    kernel_size: Sizes,
    *,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    bias: bool = True,
    dilation: Sizes = 1,
    name: str | None = None,
    init: Init | None = None,
) -> Tensor:
    """`convolve_transpose` over [rows, in, length]: W is (in, out / groups, window)."""
    name = name or gw.suggest("conv_transpose1d")
    w, b = _parameters(1, x, out_channels, kernel_size, groups, bias, name, init, transposed=True)
    return convolve_transpose(
        x, w, b, stride=stride, padding=padding, output_padding=output_padding, groups=groups,
        dilation=dilation, name=name,
    )  # fmt: skip


def conv_transpose2d(
    x: Tensor,
    out_channels: int,
    kernel_size: Sizes,
    *,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    bias: bool = True,
    dilation: Sizes = 1,
    name: str | None = None,
    init: Init | None = None,
) -> Tensor:
    """`convolve_transpose` over [rows, in, height, width]; W is (in, out / groups, *window)."""
    name = name or gw.suggest("conv_transpose2d")
    w, b = _parameters(2, x, out_channels, kernel_size, groups, bias, name, init, transposed=True)
    return convolve_transpose(
        x, w, b, stride=stride, padding=padding, output_padding=output_padding, groups=groups,
        dilation=dilation, name=name,
    )  # fmt: skip


def conv_transpose3d(
    x: Tensor,
    out_channels: int,
    kernel_size: Sizes,
    *,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    bias: bool = True,
    dilation: Sizes = 1,
    name: str | None = None,
    init: Init | None = None,
) -> Tensor:
    """`convolve_transpose` over [rows, in, depth, height, width]; W is (in, out / groups, …)."""
    name = name or gw.suggest("conv_transpose3d")
    w, b = _parameters(3, x, out_channels, kernel_size, groups, bias, name, init, transposed=True)
    return convolve_transpose(
        x, w, b, stride=stride, padding=padding, output_padding=output_padding, groups=groups,
        dilation=dilation, name=name,
    )  # fmt: skip


def _bordered(
    x: Tensor,
    weight: Tensor,
    stride: Sizes,
    padding: Sizes | str,
    dilation: Sizes,
    mode: str,
    name: str,
) -> Tensor:
    """x with the border that the padding asks for, filled from x itself."""
    window = [int(size) for size in weight.shape[2:]]
    pairs = list(zip(*borders(padding, window, stride, dilation), strict=True))
    if not any(map(any, pairs)):
        return x
    return pad(x, [n for pair in reversed(pairs) for n in pair], mode, name=part(name, "bordered"))


def _parameters(
    places: int,
    x: Tensor,
    out: int,
    kernel_size: Sizes,
    groups: int,
    bias: bool,
    name: str,
    init: Init | None,
    *,
    transposed: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """`name.W` and, if wanted, `name.b`, once the sizes are known to fit."""
    op = f"conv{'_transpose' * transposed}{places}d"
    need(x, op, places + 1)
    if len(x.shape) > places + 2:
        refuse(f"{op}() needs {places + 2} dimensions, got {x!r}", x)
    (channels,) = fixed(x, (-places - 1,), op)
    window = each(kernel_size, places, "kernel_size", 1)
    (out,) = each(out, 1, "out_channels", 1)
    _check(x, places, channels, out, groups, None, op)
    shape = (channels, out // groups) if transposed else (out, channels // groups)
    weight = gw.param(f"{name}.W", (*shape, *window), init or he_normal())
    return weight, gw.param(f"{name}.b", out, zeros()) if bias else None


def _kernel(x: Tensor, weight: Tensor, op: str) -> list[int]:
    """The sizes of a kernel that has as many dimensions as x allows."""
    need(weight, op, 3)
    if len(weight.shape) - len(x.shape) not in (0, 1):
        refuse(f"{op}() cannot slide {weight!r} over {x!r}", x, weight)
    return fixed(weight, range(len(weight.shape)), op)


def _check(
    x: Tensor, places: int, channels: int, out: int, groups: int, bias: Tensor | None, op: str
) -> None:
    """Whether channels of x, of the result, groups and bias fit."""
    if fixed(x, (-places - 1,), op) != [channels]:
        refuse(f"{op}() needs {channels} channels, got {x!r}", x)
    if groups < 1 or channels % groups or out % groups:
        refuse(f"{op}() cannot part {channels} channels in and {out} out into groups={groups}", x)
    if bias is not None and bias.shape != (out,):
        refuse(f"{op}() needs a bias of [{out}], got {bias!r}", bias)


def _biased(body: sympy.Expr, bias: Tensor | None, o: sympy.Symbol) -> sympy.Expr:
    return body if bias is None else body + bias[o]
