"""Networks written without a thought for overflow, at ±1000 and in between, in float32 NumPy.

Each row of the table is what a user would write. Its output, and the gradient of the sum of its
outputs times 1, 2, 3, …, are compared with the same formula in 4000 binary digits,
differentiated there by central differences. Everything must be finite, and right to float32.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import mpmath
import numpy as np
import pytest
import sympy

import gradwright as gw
from compiler.safe_scalars import safe

WIDTH = 4
HUGE = [
    [1000.0, 0.0, -1000.0, 1.0],
    [-1000.0, -1000.0, -1000.0, -1000.0],
    [1000.0, 1000.0, 999.0, -1000.0],
    [0.0, 0.0, 0.0, 0.0],
    [88.0, -88.0, 104.0, -104.0],
]
MODERATE = [[0.5, -1.25, 2.0, 0.0], [3.0, 3.0, -3.0, 1.5], [-0.125, 8.0, -8.0, 0.25]]


@dataclass(frozen=True, slots=True)
class Row:
    """`ours` makes a tensor [rows, …] of z [rows, 4]; `exact` the outputs of one row of numbers."""

    ours: Callable[[Any], gw.Tensor]
    exact: Callable[[list[Any]], list[Any]]


def by_element(name: str, body: Callable[[Any], Any]) -> Callable[[Any], gw.Tensor]:
    """A map over all elements, in one line."""

    def ours(t: Any) -> gw.Tensor:
        return gw.define((t.n, t.j), body(t.z[t.n, t.j]), name=name)

    return ours


exp = cache(mpmath.exp)  # asked in one precision, mostly for numbers that did not move


def exponentials(z: list[Any]) -> list[Any]:
    return [exp(v) for v in z]


def sigmoid(v: Any) -> Any:
    return 1 / (1 + mpmath.exp(-v))


# ---------------------------------------------------------------- what users write


def softmax_in_steps(t: Any) -> gw.Tensor:
    e = gw.define((t.n, t.j), sympy.exp(t.z[t.n, t.j]), name="e")
    total = gw.define(t.n, gw.sum(e[t.n, t.j], over=t.j), name="total")
    return gw.define((t.n, t.j), e[t.n, t.j] / total[t.n], name="p")


def softmax_in_one_line(t: Any) -> gw.Tensor:
    total = gw.sum(sympy.exp(t.z[t.n, t.k]), over=t.k)
    return gw.define((t.n, t.j), sympy.exp(t.z[t.n, t.j]) / total, name="p")


def log_of_softmax(t: Any) -> gw.Tensor:
    p = softmax_in_steps(t)
    return gw.define((t.n, t.j), sympy.log(p[t.n, t.j]), name="log_p")


def log_of_softmax_op(t: Any) -> gw.Tensor:
    p = gw.softmax(t.z)
    return gw.define((t.n, t.j), sympy.log(p[t.n, t.j]), name="log_p")


def logsumexp(t: Any) -> gw.Tensor:
    total = gw.sum(sympy.exp(t.z[t.n, t.j]), over=t.j)
    return gw.define(t.n, sympy.log(total), name="lse")


def logsumexp_in_steps(t: Any) -> gw.Tensor:
    e = gw.define((t.n, t.j), sympy.exp(t.z[t.n, t.j]), name="e")
    total = gw.define(t.n, gw.sum(e[t.n, t.j], over=t.j), name="total")
    return gw.define(t.n, sympy.log(total[t.n]), name="lse")


def cross_entropy_of_class_2(t: Any) -> gw.Tensor:
    p = softmax_in_steps(t)
    return gw.define(t.n, -sympy.log(p[t.n, 2]), name="row")


def sigmoid_cross_entropy(t: Any) -> gw.Tensor:
    p = gw.define((t.n, t.j), 1 / (1 + sympy.exp(-t.z[t.n, t.j])), name="p")
    y, u = t.y[t.j], p[t.n, t.j]
    return gw.define((t.n, t.j), -y * sympy.log(u) - (1 - y) * sympy.log(1 - u), name="row")


def sigmoid_cross_entropy_of_op(t: Any) -> gw.Tensor:
    p, y = gw.sigmoid(t.z), t.y[t.j]
    line = -y * sympy.log(p[t.n, t.j]) - (1 - y) * sympy.log(1 - p[t.n, t.j])
    return gw.define((t.n, t.j), line, name="row")


def sigmoid_cross_entropy_in_one_line(t: Any) -> gw.Tensor:
    y, u = t.y[t.j], 1 / (1 + sympy.exp(-t.z[t.n, t.j]))
    return gw.define((t.n, t.j), -(y * sympy.log(u) + (1 - y) * sympy.log(1 - u)), name="row")


TARGET = (1.0, 0.0, 0.25, 1.0)


@cache
def exact_softplus(v: Any) -> Any:
    return mpmath.log(1 + mpmath.exp(v))


def exact_bce(z: list[Any]) -> list[Any]:
    pairs = zip(TARGET, z, strict=True)
    return [y * exact_softplus(-v) + (1 - y) * exact_softplus(v) for y, v in pairs]


def exact_log_softmax(z: list[Any]) -> list[Any]:
    total = mpmath.log(mpmath.fsum(exponentials(z)))
    return [v - total for v in z]


def exact_softmax(z: list[Any]) -> list[Any]:
    return exponentials(exact_log_softmax(z))


def exact_logsumexp(z: list[Any]) -> list[Any]:
    return [mpmath.log(mpmath.fsum(exponentials(z)))]


def each(function: Callable[[Any], Any]) -> Callable[[list[Any]], list[Any]]:
    known = cache(function)
    return lambda z: [known(v) for v in z]


TABLE = {
    "softmax in steps": Row(softmax_in_steps, exact_softmax),
    "softmax in one line": Row(softmax_in_one_line, exact_softmax),
    "softmax op": Row(lambda t: gw.softmax(t.z), exact_softmax),
    "log of softmax in steps": Row(log_of_softmax, exact_log_softmax),
    "log of the softmax op": Row(log_of_softmax_op, exact_log_softmax),
    "log_softmax op": Row(lambda t: gw.log_softmax(t.z), exact_log_softmax),
    "logsumexp": Row(logsumexp, exact_logsumexp),
    "logsumexp in steps": Row(logsumexp_in_steps, exact_logsumexp),
    "logsumexp op": Row(lambda t: gw.logsumexp(t.z), exact_logsumexp),
    "cross-entropy of a class": Row(
        cross_entropy_of_class_2, lambda z: [-exact_log_softmax(z)[2]]
    ),
    "sigmoid cross-entropy": Row(sigmoid_cross_entropy, exact_bce),
    "sigmoid cross-entropy of the op": Row(sigmoid_cross_entropy_of_op, exact_bce),
    "sigmoid cross-entropy in one line": Row(sigmoid_cross_entropy_in_one_line, exact_bce),
    "bce_with_logits op": Row(
        lambda t: gw.bce_with_logits(t.z, t.rows_of_y, reduction="none"), exact_bce
    ),
    "sigmoid": Row(by_element("s", lambda v: 1 / (1 + sympy.exp(-v))), each(sigmoid)),
    "sigmoid by exp(v)": Row(
        by_element("s", lambda v: sympy.exp(v) / (1 + sympy.exp(v))), each(sigmoid)
    ),
    "sigmoid op": Row(lambda t: gw.sigmoid(t.z), each(sigmoid)),
    "log of sigmoid": Row(
        by_element("s", lambda v: sympy.log(1 / (1 + sympy.exp(-v)))),
        each(lambda v: -exact_softplus(-v)),
    ),
    "log_sigmoid op": Row(
        lambda t: gw.log_sigmoid(t.z), each(lambda v: -exact_softplus(-v))
    ),
    "softplus": Row(
        by_element("s", lambda v: sympy.log(1 + sympy.exp(v))),
        each(exact_softplus),
    ),
    "softplus op": Row(
        lambda t: gw.softplus(t.z, threshold=1e9), each(exact_softplus)
    ),
    "silu op": Row(lambda t: gw.silu(t.z), each(lambda v: v * sigmoid(v))),
    "mish op": Row(
        lambda t: gw.mish(t.z),
        each(lambda v: v * mpmath.tanh(mpmath.log(1 + mpmath.exp(v)))),
    ),
    "gelu op": Row(
        lambda t: gw.gelu(t.z), each(lambda v: v * (1 + mpmath.erf(v / mpmath.sqrt(2))) / 2)
    ),
    "tanh by exponentials": Row(
        by_element("s", lambda v: (sympy.exp(v) - sympy.exp(-v)) / (sympy.exp(v) + sympy.exp(-v))),
        each(mpmath.tanh),
    ),
    "tanh by one exponential": Row(
        by_element("s", lambda v: 3 * (1 - sympy.exp(-2 * v)) / (1 + sympy.exp(-2 * v))),
        each(lambda v: 3 * mpmath.tanh(v)),
    ),
    "a share of a constant": Row(
        by_element("s", lambda v: sympy.exp(v) / (3 + sympy.exp(v))),
        each(lambda v: 1 / (1 + 3 * mpmath.exp(-v))),
    ),
    "log of two exponentials": Row(
        by_element("s", lambda v: sympy.log(sympy.exp(v) + sympy.exp(-v / 2))),
        each(lambda v: mpmath.log(mpmath.exp(v) + mpmath.exp(-v / 2))),
    ),
    "elu op": Row(lambda t: gw.elu(t.z), each(lambda v: v if v > 0 else mpmath.expm1(v))),
}  # fmt: skip


# ---------------------------------------------------------------- the comparison


class _Names:
    """What a row of the table reads."""

    def __init__(self, z: gw.Tensor, rows_of_y: gw.Tensor) -> None:
        self.z, self.rows_of_y = z, rows_of_y
        self.n, self.j, self.k = gw.indices("n j k")
        i = gw.index("i", WIDTH)
        self.y = gw.define(i, rows_of_y[0, i], name="y_of_0")


def network(ours: Callable[[Any], gw.Tensor]) -> gw.Network:
    """The gradient by `shift`, a parameter that is added to every row, is that by z."""

    @gw.network
    def naive(x: gw.f32["batch", WIDTH], rows_of_y: gw.f32["batch", WIDTH]):
        shift = gw.param("shift", WIDTH, gw.zeros())
        z = gw.add(x, shift)
        out = ours(_Names(z, rows_of_y))
        loops = [gw.index(f"a{d}", size) for d, size in enumerate(out.shape)]
        weight = 1 + loops[1] if len(loops) > 1 else 1
        loss = gw.define((), gw.sum(weight * out[tuple(loops)], over=loops), name="weighted")
        return gw.outputs(loss=loss, out=out)

    return naive


def exact(row: Row, z: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """The outputs of one row, and the gradient of their weighted sum."""

    def weighted(values: list[Any]) -> Any:
        return mpmath.fsum((1 + j) * v for j, v in enumerate(row.exact(values)))

    with mpmath.workprec(4000):
        numbers = [mpmath.mpf(v) for v in z]
        out = [float(v) for v in row.exact(numbers)]
        step = mpmath.mpf(2) ** -300
        slopes = []
        for i in range(len(numbers)):
            ends = [
                [v + (step * s if i == j else 0) for j, v in enumerate(numbers)] for s in (1, -1)
            ]
            slopes.append(float((weighted(ends[0]) - weighted(ends[1])) / (2 * step)))
    return np.array(out), np.array(slopes)


@pytest.fixture(scope="module", params=TABLE)
def compiled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    row = TABLE[request.param]
    folder: Path = tmp_path_factory.mktemp("naive")
    model = gw.compile(network(row.ours), target="numpy", batch=1, dtype="float32", out=folder)
    return row, model


@pytest.mark.parametrize("z", [*HUGE, *MODERATE], ids=str)
def test_finite_and_right(z: list[float], compiled: Any) -> None:
    row, model = compiled
    arrays = [np.array([z], np.float32), np.array([TARGET], np.float32)]
    params = model.init_params(0)
    given = arrays[: len([n for n in _forward_inputs(model) if n in model.INPUTS])]
    found = model.forward(params, *given).out[0]
    _, grads = model.value_and_grad(params, *arrays)
    out, slopes = exact(row, z)
    assert np.all(np.isfinite(found)), found
    assert np.all(np.isfinite(grads["shift"])), grads["shift"]
    # A difference of numbers near 1000 is no better than the last bit of 1000 in float32.
    rounding = float(np.spacing(np.float32(np.max(np.abs(z)))))
    np.testing.assert_allclose(np.atleast_1d(found), out, rtol=4e-6, atol=1e-6 + rounding)
    np.testing.assert_allclose(grads["shift"], slopes, rtol=4e-6, atol=4e-6)


def _forward_inputs(model: Any) -> list[str]:
    import inspect

    return list(inspect.signature(model.forward).parameters)


def test_a_logarithm_is_not_split_where_a_factor_may_be_negative() -> None:
    """The sum is positive, and so is neither of -1/s and what it is then multiplied by."""
    a, s, x = sympy.symbols("a s x", real=True)
    line = sympy.log(sympy.exp(a) / (3 * s) - x + 2)
    point = {a: 0.5, s: 4.0, x: -0.75}
    made = complex(safe(line).subs(point))
    assert made == pytest.approx(complex(line.subs(point)), rel=1e-14)
    assert made.imag == 0
