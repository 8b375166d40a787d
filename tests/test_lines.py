"""Lines that few networks have: what is kept beside a step, states that lead nowhere, numbers.

The values are those of `compiler/evaluate.py`, of NumPy by hand, or of the network that is called.
"""

from __future__ import annotations

import linecache
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sympy

import gradwright as gw
from compiler.evaluate import evaluate
from ir.affine import Linear, linear
from ir.errors import GradwrightError, IndexLanguageError
from ir.expression import index_symbol
from ir.facts import Facts
from tests.targets.interpreted import expected, given
from tests.targets.programs import by_name

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


@gw.network
def held_steps(x: gw.f64[3, 5, 4]):
    """Of what is worked out in a step, only h is kept: one line lacks an index, one is an input."""
    k, w = gw.index("k", 3), gw.param("w", (5, 4))
    steps = gw.recurrence(
        [(k, t, j), (k, t, j), (k, t, j), (k, t), (k, t, j)],
        lambda v, u, c, m, h: (
            w[t, j] * 2,
            x[k, t, j],
            sympy.Piecewise((h[k, t - 1, j], t > 0), (0, True)) / 2,
            gw.sum(sympy.Piecewise((h[k, t - 1, i], t > 0), (0, True)) * w[t, i], over=i),
            v[k, t, j] * u[k, t, j] + c[k, t, j] + m[k, t],
        ),
    )
    h = steps[-1]
    return gw.outputs(loss=gw.define((), gw.sum(h[k, t, j] ** 2, over=(k, t, j))), h=h)


@pytest.mark.parametrize("target", ["numpy", "c"])
def test_what_a_step_holds(target: Any, tmp_path: Path) -> None:
    x = np.random.default_rng(2).standard_normal((3, 5, 4))
    model = gw.compile(held_steps, target=target, dtype="float64", out=tmp_path)
    params = model.init_params(seed=0)
    program = held_steps.trace(dtype="float64")
    known = evaluate(program, {"x": x, **params})
    np.testing.assert_allclose(model.forward(params, x).h, known[dict(program.outputs)["h"]])
    if target == "c":
        assert gw.gradcheck(held_steps).ok
        text = gw.lower_to_text(held_steps, stop_after="fuse")
        assert re.search(r"^loop t < 5$", text, re.MULTILINE)
        assert re.search(r"^loop t < 5 downwards$", text, re.MULTILINE)


def test_draws_are_those_of_the_interpreter() -> None:
    """Of `compiler/evaluate.py`, which a gradient check of a network in training draws with."""
    case = by_name("random")
    values = given(case, "float64", 3)
    found = evaluate(case.program("float64"), values, 3)
    for name, made in expected(case, 3).items():
        np.testing.assert_array_equal(found[name], made, err_msg=name)


def test_a_norm_over_gradients_of_which_one_is_a_number(tmp_path: Path) -> None:
    @gw.network
    def shifted(x: gw.f64["batch", 2]):
        b, w = gw.param("b", (), gw.constant(0.5)), gw.param("w", (2,), gw.constant([1, -1]))
        k = gw.index("k", 2)
        return gw.outputs(loss=gw.define((), gw.mean(3 * b[()] + 4 * w[k] * x[n, k], over=(n, k))))

    optimizer = gw.sgd(lr=1.0, clip_norm=1.0)
    model = gw.compile(
        shifted, target="numpy", dtype="float64", batch=1, optimizer=optimizer, out=tmp_path
    )
    params = model.init_params(0)
    model.train_step(params, model.init_state(params), np.array([[2.0, 0.0]]))
    np.testing.assert_allclose(params["b"], 0.5 - 3 / 5, rtol=1e-5)
    np.testing.assert_allclose(params["w"], [1 - 4 / 5, -1], rtol=1e-5)


def test_bare_expressions_of_which_a_part_does_not_move() -> None:
    x, y, k = gw.tensor("x", 4), gw.tensor("y", 4), gw.index("k", 4)
    still = gw.derive(gw.sum(y[k], over=k) * x[0] + gw.sum(y[k] ** 2, over=k), wrt=x[0])
    assert str(still.expr) == "Sum(y[k], (k, 0, 3))"
    assert gw.derive(sympy.Abs(sympy.log(sympy.Symbol("u"))), wrt=sympy.Symbol("u")).expr == (
        sympy.sign(sympy.log(sympy.Symbol("u"))) / sympy.Symbol("u")
    )


def test_a_border_of_nothing_is_no_border() -> None:
    @gw.network
    def plain(x: gw.f64[1, 2, 5, 5]):
        return gw.outputs(h=gw.conv2d(x, 1, 3, padding_mode="reflect", name="c"))

    assert not any("bordered" in d.name for d in plain.trace().definitions)


def test_a_network_whose_source_cannot_be_read(tmp_path: Path) -> None:
    """A line has its operation's name where Python cannot say what it is assigned to."""
    text = (
        "import gradwright as gw\n"
        "def make():\n"
        "    @gw.network\n"
        "    def net(x: gw.f64[3]):\n"
        "        h = gw.relu(x)\n"
        "        return gw.outputs(h=h)\n"
        "    return net\n"
    )
    path = tmp_path / "changed_since.py"
    path.write_text(text)
    made: dict[str, Any] = {}
    exec(compile(text, str(path), "exec"), made)
    path.write_text("def (")
    linecache.checkcache(str(path))
    assert [d.name for d in made["make"]().trace().definitions] == ["relu"]
    lazy = "from __future__ import annotations\n" + text.replace("3]", "size]").replace(
        "make():", "make():\n    size = 3"
    )
    exec(compile(lazy, str(path), "exec"), made)
    with pytest.raises(GradwrightError, match="an annotation of net names 'size', which is not a"):
        made["make"]().trace()
