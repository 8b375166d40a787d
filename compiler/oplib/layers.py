"""Layers with parameters: forward lines only, every gradient is derived."""

from __future__ import annotations

from compiler import notation as gw
from compiler.initializers import Init, he_normal, zeros
from compiler.notation import Tensor
from compiler.oplib.common import here, loops_of
from ir.errors import ShapeError


def dense(
    x: Tensor,
    features: int,
    *,
    name: str | None = None,
    bias: bool = True,
    init: Init | None = None,
) -> Tensor:
    """y[n, j] = sum over k of x[n, k] W[k, j] + b[j], a vector a row; `linear` takes further dimensions.

    Parameters `name.W` of (in, features) and `name.b` of (features,).
    Raises ShapeError unless x is [rows, in] with an integer `in`.
    """
    if len(x.shape) != 2:
        raise ShapeError(
            f"dense() needs a vector per row, got {x!r}",
            at=here(),
            notes=(x.provenance(),),
            fix=f"put gw.flatten({x.name}) before it",
        )
    return linear(x, features, name=name or gw.suggest("dense"), bias=bias, init=init)


def linear(
    x: Tensor,
    features: int,
    *,
    name: str | None = None,
    bias: bool = True,
    init: Init | None = None,
) -> Tensor:
    """y[…, j] = sum over k of x[…, k] W[k, j] + b[j], as torch.nn.Linear; parameters as for `dense`."""
    if not x.shape or not isinstance(x.shape[-1], int):
        raise ShapeError(f"linear() needs a last dimension of fixed size, got {x!r}", at=here())
    name = name or gw.suggest("linear")
    *rows, j, k = *loops_of(x.shape[:-1]), gw.index("j", features), gw.index("k", x.shape[-1])
    weight = gw.param(f"{name}.W", (x.shape[-1], features), init or he_normal())
    body = gw.sum(x[(*rows, k)] * weight[k, j], over=k)
    if bias:
        body += gw.param(f"{name}.b", features, zeros())[j]
    return gw.define((*rows, j), body, name=name)
