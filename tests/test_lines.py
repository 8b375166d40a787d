"""Lines that few networks have: what is kept beside a step, states that lead nowhere, numbers.

The values are those of `compiler/evaluate.py`, of NumPy by hand, or of the network that is called.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sympy

import gradwright as gw
from compiler.evaluate import evaluate
from ir.affine import Linear, linear
from ir.errors import IndexLanguageError
from ir.expression import index_symbol
from ir.facts import Facts

i, j, t = gw.index("i", 3), gw.index("j", 4), gw.index("t", 5)
n = gw.index("n")
X = np.random.default_rng(0).standard_normal((3, 5))
A = {"a": np.random.default_rng(1).standard_normal(5)}


@gw.network
def keeping(x: gw.f64["batch", 4]):
    a, b = gw.param("a", (3,)), gw.param("b", (4,))
    outer, total = gw.buffer("outer", (3, 4)), gw.buffer("total", (4,))
    gw.assign(outer, (i, j), a[i] * b[j])
    gw.assign(total, (j,), gw.sum(x[n, j], over=n))
    return gw.outputs(loss=gw.define((), gw.sum(a[i] * b[j] ** 2, over=(i, j))))


@pytest.mark.parametrize("target", ["numpy", "c"])
def test_what_a_step_keeps_can_be_a_product_or_a_sum(target: Any, tmp_path: Path) -> None:
    model = gw.compile(keeping, target=target, dtype="float64", batch=4, out=tmp_path)
    params = model.init_params(seed=0)
    a, b, x = params["a"].copy(), params["b"].copy(), X[:, :4].copy()
    model.train_step(params, model.init_state(params), x)
    np.testing.assert_allclose(params["outer"], np.outer(a, b), rtol=1e-15)
    np.testing.assert_allclose(params["total"], x.sum(axis=0), rtol=1e-14)


@gw.network
def two_states(x: gw.f64["batch", 5]):
    a = gw.param("a", (5,))
    first, second = gw.recurrence(
        [(n, t), (n, t)],
        lambda s, p: (
            sympy.Piecewise((x[n, 0] * a[0], sympy.Eq(t, 0)), (s[n, t - 1] * a[t] + x[n, t], True)),
            sympy.Piecewise((x[n, 0], sympy.Eq(t, 0)), (p[n, t - 1] * x[n, t] + s[n, t], True)),
        ),
    )
    best = gw.define((), gw.argmax(first[n, 4], over=n))
    last = gw.define((), gw.argmax(a[t], over=t))
    loss = gw.define((), gw.mean(first[n, t] ** 2, over=(n, t)))
    return gw.outputs(loss=loss, second=second, best=best, last=last)


@gw.network
def called_twice(x: gw.f64["batch", 5]):
    one = two_states(x)
    two = two_states(one.second)
    at_last = gw.define((), gw.sum(x[n, two.last[()]], over=n))
    return gw.outputs(loss=one.loss + two.loss, second=two.second, best=two.best, at_last=at_last)


def test_a_state_may_lead_nowhere() -> None:
    assert gw.gradcheck(two_states).ok


def test_a_network_with_a_recurrence_can_be_called_twice() -> None:
    inner = two_states.trace(dtype="float64")
    names = dict(inner.outputs)
    first = evaluate(inner, {"x": X, **A}, 3)
    second = evaluate(inner, {"x": first[names["second"]], **A}, 3)
    program = called_twice.trace(dtype="float64")
    found = evaluate(program, {"x": X, **A}, 3)
    outputs = {public: found[name] for public, name in program.outputs}
    np.testing.assert_array_equal(outputs["second"], second[names["second"]])
    assert outputs["best"] == second[names["best"]]
    assert outputs["at_last"] == pytest.approx(X[:, int(second[names["last"]])].sum())
    assert gw.gradcheck(called_twice).ok


def test_numbers_on_either_side_of_a_tensor() -> None:
    @gw.network
    def arithmetic(x: gw.f64[3]):
        one = gw.define((), x[0] + 1)
        return gw.outputs(
            h=(2 - -x) / 4 + 3 / (1 + x * x) + (5 + 2 * x), s=gw.define((i,), gw.sum(one, over=j))
        )

    x = np.array([0.5, -1.0, 3.0])
    program = arithmetic.trace(dtype="float64")
    values = evaluate(program, {"x": x})
    names = dict(program.outputs)
    np.testing.assert_allclose(values[names["h"]], (2 + x) / 4 + 3 / (1 + x * x) + 5 + 2 * x)


STARTS = [
    (gw.he_normal(), "normal", (0.0, math.sqrt(2 / 100))),
    (gw.he_uniform(), "uniform", (-math.sqrt(6 / 100), math.sqrt(6 / 100))),
    (gw.glorot_normal(), "normal", (0.0, math.sqrt(2 / 150))),
    (gw.glorot_uniform(), "uniform", (-0.2, 0.2)),
]


@pytest.mark.parametrize(("init", "kind", "values"), STARTS)
def test_how_wide_a_layer_starts(init: Any, kind: str, values: tuple[float, ...]) -> None:
    """He et al., 2015, and Glorot and Bengio, 2010: 100 numbers in, 50 out."""
    made = init((100, 50))
    assert made.kind == kind
    assert made.values == pytest.approx(values)


def test_the_algebra_of_indices_at_its_edges() -> None:
    a, b = index_symbol("a"), index_symbol("b")
    assert linear(a) * 0 == Linear()
    assert linear(sympy.Mul(sympy.Rational(1, 2), 2 * a + 4, evaluate=False)) == linear(a) + 2
    with pytest.raises(IndexLanguageError, match=r"the index a\*b is not quasi-affine"):
        linear(a * b + a)
    facts = Facts({a: 4, b: 4}).assuming((sympy.Ne(a * b, 0), sympy.Ne(a, 0)))
    assert facts.nonnegative(linear(a) - 1)
    assert not facts.nonnegative(linear(b) - 1)


def test_an_access_says_its_name_where_sympy_asks_a_symbol() -> None:
    assert gw.tensor("x", (3, 4))[i, 2].name == "x[i, 2]"
