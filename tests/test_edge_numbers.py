"""Numbers and shapes at the edge, in both targets: what docs/conventions.md says of them.

Zeros of both signs, the smallest and the largest numbers, infinities and NaN through every scalar
function and reduction; one row, one class, one channel, a window as large as its input, no rows;
tensors of 2^31 elements and more, which are emitted and compiled but never allocated.
"""

import math
import subprocess
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import sympy

import gradwright as gw
from compiler.driver import emit
from compiler.evaluate import evaluate
from compiler.pipeline import stages
from ir.errors import GradwrightError

TARGETS = ("numpy", "c")
TYPES = ("float32", "float64")
FUNCTIONS = {
    "exp": (sympy.exp, np.exp),
    "log": (sympy.log, np.log),
    "tanh": (sympy.tanh, np.tanh),
    "sinh": (sympy.sinh, np.sinh),
    "cosh": (sympy.cosh, np.cosh),
    "atan": (sympy.atan, np.arctan),
    "erf": (sympy.erf, np.vectorize(math.erf, otypes=[float])),
    "erfc": (sympy.erfc, np.vectorize(math.erfc, otypes=[float])),
    "size": (sympy.Abs, np.abs),
    "root": (sympy.sqrt, np.sqrt),
    "square": (lambda x: x**2, np.square),
    "cube": (lambda x: x**3, lambda x: x**3),
    "inverse": (lambda x: 1 / x, lambda x: 1 / x),
    "relu": (lambda x: sympy.Max(x, 0), lambda x: np.where(x <= 0, 0, x)),
    "least": (lambda x: sympy.Min(x, 1), lambda x: np.where(x >= 1, 1, x)),
    "sigmoid": (lambda x: 1 / (1 + sympy.exp(-x)), lambda x: 1 / (1 + np.exp(-x))),
    "softplus": (lambda x: sympy.log(1 + sympy.exp(x)), lambda x: np.logaddexp(0, x)),
    "sign": (sympy.sign, np.sign),
    "step": (lambda x: sympy.Piecewise((1, x > 0), (2, True)), lambda x: np.where(x > 0, 1, 2)),
}


def edges(dtype: str) -> np.ndarray:
    """Every kind of number of the type, both signs, in more than one vector's length."""
    info = np.finfo(dtype)
    sizes = [0.0, info.smallest_subnormal, info.tiny, 1e-3, 1.0, 20.0, 1e3, info.max, np.inf]
    sizes.append(1e38)
    return np.array([*sizes, *(-s for s in sizes), np.nan], dtype=dtype)


def compiled(
    network: gw.Network, target: str, dtype: str, folder: Path, batch: int = 4
) -> ModuleType:
    return gw.compile(network, target=target, dtype=dtype, batch=batch, out=folder)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("target", TARGETS)
def test_every_function_at_the_edges(target: str, dtype: str, tmp_path: Path) -> None:
    x = edges(dtype)

    @gw.network
    def functions(x: gw.f64[len(x)]):
        i = gw.indices("i")
        made = {n: gw.define(i, f(x[i]), name=f"of_{n}") for n, (f, _) in FUNCTIONS.items()}
        return gw.outputs(**made)

    out = compiled(functions, target, dtype, tmp_path).forward({}, x)
    with np.errstate(all="ignore"):
        for (name, (_, f)), made in zip(FUNCTIONS.items(), out, strict=True):
            expected = np.asarray(f(x.astype(np.float64))).astype(dtype)
            tiny = 4 * float(np.finfo(dtype).tiny)
            tiny = float(np.finfo(dtype).eps) if name == "softplus" else tiny
            tolerance = 4e-6 if dtype == "float32" else 1e-14
            np.testing.assert_allclose(
                made, expected, rtol=tolerance, atol=tiny, err_msg=f"{name} of {x}"
            )


