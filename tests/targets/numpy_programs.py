"""More programs, chosen to reach every way in which the NumPy target reads and writes arrays.

They are `Case`s like those of programs.py: one line of index notation, or the few that belong
together. `N` is the batch, whose size is known when a function is called.
"""

from __future__ import annotations

from typing import Any

import sympy
from sympy import And, Eq, Ge, Le, Lt, Ne, Not, Or, Piecewise

from ir.expression import FloorDiv, Random, Remainder, index_symbol
from ir.program import Definition, Scan
from tests.targets.programs import (
    BATCH,
    Case,
    T,
    W,
    b,
    c,
    define,
    g,
    guarded,
    i,
    j,
    k,
    label,
    m,
    n,
    over,
    p,
    q,
    r,
    s,
    t,
    total,
    u,
    v,
    x,
    y,
    z,
)

N = BATCH
e, f = index_symbol("e"), index_symbol("f")
am, h, w = T("am"), T("h"), T("w")


def one(name: str, made: Definition, limits: dict[str, int] | None = None, **shapes: Any) -> Case:
    """A case of one definition."""
    return Case(name, (made,), shapes, limits=limits or {})


def _views() -> list[Case]:
    """Accesses that are views: shifts, steps, diagonals, several variables in a dimension."""
    return [
        one("shift", define("y", over(n, N, j, 3), x(n, j + 2)), x=(N, 6)),
        one("step", define("y", over(j, 3, n, N), x(n, 2 * j + 1)), x=(N, 7)),
        one("flip", define("y", over(n, N, j, 6), 2 * x(n, 5 - j)), x=(N, 6)),
        one("identity", define("y", over(n, N, j, 3), x(n, j)), x=(N, 3)),
        one("constant_row", define("y", over(j, 3), x(2, j) + x(0, 1)), x=(4, 3)),
        one("trace", total("y", (), over(i, 5), x(i, i)), x=(5, 5)),
        one("block_diagonal", define("y", over(n, N, i, 3, j, 2), x(n, 2 * i + j, i)),
            x=(N, 6, 3)),
        one("outer", define("y", over(n, N, i, 3, j, 4), x(n, i) * g(n, j)),
            x=(N, 3), g=(N, 4)),
        one("permute", define("y", over(k, 2, n, N, j, 3), x(n, j, k) - g(j, k)),
            x=(N, 3, 2), g=(3, 2)),
        one("broadcast_out", define("y", over(n, N, j, 3), b(j)), b=(3,), x=(N,)),
        one("constant", define("y", over(n, N, j, 3), sympy.Rational(3, 2)), x=(N,)),
        one("upsample", define("y", over(n, N, u, 8), x(n, FloorDiv(u, 2))), x=(N, 4)),
        one("flatten_3", define("y", over(n, N, k, 24), x(
            n, FloorDiv(k, 12), Remainder(FloorDiv(k, 4), 3), Remainder(k, 4))), x=(N, 2, 3, 4)),
        one("modulo", define("y", over(n, N, k, 7), x(n, Remainder(3 * k - 2, 5))), x=(N, 5)),
        one("index_values", define("y", over(n, N, j, 3), x(n, j) * j + n * n - j / (n + 1)
                                   + FloorDiv(2 * j + n, 3)), x=(N, 3)),
        one("batch_value", define("y", over(n, N), x(n) / N + sympy.sqrt(N)), x=(N,)),
    ]


