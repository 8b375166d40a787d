"""One table of index-notation cases; every property of differentiation runs over it.

Each case is a network whose loss is a weighted sum of one output, so that its gradients are a
vector-Jacobian product with a dense cotangent. `CASES` maps a name to a function that makes it.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
import sympy
from sympy import Eq, Piecewise

import gradwright as gw

CASES: dict[str, Callable[[], gw.Network]] = {}


def case(function: Callable[..., gw.Tensor]) -> Callable[..., gw.Tensor]:
    """Register a function that defines one output from parameters it makes."""
    CASES[function.__name__] = lambda: as_network(function)
    return function


def as_network(define_output: Callable[[], gw.Tensor]) -> gw.Network:
    """A network with loss = sum of output * weight, weights fixed and different everywhere."""

    @gw.network
    def checked():
        y = define_output()
        shape = tuple(int(s) for s in y.shape)
        weights = np.sin(1.0 + np.arange(int(np.prod(shape)))).reshape(shape)
        c = gw.param("cotangent", shape, gw.constant(weights), trainable=False)
        loops = tuple(gw.index(f"z{i}", s) for i, s in enumerate(shape))
        body = y[loops] * c[loops]
        return gw.outputs(loss=gw.define((), gw.sum(body, over=loops) if loops else body), y=y)

    return checked


def normal(name: str, *shape: int) -> gw.Tensor:
    return gw.param(name, shape, gw.normal())


@case
def matmul():
    a, b = normal("a", 3, 4), normal("b", 4, 5)
    i, j, k = gw.indices("i j k")
    return gw.define((i, j), gw.sum(a[i, k] * b[k, j], over=k))


@case
def sum_and_maximum_of_the_same():
    x = normal("x", 3, 4)
    i, k = gw.index("i", 3), gw.index("k", 4)
    total = gw.define((i,), gw.sum(x[i, k], over=k))
    return gw.define((i,), total[i] + 3 * gw.max(x[i, k], over=k))


@case
def divided_by_windows_that_leave():
    x, i, j, r = normal("x", 5, 5), gw.index("i", 5), gw.index("j", 5), gw.index("r", 5)
    total = gw.define((i, j), gw.sum(sympy.exp(x[(i + j) % 5, r]), over=r))
    return gw.define((i, j), sympy.tanh(sympy.exp(x[(i + j) % 5, i]) / total[i, j]))


@case
def halves_where_something_else_is_even():
    x, w = normal("x", 5), normal("w", 4, 3)
    u, r, q = gw.index("u", 6), gw.index("r", 4), gw.index("q", 3)
    term = x[(u + r) // 2] * w[r, q]
    return gw.define((u,), gw.sum(Piecewise((term, Eq((u + q) % 2, 0)), (0, True)), over=(r, q)))


@case
def every_other_of_more_than_is_read():
    h, x, s = normal("h", 17), normal("x", 3, 6), gw.index("s", 3)
    return gw.define((), gw.sum(h[2 * s - 2] * x[s, 2 * s], over=s))


@case
def every_other_up_to_the_last():
    h, x, s = normal("h", 17), normal("x", 3, 5), gw.index("s", 3)
    return gw.define((), gw.sum(h[2 * s] * x[s, 2 * s], over=s))


@case
def a_number_beside_its_rest_and_its_half():
    x, y, s = normal("x", 6, 8), normal("y", 8, 4), gw.index("s", 8)
    return gw.define((), gw.max(x[s % 6, s] * y[s, s // 2], over=s))


@case
def quarters_where_halves_are_in_bounds():
    x, w, r = normal("x", 9), normal("w", 2, 3), gw.index("r", 4)
    j = gw.index("j", 3)
    return gw.define((j,), gw.sum(x[2 * r - 1] * w[r // 2, j], over=r))


@case
def larger_of_a_square_and_an_exponential():
    x, i = normal("x", 6), gw.index("i", 6)
    return gw.define((i,), sympy.Max(x[i] ** 2, sympy.log(1 + sympy.exp(2 * x[i]))))


@case
def derivatives_by_their_own_values():
    x, i = normal("x", 5), gw.index("i", 5)
    made = [
        1 / (2 - sympy.tanh(x[i])),
        1 + 2 * sympy.exp(x[i]),
        (sympy.exp(x[i]) - 1) / (sympy.exp(x[i]) + 3),
    ]
    first, second, third = (gw.define((i,), value) for value in made)
    return gw.define((i,), first[i] * 2 - second[i] + third[i] * first[i])


@case
def integers_read_past_the_end_where_guarded():
    signs = np.sin(1.0 + np.arange(30)).reshape(3, 5, 2)
    x, table = normal("x", 3, 6), gw.param("table", (3, 5, 2), gw.constant(signs), trainable=False)
    n, h, k, c = gw.index("n", 3), gw.index("h", 2), gw.index("k", 6), gw.index("c", 2)
    m = gw.index("m", 5)
    place = gw.define((n, m), gw.argmax(table[n, m, c], over=c))
    kept = Piecewise((Piecewise((1, Eq(place[n, k], 0)), (-2, True)), k < 5), (3, True))
    return gw.define((n, h, k), x[n, k] * kept * (h + 1))


@case
def matmul_of_transposes():
    a, b = normal("a", 4, 3), normal("b", 5, 4)
    i, j, k = gw.indices("i j k")
    return gw.define((j, i), gw.sum(a[k, i] * b[j, k], over=k))


@case
def batched_matmul():
    a, b = normal("a", 2, 3, 4), normal("b", 2, 4, 2)
    n, i, j, k = gw.indices("n i j k")
    return gw.define((n, i, j), gw.sum(a[n, i, k] * b[n, k, j], over=k))


@case
def broadcast():
    a, b = normal("a", 3), normal("b", 4)
    i, j = gw.indices("i j")
    return gw.define((i, j), a[i] * b[j] + a[i])


@case
def broadcast_to_unused_index():
    a = normal("a", 3)
    i = gw.indices("i")
    return gw.define((i, gw.index("j", 4)), a[i] ** 2)


@case
def diagonal():
    a = normal("a", 4, 4)
    i = gw.indices("i")
    return gw.define(i, a[i, i] ** 2)


@case
def trace():
    a = normal("a", 4, 4)
    i = gw.indices("i")
    return gw.define((), gw.sum(a[i, i] ** 2, over=i))


@case
def symmetric_product():
    a = normal("a", 3, 3)
    i, j = gw.indices("i j")
    return gw.define((i, j), a[i, j] * a[j, i])


@case
def reversal():
    a = normal("a", 5)
    i = gw.index("i", 5)
    return gw.define(i, a[4 - i] * a[i])


@case
def one_element():
    a = normal("a", 5)
    i = gw.index("i", 3)
    return gw.define(i, a[2] * a[i])


@case
def stride_and_offset():
    a = normal("a", 11)
    i = gw.index("i", 5)
    return gw.define(i, a[2 * i + 1] ** 2)


@case
def anti_diagonals():
    a, b = normal("a", 4), normal("b", 3)
    i, j = gw.index("i", 4), gw.index("j", 3)
    s = gw.index("s", 6)
    return gw.define(s, gw.sum(Piecewise((a[i] * b[j], Eq(i + j, s)), (0, True)), over=(i, j)))


@case
def max_pooling_overlapping():
    a = normal("a", 2, 9)
    n, p, r = gw.index("n", 2), gw.index("p", 4), gw.index("r", 3)
    return gw.define((n, p), gw.max(a[n, 2 * p + r], over=r))


@case
def max_pooling_2d_padded():
    a = normal("a", 5, 6)
    p, q, r, s = gw.index("p", 3), gw.index("q", 3), gw.index("r", 3), gw.index("s", 3)
    return gw.define((p, q), gw.max(a[2 * p + r - 1, 2 * q + s - 1] ** 3, over=(r, s)))


@case
def maximum_of_a_product():
    a, b = normal("a", 3, 4), normal("b", 4)
    i, k = gw.indices("i k")
    return gw.define(i, gw.max(a[i, k] * b[k], over=k))


@case
def flatten_by_division():
    a = normal("a", 2, 3, 4)
    n, k = gw.index("n", 2), gw.index("k", 12)
    return gw.define((n, k), a[n, k // 4, k % 4] ** 2)


@case
def flatten_three_digits():
    a = normal("a", 2, 3, 4)
    k = gw.index("k", 24)
    return gw.define(k, a[k // 12, (k // 4) % 3, k % 4] ** 2)


@case
def flatten_nested_remainders():
    a = normal("a", 2, 3, 4)
    k = gw.index("k", 24)
    return gw.define(k, a[k // 12, (k % 12) // 4, k % 4] ** 2)


@case
def unflatten():
    a = normal("a", 12)
    i, j = gw.index("i", 3), gw.index("j", 4)
    return gw.define((i, j), a[4 * i + j] ** 2)


@case
def upsample_nearest():
    a = normal("a", 4)
    k = gw.index("k", 7)
    return gw.define(k, a[k // 2] ** 2)


@case
def tile():
    a = normal("a", 4)
    k = gw.index("k", 10)
    return gw.define(k, a[k % 4] ** 2)


@case
def half_steps():
    a = normal("a", 6)
    k = gw.index("k", 10)
    return gw.define(k, a[(k + 1) // 2] ** 2)


@case
def pixel_shuffle():
    a = normal("a", 4, 3)
    u = gw.index("u", 6)
    v = gw.index("v", 2)
    return gw.define((u, v), a[2 * (u % 2) + v, u // 2] ** 2)


@case
def two_equations_for_one_index():
    a = normal("a", 9, 13)
    p, r = gw.index("p", 4), gw.index("r", 3)
    return gw.define((p, r), a[2 * p + r, 3 * p + r] ** 2)


@case
def concatenation():
    a, b = normal("a", 3), normal("b", 4)
    i = gw.index("i", 7)
    return gw.define(i, Piecewise((a[i] ** 2, i < 3), (b[i - 3] ** 3, True)))


@case
def causal_mask():
    a = normal("a", 4, 4)
    i, j = gw.index("i", 4), gw.index("j", 4)
    return gw.define((i, j), Piecewise((a[i, j] ** 2, j <= i), (0, True)))


@case
def causal_sum():
    a, b = normal("a", 5, 5), normal("b", 5)
    i, j = gw.index("i", 5), gw.index("j", 5)
    return gw.define(i, gw.sum(Piecewise((a[i, j] * b[j], j <= i), (0, True)), over=j))


@case
def gather():
    a = normal("a", 6, 2)
    i, j = gw.index("i", 5), gw.index("j", 2)
    k = gw.index("k", 6)
    scores = gw.param(
        "scores", (5, 6), gw.constant(np.cos(np.arange(30)).reshape(5, 6)), trainable=False
    )
    token = gw.define(i, gw.argmax(scores[i, k], over=k))
    return gw.define((i, j), a[token[i], j] ** 2)


@case
def nested_reductions():
    a = normal("a", 3, 4)
    i, j, k = gw.indices("i j k")
    share = sympy.exp(a[i, j]) / gw.sum(sympy.exp(a[i, k]), over=k)
    return gw.define((), gw.sum(share * gw.max(a[i, k], over=k), over=(i, j)))


@case
def used_several_times():
    a = normal("a", 3, 3)
    i, j, k = gw.indices("i j k")
    b = gw.define((i, j), gw.sum(a[i, k] * a[k, j], over=k))
    return gw.define((i, j), b[i, j] * a[i, j] + a[j, i])


@case
def every_scalar_function():
    a, b = normal("a", 5), normal("b", 5)
    i = gw.indices("i")
    x, y = a[i], b[i]
    body = (
        sympy.exp(x)
        + sympy.log(1 + y**2)
        + sympy.tanh(x * y)
        + sympy.sin(x) * sympy.cos(y)
        + sympy.sqrt(1 + x**2)
        + sympy.atan(y)
        + sympy.sinh(x)
        + sympy.cosh(y)
        + sympy.erf(x)
        + sympy.asin(sympy.tanh(x))
        + sympy.Abs(x - y)
        + x / (2 + y**2)
        + sympy.erfc(y)
        + sympy.tan(x / 3)
        + sympy.Max(x, y) * sympy.Min(x, 0.3)
        + sympy.acos(sympy.tanh(y))
    )
    return gw.define(i, body)


@case
def cumulative_sum():
    a = normal("a", 6)
    t = gw.index("t", 6)
    return gw.define(t, lambda c: Piecewise((a[0], Eq(t, 0)), (c[t - 1] + a[t], True)))


@case
def cumulative_product_with_zeros():
    a = gw.param("a", (6,), gw.constant([1.5, 0.0, -2.0, 3.0, 0.0, 0.5]))
    t = gw.index("t", 6)
    return gw.define(t, lambda c: Piecewise((a[0], Eq(t, 0)), (c[t - 1] * a[t], True)))


@case
def recurrence_from_the_end():
    a = normal("a", 5)
    t = gw.index("t", 5)
    return gw.define(t, lambda c: Piecewise((a[4], Eq(t, 4)), (sympy.tanh(c[t + 1]) * a[t], True)))


@case
def two_state_recurrence():
    a, w = normal("a", 5, 2), normal("w", 2, 2)
    t, j, k = gw.index("t", 5), gw.index("j", 2), gw.index("k", 2)

    def cell(h, c):
        inner = gw.sum(h[t - 1, k] * w[k, j], over=k)
        return (
            sympy.tanh(inner + a[t, j]),
            Piecewise((h[t, j], Eq(t, 0)), (c[t - 1, j] * h[t, j] + a[t, j], True)),
        )

    h, c = gw.recurrence([(t, j), (t, j)], cell, names=("h", "c"))
    return gw.define((t, j), h[t, j] + c[t, j])


@case
def second_order_recurrence():
    a = normal("a", 7)
    t = gw.index("t", 7)
    return gw.define(t, lambda f: Piecewise((a[t], t < 2), (f[t - 1] * a[t] + f[t - 2], True)))


def convolution_1d(stride: int, dilation: int, padding: int) -> gw.Network:
    size, taps = 11, 3
    outputs = (size + 2 * padding - dilation * (taps - 1) - 1) // stride + 1

    def output() -> gw.Tensor:
        x, w = normal("x", 2, size), normal("w", 3, 2, taps)
        o, p, c, r = gw.index("o", 3), gw.index("p", outputs), gw.index("c", 2), gw.index("r", taps)
        at = stride * p + dilation * r - padding
        return gw.define((o, p), gw.sum(x[c, at] * w[o, c, r], over=(c, r)))

    return as_network(output)


def convolution_2d(stride: int, dilation: int, padding: int) -> gw.Network:
    high, wide, taps = 6, 7, 2
    sizes = [(n + 2 * padding - dilation * (taps - 1) - 1) // stride + 1 for n in (high, wide)]

    def output() -> gw.Tensor:
        x, w = normal("x", 2, high, wide), normal("w", 2, 2, taps, taps)
        o, p, q = gw.index("o", 2), gw.index("p", sizes[0]), gw.index("q", sizes[1])
        c, r, s = gw.index("c", 2), gw.index("r", taps), gw.index("s", taps)
        u, v = stride * p + dilation * r - padding, stride * q + dilation * s - padding
        return gw.define((o, p, q), gw.sum(x[c, u, v] * w[o, c, r, s], over=(c, r, s)))

    return as_network(output)


for _s, _d, _p in product((1, 2, 3), (1, 2, 3), (0, 1, 2)):
    CASES[f"conv1d_stride{_s}_dilation{_d}_padding{_p}"] = lambda s=_s, d=_d, p=_p: convolution_1d(
        s, d, p
    )
    CASES[f"conv2d_stride{_s}_dilation{_d}_padding{_p}"] = lambda s=_s, d=_d, p=_p: convolution_2d(
        s, d, p
    )


# What random programs found. Each failed once, in the pass that it is named after.


@case
def recurrence_read_at_a_stride():
    """Differentiate: that the guarded step is in bounds follows from t != 1 and t < 2 together."""
    a = normal("a", 5, 17)
    t, i = gw.index("t", 2), gw.index("i", 5)
    return gw.define(
        (t, i), lambda c: Piecewise((a[i, t], Eq(t, 1)), (c[t + 1, i] * a[i, 7 * t + 1], True))
    )


@case
def recurrence_read_at_a_half():
    """Differentiate: (t + 1)//2 - 1 is in bounds because t >= 1."""
    a = normal("a", 1, 5)
    t = gw.index("t", 2)
    return gw.define(
        t, lambda c: Piecewise((a[0, 0], Eq(t, 1)), (c[t + 1] * a[t // 2, t + 3], True))
    )


@case
def condition_on_a_choice():
    """Lower: SymPy makes an if-then-else of a step of a choice."""
    a, b = normal("a", 3), normal("b", 3)
    i = gw.indices("i")
    chosen = Piecewise((a[i] + 5, b[i] > 0), (5 - 2 * b[i], True))
    return gw.define(i, sympy.Heaviside(chosen) * chosen)


@case
def factor_in_bounds_under_a_condition():
    """Simplify: a[i - j + 2] left the sum over m, and with it the condition j <= 0."""
    a, b = normal("a", 6), normal("b", 2, 6, 1)
    i, j, k, r = gw.index("i", 2), gw.index("j", 2), gw.index("k", 1), gw.index("r", 1)
    h = gw.define((i, gw.index("l", 6), k), sympy.sin(b[i, gw.index("l", 6), k]))
    return gw.define((i, j, k), gw.sum(h[j, -r, 2 * k + r] * a[r + j + 2], over=r))


@case
def mean_of_a_wrapped_window():
    """Schedule: a condition inside the innermost loop of a sum in lanes."""
    a = normal("a", 2, 8, 5)
    i, j, k = gw.index("i", 2), gw.index("j", 8), gw.index("k", 8)
    r, s = gw.index("r", 1), gw.index("s", 8)
    return gw.define((i, j, k), gw.mean(a[(i + s) % 2, s, r + i + 2], over=(r, s)))


@case
def half_steps_from_below_zero():
    """A quotient that begins below zero, summed over as an unknown of its own."""
    a, b = normal("a", 5), normal("b", 3)
    k, r = gw.index("k", 5), gw.index("r", 3)
    return gw.define(k, gw.sum(a[(k - r - 1) // 2 + 2] * b[r], over=r))


@case
def window_beside_a_remainder():
    """Differentiate: i1 < 8 follows only from what is known of (i1 + 3)//8 and (i1 + 3) % 8."""
    a, b = normal("a", 8, 17), normal("b", 8)
    i, r = gw.index("i", 1), gw.index("r", 6)
    return gw.define(i, gw.sum(b[r + i] * a[(r + 3) % 8, r + i], over=r))


@case
def recurrence_of_one_step():
    """Differentiate: the step back is never taken, and its adjoint read a[-1]."""
    a = normal("a", 4)
    t = gw.index("t", 1)
    return gw.define(t, lambda c: Piecewise((a[t], Eq(t, 0)), (c[t + 1] * a[t // 2], True)))


@case
def zero_to_a_power():
    """Differentiate: SymPy's derivative of 0**x is nan."""
    a, b = normal("a", 4), normal("b", 4)
    i = gw.indices("i")
    return gw.define(i, sympy.Max(sympy.sin(b[i]), 0) ** (2 + sympy.tanh(a[i])) + a[i] * b[i])
