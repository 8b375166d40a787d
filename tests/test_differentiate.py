"""Every access that the index language can say, against differences and a complex step."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import sympy

import gradwright as gw
from compiler.check import draw
from compiler.evaluate import evaluate
from compiler.pipeline import stages
from ir.errors import IndexLanguageError
from ir.program import Program
from tests.index_cases import CASES
from tests.targets.interpret import interpret


def values_of(program: Program) -> dict[str, np.ndarray]:
    return draw(program, np.random.default_rng(7), 1)


def numeric_gradient(program: Program, values: dict, name: str, step: complex) -> np.ndarray:
    kind = np.complex128 if isinstance(step, complex) else np.float64
    result = np.empty(values[name].size)
    for i in range(result.size):
        ends = []
        for sign in (1, -1):
            moved = values[name].astype(kind)
            moved.ravel()[i] += sign * step
            ends.append(evaluate(program, {**values, name: moved}, kind=kind)[program.loss])
        if kind is np.complex128:
            result[i] = ends[0].imag / step.imag
        else:
            result[i] = (ends[0] - ends[1]) / (2 * step)
    return result.reshape(values[name].shape)


@pytest.mark.parametrize("name", CASES)
def test_gradients_equal_differences(name: str) -> None:
    program = CASES[name]().trace(dtype="float64")
    values = values_of(program)
    final = list(stages(program))[-1].program
    made = evaluate(final, values)
    some_slope = False
    for parameter, gradient in final.gradients:
        central = numeric_gradient(program, values, parameter, 1e-6)
        stepped = numeric_gradient(program, values, parameter, 1e-30j)
        np.testing.assert_allclose(made[gradient], stepped, rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(made[gradient], central, rtol=1e-6, atol=1e-8)
        some_slope |= bool(np.any(made[gradient]))
    assert some_slope


@pytest.mark.parametrize("name", CASES)
def test_passes_keep_values(name: str) -> None:
    program = CASES[name]().trace(dtype="float64")
    values = values_of(program)
    every = list(stages(program, gw.sgd(lr=0.1)))
    before = evaluate(every[2].program, values)
    after = evaluate(every[-1].program, values)
    first, last = every[2].program, every[-1].program
    assert {n for n, _ in first.gradients} == {n for n, _ in last.gradients}
    results = [p.gradients + p.outputs + (("loss", p.loss),) for p in (first, last)]
    for (_, one), (_, other) in zip(*results, strict=True):
        np.testing.assert_allclose(after[other], before[one], rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize(
    "name",
    [
        "matmul",
        "conv2d_stride2_dilation1_padding1",
        "max_pooling_2d_padded",
        "two_state_recurrence",
        "gather",
        "anti_diagonals",
    ],
)
def test_evaluator_agrees_with_nested_loops(name: str) -> None:
    program = list(stages(CASES[name]().trace(dtype="float64")))[-1].program
    values = values_of(program)
    slow = interpret(program, values, rows=1)
    for tensor, value in evaluate(program, values).items():
        np.testing.assert_allclose(value, slow[tensor], rtol=1e-12, atol=1e-13)


def elements(program: Program, name: str) -> int:
    return math.prod(int(s) for s in program.shape_of(name))


@pytest.mark.parametrize("name", CASES)
def test_no_jacobian(name: str) -> None:
    """No definition of the backward pass holds more than the forward pass's largest tensor."""
    program = CASES[name]().trace(dtype="float64")
    final = list(stages(program))[2].program
    forward = {*program.tensors(), *program.by_name()}
    largest = max(elements(program, n) for n in forward)
    for d in final.definitions:
        assert elements(final, d.name) <= largest
    for tensor, gradient in final.gradients:
        assert final.shape_of(gradient) == final.shape_of(tensor)


def test_recurrences_run_back() -> None:
    final = list(stages(CASES["two_state_recurrence"]().trace()))[-1].program
    ways = {d.scan.downwards for d in final.definitions if d.scan and d.name.startswith("d_")}
    assert ways == {True}
    assert all(
        not d.scan.downwards for d in final.definitions if d.scan and not d.name.startswith("d_")
    )


def test_embedding_becomes_a_scatter_and_its_adjoint_a_gather() -> None:
    @gw.network
    def embedding(token: gw.i32[4]):
        i, j = gw.index("i", 4), gw.index("j", 2)
        table = gw.param("table", (6, 2), gw.normal())
        y = gw.define((i, j), table[token[i], j] ** 2)
        return gw.outputs(loss=gw.define((), gw.sum(y[i, j], over=(i, j))))

    program = embedding.trace(dtype="float64")
    final = list(stages(program))[-1].program
    assert [d.reduce for d in final.definitions if d.name == "d_table"] == ["scatter"]
    values = {"token": np.array([1, 3, 1, 5]), "table": np.arange(12.0).reshape(6, 2)}
    gradient = evaluate(final, values)["d_table"]
    expected = np.zeros((6, 2))
    np.add.at(expected, values["token"], 2 * values["table"][values["token"]])
    np.testing.assert_array_equal(gradient, expected)