def _contractions() -> list[Case]:
    """Sums of products in every arrangement of stack, rows, columns and summed axes."""
    heads = {"x": (N, 4, 2, 3), "W": (N, 5, 2, 3), "g": (N, 2, 4, 5)}
    return [
        one("scores", total("y", over(n, N, h_, 2, p, 4, q, 5), over(k, 3),
                            x(n, p, h_, k) * W(n, q, h_, k)), **heads),
        one("mixed_heads", total("y", over(n, N, p, 4, h_, 2, k, 3), over(q, 5),
                                 g(n, h_, p, q) * W(n, q, h_, k)), **heads),
        one("two_summed", total("y", over(i, 3, j, 4), over(n, N, k, 2), x(n, i, k) * g(k, n, j)),
            x=(N, 3, 2), g=(2, N, 4)),
        one("dot", total("y", (), over(n, N, k, 3), x(n, k) * g(n, k)), x=(N, 3), g=(N, 3)),
        one("rowwise_dot", total("y", over(n, N), over(k, 3), x(n, k) * g(n, k)),
            x=(N, 3), g=(N, 3)),
        one("columnwise_dot", total("y", over(k, 3), over(n, N), x(n, k) * g(n, k)),
            x=(N, 3), g=(N, 3)),
        one("matrix_vector", total("y", over(n, N), over(k, 3), x(n, k) * b(k)), x=(N, 3), b=(3,)),
        one("vector_left", total("y", over(k, 3), over(n, N), v(n) * x(n, k)), x=(N, 3),
            v=(N,)),
        one("square_sum", total("y", over(n, N), over(k, 3), x(n, k) ** 2), x=(N, 3)),
        one("three", total("y", over(n, N, j, 4), over(k, 3, i, 2), x(n, k) * W(k, i) * g(i, j)),
            x=(N, 3), W=(3, 2), g=(2, 4)),
        one("scaled", total("y", over(n, N, j, 4), over(k, 3), v(n) * x(n, k) * b(k) * W(k, j) / 3),
            x=(N, 3), W=(3, 4), v=(N,), b=(3,)),
        one("apart", total("y", over(n, N, j, 4), over(k, 3, i, 2), x(n, k) * g(i, j)),
            x=(N, 3), g=(2, 4)),
        one("not_summed", total("y", over(n, N), over(k, 3, m, N), x(n, k)), x=(N, 3)),
        one("counted", total("y", over(n, N), over(k, 5), sympy.Integer(1), k <= n), x=(N, 3)),
        one("function_inside", total("y", over(n, N, j, 2), over(k, 3),
                                     sympy.exp(x(n, k)) * (W(k, j) + b(j))), x=(N, 3), W=(3, 2),
            b=(2,)),
        one("divided", total("y", over(n, N, j, 2), over(k, 3), x(n, k) / W(k, j)), x=(N, 3),
            W=(3, 2)),
        one("sum_of_sum", total("y", over(n, N), over(k, 3), x(n, k) + b(k) - v(n)), x=(N, 3),
            b=(3,), v=(N,)),
        one("masked_product", total("y", over(n, N, i, 4, k, 2), over(j, 4),
                                    x(n, i, j) * g(n, j, k), j <= i), x=(N, 4, 4),
            g=(N, 4, 2)),
        one("mask_on_neither", total("y", over(n, N, i, 4), over(j, 4, k, 2),
                                     x(n, i, j) * g(n, k), k + j <= i), x=(N, 4, 4), g=(N, 2)),
        one("masks_apart", total("y", over(i, 3, j, 2), over(n, N, p, 3, q, 2), x(i, p) * g(q, j),
                                 p > 0, q < 1, Le(n, 1)), x=(3, 3), g=(2, 2), v=(N,)),
        one("one_hot", total("y", over(j, 4, k, 3), over(n, N), x(n, k), Eq(label(n), j)),
            {"label": 4}, x=(N, 3), label=(N,)),
        one("gathered_product", total("y", over(n, N, j, 2), over(k, 3), W(label(n), k) * g(k, j)),
            {"label": 4}, W=(4, 3), g=(3, 2), label=(N,)),
    ]


h_ = index_symbol("a")


