"""Activations, softmax and its logarithm: forward lines only, with PyTorch's names and defaults.

    h = gw.gelu(gw.dense(x, 100, name="fc1"), approximate="tanh")

Maps take a tensor of any shape. `softmax` and `log_softmax` work along one axis; along several at
once, flatten them first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import sympy
from sympy import Expr

from compiler import notation as gw
from compiler.initializers import constant
from compiler.notation import Tensor, define_as, elementwise
from compiler.oplib.common import along, axis_of, here, loops_of
from compiler.oplib.options import choice, number
from ir.errors import ShapeError

Approximation = Literal["none", "tanh"]
# Klambauer et al., 2017: the fixed point of mean 0 and variance 1.
_SELU_ALPHA, _SELU_SCALE = sympy.Float(1.6732632423543772), sympy.Float(1.0507009873554805)


def relu(x: Tensor, *, name: str | None = None) -> Tensor:
    """max(x, 0); the derivative at 0 is 0, and NaN stays NaN."""
    return elementwise(lambda v: sympy.Max(v, 0), x, op="relu", name=name)


def relu6(x: Tensor, *, name: str | None = None) -> Tensor:
    """min(max(x, 0), 6); the derivative is 0 at both ends."""
    return elementwise(_relu6, x, op="relu6", name=name)


def leaky_relu(x: Tensor, negative_slope: float = 0.01, *, name: str | None = None) -> Tensor:
    """x where x > 0, else negative_slope * x."""
    slope = number(negative_slope, "negative_slope")
    return elementwise(lambda v: _right_of_0(v, slope * v), x, op="leaky_relu", name=name)


def prelu(
    x: Tensor, num_parameters: int = 1, *, init: float = 0.25, name: str | None = None
) -> Tensor:
    """x where x > 0, else a * x: a parameter `name.a`, one, or one for each of dimension 1."""
    if num_parameters not in (1, *x.shape[1:2]):
        raise ShapeError(
            f"prelu() of {x!r} has 1 slope, or one a channel, not {num_parameters}", at=here()
        )
    name = name or gw.suggest("prelu")
    trailing = (1,) * (len(x.shape) - 2) if num_parameters > 1 else ()
    slope = gw.param(f"{name}.a", (num_parameters, *trailing), constant(init))
    return elementwise(lambda v, a: _right_of_0(v, a * v), x, slope, op="prelu", name=name)


def elu(x: Tensor, alpha: float = 1.0, *, name: str | None = None) -> Tensor:
    """x where x > 0, else alpha * (exp(x) - 1)."""
    a = number(alpha, "alpha")
    return elementwise(lambda v: _elu(v, a, 1), x, op="elu", name=name)


def selu(x: Tensor, *, name: str | None = None) -> Tensor:
    """1.0507… * (x where x > 0, else 1.6733… * (exp(x) - 1))."""
    return elementwise(lambda v: _SELU_SCALE * _elu(v, _SELU_ALPHA, 1), x, op="selu", name=name)


def celu(x: Tensor, alpha: float = 1.0, *, name: str | None = None) -> Tensor:
    """x where x > 0, else alpha * (exp(x / alpha) - 1)."""
    a = number(alpha, "alpha", not_zero=True)
    return elementwise(lambda v: _elu(v, a, a), x, op="celu", name=name)


def gelu(x: Tensor, approximate: Approximation = "none", *, name: str | None = None) -> Tensor:
    """x Φ(x), with Φ the normal distribution function, or its approximation by tanh."""
    exact = choice(approximate, "approximate", ("none", "tanh")) == "none"
    body = _gelu_exact if exact else _gelu_tanh
    return elementwise(body, x, op="gelu", name=name)


def silu(x: Tensor, *, name: str | None = None) -> Tensor:
    """x * sigmoid(x), also called swish."""
    return elementwise(lambda v: v / (1 + sympy.exp(-v)), x, op="silu", name=name)


def mish(x: Tensor, *, name: str | None = None) -> Tensor:
    """x * tanh(log(1 + exp(x)))."""
    return elementwise(
        lambda v: v * sympy.tanh(sympy.log(1 + sympy.exp(v))), x, op="mish", name=name
    )


def sigmoid(x: Tensor, *, name: str | None = None) -> Tensor:
    """1 / (1 + exp(-x))."""
    return elementwise(lambda v: 1 / (1 + sympy.exp(-v)), x, op="sigmoid", name=name)


def log_sigmoid(x: Tensor, *, name: str | None = None) -> Tensor:
    """-log(1 + exp(-x))."""
    return elementwise(lambda v: -sympy.log(1 + sympy.exp(-v)), x, op="log_sigmoid", name=name)


def hardsigmoid(x: Tensor, *, name: str | None = None) -> Tensor:
    """relu6(x + 3) / 6."""
    return elementwise(lambda v: _relu6(v + 3) / 6, x, op="hardsigmoid", name=name)


def hardswish(x: Tensor, *, name: str | None = None) -> Tensor:
    """x * relu6(x + 3) / 6."""
    return elementwise(lambda v: v * _relu6(v + 3) / 6, x, op="hardswish", name=name)


def tanh(x: Tensor, *, name: str | None = None) -> Tensor:
    """The hyperbolic tangent."""
    return elementwise(sympy.tanh, x, op="tanh", name=name)


def softplus(
    x: Tensor, beta: float = 1.0, threshold: float = 20.0, *, name: str | None = None
) -> Tensor:
    """log(1 + exp(beta * x)) / beta, and x itself where beta * x > threshold."""
    b, t = number(beta, "beta", not_zero=True), number(threshold, "threshold")
    return elementwise(
        lambda v: sympy.Piecewise((v, b * v > t), (sympy.log(1 + sympy.exp(b * v)) / b, True)),
        x,
        op="softplus",
        name=name,
    )


def softsign(x: Tensor, *, name: str | None = None) -> Tensor:
    """x / (1 + |x|)."""
    return elementwise(lambda v: v / (1 + sympy.Abs(v)), x, op="softsign", name=name)


def softmax(x: Tensor, *, axis: int = -1, name: str | None = None) -> Tensor:
    """exp(x[…, j]) / sum over k of exp(x[…, k])."""
    loops, other, k = along(x, axis, "softmax")
    body = sympy.exp(x[loops]) / gw.sum(sympy.exp(x[other]), over=k)
    return define_as("softmax", loops, body, name=name)


def log_softmax(x: Tensor, *, axis: int = -1, name: str | None = None) -> Tensor:
    """x[…, j] - log(sum over k of exp(x[…, k]))."""
    loops, other, k = along(x, axis, "log_softmax")
    body = x[loops] - sympy.log(gw.sum(sympy.exp(x[other]), over=k))
    return define_as("log_softmax", loops, body, name=name)


def logsumexp(
    x: Tensor, *, axis: int | Sequence[int] = -1, keepdim: bool = False, name: str | None = None
) -> Tensor:
    """log(sum over k of exp(x[…, k])): the axis, or each of several, goes or stays with size 1."""
    axes = [axis] if isinstance(axis, int) else list(axis)
    gone = {axis_of(x, a, "logsumexp") for a in axes}
    loops = loops_of(x.shape)
    kept = [gw.index(f"one{d}", 1) if d in gone else i for d, i in enumerate(loops)]
    kept = [i for d, i in enumerate(kept) if keepdim or d not in gone]
    total = gw.sum(sympy.exp(x[loops]), over=[loops[d] for d in sorted(gone)])
    return define_as("logsumexp", tuple(kept), sympy.log(total), name=name)


def _right_of_0(v: Expr, otherwise: Expr) -> Expr:
    return sympy.Piecewise((v, v > 0), (otherwise, True))


def _relu6(v: Expr) -> Expr:
    return sympy.Piecewise((0, v <= 0), (6, v >= 6), (v, True))


def _elu(v: Expr, scale: Expr, width: Expr) -> Expr:
    return _right_of_0(v, scale * (sympy.exp(v / width) - 1))


def _gelu_exact(v: Expr) -> Expr:
    return v * (1 + sympy.erf(v / sympy.sqrt(2))) / 2


def _gelu_tanh(v: Expr) -> Expr:
    inner = sympy.sqrt(2 / sympy.pi) * (v + sympy.Float(0.044715) * v**3)
    return v * (1 + sympy.tanh(inner)) / 2
