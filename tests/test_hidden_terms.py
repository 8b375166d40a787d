"""What a condition hides does not matter, be it infinite or no number: in both targets, both ways.

    y[i, j] = sum over k of (x[i, k] * v[k, j] if x[i, k] > 0 else 0)

Targets work such sums out as products of matrices in which some elements are zero, and zero times
infinity is not zero. Sizes are such that the C would be tiled.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sympy
from sympy import Eq, Piecewise

import gradwright as gw
from compiler.evaluate import evaluate
from compiler.pipeline import stages

SIZE = 16
Body = Callable[..., Any]

# One line each: of x[i, k], w[k, j], v[k, j], of which v is not finite in places.
SUMS: dict[str, Body] = {
    "a value of the left": lambda x, w, v, i, j, k: hidden(x[i, k] * v[k, j], x[i, k] > 0),
    "two values": lambda x, w, v, i, j, k: hidden(x[i, k] * v[k, j], (x[i, k] > 0) & (w[k, j] > 0)),
    "the past": lambda x, w, v, i, j, k: hidden(x[i, k] * v[k, j], k <= i),
    "a quotient": lambda x, w, v, i, j, k: hidden(w[k, j] / v[k, j], k < i + 1) * x[i, k],
    "three factors": lambda x, w, v, i, j, k: hidden(x[i, k] * w[k, j] * v[k, j], x[i, k] > 0),
    "a logarithm": lambda x, w, v, i, j, k: hidden(sympy.log(x[i, k]), x[i, k] > 0) * w[k, j],
    "another branch": lambda x, w, v, i, j, k: Piecewise(
        (1 / x[i, k], x[i, k] > 0), (w[k, j], True)
    ),
    "one element": lambda x, w, v, i, j, k: hidden(x[i, k] * v[k, j], Eq(k, i // 2)),
}


def hidden(value: Any, condition: Any) -> Any:
    return Piecewise((value, condition), (0, True))


@gw.network
def sums():
    x, w, v = (gw.param(n, (SIZE, SIZE), gw.normal()) for n in "xwv")
    i, j, k = (gw.index(n, SIZE) for n in "ijk")
    made = {
        name.replace(" ", "_"): gw.define((i, j), gw.sum(body(x, w, v, i, j, k), over=k))
        for name, body in SUMS.items()
    }
    whole = gw.sum(hidden(x[i, k] * v[k, j], x[i, k] > 0), over=(i, j, k))
    weighted = sum(y[i, j] * sympy.cos(i + 2 * j + n) for n, y in enumerate(made.values()))
    made["number"] = gw.define((), whole)
    return gw.outputs(loss=gw.define((), gw.sum(weighted, over=(i, j)) + whole), **made)


def numbers() -> dict[str, np.ndarray]:
    """Rows of x that are nowhere positive, and a row of v that only they would meet."""
    rng = np.random.default_rng(0)
    x, w, v = rng.standard_normal((3, SIZE, SIZE))
    x[0, 1], x[1] = 0, -np.abs(x[1])
    x[:, 3] = -1
    v[3] = np.tile([np.inf, np.nan, 0, -np.inf], SIZE // 4)
    v[5, 2] = 0
    return {"x": x, "w": w, "v": v}


@pytest.mark.parametrize("target", ["numpy", "c"])
def test_what_is_hidden_does_not_matter(target: Any, tmp_path: Path) -> None:
    given = numbers()
    every = list(stages(sums.trace(dtype="float64")))
    first, last = every[0].program, every[-1].program
    known, adjoints = evaluate(first, given), evaluate(last, given)
    model = gw.compile(sums, target=target, dtype="float64", out=tmp_path)
    out = model.forward(given)
    for (name, definition), made in zip(first.outputs, out, strict=True):
        assert np.isfinite(known[definition]).any(), name
        np.testing.assert_allclose(made, known[definition], rtol=1e-11, atol=1e-12, err_msg=name)
    _, grads = model.value_and_grad(given)
    for name, definition in last.gradients:
        expected = adjoints[definition]
        assert np.isfinite(expected).any(), name
        np.testing.assert_allclose(grads[name], expected, rtol=1e-11, atol=1e-12, err_msg=name)


@gw.network
def edges():
    """Terms that lie outside of x, where what they are divided by has no root or logarithm."""
    x, a = gw.param("x", (8,), gw.normal()), gw.param("a", (4,), gw.uniform(0.3, 0.6))
    i, q = gw.index("i", 4), gw.index("q", 3)
    at = i + 4 * q - 2
    factors = {
        "root": 1 / sympy.sqrt(a[i] + 8 - at),
        "logarithm": sympy.log(a[i] + at),
        "overflow": sympy.exp(a[i] * 400 * (at - 6)),
        "whole": (a[i] + at) ** 2,
    }
    made = {n: gw.define(i, gw.sum(x[at] * f, over=q), name=n) for n, f in factors.items()}
    return gw.outputs(loss=gw.define((), sum(gw.sum(y[i], over=i) for y in made.values())), **made)


@pytest.mark.parametrize("target", ["numpy", "c"])
def test_what_lies_outside_does_not_matter(target: Any, tmp_path: Path) -> None:
    model = gw.compile(edges, target=target, dtype="float64", out=tmp_path)
    params = model.init_params(seed=0)
    program = list(stages(edges.trace(dtype="float64")))[-1].program
    known = evaluate(program, params)
    for (name, definition), made in zip(program.outputs, model.forward(params), strict=True):
        assert np.isfinite(known[definition]).all(), name
        np.testing.assert_allclose(made, known[definition], rtol=1e-12, err_msg=name)
    for name, gradient in program.gradients:
        made = model.value_and_grad(params)[1][name]
        np.testing.assert_allclose(made, known[gradient], rtol=1e-12, err_msg=name)


def test_numbers_of_branches_not_taken_warn_of_nothing(tmp_path: Path) -> None:
    """Logarithms, quotients and roots of indices are worked out once, for every index."""

    @gw.network
    def numbers_of_indices(x: gw.f64[6]):
        i, j = gw.index("i", 6), gw.index("j", 6)
        return gw.outputs(
            logarithm=gw.define(i, Piecewise((x[i] * sympy.log(i - 2.5), i > 2), (x[i], True))),
            quotient=gw.define(i, Piecewise((x[i] / i, i > 0), (x[i], True))),
            root=gw.define(i, gw.sum(hidden(x[j] * sympy.sqrt(i - j), j <= i), over=j)),
        )

    x = np.arange(1.0, 7.0)
    model = gw.compile(numbers_of_indices, target="numpy", dtype="float64", out=tmp_path)
    out = model.forward({}, x)
    np.testing.assert_allclose(out.logarithm, [1, 2, 3, *(x * np.log(x - 3.5 + 1e-300j).real)[3:]])
    np.testing.assert_allclose(out.quotient, [1, *(x[1:] / np.arange(1, 6))])
    roots = np.sqrt(np.maximum(np.subtract.outer(np.arange(6), np.arange(6)), 0))
    np.testing.assert_allclose(out.root, roots @ x)


def test_one_over_a_choice_of_zero_is_infinite(tmp_path: Path) -> None:
    @gw.network
    def inverse(x: gw.f64["batch"]):
        n = gw.indices("n")
        y = gw.define((n,), 1 / sympy.Max(x[n], 0))
        return gw.outputs(y=y)

    for target in ("numpy", "c"):
        model = gw.compile(inverse, target=target, batch=3, out=tmp_path / target, dtype="float64")
        made = model.forward({}, np.array([2.0, 0.0, -4.0])).y
        np.testing.assert_array_equal(made, [0.5, np.inf, np.inf])
