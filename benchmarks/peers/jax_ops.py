"""JAX's own operations for benchmarks/models.py."""

from __future__ import annotations

import jax
from jax import Array, lax
from jax import numpy as jnp

relu = jax.nn.relu


def gelu(x: Array) -> Array:
    return jax.nn.gelu(x, approximate=False)


def dense(x: Array, w: Array, b: Array | None) -> Array:
    return x @ w if b is None else x @ w + b


def conv(x: Array, w: Array, b: Array, padding: int) -> Array:
    edges = [(padding, padding)] * 2
    y = lax.conv_general_dilated(x, w, (1, 1), edges, dimension_numbers=("NCHW", "OIHW", "NCHW"))
    return y + b[:, None, None]


def pool(x: Array) -> Array:
    window = (1, 1, 2, 2)
    return lax.reduce_window(x, -jnp.inf, lax.max, window, window, "VALID")


def flatten(x: Array) -> Array:
    return x.reshape(x.shape[0], -1)


def embed(table: Array, tokens: Array) -> Array:
    return table[tokens]


def norm(x: Array, w: Array, b: Array) -> Array:
    return jax.nn.standardize(x, epsilon=1e-5) * w + b


def attention(q: Array, k: Array, v: Array, heads: int) -> Array:
    split = [t.reshape(*t.shape[:-1], heads, -1) for t in (q, k, v)]
    return jax.nn.dot_product_attention(*split, is_causal=True).reshape(q.shape)


def cross_entropy(logits: Array, label: Array) -> Array:
    chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), label[..., None], axis=-1)
    return -chosen.mean()
