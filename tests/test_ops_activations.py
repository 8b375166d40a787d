"""Every activation with its options: forward against NumPy, gradients against differences."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradwright as gw
from ir.errors import GradwrightError
from tests.op_cases import ACTIVATIONS, arrays, bundle, expected, parameters

NETWORK = bundle(ACTIVATIONS, "activations")
EXTRA = {"one.a": np.array([0.25]), "many.a": np.full((5, 1), 0.1)}


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("activations")
    model = gw.compile(NETWORK, target="numpy", batch=4, dtype="float64", out=folder)
    given = arrays()
    wanted = [given["x"], given["z"]]
    return model.forward({**parameters(ACTIVATIONS), **EXTRA}, *wanted)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_forward(name: str, outputs: Any) -> None:
    found = getattr(outputs, f"{name}_out")
    np.testing.assert_allclose(found, expected(ACTIVATIONS, name), rtol=1e-12, atol=1e-14)


def test_gradients() -> None:
    result = gw.gradcheck(NETWORK, seed=3)
    assert result.ok, result.text()
    assert {p.name for p in result.parameters} == {*ACTIVATIONS, *EXTRA}


def traced(body: Any) -> Any:
    def network(x: gw.f64["batch", 4]):
        return gw.outputs(out=body(x))

    return gw.network(network).trace()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (lambda x: gw.gelu(x, approximate="erf"), 'approximate must be "none" or "tanh"'),
        (lambda x: gw.celu(x, alpha=0), "alpha must be a finite number other than 0"),
        (lambda x: gw.softplus(x, beta=0.0), "beta must be a finite number other than 0"),
        (lambda x: gw.leaky_relu(x, float("nan")), "negative_slope must be a finite number"),
        (lambda x: gw.elu(x, "1"), "alpha must be a finite number"),
        (lambda x: gw.prelu(x, 3), "1 slope, or one a channel, not 3"),
        (lambda x: gw.softmax(x, axis=2), "no axis 2"),
        (lambda x: gw.logsumexp(x, axis=-3), "no axis -3"),
    ],
)
def test_mistakes_are_reported_on_the_line(body: Any, message: str) -> None:
    with pytest.raises(GradwrightError, match=message) as caught:
        traced(body)
    assert caught.value.at is not None
    assert Path(caught.value.at.path).name == Path(__file__).name
