"""Every file of examples/ runs by itself and gives the figures in its docstring.

Each is loaded from its path and run in an empty folder. `SEEN` lists the examples that have a test
here, `ELSEWHERE` those of test_examples_ops.py; one in neither fails the suite.
"""

from __future__ import annotations

import importlib.util
from math import prod
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from numpy.testing import assert_allclose

import gradwright as gw

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
SEEN = {
    "computational_graph",
    "derivative_at_a_point",
    "finite_difference_descent",
    "index_calculus",
    "linear_regression",
    "mnist_mlp",
    "one_weight",
    "tensor_used_twice",
}
ELSEWHERE = {
    "convolution",
    "image_classifier_by_hand",
    "lenet5",
    "max_pooling",
    "small_gpt",
    "three_or_seven",
    "two_convolutions",
    "vgg16",
}


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_every_example_is_tested() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == SEEN | ELSEWHERE


@pytest.mark.parametrize("name", sorted(SEEN - {"mnist_mlp", "finite_difference_descent"}))
def test_runs_by_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    load(name).main()
    assert capsys.readouterr().out.count("\n") >= 3


def test_computational_graph() -> None:
    values, grads = load("computational_graph").evaluate()
    assert values == {"x": -2, "y": 5, "z": -4, "q": 3, "f": -12}
    assert grads == {"x": -4, "y": -4, "z": 3}
    assert load("computational_graph").along_the_graph() == {**grads, "q": -4, "f": 1}


def test_index_calculus() -> None:
    example = load("index_calculus")
    g, f, gradient = example.evaluate()
    assert_allclose(g, [9, 19, 29], rtol=1e-15)
    assert f == pytest.approx(1283, rel=1e-15)
    assert_allclose(gradient, [844, 2144], rtol=1e-15)
    assert_allclose(example.by_hand(), [844, 2144], rtol=1e-15)


def test_one_weight() -> None:
    by_hand, derived = load("one_weight").factors()
    expected = [-1.15680614, 0.1528, 0.24207180, 1.0]
    assert_allclose(list(by_hand.values()), expected, atol=5e-9)
    assert derived == pytest.approx(prod(by_hand.values()), rel=1e-13)
    assert derived == pytest.approx(-0.04278861, abs=5e-9)


def test_one_weight_as_inspected(capsys: pytest.CaptureFixture[str]) -> None:
    load("one_weight").main()
    factors = capsys.readouterr().out.split("as a product")[1]
    for value in ("-1.15680614", " 0.15280000", " 0.24207180", " 1.00000000", "-0.04278861"):
        assert value in factors


# The published figures, in the order W1, b1, W2, b2. Those by differences come from float32
# weights, whose last digit depends on the order of additions: 5e-8 is one unit of it.
BY_DIFFERENCES = [
    *(0.01424004, -0.5907864, -0.27549535, 0.39883757, -0.52918637, 0.18640439),
    *(0.00554004, 0.5519136, -0.06599568, 0.3475135, -0.05529078, 0.03760847, -0.22443289),
]
BY_CHAIN_RULE = [
    *(0.01423568, -0.59078347, -0.27549587, 0.39883568, -0.52918347, 0.18640413),
    *(0.00553568, 0.55191653, -0.06599587, 0.34751734, -0.05530516, 0.03759542, -0.22438103),
]


def test_finite_difference_descent(capsys: pytest.CaptureFixture[str]) -> None:
    example = load("finite_difference_descent")
    measured, exact = example.compare()
    cases = ((measured, BY_DIFFERENCES, 5e-8), (exact, BY_CHAIN_RULE, 6e-9))
    for descent, expected, digits in cases:
        assert descent.losses[0] == pytest.approx(0.33455, abs=5e-6)
        found = np.concatenate([value.ravel() for value in descent.params.values()])
        assert_allclose(found, expected, rtol=0, atol=digits)
    assert measured.losses[-1] == pytest.approx(0.000328, abs=5e-7)
    assert measured.prediction == pytest.approx(-0.0175, abs=5e-5)
    assert exact.losses[-1] == pytest.approx(0.00032618715731374767, rel=1e-12)
    assert exact.prediction == pytest.approx(-0.017436158134919305, rel=1e-12)
    example.main([])
    assert "0.00032619" in capsys.readouterr().out


@pytest.mark.parametrize("reading", ["element", "matrix"])
def test_tensor_used_twice(reading: str) -> None:
    example = load("tensor_used_twice")
    rng = np.random.default_rng(5)
    for _ in range(3):
        cotangent = rng.normal(size=(3, 3))
        found = example.derived(getattr(example, f"by_{reading}"), cotangent)
        expected = getattr(example, f"by_hand_by_{reading}")(cotangent)
        for ours, by_hand in zip(found, expected, strict=True):
            assert np.any(by_hand)
            assert_allclose(ours, by_hand, rtol=1e-13)


@pytest.mark.parametrize("target", ["numpy", "c"])
def test_linear_regression(target: str) -> None:
    model, params, errors = load("linear_regression").train(target)
    assert errors[0] == pytest.approx(26.3, abs=0.05)
    assert errors[-1] < 1e-3
    points = np.array([[1, 1, 1], [0, 0, 0]], dtype=np.float32)
    assert_allclose(model.forward(params, points).out[:, 0], [14, 5], atol=0.05)


@pytest.mark.parametrize("batch", [2, 128])
def test_mnist_mlp_learns_its_own_batch(batch: int) -> None:
    """Ten classes guessed evenly cost about log 10; steps on one batch must go below that."""
    network = load("mnist_mlp").mnist_mlp
    model = gw.compile(network, target="numpy", batch=batch, dtype="float32", out="build")
    assert {name: prod(shape) for name, shape in model.PARAM_SHAPES.items()} == {
        "fc1.W": 78400, "fc1.b": 100, "fc2.W": 20000, "fc2.b": 200, "fc3.W": 2000, "fc3.b": 10,
    }  # fmt: skip
    rng = np.random.default_rng(0)
    x = rng.random((batch, 784), dtype=np.float32)
    label = rng.integers(0, 10, batch, dtype=np.int32)
    params = model.init_params(seed=0)
    state = model.init_state(params)
    losses = [model.train_step(params, state, x, label) for _ in range(60)]
    assert losses[0] == pytest.approx(np.log(10), abs=1.0)
    assert losses[-1] < 0.85 * np.log(10)


def test_derivative_at_a_point() -> None:
    example = load("derivative_at_a_point")
    assert example.value_and_gradient(example.square) == (9, 6)
    value, gradient = example.value_and_gradient(example.sum_of_squares)
    assert value == 55
    assert_allclose(gradient, [2, 4, 6, 8, 10], rtol=1e-15)
