"""Normalisations: forward lines only. Names and defaults are PyTorch's.

    h = gw.batch_norm(gw.conv2d(x, 32, 3), name="bn1")   # bn1.W, bn1.b, bn1.running_mean, …
    h = gw.layer_norm(h)                                 # over the last dimension

Running statistics are buffers: a training step replaces them, and outputs in use read them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sympy
from sympy import Expr

from compiler import notation as gw
from compiler.initializers import constant, zeros
from compiler.notation import Tensor, define_as
from compiler.oplib.common import fixed, loops_of, need, part, refuse
from compiler.trace import current
from ir.expression import Index

Sizes = int | Sequence[int] | None
EPSILON = {"float32": 2.0**-23, "float64": 2.0**-52}
"""The distance from 1 to the next number of a floating type."""


def batch_norm(
    x: Tensor,
    *,
    eps: float = 1e-5,
    momentum: float | None = 0.1,
    affine: bool = True,
    track_running_stats: bool = True,
    bias: bool = True,
    name: str | None = None,
) -> Tensor:
    """y[n, c, …] = (x[n, c, …] - mean[c]) / sqrt(var[c] + eps) W[c] + b[c].

    x is [rows, channels] or [rows, channels, *sizes]. Training takes the mean and the variance of
    the batch and moves `name.running_mean` and `name.running_var` by `momentum` towards them, or
    with None to the mean of all batches so far; in use those two are read instead. The running
    variance is the unbiased one, as torch's.
    """
    need(x, "batch_norm", 2)
    name = name or gw.suggest("batch_norm")
    loops = loops_of(x.shape)
    c, over = loops[1], (loops[0], *loops[2:])
    mean, var = _moments(x[loops], (c,), over, name)
    if track_running_stats:
        mean, var = _running(name, mean, var, (c,), (), over, momentum)
    body = (x[loops] - mean[c]) / sympy.sqrt(var[c] + eps)
    return define_as(
        "batch_norm", loops, _affine(body, name, (c,), affine, affine and bias), name=name
    )


def instance_norm(
    x: Tensor,
    *,
    eps: float = 1e-5,
    momentum: float = 0.1,
    affine: bool = False,
    track_running_stats: bool = False,
    bias: bool = True,
    name: str | None = None,
) -> Tensor:
    """y[n, c, …] = (x[n, c, …] - mean[n, c]) / sqrt(var[n, c] + eps); options as `batch_norm`."""
    need(x, "instance_norm", 3)
    name = name or gw.suggest("instance_norm")
    loops = loops_of(x.shape)
    at, over = loops[:2], loops[2:]
    mean, var = _moments(x[loops], at, over, name)
    if track_running_stats:
        mean, var = _running(name, mean, var, at[1:], at[:1], over, momentum)
        at = at[-len(mean.shape) :]
    body = (x[loops] - mean[at]) / sympy.sqrt(var[at] + eps)
    return define_as(
        "instance_norm",
        loops,
        _affine(body, name, loops[1:2], affine, affine and bias),
        name=name,
    )


def group_norm(
    x: Tensor,
    num_groups: int,
    *,
    eps: float = 1e-5,
    affine: bool = True,
    bias: bool = True,
    name: str | None = None,
) -> Tensor:
    """y[n, c, …] = (x[n, c, …] - mean[n, g]) / sqrt(var[n, g] + eps) W[c] + b[c], g = c's group."""
    need(x, "group_norm", 2)
    (channels,) = fixed(x, (1,), "group_norm")
    if num_groups < 1 or channels % num_groups:
        refuse(f"group_norm() cannot part {channels} channels into {num_groups} groups", x)
    name, loops, members = (
        name or gw.suggest("group_norm"),
        loops_of(x.shape),
        channels // num_groups,
    )
    n, c, *places = loops
    g, k = gw.index("g", num_groups), gw.index("k", members)
    mean, var = _moments(x[(n, g * members + k, *places)], (n, g), (k, *places), name)
    body = (x[loops] - mean[n, c // members]) / sympy.sqrt(var[n, c // members] + eps)
    return define_as(
        "group_norm", loops, _affine(body, name, (c,), affine, affine and bias), name=name
    )


def layer_norm(
    x: Tensor,
    normalized_shape: Sizes = None,
    *,
    eps: float = 1e-5,
    elementwise_affine: bool = True,
    bias: bool = True,
    name: str | None = None,
) -> Tensor:
    """y[…, j] = (x[…, j] - mean[…]) / sqrt(var[…] + eps) W[j] + b[j], over the last dimensions.

        h = gw.layer_norm(x, name="ln")             # over the last dimension: ln.W and ln.b

    `normalized_shape` gives the sizes of those dimensions; the last one unless given.
    """
    rows, places = _last(x, normalized_shape, "layer_norm")
    name = name or gw.suggest("layer_norm")
    mean, var = _moments(x[(*rows, *places)], rows, places, name)
    body = (x[(*rows, *places)] - mean[rows]) / sympy.sqrt(var[rows] + eps)
    body = _affine(body, name, places, elementwise_affine, elementwise_affine and bias)
    return define_as("layer_norm", (*rows, *places), body, name=name)


def rms_norm(
    x: Tensor,
    normalized_shape: Sizes = None,
    *,
    eps: float | None = None,
    elementwise_affine: bool = True,
    name: str | None = None,
) -> Tensor:
    """y[…, j] = x[…, j] / sqrt(mean over k of x[…, k]**2 + eps) W[j].

    Without `eps` it is that of the floating type; `normalized_shape` as for `layer_norm`.
    """
    rows, places = _last(x, normalized_shape, "rms_norm")
    name = name or gw.suggest("rms_norm")
    eps = EPSILON[current().real] if eps is None else eps
    square = gw.mean(x[(*rows, *places)] ** 2, over=places)
    scale = gw.define(rows, 1 / sympy.sqrt(square + eps), name=part(name, "scale"))
    body = _affine(x[(*rows, *places)] * scale[rows], name, places, elementwise_affine, False)
    return define_as("rms_norm", (*rows, *places), body, name=name)


def _moments(
    term: Expr, at: tuple[Index, ...], over: tuple[Index, ...], name: str
) -> tuple[Tensor, Tensor]:
    """The mean of a term, and its (biased) variance."""
    mean = gw.define(at, gw.mean(term, over=over), name=part(name, "mean"))
    var = gw.define(at, gw.mean((term - mean[at]) ** 2, over=over), name=part(name, "var"))
    return mean, var


def _running(
    name: str,
    mean: Tensor,
    var: Tensor,
    at: tuple[Index, ...],
    rows: tuple[Index, ...],
    over: tuple[Index, ...],
    momentum: float | None,
) -> tuple[Tensor, Tensor]:
    """The statistics to normalise by. `rows` are those that mean and var have beside `at`."""
    shape = [int(str(i.extent)) for i in at]
    old = (
        gw.buffer(f"{name}.running_mean", shape),
        gw.buffer(f"{name}.running_var", shape, constant(1.0)),
    )
    step = sympy.Float(momentum) if momentum is not None else _share_of_one_more(name)
    if not gw.in_training():
        return old
    count = sympy.Mul(*(i.extent for i in over))
    news = mean[(*rows, *at)], var[(*rows, *at)] * count / sympy.Max(count - 1, 1)
    for buffer, new in zip(old, news, strict=True):
        new = gw.mean(new, over=rows) if rows else new
        gw.assign(buffer, at, (1 - step) * buffer[at] + step * new)
    return mean, var


def _share_of_one_more(name: str) -> Any:
    """1 / (batches so far + 1), counted in a buffer."""
    batches = gw.buffer(f"{name}.num_batches_tracked", ())
    if gw.in_training():
        gw.assign(batches, (), batches[()] + 1)
    return 1 / (batches[()] + 1)


def _affine(body: Expr, name: str, at: tuple[Index, ...], scale: bool, shift: bool) -> Expr:
    """body * W + b, with parameters of the shape of `at`."""
    shape = [int(str(i.extent)) for i in at]
    if scale:
        body *= gw.param(f"{name}.W", shape, constant(1.0))[at]
    return body + gw.param(f"{name}.b", shape, zeros())[at] if shift else body


def _last(x: Tensor, sizes: Sizes, op: str) -> tuple[tuple[Index, ...], tuple[Index, ...]]:
    """Loops over the rows, and over the last dimensions, which have these sizes."""
    need(x, op, 1)
    wanted = [x.shape[-1]] if sizes is None else [sizes] if isinstance(sizes, int) else list(sizes)
    if not wanted or list(x.shape[-len(wanted) :]) != wanted:
        refuse(f"{op}() over {wanted} does not fit {x!r}", x)
    fixed(x, range(-len(wanted), 0), op)
    loops = loops_of(x.shape)
    return loops[: -len(wanted)], loops[-len(wanted) :]
