"""Bare index notation against JAX in float64: every tensor's gradient under a random cotangent.

Each case is a line of index notation and the same function as JAX writes it, with its own
convolutions, scans and gathers. The error is the largest deviation over the largest gradient.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy
from jax import lax

import gradwright as gw

jax.config.update("jax_enable_x64", True)

LIMIT = 1e-10
Define = Callable[..., gw.Tensor]
Record = Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class Case:
    """`line` takes a Tensor for each shape of `shapes` and defines the result."""

    name: str
    kind: str
    shapes: tuple[tuple[int, ...], ...]
    line: Callable[..., gw.Tensor]
    peer: Callable[..., jax.Array]
    positive: bool = False


CASES: list[Case] = []


def case(name: str, kind: str, *shapes: tuple[int, ...], peer: Callable[..., jax.Array]) -> Define:
    def add(line: Define) -> Define:
        CASES.append(Case(name, kind, shapes, line, peer))
        return line

    return add


def taps(size: int, window: int, stride: int, dilation: int, padding: int) -> int:
    return (size + 2 * padding - dilation * (window - 1) - 1) // stride + 1


def conv1d(stride: int, dilation: int, padding: int) -> None:
    out = taps(11, 3, stride, dilation, padding)

    def peer(x: jax.Array, w: jax.Array) -> jax.Array:
        around = [(padding, padding)]
        made = lax.conv_general_dilated(x[None], w, (stride,), around, rhs_dilation=(dilation,))
        return made[0]

    @case(f"conv1d-s{stride}d{dilation}p{padding}", "conv1d", (2, 11), (4, 2, 3), peer=peer)
    def line(x: gw.Tensor, w: gw.Tensor) -> gw.Tensor:
        f, c, p, r = gw.index("f", 4), gw.index("c", 2), gw.index("p", out), gw.index("r", 3)
        term = x[c, stride * p + dilation * r - padding] * w[f, c, r]
        return gw.define((f, p), gw.sum(term, over=(c, r)), name="y")


def conv2d(stride: int, dilation: int, padding: int) -> None:
    high, wide = taps(8, 3, stride, dilation, padding), taps(9, 2, stride, dilation, padding)

    def peer(x: jax.Array, w: jax.Array) -> jax.Array:
        around = [(padding, padding)] * 2
        steps, apart = (stride, stride), (dilation, dilation)
        return lax.conv_general_dilated(x, w, steps, around, rhs_dilation=apart)

    @case(f"conv2d-s{stride}d{dilation}p{padding}", "conv2d", (2, 2, 8, 9), (3, 2, 3, 2), peer=peer)
    def line(x: gw.Tensor, w: gw.Tensor) -> gw.Tensor:
        n, f, c = gw.index("n", 2), gw.index("f", 3), gw.index("c", 2)
        p, q, r, s = gw.index("p", high), gw.index("q", wide), gw.index("r", 3), gw.index("s", 2)
        row, column = stride * p + dilation * r - padding, stride * q + dilation * s - padding
        term = x[n, c, row, column] * w[f, c, r, s]
        return gw.define((n, f, p, q), gw.sum(term, over=(c, r, s)), name="y")


for options in itertools.product((1, 2, 3), (1, 2, 3), (0, 1, 2)):
    conv1d(*options)
for options in ((1, 1, 0), (2, 1, 1), (3, 2, 2), (2, 3, 1), (3, 1, 0)):
    conv2d(*options)


def windows(x: jax.Array) -> jax.Array:
    return lax.reduce_window(x, -jnp.inf, lax.max, (3,), (2,), ((1, 1),))


@case("overlapping max pool", "pool", (12,), peer=windows)
def max_pool(x: gw.Tensor) -> gw.Tensor:
    p, r = gw.index("p", taps(12, 3, 2, 1, 1)), gw.index("r", 3)
    return gw.define(p, gw.max(x[2 * p + r - 1], over=r), name="y")


@case("cumulative sum", "scan", (9, 3), peer=lambda x: jnp.cumsum(x, axis=0))
def cumsum(x: gw.Tensor) -> gw.Tensor:
    t, j = gw.index("t", 9), gw.index("j", 3)

    def line(c: gw.Tensor) -> sympy.Expr:
        return sympy.Piecewise((x[0, j], sympy.Eq(t, 0)), (c[t - 1, j] + x[t, j], True))

    return gw.define((t, j), line, name="c")


@case("cumulative product", "scan", (7,), peer=jnp.cumprod)
def cumprod(x: gw.Tensor) -> gw.Tensor:
    t = gw.index("t", 7)

    def line(c: gw.Tensor) -> sympy.Expr:
        return sympy.Piecewise((x[0], sympy.Eq(t, 0)), (c[t - 1] * x[t], True))

    return gw.define(t, line, name="c")


def recurrent(x: jax.Array, w: jax.Array) -> jax.Array:
    def step(h: jax.Array, row: jax.Array) -> tuple[jax.Array, jax.Array]:
        h = jnp.tanh(h @ w + row)
        return h, h

    return lax.scan(step, jnp.zeros(3), x)[1]


@case("recurrent layer", "scan", (6, 3), (3, 3), peer=recurrent)
def recurrence(x: gw.Tensor, w: gw.Tensor) -> gw.Tensor:
    t, j, k = gw.index("t", 6), gw.index("j", 3), gw.index("k", 3)

    def line(h: gw.Tensor) -> sympy.Expr:
        before = gw.sum(h[t - 1, k] * w[k, j], over=k)
        first = sympy.tanh(x[0, j])
        return sympy.Piecewise((first, sympy.Eq(t, 0)), (sympy.tanh(before + x[t, j]), True))

    return gw.define((t, j), line, name="h")


@case("diagonal", "access", (5, 5), peer=lambda x: jnp.diagonal(x) ** 2)
def diagonal(x: gw.Tensor) -> gw.Tensor:
    i = gw.index("i", 5)
    return gw.define(i, x[i, i] ** 2, name="y")


@case("reshape", "access", (4, 6), (8, 2), peer=lambda x, w: x.reshape(3, 8) @ w)
def reshape(x: gw.Tensor, w: gw.Tensor) -> gw.Tensor:
    a, b, j = gw.index("a", 3), gw.index("b", 8), gw.index("j", 2)
    flat = 8 * a + b
    return gw.define((a, j), gw.sum(x[flat // 6, flat % 6] * w[b, j], over=b), name="y")


@case("concatenation", "access", (3,), (4,), peer=lambda x, y: jnp.concatenate([x, y]) ** 3)
def concatenation(x: gw.Tensor, y: gw.Tensor) -> gw.Tensor:
    i = gw.index("i", 7)
    return gw.define(i, sympy.Piecewise((x[i], i < 3), (y[i - 3], True)) ** 3, name="z")


def causal(q: jax.Array, k: jax.Array) -> jax.Array:
    scores = jnp.where(jnp.tril(jnp.ones((5, 5), bool)), q @ k.T, -1e9)
    return jax.nn.softmax(scores, axis=1)


@case("causal softmax", "mask", (5, 3), (5, 3), peer=causal)
def causal_softmax(q: gw.Tensor, k: gw.Tensor) -> gw.Tensor:
    i, j, l, d = gw.index("i", 5), gw.index("j", 5), gw.index("l", 5), gw.index("d", 3)
    s = gw.define((i, j), gw.sum(q[i, d] * k[j, d], over=d), name="s")
    e = gw.define((i, j), sympy.Piecewise((sympy.exp(s[i, j]), j <= i), (0, True)), name="e")
    return gw.define((i, j), e[i, j] / gw.sum(e[i, l], over=l), name="p")


@case("nested reductions", "nested", (4, 5), peer=lambda x: jnp.sum(x * x.max(1, keepdims=True), 0))
def nested(x: gw.Tensor) -> gw.Tensor:
    i, j, k = gw.index("i", 4), gw.index("j", 5), gw.index("k", 5)
    return gw.define(j, gw.sum(x[i, j] * gw.max(x[i, k], over=k), over=i), name="y")


def gradients(
    one: Case, target: str, arrays: list[np.ndarray], cotangent: np.ndarray, out: Path
) -> list[np.ndarray]:
    """Ours: the arrays are parameters, and the loss is the sum of cotangent times result."""

    def body():
        tensors = [gw.param(f"p{i}", a.shape, gw.constant(a)) for i, a in enumerate(arrays)]
        y = one.line(*tensors)
        c = gw.param("cotangent", cotangent.shape, gw.constant(cotangent))
        loops = tuple(gw.index(f"o{d}", size) for d, size in enumerate(cotangent.shape))
        loss = gw.define((), gw.sum(c[loops] * y[loops], over=loops), name="loss")
        return gw.outputs(loss=loss)

    model = gw.compile(gw.network(body), target=target, dtype="float64", out=str(out))
    _, grads = model.value_and_grad(model.init_params())
    return list(grads.values())[: len(arrays)]


@pytest.mark.parametrize("target", ["numpy", "c"])
@pytest.mark.parametrize("one", CASES, ids=lambda one: one.name)
def test_gradient(one: Case, target: str, tmp_path: Path, record: Record) -> None:
    rng = np.random.default_rng(len(one.name))
    arrays = [rng.normal(size=shape) for shape in one.shapes]
    cotangent = rng.normal(size=one.peer(*arrays).shape)

    def loss(*tensors: jax.Array) -> jax.Array:
        return jnp.sum(cotangent * one.peer(*tensors))

    expected = jax.grad(loss, argnums=tuple(range(len(arrays))))(*map(jnp.asarray, arrays))
    found = gradients(one, target, arrays, cotangent, tmp_path)
    for ours, theirs in zip(found, expected, strict=True):
        scale = abs(np.asarray(theirs)).max()
        assert scale > 0
        error = float(abs(ours - np.asarray(theirs)).max() / scale)
        record(f"{one.kind}, {target} target against JAX", error)
        assert error <= LIMIT


def test_gather(tmp_path: Path, record: Record) -> None:
    """Rows picked by an integer input, some of them twice, some never."""
    rows, table = (
        np.array([4, 0, 4, 2], dtype=np.int32),
        np.random.default_rng(1).normal(size=(6, 3)),
    )

    @gw.network
    def embedding(row: gw.i32[4]):
        e = gw.param("e", (6, 3), gw.constant(table))
        t, j = gw.indices("t j")
        y = gw.define((t, j), e[row[t], j] ** 3, name="y")
        return gw.outputs(loss=gw.define((), gw.sum(y[t, j], over=(t, j)), name="loss"))

    model = gw.compile(embedding, target="numpy", dtype="float64", out=str(tmp_path))
    found = model.value_and_grad(model.init_params(), rows)[1]["e"]
    expected = np.asarray(jax.grad(lambda e: jnp.sum(e[rows] ** 3))(jnp.asarray(table)))
    assert np.any(expected)
    error = float(abs(found - expected).max() / abs(expected).max())
    record("gather against JAX", error)
    assert error <= LIMIT