def _windows() -> list[Case]:
    """Windows, padding and strides, forward and backward; maxima over them."""
    at = 2 * p + r - 1
    inside = (at >= 0, at < 7)
    back = FloorDiv(u - r + 1, 2)
    return [
        one("mean_pool", total("y", over(n, N, p, 3), over(r, 2), x(n, 2 * p + r) / 2),
            x=(N, 6)),
        one("pool_back", total("y", over(n, N, u, 7), over(r, 3), g(n, back) / 3,
                               Eq(Remainder(u - r + 1, 2), 0), back >= 0, back < 4), g=(N, 4)),
        one("conv_1d", total("y", over(n, N, f, 2, p, 4), over(c, 3, r, 3),
                             x(n, c, at) * W(f, c, r), *inside), x=(N, 3, 7), W=(2, 3, 3)),
        one("depthwise", total("y", over(n, N, c, 3, p, 4), over(r, 3), x(n, c, at) * W(c, r),
                               *inside), x=(N, 3, 7), W=(3, 3)),
        one("far_padding", total("y", over(n, N, p, 9), over(r, 2), x(n, p + r - 4) * b(r),
                                 p + r - 4 >= 0, p + r - 4 < 3), x=(N, 3), b=(2,)),
        one("extra_condition", total("y", over(n, N, p, 4), over(r, 3), x(n, at) * b(r), *inside,
                                     Ne(r, 1)), x=(N, 7), b=(3,)),
        one("pad_map", define("y", over(n, N, u, 9), guarded(And(u >= 2, u < 7), x(n, u - 2), 7)),
            x=(N, 5)),
        one("pad_2d", define("y", over(n, N, u, 5, q, 6), guarded(
            And(u > 0, u < 4, q >= 2), 1 / x(n, u - 1, q - 2), -1)), x=(N, 3, 4)),
        one("shift_with_zero", define("y", over(n, N, u, 5, q, 2), guarded(
            u + q < 5, x(n, u + q, u)) + guarded(u >= 2 * q, x(n, u - 2 * q, q))), x=(N, 5, 5)),
        one("pool_2d", total("y", over(n, N, p, 2, q, 2), over(r, 2, s, 2),
                             x(n, 2 * p + r, 2 * q + s), kind="max"), x=(N, 4, 4)),
        one("pool_2d_where", total("am", over(n, N, p, 2, q, 2), over(r, 2, s, 2),
                                   x(n, 2 * p + r, 2 * q + s), kind="argmax", dtype="int32"),
            x=(N, 4, 4)),
        one("max_of_product", total("y", over(n, N, p, 4), over(r, 3), x(n, at) * b(r), *inside,
                                    kind="max"), x=(N, 7), b=(3,)),
        one("masked_argmax", total("am", over(n, N, i, 4), over(j, 4), -sympy.oo * x(n, j) ** 2,
                                   j >= i, kind="argmax", dtype="int32"), x=(N, 4)),
        one("nothing_to_take", total("y", over(i, 4), over(j, 3), b(j), j > i, kind="max"), b=(3,)),
        one("argmax_of_nothing", total("am", over(i, 4), over(j, 3), b(j), j > i, kind="argmax",
                                       dtype="int32"), b=(3,)),
        one("max_of_all", total("y", (), over(n, N, j, 3), x(n, j), kind="max"), x=(N, 3)),
        one("argmax_of_all", total("am", (), over(n, N, j, 3), x(n, j), kind="argmax",
                                   dtype="int32"), x=(N, 3)),
        one("max_broadcast", total("y", over(n, N, i, 2), over(j, 3), x(n, j) * 2, kind="max"),
            x=(N, 3)),
        one("argmax_broadcast", total("am", over(n, N), over(i, 2, j, 3), x(n, j), kind="argmax",
                                      dtype="int32"), x=(N, 3)),
    ]