@pytest.mark.parametrize("target", TARGETS)
def test_powers_of_zero(target: str, tmp_path: Path) -> None:
    """As IEEE 754 has them: of an exponent that is no number the power is none either."""
    x = edges("float32")

    @gw.network
    def powers(x: gw.f32[len(x)], below: gw.f32[len(x)]):
        i = gw.indices("i")
        return gw.outputs(power=gw.define(i, sympy.Max(below[i], 0) ** x[i]))

    made = compiled(powers, target, "float32", tmp_path).forward({}, x, -np.ones_like(x)).power
    with np.errstate(divide="ignore"):
        np.testing.assert_array_equal(made, np.float32(0) ** x)


@pytest.mark.parametrize("length", [1, 3, 17, 70])
@pytest.mark.parametrize("target", TARGETS)
def test_reductions_of_edges(target: str, length: int, tmp_path: Path) -> None:
    rows = 6
    x = np.random.default_rng(0).standard_normal((rows, length)).astype(np.float32)
    at = length // 2
    x[1, at], x[2, at], x[3, :], x[4, at], x[5, :] = np.nan, np.inf, -np.inf, -np.inf, -0.0
    x[1, -1] = np.nan

    @gw.network
    def reductions(x: gw.f32[rows, length]):
        i, k = gw.indices("i k")
        whole = gw.define(i, gw.sum(x[i, k], over=k))
        largest = gw.define(i, gw.max(x[i, k], over=k))
        place = gw.define(i, gw.argmax(x[i, k], over=k))
        return gw.outputs(whole=whole, largest=largest, place=place)

    out = compiled(reductions, target, "float32", tmp_path).forward({}, x)
    np.testing.assert_allclose(out.whole, x.astype(np.float64).sum(axis=1), rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(out.largest, x.max(axis=1))
    np.testing.assert_array_equal(out.place, np.argmax(x, axis=1))


@pytest.mark.parametrize("target", TARGETS)
def test_empty_sums_and_maxima(target: str, tmp_path: Path) -> None:
    """Row 0 has no terms: 0, and minus infinity."""

    @gw.network
    def empty(x: gw.f32[4]):
        i, k = gw.index("i", 4), gw.index("k", 4)
        before = gw.define(i, gw.sum(x[i - k - 1], over=k))
        largest = gw.define(i, gw.max(x[i - k - 1], over=k))
        return gw.outputs(before=before, largest=largest)

    out = compiled(empty, target, "float32", tmp_path).forward({}, np.ones(4, np.float32))
    np.testing.assert_array_equal(out.before, [0, 1, 2, 3])
    np.testing.assert_array_equal(out.largest, [-np.inf, 1, 1, 1])


@gw.network
def one_of_all(x: gw.f64["batch", 1, 3, 3], label: gw.i32["batch"]):
    """One channel, a window as large as its input, one class."""
    h = gw.relu(gw.conv2d(x, 1, 3, name="conv"))
    pooled = gw.max_pool2d(gw.conv2d(x, 1, 1, name="point"), 3)
    logits = gw.dense(gw.flatten(h), 1, name="fc1") + gw.dense(gw.flatten(pooled), 1, name="fc2")
    j, n = gw.index("j", 1), gw.indices("n")
    square = gw.define((), gw.mean(logits[n, j] ** 2, over=(n, j)))
    return gw.outputs(loss=gw.cross_entropy(logits, label) + square, logits=logits)


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("target", TARGETS)
def test_one_row_one_class_one_channel_one_window(target: str, rows: int, tmp_path: Path) -> None:
    model = compiled(one_of_all, target, "float64", tmp_path)
    params = model.init_params(seed=1)
    x, label = np.random.default_rng(2).standard_normal((rows, 1, 3, 3)), np.zeros(rows, np.int32)
    loss, grads = model.value_and_grad(params, x, label)
    final = list(stages(one_of_all.trace(dtype="float64")))[-1].program
    expected = evaluate(final, {**params, "x": x, "label": label}, rows)
    np.testing.assert_allclose(loss, expected[str(final.loss)], rtol=1e-12)
    for name, gradient in final.gradients:
        np.testing.assert_allclose(grads[name], expected[gradient], rtol=1e-11, atol=1e-13)
    logits = model.forward(params, x).logits
    np.testing.assert_allclose(loss, np.mean(logits**2), rtol=1e-12)  # log(softmax) of one is 0


@pytest.mark.parametrize("target", TARGETS)
def test_no_rows_are_refused(target: str, tmp_path: Path) -> None:
    model = compiled(one_of_all, target, "float64", tmp_path)
    params = model.init_params(seed=1)
    x, label = np.empty((0, 1, 3, 3)), np.empty(0, np.int32)
    before = {n: p.copy() for n, p in params.items()}
    state = model.init_state(params)
    for call in (
        lambda: model.forward(params, x),
        lambda: model.value_and_grad(params, x, label),
        lambda: model.train_step(params, state, x, label),
        lambda: model.train_epoch(params, state, x, label, np.empty(0, np.int64)),
    ):
        with pytest.raises(ValueError, match="at least one|1 to 4 rows"):
            call()
    for name, old in before.items():
        np.testing.assert_array_equal(params[name], old)


# ---------------------------------------------------------------- sizes


@gw.network
def wide(x: gw.f32["batch", 65537]):
    """W has 65,537 * 32,769 elements, more than 2^31."""
    n, i, j = gw.index("n", "batch"), gw.index("i", 65537), gw.index("j", 32769)
    W = gw.param("W", (65537, 32769), gw.uniform(-1, 1))
    y = gw.define((n, j), gw.sum(x[n, i] * W[i, j], over=i))
    tail = gw.define((), W[65536, 32768] ** 2)
    return gw.outputs(loss=gw.define((), gw.mean(y[n, j] ** 2, over=(n, j)) + tail[()]), y=y)


def test_more_elements_than_int_counts_compile(tmp_path: Path) -> None:
    """Every index is a ptrdiff_t: no product of sizes is made in a shorter type."""
    files = emit(wide, target="c", batch=65536)
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    strict = ["-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Woverflow", "-Werror", "-O1"]
    subprocess.run(["gcc", *strict, "-c", "wide.c", "-o", "wide.o"], cwd=tmp_path, check=True)
    assert f"W[{65536 * 32769} + 32768]" in files["wide.c"]
    assert "(int)" not in files["wide.c"].replace("(int)GW_LANES", "")
    assert str(65537 * 32769) in files["wide.c"]
    assert "(65537, 32769)" in emit(wide, target="numpy", batch=65536)["wide_numpy.py"]


@pytest.mark.parametrize("target", TARGETS)
def test_more_bytes_than_an_address_reaches_are_refused(target: str) -> None:
    @gw.network
    def too_wide(x: gw.f32["batch", 2]):
        n, i = gw.index("n", "batch"), gw.index("i", 2)
        W = gw.param("W", (2**32, 2**31), gw.zeros())
        return gw.outputs(loss=gw.define((), gw.sum(x[n, i], over=(n, i)) + W[0, 0]))

    with pytest.raises(GradwrightError, match="more than an address can reach"):
        emit(too_wide, target=target, batch=2)


@pytest.mark.parametrize("target", TARGETS)
def test_an_infinite_gradient_meets_the_flat_side_of_relu(target: str, tmp_path: Path) -> None:
    """The chain rule's product of zero and infinity is no number, and every target says so."""

    @gw.network
    def flat(x: gw.f32["batch", 2]):
        a = gw.param("a", (2,), init=gw.uniform(-2.0, -1.0))
        b, i, j = gw.index("b", "batch"), gw.index("i", 2), gw.index("j", 2)
        h = gw.define((i,), sympy.Max(a[i], 0))
        return gw.outputs(loss=gw.define((), gw.sum(h[j] * x[b, j], over=(b, j))))

    model = compiled(flat, target, "float32", tmp_path)
    _, grads = model.value_and_grad(model.init_params(0), np.array([[np.inf, 1]], np.float32))
    np.testing.assert_array_equal(grads["a"], [np.nan, 0])
