"""The gradient of a network is a network: Hessian-vector products, and forward mode."""

from __future__ import annotations

import numpy as np
import pytest
import sympy

import gradwright as gw
from compiler.evaluate import evaluate
from compiler.pipeline import stages
from tests.index_cases import CASES, as_network, normal


@gw.network
def regression(x: gw.f64["batch", 3], y: gw.f64["batch", 2]):
    h = gw.tanh(gw.dense(x, 4, name="fc1"))
    return gw.outputs(loss=gw.mse(gw.dense(h, 2, name="fc2"), y))


@gw.network
def curvature(x: gw.f64["batch", 3], y: gw.f64["batch", 2]):
    """(gradient of the loss by fc1.W) · v, whose gradient is the Hessian times v."""
    slope = gw.grad(regression, wrt="fc1.W")(x, y).d_fc1_W
    v = gw.param("v", (3, 4), gw.constant(np.cos(np.arange(12.0)).reshape(3, 4)), trainable=False)
    k, j = gw.indices("k j")
    return gw.outputs(loss=gw.define((), gw.sum(slope[k, j] * v[k, j], over=(k, j))))


def drawn(program, rows: int = 3) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(5)
    return {
        name: rng.standard_normal([s if isinstance(s, int) else rows for s in t.shape])
        for name, t in program.tensors().items()
    }


def test_hessian_vector_product_equals_differences_of_the_gradient() -> None:
    program = list(stages(curvature.trace()))[-1].program
    values = drawn(program)
    product = evaluate(program, values, 3)[dict(program.gradients)["fc1.W"]]
    plain = list(stages(regression.trace()))[-1].program
    slope = dict(plain.gradients)["fc1.W"]
    step = 1e-30j
    moved = {**values, "fc1.W": values["fc1.W"] + step * values["v"]}
    expected = evaluate(plain, moved, 3, kind=np.complex128)[slope].imag / 1e-30
    np.testing.assert_allclose(product, expected, rtol=1e-12, atol=1e-15)
    assert np.any(product)


def test_gradients_are_outputs(tmp_path) -> None:
    model = gw.compile(gw.grad(regression), target="numpy", out=tmp_path)
    base = gw.compile(regression, target="numpy", out=tmp_path)
    params = base.init_params(seed=1)
    x, y = np.ones((2, 3)), np.zeros((2, 2))
    loss, grads = base.value_and_grad(params, x, y)
    out = model.forward(params, x, y)
    np.testing.assert_allclose(out.loss_value, loss)
    np.testing.assert_array_equal(out.d_fc1_W, grads["fc1.W"])


@pytest.mark.parametrize("name", sorted(CASES))
def test_forward_mode_equals_a_complex_step(name: str) -> None:
    network = CASES[name]()
    wrt = tuple(p.name for p in network.trace().parameters if p.trainable)
    program = gw.jvp(network, wrt=wrt).trace(dtype="float64")
    rng = np.random.default_rng(2)
    values = {}
    for tensor in network.trace(dtype="float64").parameters:
        shape = [int(s) for s in tensor.shape]
        constant = tensor.init.kind == "constant"
        values[tensor.name] = (
            np.reshape(tensor.init.values, shape) if constant else rng.standard_normal(shape)
        )
    directions = {f"t_{n}": rng.standard_normal(values[n].shape) for n in wrt}
    made = evaluate(program, {**values, **directions})
    moved = {n: values[n] + 1e-30j * directions[f"t_{n}"] for n in wrt}
    plain = network.trace(dtype="float64")
    expected = evaluate(plain, {**values, **moved}, kind=np.complex128)[plain.loss].imag / 1e-30
    tangent = dict(program.outputs)["t_loss_value"]
    np.testing.assert_allclose(made[tangent], expected, rtol=1e-11, atol=1e-13)


def test_third_derivative_of_a_cube() -> None:
    """d³(x³)/dx³ = 6, by differentiating three times."""

    def cube():
        x = normal("x")
        return gw.define((), x[()] ** 3)

    first = gw.grad(as_network(cube), wrt="x")

    @gw.network
    def second():
        return gw.outputs(loss=gw.define((), 1 * first().d_x[()]))

    @gw.network
    def third():
        return gw.outputs(loss=gw.define((), 1 * gw.grad(second, wrt="x")().d_x[()]))

    program = list(stages(third.trace(dtype="float64")))[-1].program
    values = {"x": np.array(0.7), "cotangent": np.array(1.0)}
    assert evaluate(program, values)[dict(program.gradients)["x"]] == pytest.approx(6.0)


def test_bare_expressions() -> None:
    x, w = gw.tensor("x", 2), gw.tensor("w", (3, 2))
    p, q, k = gw.index("p", 3), gw.index("q", 2), gw.index("k", 2)
    inner = gw.sum(w[p, q] * x[q] ** 2, over=q)
    assert str(gw.derive(inner, wrt=x[k]).expr) == "2*x[k]*w[p, k]"
    composed = gw.derive(gw.sum(inner**2, over=p), wrt=x[k]).expr
    assert str(composed).startswith("4*x[k]*Sum(")
    t = sympy.Symbol("t", real=True)
    assert gw.derive(sympy.sin(t) ** 2, wrt=t).expr == 2 * sympy.sin(t) * sympy.cos(t)