def _choices() -> list[Case]:
    """Piecewise over values and indices, lazy branches, every connective."""
    low = sympy.Float(0.3)
    seed, step = T("label")(), T("label_step")()
    return [
        one("random", define("y", over(n, N, j, 3), guarded(
            Random(seed, step, 5, n, 2 * j) < low, x(n, j), Random(seed, step, 6, j))),
            {"label": 9, "label_step": 9}, x=(N, 3), label=(), label_step=()),
        one("lazy_log", define("y", over(n, N), guarded(x(n) > 0, sympy.log(x(n)), -1)),
            x=(N,)),
        one("lazy_divide", define("y", over(n, N, j, 4), guarded(Ne(j, 2), x(n) / (j - 2), 9)),
            x=(N,)),
        one("connectives", define("y", over(n, N, j, 4), Piecewise(
            (x(n, j), Or(And(x(n, j) > 0, j < 3), Eq(j, n))), (-1, Not(x(n, j) < -low)),
            (x(n, j) ** 3, True))), x=(N, 4)),
        one("nan_compares", define("y", over(n, N), guarded(
            sympy.sqrt(x(n)) > 0, 1, 2) + guarded(Ge(x(n), 0), 3)), x=(N,)),
        one("nested", define("y", over(n, N), guarded(x(n) > 0, guarded(x(n) > low, x(n), 4), 5)),
            x=(N,)),
        one("relu_of_sum", define("y", over(n, N), guarded(x(n) + v(n) > 0, x(n) + v(n))),
            x=(N,), v=(N,)),
        one("relu_else", define("y", over(n, N), Piecewise((0, x(n) <= 0), (x(n), True))),
            x=(N,)),
        one("batch_choice", define("y", over(n, N), guarded(Lt(N, 3), x(n), 2 * x(n))),
            x=(N,)),
        one("erfs", define("y", over(n, N), sympy.erf(3 * x(n)) - sympy.erfc(5 * x(n)) ** 2
                           + sympy.erf(x(n) / 4) + sympy.erfc(x(n) / 4)), x=(N,)),
        one("powers", define("y", over(n, N), x(n) ** 4 + x(n) ** -1 - x(n) ** -3 + x(n) ** 5
                             + (x(n) ** 2) ** v(n)), x=(N,), v=(N,)),
        one("angles", define("y", over(n, N), sympy.atan2(x(n), v(n)) + sympy.asin(x(n))
                             + sympy.acos(v(n)) + sympy.tan(x(n)) + sympy.cosh(v(n))),
            x=(N,), v=(N,)),
        one("shared", define("y", over(n, N), sympy.exp(x(n)) / (1 + sympy.exp(x(n)))
                             + sympy.exp(x(n)) ** 2), x=(N,)),
        one("integers", define("am", over(n, N, j, 3), FloorDiv(label(n) + j, 2) - 3 * label(n),
                               dtype="int32"), {"label": 5}, label=(N,)),
    ]


def _gathers() -> list[Case]:
    """Elements of integer tensors as indices, reading and writing."""
    return [
        one("embedding", define("y", over(n, N, i, 3, j, 2), W(label(n, i), j)), {"label": 4},
            W=(4, 2), label=(N, 3)),
        one("gather_columns", define("y", over(n, N, i, 2, j, 3), x(n, label(j), i)), {"label": 4},
            x=(N, 4, 2), label=(3,)),
        one("gather_shift", define("y", over(n, N), x(n, label(n) + 1)), {"label": 4},
            x=(N, 5), label=(N,)),
        one("gather_row", define("y", over(j, 3), W(label(), j)), {"label": 4}, W=(4, 3), label=()),
        one("scatter_2d", define("y", over(n, N, i, 3, j, 2), x(n, i, j), reduce="scatter",
                                 target=(label(n, i), j), target_shape=(4, 2)), {"label": 4},
            x=(N, 3, 2), label=(N, 3)),
        one("scatter_last", define("y", over(n, N, i, 3), x(n, i), reduce="scatter",
                                   target=(i, label(n)), target_shape=(3, 4)), {"label": 4},
            x=(N, 3), label=(N,)),
        one("scatter_spread", define("y", over(n, N, i, 3), x(n) * b(i), reduce="scatter",
                                     target=(label(n),), target_shape=(4,)), {"label": 4},
            x=(N,), b=(3,), label=(N,)),
        one("scatter_where", define("y", over(n, N, j, 2), x(n, j), reduce="scatter",
                                    target=(label(n), j), target_shape=(4, 2),
                                    where=(Ne(label(n), 2),)),
            {"label": 4}, x=(N, 2), label=(N,)),
        one("scatter_affine", define("y", over(n, N, j, 3), x(n, j), reduce="scatter",
                                     target=(FloorDiv(j, 2),), target_shape=(2,)), x=(N, 3)),
    ]


UP = Scan("scan", t)
DOWN = Scan("down", t, downwards=True)


