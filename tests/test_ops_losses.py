"""Every loss with its options: forward against NumPy, gradients against differences."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradwright as gw
from ir.errors import GradwrightError
from tests.op_cases import FAR, LOSSES, Case, arrays, bundle, expected, parameters

NETWORK = bundle(LOSSES, "losses")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("losses")
    return gw.compile(NETWORK, target="numpy", batch=4, dtype="float64", out=folder)


@pytest.fixture(scope="module")
def outputs(model: Any) -> Any:
    return model.forward(parameters(LOSSES), *arrays().values())


@pytest.mark.parametrize("name", LOSSES)
def test_forward(name: str, outputs: Any) -> None:
    found = getattr(outputs, f"{name}_out")
    np.testing.assert_allclose(found, expected(LOSSES, name), rtol=1e-12, atol=1e-14)


def test_gradients() -> None:
    result = gw.gradcheck(NETWORK, seed=3)
    assert result.ok, result.text()
    assert [p.name for p in result.parameters] == list(LOSSES)


def test_rows_without_a_class_have_no_gradient(tmp_path: Path) -> None:
    """Whatever stands in them: their labels are never used as an index."""

    @gw.network
    def ignoring(label: gw.i32[3]):
        x = gw.param("x", (3, 4), gw.normal())
        return gw.outputs(loss=gw.cross_entropy(x, label, ignore_index=FAR))

    model = gw.compile(ignoring, target="numpy", dtype="float64", out=tmp_path)
    assert model.INDEX_LIMITS == {}
    params = model.init_params(0)
    loss, grads = model.value_and_grad(params, np.array([FAR, 2, 1000], np.int32))
    row = params["x"][1]
    assert loss == pytest.approx(np.log(np.exp(row).sum()) - row[2], rel=1e-14)
    assert np.all(grads["x"][[0, 2]] == 0)
    assert np.all(grads["x"][1] != 0)


def test_class_weights_given_as_numbers_are_a_buffer(tmp_path: Path) -> None:
    @gw.network
    def weighted(x: gw.f64["batch", 3], label: gw.i32["batch"]):
        logits = gw.dense(x, 3, name="fc")
        return gw.outputs(loss=gw.cross_entropy(logits, label, weight=[1, 2, 0.5], name="ce"))

    model = gw.compile(weighted, target="numpy", dtype="float64", out=tmp_path)
    params = model.init_params(0)
    np.testing.assert_array_equal(params["ce.weight"], [1, 2, 0.5])
    x, label = np.eye(3), np.array([0, 1, 2], np.int32)
    state = model.init_state(params)
    model.train_step(params, state, x, label)
    np.testing.assert_array_equal(params["ce.weight"], [1, 2, 0.5])


def test_certain_probabilities_cost_100_at_most(tmp_path: Path) -> None:
    @gw.network
    def certain(u: gw.f32["batch"], y: gw.f32["batch"]):
        return gw.outputs(loss=gw.bce(u, y), each=gw.bce(u, y, reduction="none"))

    model = gw.compile(certain, target="numpy", out=tmp_path)
    u, y = np.array([0, 1, 0, 1], np.float32), np.array([0, 1, 1, 0], np.float32)
    np.testing.assert_array_equal(model.forward({}, u, y).each, [0, 0, 100, 100])


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (lambda t: gw.mse(t.x, t.label), "two tensors of one shape"),
        (lambda t: gw.mse(t.x, t.y, "average"), 'reduction must be "mean" or "sum" or "none"'),
        (lambda t: gw.bce(t.x, t.y, t.label), "cannot broadcast"),
        (lambda t: gw.cross_entropy(t.x, t.y, label_smoothing="a"), "label_smoothing must be"),
        (lambda t: gw.cross_entropy(t.x, t.labels), "needs an integer label a row"),
        (lambda t: gw.cross_entropy(t.x, t.row_sign), "needs probabilities alike"),
        (lambda t: gw.cross_entropy(t.x, t.label, weight=[1, 2]), "needs 5 weights"),
        (lambda t: gw.nll_loss(t.x, t.label, axis=2), "no axis 2"),
        (lambda t: gw.nll_loss(t.x, t.label, axis=0), "fixed number of classes"),
    ],
)
def test_mistakes_are_reported_on_the_line(body: Any, message: str) -> None:
    network = bundle({"bad": Case(body, np.asarray)}, "mistaken")
    with pytest.raises(GradwrightError, match=message) as caught:
        network.trace()
    assert caught.value.at is not None
    assert Path(caught.value.at.path).name == Path(__file__).name
