"""The gradient check: what it passes, what it does not let through."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import sympy

import gradwright as gw
from compiler import check
from compiler.evaluate import evaluate
from compiler.pipeline import stage
from ir.errors import DifferentiationError


@gw.network
def attention(x: gw.f64["batch", 3, 4]):
    h = gw.multi_head_attention(x, 2, name="mha")
    n, t, j = gw.indices("n t j")
    return gw.outputs(loss=gw.define((), gw.mean(h[n, t, j] ** 3, over=(n, t, j))))


def test_a_gradient_that_is_truly_zero_is_no_failure() -> None:
    """Softmax does not change when every key moves alike."""
    result = gw.gradcheck(attention)
    assert result.ok, result.text()
    assert [p.name for p in result.parameters if p.still] == ["mha.k.b"]
    assert "zero" in result.text()


def test_everything_zero_fails() -> None:
    @gw.network
    def flat():
        w = gw.param("w", (3,), gw.constant([0.0, 0.0, 0.0]))
        i = gw.indices("i")
        return gw.outputs(loss=gw.define((), gw.sum(w[i] ** 2, over=i)))

    result = gw.gradcheck(flat)
    assert not result.ok
    assert "every gradient is zero" in result.text()


def test_a_wrong_gradient_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    right = check.evaluate

    def wrong(program, values, rows=1, **options):
        made = right(program, values, rows, **options)
        return {n: v * 1.001 if n == "d_mha.q.W" else v for n, v in made.items()}

    monkeypatch.setattr(check, "evaluate", wrong)
    result = gw.gradcheck(attention)
    assert not result.ok
    assert [p.name for p in result.parameters if not p.ok] == ["mha.q.W"]
    assert "WRONG" in result.text()


def test_a_scalar_parameter_is_moved() -> None:
    @gw.network
    def shifted(x: gw.f64["batch", 2]):
        n, k, b = *gw.indices("n k"), gw.param("b", (), init=gw.zeros())
        return gw.outputs(loss=gw.define((), gw.mean((x[n, k] - b[()]) ** 2, over=(n, k))))

    result = gw.gradcheck(shifted)
    assert result.ok, result.text()
    assert result.parameters[0].largest > 0


REAL: dict[str, Callable[[Any], Any]] = {
    "sign of a logarithm": lambda z: sympy.sign(sympy.log(z) - 0.5) ** 2,
    "size of a logarithm": lambda z: abs(sympy.log(z)),
    "size of a root": lambda z: abs(sympy.sqrt(z) - 1.5),
    "size of an arcsine": lambda z: abs(sympy.asin(1 / (z + 1)) - 1),
    "sign of an arccosine": lambda z: sympy.sign(sympy.acos(1 / (z + 1)) - 1),
    "size within a size": lambda z: abs(abs(sympy.log(z) - 2) - sympy.sqrt(z) * z),
}


def of_its_square(function: Callable[[Any], Any]) -> gw.Network:
    @gw.network
    def scaled():
        i, a = gw.index("i", 4), gw.param("a", (4,))
        z = gw.define(i, a[i] ** 2)
        y = gw.define(i, function(z[i]) * a[i])
        return gw.outputs(loss=gw.define((), gw.sum(y[i], over=i)))

    return scaled


@pytest.mark.parametrize("function", REAL.values(), ids=REAL)
def test_every_value_is_a_real_number(function: Callable[[Any], Any]) -> None:
    """SymPy, which is not told, differentiates the size of a complex number, or not at all."""
    result = gw.gradcheck(of_its_square(function))
    assert result.ok, result.text()


def test_the_slope_of_a_size_is_zero_at_zero_whatever_stands_in_it() -> None:
    program = stage(of_its_square(REAL["size of a logarithm"]).trace(), "differentiate").program
    values = evaluate(program, {"a": np.array([1.0, -1.0, 2.0, 0.5])})
    gradient = values[dict(program.gradients)["a"]]
    np.testing.assert_allclose(gradient, [0, 0, np.log(4) + 2, np.log(4) - 2], rtol=1e-12)


def test_nothing_to_check() -> None:
    @gw.network
    def bare(x: gw.f64["batch", 2]):
        return gw.outputs(y=gw.relu(x))

    with pytest.raises(DifferentiationError, match="no loss or no parameters"):
        gw.gradcheck(bare)


def test_the_same_seed_tries_the_same() -> None:
    first, second = gw.gradcheck(attention, seed=4), gw.gradcheck(attention, seed=4)
    assert first == second
    assert not np.isclose(
        first.parameters[0].largest, gw.gradcheck(attention).parameters[0].largest
    )
