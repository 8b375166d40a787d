"""Data made to fit a model's declared inputs, and the order of an epoch."""

from __future__ import annotations

import numpy as np
import pytest

from gradwright.training import digits
from gradwright.training.batches import epoch_order, fit
from gradwright.training.metrics import accuracy, score_output
from ir.errors import DataError, ShapeError

DIGITS = digits.load()


def test_digits_are_the_published_ones() -> None:
    assert DIGITS.train.images.shape == (1437, 8, 8)
    assert DIGITS.test.images.shape == (360, 8, 8)
    assert DIGITS.train.images.max() == 16
    assert DIGITS.train.labels[:12].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]
    assert DIGITS.train.images[0, 0].tolist() == [0, 0, 5, 13, 9, 1, 0, 0]


@pytest.mark.parametrize("tail", [(64,), (8, 8), (1, 8, 8), (4, 16)])
def test_images_take_the_declared_shape(model, tail: tuple[int, ...]) -> None:
    model.INPUTS = {"x": (("batch", *tail), "float32"), "label": (("batch",), "int64")}
    train, test = fit(model, DIGITS)
    x, label = train.inputs()
    assert (x.shape, x.dtype) == ((1437, *tail), np.float32)
    assert (x.min(), x.max()) == (0, 1)
    assert label.dtype == np.int64
    assert len(test) == 360


@pytest.mark.parametrize("tail", [(784,), (28, 28), (1, 28, 28)])
def test_digits_are_enlarged_for_a_model_made_for_mnist(model, tail: tuple[int, ...]) -> None:
    model.INPUTS = {"x": (("batch", *tail), "float64"), "label": (("batch",), "int32")}
    image = fit(model, DIGITS)[0].arrays["x"][0].reshape(28, 28)
    assert image[2 + 3 * 0 : 5, 2 + 3 * 3 : 14].tolist() == [[13 / 16] * 3] * 3
    edges = image[:2], image[-2:], image[:, :2], image[:, -2:]
    assert not any(edge.any() for edge in edges)


def test_inputs_keep_their_declared_order(model) -> None:
    model.INPUTS = {"label": (("batch",), "int32"), "x": (("batch", 64), "float32")}
    train, _ = fit(model, DIGITS)
    assert [array.ndim for array in train.inputs()] == [1, 2]


def test_second_floating_input_takes_one_hot_labels(model) -> None:
    model.INPUTS = {"x": (("batch", 64), "float32"), "y": (("batch", 10), "float32")}
    one_hot = fit(model, DIGITS)[0].arrays["y"]
    assert one_hot.sum(axis=1).tolist() == [1] * 1437
    assert one_hot.argmax(axis=1).tolist() == DIGITS.train.labels.tolist()


def test_other_image_sizes_are_refused(model) -> None:
    model.INPUTS = {"x": (("batch", 3, 32, 32), "float32"), "label": (("batch",), "int32")}
    with pytest.raises(ShapeError, match=r"(?s)float32\[batch, 3, 32, 32\].*found: 8x8, 64"):
        fit(model, DIGITS)


def test_other_inputs_are_refused(model) -> None:
    model.INPUTS = {**model.INPUTS, "mask": (("batch", 3), "int32")}
    with pytest.raises(DataError, match=r"(?s)other inputs.*mask: int32\[batch, 3\]"):
        fit(model, DIGITS)


@pytest.mark.parametrize("second", [(("batch",), "int32"), (("batch", 4), "float64")])
def test_too_few_classes_are_refused(model, second: tuple[tuple[int | str, ...], str]) -> None:
    model.INPUTS = {"x": (("batch", 64), "float64"), "label": second}
    model.INDEX_LIMITS = {"label": 4}
    with pytest.raises(DataError, match=r"(?s)labels below 4.*found: label 9.*10 outputs"):
        fit(model, DIGITS)


def test_order_is_a_permutation_of_its_own_for_each_epoch_and_seed() -> None:
    orders = [epoch_order(seed, epoch, 100) for seed in (0, 1) for epoch in (0, 1)]
    assert all(sorted(order) == list(range(100)) for order in orders)
    assert len({order.tobytes() for order in orders}) == 4
    assert (epoch_order(1, 1, 100) == orders[3]).all()
    assert orders[0].dtype == np.int64


def test_accuracy_counts_every_row_once(model, data) -> None:
    train, test = data
    params = model.init_params(0)
    wins = model.forward(params, test.arrays["x"]).logits.argmax(axis=1) == test.labels
    assert accuracy(model, params, test) == np.mean(wins)
    assert 0 < np.mean(wins) < 1


def test_a_regression_has_no_accuracy(model, data) -> None:
    model.OUTPUTS = {"y": (("batch",), "float64")}
    assert score_output(model) is None
    assert accuracy(model, model.init_params(0), data[1]) is None