def test_conventions_at_kinks() -> None:
    @gw.network
    def kinks():
        a = gw.param("a", (3,), gw.zeros())
        i = gw.indices("i")
        y = gw.define(i, sympy.Max(a[i], 0) + sympy.Abs(a[i]))
        m = gw.define((), gw.max(a[i], over=i))
        return gw.outputs(loss=gw.define((), gw.sum(y[i], over=i) + 5 * m[()]))

    final = list(stages(kinks.trace(dtype="float64")))[-1].program
    gradient = evaluate(final, {"a": np.zeros(3)})[dict(final.gradients)["a"]]
    np.testing.assert_array_equal(gradient, [5.0, 0.0, 0.0])


def test_an_activation_invented_here_has_a_gradient_at_once() -> None:
    @gw.network
    def invented(x: gw.f64["batch", 4], y: gw.f64["batch", 2]):
        h = gw.dense(x, 5, name="fc1")
        n, j = gw.indices("n j")
        wiggle = gw.define((n, j), h[n, j] * sympy.sin(h[n, j]) / (1 + sympy.exp(-(h[n, j] ** 2))))
        return gw.outputs(loss=gw.mse(gw.dense(wiggle, 2, name="fc2"), y))

    result = gw.gradcheck(invented, seed=3)
    assert result.ok, result.text()


def test_a_factor_that_is_infinite_where_the_sum_is_empty_stays_in_it() -> None:
    """Row 0 has no terms, so it is 0: not 0/0, which 1/i outside the sum would make of it."""

    @gw.network
    def shares():
        a = gw.param("a", (4,), gw.normal())
        i, r = gw.index("i", 4), gw.index("r", 4)
        y = gw.define(i, gw.sum(sympy.Piecewise((a[r] / i, r < i), (0, True)), over=r))
        return gw.outputs(loss=gw.define((), gw.sum(y[i] ** 2, over=i)))

    final = list(stages(shares.trace(dtype="float64")))[-1].program
    made = evaluate(final, {"a": np.ones(4)})
    assert made[str(final.loss)] == 3.0
    assert np.all(np.isfinite(made[dict(final.gradients)["a"]]))


def test_outputs_over_the_batch_know_the_number_of_rows(tmp_path: Path) -> None:
    """Even where they read no input that has it."""

    @gw.network
    def steps(x: gw.f64["batch", 2]):
        a = gw.param("a", (3,), gw.normal())
        n, j, k = gw.indices("n j k")
        h = gw.define((gw.index("n", "batch"), j), a[j] ** 2)
        count = gw.define((), gw.sum(a[0] ** 2, over=gw.index("n", "batch")))
        loss = gw.define((), gw.sum(h[n, j], over=(n, j)) + gw.sum(x[n, k], over=(n, k)))
        return gw.outputs(loss=loss, h=h, count=count)

    model = gw.compile(steps, target="numpy", batch=4, out=tmp_path)
    params = model.init_params(0)
    out = model.forward(params, np.zeros((3, 2)))
    assert out.h.shape == (3, 3)
    np.testing.assert_allclose(out.count, 3 * params["a"][0] ** 2)


def test_a_maximum_over_the_batch_has_it_first() -> None:
    @gw.network
    def late(x: gw.f64["batch", 3]):
        n, k = gw.indices("n k")
        return gw.outputs(loss=gw.define((), gw.max(x[n, k], over=(k, n))))

    with pytest.raises(IndexLanguageError, match="must have it as its first index"):
        late.trace()


def test_an_output_that_is_a_parameter_is_a_copy_of_it(tmp_path: Path) -> None:
    @gw.network
    def copies():
        a = gw.param("a", (), gw.uniform(1, 2))
        h = gw.define((), a[()])
        return gw.outputs(loss=gw.define((), a[()] ** 2), h=h)

    model = gw.compile(copies, target="numpy", batch=1, out=tmp_path)
    params = model.init_params(0)
    out, before = model.forward(params), params["a"].copy()
    params["a"][...] = 7.0
    assert out.h == before


def test_the_size_and_the_sign_of_a_logarithm_or_a_root() -> None:
    """SymPy takes neither for real, as what is in it might be negative."""

    @gw.network
    def sizes():
        a, b = gw.param("a", (3,), gw.normal()), gw.param("b", (3,), gw.normal())
        i = gw.indices("i")
        inside = sympy.log(a[i]) + b[i]
        y = gw.define(i, sympy.Abs(inside) + sympy.sign(inside) ** 2 * sympy.Abs(sympy.sqrt(a[i])))
        return gw.outputs(loss=gw.define((), gw.sum(y[i], over=i)))

    final = list(stages(sizes.trace(dtype="float64")))[-1].program
    a, b = np.array([1.0, 4.0, 0.25]), np.array([0.0, -3.0, 0.5])
    made = evaluate(final, {"a": a, "b": b})
    sign = np.sign(np.log(a) + b)
    expected = {"a": sign / a + sign**2 / (2 * np.sqrt(a)), "b": sign}
    for name, adjoint in final.gradients:
        np.testing.assert_allclose(made[adjoint], expected[name], rtol=1e-14)
