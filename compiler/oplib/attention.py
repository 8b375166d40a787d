"""Attention: forward lines only. Names and defaults are PyTorch's, tensors are batch first.

    h = gw.multi_head_attention(x, 4, is_causal=True, name="attention")

A masked score becomes -1e30 before the softmax, so its weight is exactly 0 and no masked score can
overflow the sum. A row in which an integer mask hides everything gives zeros, as torch's; one that
real numbers or a padding hide everything of gives the mean of all values.
"""

from __future__ import annotations

from collections.abc import Sequence

import sympy
from sympy import Basic, Expr

from compiler import notation as gw
from compiler.initializers import normal
from compiler.notation import Tensor, define_as
from compiler.oplib.common import fixed, loops_of, need, part, refuse, repeated
from compiler.oplib.layers import dropout, linear
from ir.expression import Index
from ir.program import Shape, Size

MASKED = sympy.Float(-1e30)


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
    *,
    name: str | None = None,
) -> Tensor:
    """y[…, i, e] = sum over j of softmax(scale sum over d of q[…, i, d] k[…, j, d]) v[…, j, e].

        y = gw.scaled_dot_product_attention(q, k, v, is_causal=True)

    q is […, t, d], k […, s, d], v […, s, e]; the scale is 1 / sqrt(d) unless given. A real
    `attn_mask` of a shape that broadcasts to […, t, s] is added to the scores; in an integer one,
    0 masks a score. With `enable_gqa`, k and v have fewer heads (the third dimension from the end),
    each read by as many of q's in a row. Raises ShapeError where they do not fit.
    """
    name = name or gw.suggest("attention")
    for x in (query, key, value):
        need(x, "scaled_dot_product_attention", 2 + enable_gqa)
    if key.shape[-2] != value.shape[-2] or query.shape[-1] != key.shape[-1]:
        refuse(f"attention needs [t, d], [s, d], [s, e], got {query!r}, {key!r}, {value!r}", query)
    width, _ = fixed(query, (-1, -2), "attention")
    *rows, i, d = *loops_of(query.shape[:-1]), gw.index("d", width)
    keys, values = (_heads_of(x, query, rows, enable_gqa) for x in (key, value))
    j, e = gw.index("j", key.shape[-2]), gw.index("e", value.shape[-1])
    factor = 1 / sympy.sqrt(width) if scale is None else sympy.Float(scale)
    dots = gw.sum(query[(*rows, i, d)] * key[(*keys, j, d)], over=d) * factor
    score, seen = _masked(dots, (*rows, i, j), attn_mask, is_causal)
    scores = gw.define((*rows, i, j), score, name=part(name, "scores"))
    k = gw.index("k", key.shape[-2])
    total = gw.sum(sympy.exp(scores[(*rows, i, k)]), over=k)
    share = sympy.exp(scores[(*rows, i, j)]) / total
    if seen is not None:
        share = sympy.Piecewise((share, seen), (0, True))
    weights = gw.define((*rows, i, j), share, name=part(name, "weights"))
    weights = dropout(weights, dropout_p, name=part(name, "kept"))
    body = gw.sum(weights[(*rows, i, j)] * value[(*values, j, e)], over=j)
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
    add_bias_kv: bool = False,
    add_zero_attn: bool = False,
    name: str | None = None,
) -> Tensor:
    """Attention by `num_heads` heads between linear maps of the query, the key and the value.

        h = gw.multi_head_attention(x, 4, is_causal=True, name="attention")

    query is [rows, t, width]; key and value, [rows, s, …], are the query and the key unless given.
    `key_padding_mask`, integer [rows, s], is not 0 where a key is left out; `attn_mask` [t, s] or
    [rows, heads, t, s] as in `scaled_dot_product_attention`. `add_bias_kv` adds a learned key and
    value, `name.bias_k` and `name.bias_v`, `add_zero_attn` one of zeros; no mask hides those.
    Parameters `name.q.W`, `name.k.W`, `name.v.W`, `name.out.W` of (in, width), and their `b`.
    The weights themselves are not returned: torch's need_weights=False.
    """
    need(query, "multi_head_attention", 3, exactly=True)
    (width,) = fixed(query, (2,), "multi_head_attention")
    if num_heads < 1 or width % num_heads:
        refuse(f"multi_head_attention() cannot part {width} columns into {num_heads} heads", query)
    name, key = name or gw.suggest("attention"), query if key is None else key
    sources = {"q": query, "k": key, "v": key if value is None else value}
    made = {of: linear(x, width, bias=bias, name=f"{name}.{of}") for of, x in sources.items()}
    keys = made["k"].shape[1]
    if add_bias_kv or add_zero_attn:
        for of in "kv":
            made[of] = _longer(made[of], add_bias_kv, add_zero_attn, name, of)
    q, k, v = (_heads(x, num_heads, f"{name}_{of}") for of, x in made.items())
    hides = attn_mask is not None or is_causal
    if key_padding_mask is not None or (hides and k.shape[2] != keys):
        shape = (*q.shape[:3], k.shape[2])
        attn_mask = _joint(key_padding_mask, attn_mask, is_causal, shape, keys, name)
        is_causal = False
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


