"""How the terms of a contraction are gone through: as one run, or as runs with a table."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sympy import tanh

import gradwright as gw


@gw.network
def one_run(x: gw.f32["batch", 6, 20], y: gw.f32["batch", 6, 24]) -> Any:
    """The gradient of W sums over batch and place, which lie one behind another."""
    n, t, i, j = gw.indices("n t i j")
    W = gw.param("W", (20, 24), gw.normal())
    h = gw.define((n, t, j), gw.sum(x[n, t, i] * W[i, j], over=i))
    return gw.outputs(loss=gw.mse(h, y), h=h)


@gw.network
def runs_of_three(x: gw.f32["batch", 4, 12, 20], y: gw.f32["batch", 8, 10, 18]) -> Any:
    """A filter's line is a run: the next line of the image lies elsewhere."""
    h = gw.conv2d(x, 8, 3, name="a")
    return gw.outputs(loss=gw.mse(h, y), h=h)


@gw.network
def steps_of_two(x: gw.f32["batch", 4, 12, 20], y: gw.f32["batch", 8, 20]) -> Any:
    """Every second column: the step is 2, and 40 from one line to the next."""
    n, o, c, r, s, q = gw.indices("n o c r s q")
    W = gw.param("W", (8, 4, 5), gw.normal())
    h = gw.define((n, o, q), gw.sum(W[o, c, r] * x[n, c, 2 * r, q], over=(c, r)))
    return gw.outputs(loss=gw.mse(h, y), h=h)


@gw.network
def long_runs(x: gw.f32["batch", 5, 12, 20], y: gw.f32["batch", 16, 20]) -> Any:
    """Twelve terms lie together in W, which has room for two more."""
    n, o, c, q = gw.indices("n o c q")
    k = gw.index("k", 12)
    W = gw.param("W", (16, 5, 14), gw.normal())
    h = gw.define((n, o, q), gw.sum(W[o, c, k] * x[n, c, k, q], over=(c, k)))
    return gw.outputs(loss=gw.mse(h, y), h=h)


@gw.network
def runs_of_the_batch(x: gw.f32["batch", 20], y: gw.f32["batch", 24]) -> Any:
    """The gradient of W sums over pairs of rows: the batch is in a run, and counts the runs."""
    n, m, i, j = gw.indices("n m i j")
    W = gw.param("W", (20, 24), gw.normal())
    u = gw.define((n, m, i), tanh(x[n, i] + 2 * x[m, i]))
    v = gw.define((n, m, j), gw.sum(u[n, m, i] * W[i, j], over=i))
    h = gw.define((n, j), gw.sum(tanh(v[n, m, j]), over=m))
    return gw.outputs(loss=gw.mse(h, y), h=h)


CASES = (
    (one_run, {""}, "left_step = 20, right_step = 24;"),
    (runs_of_three, {"_by3", "_runs"}, "runs = count / 3;"),
    (steps_of_two, {"_by5_1_40", "_runs"}, "runs = count / 5;"),
    (long_runs, {"", "_runs"}, "left_step = 1, right_step = 20, runs = count / 12;"),
    (runs_of_the_batch, {"", "_runs"}, "left_step = 20, right_step = 24, runs = count / rows;"),
)


@pytest.mark.parametrize(("network", "kinds", "held"), CASES)
def test_which_tiles_take_the_terms(network: gw.Network, kinds: set[str], held: str) -> None:
    source = gw.emit(network, target="c", batch=4)[f"{network.name}.c"]
    assert set(re.findall(r" gw_tile(\w*)\(height, width", source)) - {"_along"} == kinds
    assert held in source
    assert ("left_at" in source) == (kinds != {""})


@pytest.mark.parametrize("network", [network for network, *_ in CASES])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_values_are_those_of_the_other_target(
    network: gw.Network, dtype: str, tmp_path: Path
) -> None:
    found = []
    for target in ("c", "numpy"):
        model = gw.compile(network, target=target, batch=4, dtype=dtype, out=tmp_path / target)
        rng = np.random.default_rng(0)
        given = [rng.normal(size=(4, *s[1:])).astype(dtype) for s, _ in model.INPUTS.values()]
        loss, gradient = model.value_and_grad(model.init_params(0), *given)
        found.append({"loss": np.asarray(loss), **gradient})
    tolerance = 1e-4 if dtype == "float32" else 1e-12
    for name, value in found[0].items():
        scale = np.abs(found[1][name]).max()
        assert np.abs(value - found[1][name]).max() <= tolerance * scale, name
