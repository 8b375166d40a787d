"""The examples built of convolutions, pools, dropout, attention and optimizers give their figures.

Full size where that takes seconds, otherwise a smaller setting of the same file: MNIST is never
read, the 8x8 digits inside the package stand in for it. test_examples.py sees that none is missing.
"""

from __future__ import annotations

import importlib.util
from math import prod
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

import gradwright as gw
from gradwright.training import digits
from gradwright.training.batches import epoch_order, fit

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
TARGETS = ["numpy", "c"]


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


@pytest.mark.parametrize("name", ["convolution", "max_pooling"])
def test_runs_by_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    load(name).main()
    assert capsys.readouterr().out.count("\n") >= 3


# ---------------------------------------------------------------- 8: by hand


def test_symbolic_gradients_are_the_numerical_ones() -> None:
    example = load("image_classifier_by_hand")
    found = example.gradients(example.the_first(50, example.load())[0])
    assert {name: c.elements for name, c in found.items()} == {
        "fc1.W": 512, "fc1.b": 8, "fc2.W": 80, "fc2.b": 10,
    }  # fmt: skip
    for name, c in found.items():
        assert c.largest > 0.01, name
        assert c.apart < 1e-9, name


def test_every_optimizer_learns_the_digits() -> None:
    example = load("image_classifier_by_hand")
    results = example.optimizers(example.load())
    assert len(results) == 7
    for name, result in results.items():
        assert result.train > 0.985, name
        assert result.test > 0.88, name


def test_training_dynamics() -> None:
    example = load("image_classifier_by_hand")
    found = example.dynamics(example.load())
    right, low, high, narrow, few = found.values()
    assert right.test > 0.9
    assert low.train < 0.3
    assert high.train < 0.3
    assert right.train_loss < min(low.train_loss, high.train_loss) / 10
    assert narrow.train < 0.5
    assert few.train == 1
    assert few.test < 0.8
    assert example.table(found).count("\n") == 1 + len(found)


def test_weight_decay_and_dropout_help() -> None:
    example = load("image_classifier_by_hand")
    plain, decayed, dropped, scheduled = example.regularisers(example.load()).values()
    assert plain.train == dropped.train == scheduled.train == 1
    assert decayed.train_loss > 3 * plain.train_loss
    assert dropped.test_loss < plain.test_loss
    assert min(decayed.test, dropped.test) > plain.test


# ---------------------------------------------------------------- 9 and 10: convolution, pooling


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    ("stride", "padding", "size"), [(1, 0, 48), (1, 1, 50), (2, 1, 25), (3, 0, 16)]
)
def test_convolution(stride: int, padding: int, size: int, target: str) -> None:
    found, expected = load("convolution").convolve(stride, padding, target)
    assert found.shape == (5, 7, size, size)
    assert_allclose(found, expected, rtol=0, atol=1e-13)


def test_sobel_filters_find_the_edges_of_a_square() -> None:
    along_x, along_y = load("convolution").find_edges()
    assert_allclose(along_x[4], [0, 0, 4, 4, 0, -4, -4, 0, 0])
    assert_allclose(along_y, along_x.T)


@pytest.mark.parametrize("target", TARGETS)
def test_max_pooling(target: str) -> None:
    pooled, gradient = load("max_pooling").pool(target)
    assert_allclose(pooled, [[5, 7], [13, 15]], rtol=0)
    assert_allclose(gradient, [[0, 0, 0, 0], [0, 1, 0, 2], [0, 0, 0, 0], [0, 3, 0, 4]], rtol=0)


# ---------------------------------------------------------------- 11 and 12: convolutional networks


def parameters(model: Any) -> int:
    return sum(prod(shape) for shape in model.PARAM_SHAPES.values())


def test_lenet5_learns_digits(as_users_build: None) -> None:
    """Six passes over the digits, enlarged to 28x28: it knows most that it never saw."""
    optimizer = gw.adam(lr=0.002)
    model = gw.compile(load("lenet5").lenet5, batch=64, optimizer=optimizer, out="build")
    assert parameters(model) == 61_706
    train, test = fit(model, digits.load())
    params = model.init_params(seed=0)
    state = model.init_state(params)
    for epoch in range(6):
        model.train_epoch(params, state, *train.inputs(), epoch_order(0, epoch, len(train)))
    logits = [model.forward(params, test.arrays["x"][s : s + 64]).logits for s in range(0, 360, 64)]
    assert (np.concatenate(logits).argmax(axis=1) == test.labels).mean() > 0.85


