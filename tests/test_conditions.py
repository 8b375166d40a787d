"""Conditions that are more than a triangle: products of indices, rests, digits, labels, values.

One network has a sum under each; its outputs in both targets, and its gradient, are compared with
what `compiler/evaluate.py` makes of the program as it was traced.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sympy import And, Eq, Ne, Not, Or, Piecewise, oo

import gradwright as gw
from compiler.evaluate import evaluate

i, j = gw.index("i", 5), gw.index("j", 6)


def conditions(x: Any, w: Any, label: Any) -> dict[str, Any]:
    return {
        "product": i * j > 2,
        "product_equal": Eq(i * j, 4),
        "product_unequal": Ne(i * j, 4),
        "product_and_sum": i * j + 2 * i - 1 > j,
        "square": j**2 <= i + 3,
        "all_but_one": Ne(j, 3),
        "either_end": Or(j < i, j > 4),
        "neither": Not(Or(Eq(j, i), Eq(j, 0))),
        "odd_and_below": And(j >= 1, Eq(j % 2, 1), j <= i + 2),
        "rest_of_a_sum": Eq((2 * j + i) % 4, 1),
        "rests_alike": Eq((2 * j + i) % 4, i % 4),
        "rest_above": And(Eq((i + j) % 3, 2), j > i),
        "rest_of_a_multiple": Eq((3 * j) % 5, 2),
        "never": And(Eq(j % 2, i % 2), Eq((j + i) % 2, 1)),
        "digits_alike": Eq(j // 2, i // 2),
        "of_a_value": w[j] > 0,
        "of_two_values": x[i, j] > w[j],
        "of_both": w[j] * i > 0,
        "a_label": Eq(j, label[i]),
        "up_to_a_label": j <= label[i],
        "not_the_label": Ne(j, label[i]),
    }


@gw.network
def under_conditions(x: gw.f64[5, 6], label: gw.i32[5]):
    w, v = gw.param("w", (6,)), gw.param("v", (5,))
    sums = {
        name: gw.define(i, gw.sum(Piecewise((x[i, j] * w[j], c), (0, True)), over=j), name=name)
        for name, c in conditions(x, w, label).items()
    }
    sums["largest"] = gw.define(
        i, gw.max(Piecewise((w[j] * i, i * j > 2), (-oo, Ne(i, 0)), (0, True)), over=j)
    )
    sums["after_a_label"] = gw.define(i, w[(label[i] + 1) % 6] * v[i])
    first = gw.define(i, gw.argmax(Piecewise((x[i, j], i * j > 2), (-oo, True)), over=j))
    loss = gw.define((), sum(gw.sum(s[i] ** 2, over=i) for s in sums.values()))
    return gw.outputs(loss=loss, first=first, **sums)


LABEL = np.array([0, 3, 5, 2, 1], np.int32)
X = np.random.default_rng(0).standard_normal((5, 6))


@pytest.mark.parametrize("target", ["numpy", "c"])
def test_sums_under_any_condition(target: Any, tmp_path: Path) -> None:
    model = gw.compile(under_conditions, target=target, dtype="float64", out=tmp_path)
    params = model.init_params(seed=0)
    program = under_conditions.trace(dtype="float64")
    known = evaluate(program, {"x": X, "label": LABEL, **params})
    out = model.forward(params, X, LABEL)
    for (name, definition), made in zip(program.outputs, out, strict=True):
        np.testing.assert_allclose(made, known[definition], rtol=1e-13, err_msg=name)
        assert name == "never" or np.any(known[definition]), name


def test_gradients_under_any_condition() -> None:
    result = gw.gradcheck(under_conditions)
    assert result.ok, result.text()
