"""Epochs of single rows, whose steps run into one another: the bits of step after step."""

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradwright as gw
from compiler.driver import lowered, write
from compiler.rotation import rotated
from tests.targets.emitted_c import COMPILERS, warnings


@gw.network
def small(x: gw.f32["batch", 20], label: gw.i32["batch"]):
    h = gw.relu(gw.dense(x, 24))
    return gw.outputs(loss=gw.cross_entropy(gw.dense(h, 5), label))


@gw.network
def narrow(x: gw.f32["batch", 20]):
    n, j = gw.indices("n j")
    return gw.outputs(loss=gw.define((), gw.sum(gw.dense(x, 3)[n, j] ** 2, over=(n, j))))


OPTIMIZERS = {
    "sgd": gw.sgd(lr=0.05),
    "decay": gw.sgd(lr=0.05, weight_decay=0.01),
    "momentum": gw.momentum(lr=0.05, nesterov=True),
    "adam": gw.adam(lr=0.05),
}


def rows_of(model: Any, count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((count, 20)).astype(model.INPUTS["x"][1])
    return [x, rng.integers(0, 5, count).astype(np.int32)][: len(model.INPUTS)]


@pytest.mark.parametrize(
    ("name", "portable", "turned"),
    [
        ("sgd", False, True),
        ("sgd", True, True),
        ("momentum", False, True),
        ("decay", False, False),  # what the update reads has taken the place of h
        ("adam", False, False),  # the number of the step is counted last
    ],
)
def test_an_epoch_is_its_steps(
    name: str, portable: bool, turned: bool, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"batch": 1, "optimizer": OPTIMIZERS[name], "portable": portable}
    model: Any = gw.compile(small, target="c", out=tmp_path, **options)
    assert ("_then_" in (tmp_path / "small.c").read_text(encoding="utf-8")) == turned
    given = rows_of(model, 4)
    for order in ([2], [1, 1], [3, 0, 0, 2, 1, 3]):
        found, expected = model.init_params(3), model.init_params(3)
        state, other = model.init_state(found), model.init_state(expected)
        losses = model.train_epoch(found, state, *given, np.array(order), batch=1)
        for number, row in enumerate(order):
            one = [a[row : row + 1].copy() for a in given]
            assert losses[number] == model.train_step(expected, other, *one)
        for kept, wanted in ((found, expected), (state, other)):
            for key, array in wanted.items():
                np.testing.assert_array_equal(kept[key], array, err_msg=key)


@pytest.mark.parametrize("compiler", COMPILERS)
def test_no_warnings(compiler: str, tmp_path: Path) -> None:
    write(gw.emit(small, target="c", batch=1), tmp_path)
    command = [compiler, *warnings(compiler), "-fsyntax-only", str(tmp_path / "small.c")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[:3000]


def test_a_bad_label_stops_an_epoch_before_it_begins(tmp_path: Path) -> None:
    model: Any = gw.compile(small, target="c", batch=1, out=tmp_path)
    x, label = rows_of(model, 3)
    label[1] = 5
    params = model.init_params(0)
    with pytest.raises(ValueError, match="label"):
        model.train_epoch(params, {}, x, label, np.arange(3), batch=1)
    for name, array in model.init_params(0).items():
        np.testing.assert_array_equal(params[name], array)


@pytest.mark.parametrize(
    ("network", "batch", "why"),
    [
        (small, 2, "two rows"),
        (narrow, 1, "columns that are no vector"),
    ],
)
def test_steps_that_stay_apart(network: Any, batch: int, why: str) -> None:
    step = lowered(network, batch=batch).step
    assert step is not None
    assert rotated(step) is None, why