@pytest.mark.parametrize("target", TARGETS)
def test_two_convolutions_drop_neurons_only_in_training(target: str) -> None:
    network = load("two_convolutions").two_convolutions
    model = gw.compile(network, target=target, batch=4, dtype="float64", out="build")
    assert parameters(model) == 1_199_882
    rng = np.random.default_rng(0)
    x = rng.random((4, 1, 28, 28))
    label = np.arange(4, dtype=np.int32)
    params = model.init_params(seed=0)
    state = model.init_state(params)
    losses = [model.train_step(params, state, x, label, lr=1e-9) for _ in range(3)]
    assert len(set(losses)) == 3
    used = [model.forward(params, x).logits for _ in range(2)]
    assert np.array_equal(*used)


def test_vgg16_has_the_published_parameters() -> None:
    program = load("vgg16").vgg16.trace(batch=1)
    shapes = [parameter.shape for parameter in program.parameters]
    assert sum(prod(int(size) for size in shape) for shape in shapes) == 138_357_544
    assert shapes[0] == (64, 3, 3, 3)
    assert shapes[-2] == (4096, 1000)


@pytest.mark.parametrize("target", TARGETS)
def test_a_small_vgg_takes_a_step(target: str) -> None:
    """Nine layers of the sixteen; the first scores and losses are those of the other target."""
    example = load("vgg16")
    model, scores, losses = example.one_step(example.small_vgg, target, rate=0.001)
    assert scores.shape == (1, 10)
    assert_allclose(losses, [3.07099, 2.92989], rtol=1e-4)


# ---------------------------------------------------------------- 13: three or seven


def test_baselines_by_hand() -> None:
    """An image is of the class whose mean is nearer: two of these three are."""
    example = load("three_or_seven")
    train = example.Images(np.array([[0, 1], [0, 0.5], [1, 0]], "f4"), np.array([1, 1, 0], "f4"))
    test = example.Images(np.array([[0, 1], [1, 0], [1, 0.2]], "f4"), np.array([1, 0, 1], "f4"))
    assert example.baselines(train, test) == {"L1": 2 / 3, "L2": 2 / 3}


@pytest.mark.parametrize("target", TARGETS)
def test_three_or_seven(target: str) -> None:
    example, data = load("three_or_seven"), digits.load()
    train, test = (example.threes_and_sevens(s, data.white) for s in (data.train, data.test))
    assert train.x.shape[1] == 64
    shares = example.baselines(train, test)
    assert min(shares.values()) > 0.85
    learned = example.learn(train, test, target)
    assert 5 < len(learned.epochs) <= example.MOST_EPOCHS
    assert learned.test > 0.9


# ---------------------------------------------------------------- 15: a small GPT


def test_small_gpt_has_its_parameters() -> None:
    program = load("small_gpt").small_gpt.trace(batch=1)
    assert sum(prod(int(n) for n in p.shape) for p in program.parameters) == 826_112


def test_small_gpt_learns_and_writes(as_users_build: None) -> None:
    example = load("small_gpt")
    trained = example.train(example.gpt(1, 32, 2, 16), steps=120)
    assert trained.unseen[0] == pytest.approx(np.log(96), abs=0.1)
    assert trained.unseen[1] < 3.4
    before, after = (
        example.write(trained.model, params, "The ", 100)
        for params in (trained.before, trained.after)
    )
    assert len(before) == len(after) == 104
    assert after.count(" ") > 2 * before.count(" ")


def test_small_gpt_is_causal() -> None:
    """What comes later changes nothing before it."""
    example = load("small_gpt")
    model = gw.compile(example.gpt(2, 16, 4, 8), target="numpy", batch=1, out="build")
    params = model.init_params(seed=0)
    tokens = np.arange(8, dtype=np.int32)[None]
    later = tokens.copy()
    later[0, 5] = 50
    ours, theirs = (model.forward(params, t).logits[0] for t in (tokens, later))
    assert np.array_equal(ours[:5], theirs[:5])
    assert not np.allclose(ours[5:], theirs[5:])
