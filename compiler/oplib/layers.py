"""Layers with parameters, and dropout: forward lines only, every gradient is derived."""

from __future__ import annotations

import sympy

from compiler import notation as gw
from compiler.initializers import Init, he_normal, normal, zeros
from compiler.notation import Tensor, define_as
from compiler.oplib.common import broadcast, here, loops_of, need, refuse, repeated
from ir.errors import GradwrightError, ShapeError


def dense(
    x: Tensor,
    features: int,
    *,
    name: str | None = None,
    bias: bool = True,
    init: Init | None = None,
) -> Tensor:
    """y[n, j] = sum over k of x[n, k] W[k, j] + b[j]; `linear` takes more dimensions.

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
    """y[…, j] = sum over k of x[…, k] W[k, j] + b[j]; parameters as for `dense`."""
    if not x.shape or not isinstance(x.shape[-1], int):
        raise ShapeError(f"linear() needs a last dimension of fixed size, got {x!r}", at=here())
    name = name or gw.suggest("linear")
    *rows, j, k = *loops_of(x.shape[:-1]), gw.index("j", features), gw.index("k", x.shape[-1])
    weight = gw.param(f"{name}.W", (x.shape[-1], features), init or he_normal())
    body = gw.sum(x[(*rows, k)] * weight[k, j], over=k)
    if bias:
        body += gw.param(f"{name}.b", features, zeros())[j]
    return gw.define((*rows, j), body, name=name)


def matmul(a: Tensor, b: Tensor, *, name: str | None = None) -> Tensor:
    """y[…, i, j] = sum over k of a[…, i, k] b[…, k, j]; dimensions in front are broadcast.

    As torch.matmul: a vector has no i, or no j.
    """
    need(a, "matmul", 1)
    need(b, "matmul", 1)
    inner = b.shape[-2:][0]
    if a.shape[-1] != inner:
        refuse(f"matmul() cannot multiply {a!r} by {b!r}", a, b)
    lead, k = loops_of(broadcast("matmul", a, b, last=2)), gw.index("k", inner)
    i = tuple(gw.index("i", size) for size in a.shape[-2:-1])
    j = tuple(gw.index("j", size) for size in b.shape[-1:][: len(b.shape) - 1])
    rows, columns = repeated(a.shape[:-2], lead), repeated(b.shape[:-2], lead)
    body = gw.sum(a[(*rows, *i, k)] * b[(*columns, k, *j)], over=k)
    return define_as("matmul", (*lead, *i, *j), body, name=name)


def dropout(x: Tensor, p: float = 0.5, *, name: str | None = None) -> Tensor:
    """x / (1 - p) where a uniform number is at least p, else 0; x itself in use and where p is 0.

    The numbers depend on the training state's seed and step and on the element, and are the same in
    every target.
    """
    if not 0 <= p <= 1:
        raise GradwrightError(f"dropout() needs a probability from 0 to 1, got {p!r}", at=here())
    if p == 0 or not gw.in_training():
        return x
    loops = loops_of(x.shape)
    kept = x[loops] / (1 - p) if p < 1 else sympy.S.Zero
    body = sympy.Piecewise((kept, gw.random(*loops) >= p), (0, True))
    return define_as("dropout", loops, body, name=name)


def embedding(
    ids: Tensor,
    num_embeddings: int,
    embedding_dim: int,
    *,
    padding_idx: int | None = None,
    name: str | None = None,
    init: Init | None = None,
) -> Tensor:
    """y[…, j] = W[ids[…], j]; ids are below `num_embeddings`, `padding_idx` reads as zeros.

    e = gw.embedding(tokens, 256, 64, name="token")     # parameter token.W of (256, 64)
    """
    if not ids.dtype.startswith("int"):
        refuse(f"embedding() needs an integer tensor, got {ids!r}", ids)
    name = name or gw.suggest("embedding")
    table = gw.param(f"{name}.W", (num_embeddings, embedding_dim), init or normal())
    *loops, j = *loops_of(ids.shape), gw.index("j", embedding_dim)
    row = ids[tuple(loops)]
    body = table[row, j]
    if padding_idx is not None:
        body = sympy.Piecewise((0, sympy.Eq(row, padding_idx % num_embeddings)), (body, True))
    return gw.define((*loops, j), body, name=name)
