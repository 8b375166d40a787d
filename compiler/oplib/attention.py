"""Attention: forward lines only. Names and defaults are PyTorch's, tensors are batch first.

    h = gw.multi_head_attention(x, 4, is_causal=True, name="attention")

A masked score becomes -1e30 before the softmax, so its weight is exactly 0 and no masked score can
overflow the sum. A row in which everything is masked gives the mean of all values.
"""

from __future__ import annotations

import sympy
from sympy import Expr

from compiler import notation as gw
from compiler.notation import Tensor, define_as
from compiler.oplib.common import fixed, loops_of, need, part, refuse
from compiler.oplib.layers import dropout, linear
from ir.expression import Index
from ir.program import Shape

MASKED = sympy.Float(-1e30)


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    *,
    name: str | None = None,
) -> Tensor:
    """y[…, i, e] = sum over j of softmax(scale sum over d of q[…, i, d] k[…, j, d]) v[…, j, e].

        y = gw.scaled_dot_product_attention(q, k, v, is_causal=True)

    q is […, t, d], k […, s, d], v […, s, e]; the scale is 1 / sqrt(d) unless given. A real
    `attn_mask` of a shape that broadcasts to […, t, s] is added to the scores; in an integer one,
    0 masks a score. Raises ShapeError where they do not fit.
    """
    name = name or gw.suggest("attention")
    for x in (query, key, value):
        need(x, "scaled_dot_product_attention", 2)
    if (
        query.shape[:-2] != key.shape[:-2]
        or key.shape[:-1] != value.shape[:-1]
        or query.shape[-1] != key.shape[-1]
    ):
        refuse(f"attention needs [t, d], [s, d], [s, e], got {query!r}, {key!r}, {value!r}", query)
    width, _ = fixed(query, (-1, -2), "attention")
    *rows, i, d = *loops_of(query.shape[:-1]), gw.index("d", width)
    j, e = gw.index("j", key.shape[-2]), gw.index("e", value.shape[-1])
    factor = 1 / sympy.sqrt(width) if scale is None else sympy.Float(scale)
    dots = gw.sum(query[(*rows, i, d)] * key[(*rows, j, d)], over=d) * factor
    score = _masked(dots, (*rows, i, j), attn_mask, is_causal)
    scores = gw.define((*rows, i, j), score, name=part(name, "scores"))
    k = gw.index("k", key.shape[-2])
    total = gw.sum(sympy.exp(scores[(*rows, i, k)]), over=k)
    share = sympy.exp(scores[(*rows, i, j)]) / total
    weights = gw.define((*rows, i, j), share, name=part(name, "weights"))
    weights = dropout(weights, dropout_p, name=part(name, "kept"))
    body = gw.sum(weights[(*rows, i, j)] * value[(*rows, j, e)], over=j)
    return define_as("attention", (*rows, i, e), body, name=name)


def multi_head_attention(
    query: Tensor,
    num_heads: int,
    key: Tensor | None = None,
    value: Tensor | None = None,
    *,
    attn_mask: Tensor | None = None,
    key_padding_mask: Tensor | None = None,
    is_causal: bool = False,
    dropout: float = 0.0,
    bias: bool = True,
    name: str | None = None,
) -> Tensor:
    """Attention by `num_heads` heads between linear maps of the query, the key and the value.

        h = gw.multi_head_attention(x, 4, is_causal=True, name="attention")

    query is [rows, t, width]; key and value, [rows, s, …], are the query and the key unless given.
    `key_padding_mask`, integer [rows, s], is not 0 where a key is left out; `attn_mask` [t, s] or
    [rows, heads, t, s] as in `scaled_dot_product_attention`. Parameters `name.q.W`, `name.k.W`,
    `name.v.W`, `name.out.W` of (in, width), and their `b`.
    """
    need(query, "multi_head_attention", 3, exactly=True)
    (width,) = fixed(query, (2,), "multi_head_attention")
    if num_heads < 1 or width % num_heads:
        refuse(f"multi_head_attention() cannot part {width} columns into {num_heads} heads", query)
    name, key = name or gw.suggest("attention"), query if key is None else key
    sources = {"q": query, "k": key, "v": key if value is None else value}
    q, k, v = (
        _heads(linear(x, width, bias=bias, name=f"{name}.{of}"), num_heads, f"{name}_{of}")
        for of, x in sources.items()
    )
    if key_padding_mask is not None:
        attn_mask = _both(key_padding_mask, attn_mask, (*q.shape[:3], k.shape[2]), name)
    y = scaled_dot_product_attention(
        q, k, v, attn_mask, dropout, is_causal, name=part(name, "mixed")
    )
    n, t, j = loops_of(query.shape)
    size = width // num_heads
    joined = gw.define((n, t, j), y[n, j // size, t, j % size], name=part(name, "joined"))
    return linear(joined, width, bias=bias, name=f"{name}.out")


def _heads(x: Tensor, heads: int, name: str) -> Tensor:
    """[rows, t, heads * d] to [rows, heads, t, d]."""
    size = int(str(x.shape[2])) // heads
    n, h, t, d = loops_of((x.shape[0], heads, x.shape[1], size))
    return gw.define((n, h, t, d), x[n, t, h * size + d], name=part(name, "heads"))


def _masked(score: Expr, at: tuple[Index, ...], mask: Tensor | None, is_causal: bool) -> Expr:
    """The score with what may not be seen at -1e30, and a real mask added."""
    if is_causal:
        score = sympy.Piecewise((score, at[-1] <= at[-2]), (MASKED, True))
    return score if mask is None else _with_mask(score, mask, at)


def _with_mask(score: Expr, mask: Tensor, at: tuple[Index, ...]) -> Expr:
    sizes = [i.extent for i in at]
    if len(mask.shape) > len(at) or any(
        m not in (1, s) for m, s in zip(reversed(mask.shape), reversed(sizes), strict=False)
    ):
        refuse(f"the mask {mask!r} does not broadcast to {sizes}", mask)
    mine = zip(mask.shape, at[len(at) - len(mask.shape) :], strict=True)
    element = mask[tuple(0 if s == 1 else i for s, i in mine)]
    if mask.dtype.startswith("int"):
        return sympy.Piecewise((score, sympy.Ne(element, 0)), (MASKED, True))
    return score + element


def _both(padding: Tensor, mask: Tensor | None, shape: Shape, name: str) -> Tensor:
    """One real mask of the shape [rows, heads, t, s]: the padding's, and the other added."""
    if padding.shape != (shape[0], shape[3]) or not padding.dtype.startswith("int"):
        refuse(f"key_padding_mask must be an integer [rows, keys], got {padding!r}", padding)
    n, h, i, j = loops_of(shape)
    body = sympy.Piecewise((MASKED, sympy.Ne(padding[n, j], 0)), (0, True))
    if mask is not None:
        body = _with_mask(body, mask, (n, h, i, j))
    return gw.define((n, h, i, j), body, name=part(name, "mask"))
