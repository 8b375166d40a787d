"""PyTorch's own operations for benchmarks/models.py."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

relu, gelu = F.relu, F.gelu


def dense(x: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
    return F.linear(x, w.t(), b)


def conv(x: Tensor, w: Tensor, b: Tensor, padding: int) -> Tensor:
    return F.conv2d(x, w, b, padding=padding)


def pool(x: Tensor) -> Tensor:
    return F.max_pool2d(x, 2)


def flatten(x: Tensor) -> Tensor:
    return x.flatten(1)


def embed(table: Tensor, tokens: Tensor) -> Tensor:
    return F.embedding(tokens, table)


def norm(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], w, b)


def attention(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    split = [t.unflatten(-1, (heads, -1)).transpose(1, 2) for t in (q, k, v)]
    return F.scaled_dot_product_attention(*split, is_causal=True).transpose(1, 2).flatten(2)


def cross_entropy(logits: Tensor, label: Tensor) -> Tensor:
    return F.cross_entropy(logits.flatten(0, -2), label.flatten())


def tensor(array: object) -> Tensor:
    """A tensor of its own, integers as PyTorch wants its labels."""
    made = torch.tensor(array)
    return made if made.is_floating_point() else made.long()
