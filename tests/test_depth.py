"""Deep networks compile; a body nested too deeply is refused on the user's line."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import sympy
from sympy import Expr

import gradwright as gw


def chain(lines: int, function: Callable[[Expr], Expr]) -> gw.Network:
    """A network of many lines, each a function of the one before."""

    @gw.network
    def deep(x: gw.f32["batch", 4]):
        n, i = gw.indices("n i")
        w = gw.param("w", (4,))
        h = gw.define((n, i), x[n, i] * w[i], name="h")
        for number in range(lines):
            h = gw.define((n, i), function(h[n, i]), name=f"h{number}")
        return gw.outputs(loss=gw.define((), gw.sum(h[n, i], over=(n, i)), name="total"))

    return deep


def nest(depth: int, function: Callable[[Expr], Expr]) -> gw.Network:
    """A network of one line: a function of a function of a function …"""

    @gw.network
    def nested(x: gw.f32["batch", 4]):
        n, i = gw.indices("n i")
        w = gw.param("w", (4,))
        body = x[n, i] * w[i]
        for _ in range(depth):
            body = function(body)
        h = gw.define((n, i), body, name="h")
        return gw.outputs(loss=gw.define((), gw.sum(h[n, i], over=(n, i)), name="total"))

    return nested


CHAINS: dict[str, Callable[[Expr], Expr]] = {
    "exp": lambda e: sympy.exp(-e),
    "softplus": lambda e: sympy.log(1 + sympy.exp(e)),
    "tanh": sympy.tanh,
}


@pytest.mark.parametrize("name", CHAINS)
def test_a_network_of_many_lines_compiles(name: str) -> None:
    text = gw.emit(chain(40, CHAINS[name]), target="numpy", batch=4)["deep_numpy.py"]
    assert "d_w" in text


@pytest.mark.parametrize("name", ["exp", "tanh"])
@pytest.mark.parametrize("depth", [150, 500])
def test_a_body_nested_too_deeply_is_refused(name: str, depth: int) -> None:
    with pytest.raises(gw.GradwrightError, match="nested too deeply") as error:
        gw.emit(nest(depth, CHAINS[name]), target="numpy", batch=4)
    assert "test_depth.py" in str(error.value)
    assert "fix: give the inner parts lines of their own" in str(error.value)