def _recurrences() -> list[Case]:
    """Loops: products, shifted states, reductions inside, values that only one step needs."""
    gate, hidden = T("gate"), T("hidden")
    before = guarded(t > 0, hidden(n, t - 1, k))
    return [
        Case("products", (
            define("y", over(n, N, t, 5), x(n, t) * guarded(Ge(t, 1), y(n, t - 1), 1), scan=UP),
        ), {"x": (N, 5)}),
        Case("along_the_batch", (
            define("y", over(n, N), x(n) + guarded(n > 0, y(n - 1)), scan=Scan("rows", n)),
        ), {"x": (N,)}),
        Case("fibonacci", (
            define("y", over(t, 6), Piecewise((y(t - 1) + y(t - 2), t > 1), (t + b(0), True)),
                   scan=UP),
        ), {"b": (2,)}),
        Case("cell", (
            total("gate", over(n, N, t, 4, j, 3), over(k, 3), W(k, j) * hidden(n, t - 1, k), t > 0,
                  scan=UP),
            define("hidden", over(n, N, t, 4, j, 3), sympy.tanh(x(n, t, j) + gate(n, t, j)) * t,
                   scan=UP),
        ), {"x": (N, 4, 3), "W": (3, 3)}, temporaries=("gate",), kernels=(("gate", "hidden"),)),
        Case("cell_guarded", (
            total("gate", over(n, N, t, 4, j, 3), over(k, 3), W(k, j) * before, scan=UP),
            define("hidden", over(n, N, t, 4, j, 3), sympy.tanh(x(n, t, j) + gate(n, t, j)),
                   scan=UP),
        ), {"x": (N, 4, 3), "W": (3, 3)}, temporaries=("gate",)),
        Case("downwards_sum", (
            total("y", over(t, 5, n, N), over(r, 3),
                  guarded(t < 4, y(t + 1, n)) * b(r) + x(n, t) / 3, scan=DOWN),
        ), {"x": (N, 5), "b": (3,)}),
        Case("window_of_steps", (
            total("y", over(t, 6, n, N), over(r, 2),
                  y(t - r - 1, n) * b(r) + x(n, t), t - r - 1 >= 0, scan=UP),
        ), {"x": (N, 6), "b": (2,)}),
    ]


def _chains() -> list[Case]:
    """Several definitions in a kernel, and results that are views of one another."""
    return [
        Case("chain", (
            total("y", over(n, N, j, 3), over(k, 4), x(n, k) * W(k, j)),
            define("z", over(n, N, j, 3), sympy.exp(y(n, j)) + y(n, j)),
            define("v", over(n, N, j, 3), z(n, j) - y(n, j) * z(n, j)),
            define("h", over(n, N, j, 3), v(n, j) + v(n, j)),
        ), {"x": (N, 4), "W": (4, 3)}, kernels=(("y", "z", "v", "h"),),
           temporaries=("y", "z", "v")),
        Case("chain_of_names", (
            define("y", over(n, N, j, 3), x(n, j) * 2),
            define("z", over(n, N, j, 3), y(n, j)),
            define("v", over(n, N, j, 3), sympy.exp(y(n, j))),
            define("h", over(n, N, j, 3), z(n, j) + v(n, 2 - j)),
        ), {"x": (N, 3)}, kernels=(("y", "z", "v"),), temporaries=("y", "z")),
        Case("chain_kept", (
            define("y", over(n, N, j, 3), x(n, j) * 2),
            define("z", over(n, N, j, 3), y(n, j) + 1),
            define("v", over(n, N, j, 3), z(n, j) * y(n, j)),
        ), {"x": (N, 3)}, kernels=(("y", "z", "v"),), temporaries=("z",)),
        Case("narrow_local", (
            define("v", over(n, N, j, 3), b(j) * 2),
            define("y", over(n, N, j, 3), v(n, j) + x(n, j)),
            define("z", over(n, N, j, 3), sympy.Integer(4)),
            define("h", over(n, N, j, 3), z(n, j) * v(n, j)),
        ), {"x": (N, 3), "b": (3,)}, kernels=(("v", "y", "z", "h"),), temporaries=("v", "z")),
        Case("reduced_local", (
            total("v", over(n, N), over(j, 3), x(n, j)),
            total("y", over(n, N), over(j, 3), (x(n, j) - v(n) / 3) ** 2),
            define("z", over(n, N), sympy.sqrt(y(n)) + v(n)),
        ), {"x": (N, 3)}, kernels=(("v", "y", "z"),), temporaries=("v", "y")),
        Case("views_of_views", (
            define("y", over(j, 3, n, N), x(n, j)),
            define("z", over(n, N, k, 3), y(2 - k, n)),
            define("v", over(n, N, j, 3), z(n, j)),
        ), {"x": (N, 3)}, temporaries=("y",)),
        Case("turned_product", (
            total("y", over(j, 3, n, N), over(k, 4), x(n, k) * W(k, j)),
            define("z", over(n, N, j, 3), y(j, n) * 2),
        ), {"x": (N, 4), "W": (4, 3)}),
        Case("moments", (
            total("m", over(j, 3), over(n, N), x(n, j) / N),
            total("v", over(j, 3), over(n, N), (x(n, j) - T("m")(j)) ** 2 / N),
            define("y", over(n, N, j, 3), (x(n, j) - T("m")(j)) / sympy.sqrt(v(j) + 1e-5)),
        ), {"x": (N, 3)}),
    ]