def _heads_of(
    x: Tensor, query: Tensor, rows: Sequence[Index], enable_gqa: bool
) -> tuple[Expr, ...]:
    """Where the rows of a key or a value stand that these rows of the query read."""
    if not enable_gqa:
        if x.shape[:-2] != query.shape[:-2]:
            refuse(f"attention needs the same rows in {query!r} and {x!r}", query, x)
        return tuple(rows)
    ours, theirs = (fixed(t, (-3,), "attention")[0] for t in (query, x))
    if x.shape[:-3] != query.shape[:-3] or ours % theirs:
        refuse(f"enable_gqa cannot share the heads of {x!r} among those of {query!r}", query, x)
    return (*rows[:-1], rows[-1] if ours == theirs else rows[-1] // (ours // theirs))


def _masked(
    score: Expr, at: tuple[Index, ...], mask: Tensor | None, is_causal: bool
) -> tuple[Expr, Basic | None]:
    """The score with what may not be seen at -1e30, and, where a row may see nothing, what may."""
    conditions = [at[-1] <= at[-2]] if is_causal else []
    sizes = [i.extent for i in at]
    integers = mask is not None and mask.dtype.startswith("int")
    if mask is not None and integers:
        conditions.append(sympy.Ne(_element(mask, at, sizes), 0))
    elif mask is not None:
        score += _element(mask, at, sizes)
    seen = sympy.And(*conditions)
    if conditions:
        score = sympy.Piecewise((score, seen), (MASKED, True))
    return score, seen if integers else None


def _element(mask: Tensor, at: tuple[Index, ...], sizes: Sequence[Size]) -> Expr:
    """The mask's element, broadcast to these sizes."""
    fits = zip(reversed(mask.shape), reversed(sizes), strict=False)
    if len(mask.shape) > len(at) or any(m not in (1, s) for m, s in fits):
        refuse(f"the mask {mask!r} does not broadcast to {list(sizes)}", mask)
    return mask[repeated(mask.shape, at)]


def _longer(x: Tensor, bias: bool, zero: bool, name: str, of: str) -> Tensor:
    """[rows, s, width] with a learned row behind it, and one of zeros."""
    (keys,) = fixed(x, (1,), "multi_head_attention")
    n, s, j = loops_of((x.shape[0], keys + bias + zero, x.shape[2]))
    pieces = [(x[n, s, j], s < keys)]
    if bias:
        learned = gw.param(f"{name}.bias_{of}", (int(str(x.shape[2])),), normal())
        pieces.append((learned[j], sympy.Eq(s, keys)))
    body = sympy.Piecewise(*pieces, (0, True))
    return gw.define((n, s, j), body, name=part(name, f"{of}_longer"))


def _joint(
    padding: Tensor | None,
    mask: Tensor | None,
    is_causal: bool,
    shape: Shape,
    keys: Size,
    name: str,
) -> Tensor:
    """One real mask [rows, heads, t, s] of all there is; keys behind the given ones are seen."""
    n, h, i, j = loops_of(shape)
    body: Expr = sympy.S.Zero
    conditions = [j <= i] if is_causal else []
    if padding is not None:
        if padding.shape != (shape[0], keys) or not padding.dtype.startswith("int"):
            refuse(f"key_padding_mask must be an integer [rows, keys], got {padding!r}", padding)
        conditions.append(sympy.Eq(padding[n, j], 0))
    if mask is not None:
        element = _element(mask, (n, h, i, j), (*shape[:3], keys))
        integers = mask.dtype.startswith("int")
        body = body if integers else element
        conditions += [sympy.Ne(element, 0)] if integers else []
    body = sympy.Piecewise((body, sympy.And(*conditions)), (MASKED, True)) if conditions else body
    if shape[3] != keys:
        body = sympy.Piecewise((body, j < keys), (0, True))
    return gw.define((n, h, i, j), body, name=part(name, "mask"))
