"""A function that a line works out again is written by the multiple of it that the line reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import sympy

import gradwright as gw
from compiler.evaluate import evaluate
from compiler.pipeline import stage, stages
from ir.program import Definition, Program


def merged(body: Callable[[Any], Any]) -> Program:
    """The gradients of a loss that weighs what `body` makes of x and a matrix."""

    n, j = gw.indices("n j")

    @gw.network
    def net(x: gw.f32["batch", 6]):
        y = body(gw.dense(x, 4, name="fc"))
        loss = gw.define((), gw.mean(y[n, j] ** 2 * (1 + j), over=(n, j)), name="loss")
        return gw.outputs(loss=loss, y=y)

    assert gw.gradcheck(net, rows=3).ok
    return stage(net.trace(batch=8), "merge").program


def adjoint(program: Program, name: str) -> Definition:
    return program.definition(f"d_{name}")


def softmax_by_hand(z: Any) -> Any:
    n, j, k = gw.indices("n j k")
    total = gw.define((n,), gw.sum(sympy.exp(z[n, k]), over=k), name="total")
    return gw.define((n, j), sympy.exp(z[n, j]) / total[n], name="share")


@pytest.mark.parametrize("made", [softmax_by_hand, lambda z: gw.softmax(z, name="share")])
def test_the_adjoint_of_a_quotient_of_exponentials_reads_the_quotient(made: Any) -> None:
    program = merged(made)
    found = adjoint(program, "fc")
    assert not found.body.has(sympy.exp)
    assert {"share", "d_share"} < set(found.reads())
    assert "fc" not in found.reads()
    backward = [d for d in program.definitions if d.name.startswith("d_")]
    assert not any(d.body.has(sympy.exp) for d in backward)


def test_a_scaled_softmax() -> None:
    n, j, k = gw.indices("n j k")

    def body(z: Any) -> Any:
        total = gw.define((n,), gw.sum(sympy.exp(z[n, k] / 3), over=k), name="total")
        return gw.define((n, j), 2 * sympy.exp(z[n, j] / 3) / total[n], name="share")

    assert not adjoint(merged(body), "fc").body.has(sympy.exp)


def test_nothing_is_rewritten_by_halves() -> None:
    """tanh(z) is share*s here too, but s would stay: it may be 0 or infinite."""
    n, j = gw.indices("n j")

    def body(z: Any) -> Any:
        s = gw.define((n,), 2 + sympy.sin(z[n, 0]), name="s")
        share = gw.define((n, j), sympy.tanh(z[n, j]) / s[n], name="share")
        return gw.define((n, j), share[n, j] * sympy.cos(z[n, j]) + sympy.tanh(z[n, j]), name="y")

    program = merged(body)
    assert "share" in program.definition("y").reads()
    assert program.definition("y").body.has(sympy.tanh)


def test_a_value_that_is_there_under_a_condition_is_not_reused_outside_it() -> None:
    """The adjoint of `first` is that cosine, and has one row; the gradient has three."""

    @gw.network
    def rows():
        a = gw.param("a", (3, 4), gw.uniform(-1.0, 1.5))
        i, j, k, o = (gw.index(n, size) for n, size in (("i", 3), ("j", 4), ("k", 4), ("o", 1)))
        first = gw.define((o, j), sympy.Max(a[o, j], 0))
        whole = gw.sum(a[i, j] * sympy.cos(2 * i + 3 * j), over=(i, j))
        row = gw.sum(first[o, k] * sympy.cos(2 * o + 3 * k), over=(o, k))
        return gw.outputs(loss=gw.define((), whole + row))

    *_, final = (s.program for s in stages(rows.trace(dtype="float64")))
    a = np.random.default_rng(0).standard_normal((3, 4))
    found = evaluate(final, {"a": a})[dict(final.gradients)["a"]]
    i, j = np.ogrid[:3, :4]
    np.testing.assert_allclose(found, np.cos(2 * i + 3 * j) * (1 + (a > 0) * (i == 0)), rtol=1e-14)