def _kept() -> list[Case]:
    """Arrays that a later statement, kernel or result still needs, and must not be overwritten."""
    wave = sympy.exp(v(n))
    return [
        Case("sum_without_its_index", (
            define("z", over(n, N), wave),
            total("y", over(n, N), over(k, 5), sympy.exp(z(n))),
            define("h", over(n, N), y(n) + z(n)),
            total("g", over(k, 5), over(n, N), z(n) * y(n)),
        ), {"v": (N,)}, kernels=(("y", "h"),), temporaries=("z", "y")),
        Case("sum_without_its_index_alone", (
            define("z", over(n, N), wave),
            total("y", over(n, N), over(k, 5), z(n)),
            total("h", over(k, 5), over(n, N), z(n)),
        ), {"v": (N,)}, temporaries=("z",)),
        Case("local_factor_outside", (
            define("z", over(n, N), wave),
            total("y", over(n, N), over(j, 3), sympy.sin(z(n)) * x(n, j)),
            total("w", over(n, N), over(j, 3), sympy.cos(z(n)) * z(n) * x(n, j)),
            define("h", over(n, N), w(n) + y(n)),
        ), {"v": (N,), "x": (N, 3)}, kernels=(("z", "y", "w", "h"),),
           temporaries=("z", "y", "w")),
        Case("read_in_two_ways", (
            define("z", over(n, N, j, 3), sympy.exp(x(n, j))),
            define("y", over(n, N, j, 3), sympy.sin(z(n, j)) + z(n, 2 - j)),
        ), {"x": (N, 3)}, kernels=(("z", "y"),), temporaries=("z",)),
        Case("branch_is_a_name", (
            define("z", over(n, N), wave),
            define("y", over(n, N), guarded(Lt(N, 3), z(n), 2 * z(n))),
            define("h", over(n, N), 1 + z(n)),
            define("g", over(n, N), y(n) * h(n)),
        ), {"v": (N,)}, kernels=(("z", "y", "h", "g"),), temporaries=("z", "y")),
        Case("branches_share", (
            define("y", over(n, N), sympy.sin(wave) + guarded(
                Lt(N, 3), sympy.cos(wave) * v(n), sympy.cos(wave) + 2)
                + wave ** 2 + sympy.tanh(wave)),
        ), {"v": (N,)}),
        Case("branch_is_an_input", (
            define("y", over(n, N), guarded(Lt(N, 3), v(n), 2 * v(n))),
        ), {"v": (N,)}),
        Case("sum_narrower_than_its_array", (
            total("z", over(n, N, i, 2), over(k, 3), b(k)),
            total("y", over(n, N, i, 2), over(k, 3), x(n, k)),
            total("h", over(n, N, i, 2), over(k, 3), sympy.Integer(2), Lt(N, 3)),
            define("g", over(n, N, i, 2), z(n, i) * y(n, i) + h(n, i)),
        ), {"x": (N, 3), "b": (3,)}, kernels=(("z", "y", "h", "g"),)),
        Case("truth_of_a_number", (
            define("y", (), 3 * b(0) * guarded(Not(Or(b(0) > 0, b(1) > b(0))), 1)),
        ), {"b": (2,)}),
        Case("mask_of_a_choice", (
            total("y", over(n, N), over(k, 3), x(n, k), guarded(v(n) > 0, x(n, k), b(k)) > 0),
        ), {"x": (N, 3), "v": (N,), "b": (3,)}),
    ]


MORE = tuple(
    case
    for group in (_views, _contractions, _windows, _choices, _gathers, _recurrences, _chains, _kept)
    for case in group()
)

__all__ = ["MORE"]
