"""Optimizers: twenty fused steps against plain arithmetic, options at run time, frozen layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradwright as gw
from compiler.pipeline import stages
from ir.errors import GradwrightError
from tests.optimizer_cases import CASES, clipped, numbers, twolayers

STEPS = 20


def compiled(optimizer: gw.Optimizer, folder: Path, **options: Any) -> Any:
    kind = {"target": "numpy", "dtype": "float64", **options}
    return gw.compile(twolayers, batch=6, optimizer=optimizer, out=folder, **kind)


def by_hand(model: Any, name: str, steps: int) -> dict[str, np.ndarray]:
    """The parameters after some steps, from the module's gradients and a case's plain rule."""
    case, params = CASES[name], model.init_params(1)
    memory: dict[str, dict[str, Any]] = {key: {} for key in params}
    for t in range(1, steps + 1):
        _, grads = model.value_and_grad(params, *numbers())
        bounded = clipped(grads, case.clip)
        params = {k: case.plain(params[k], bounded[k], memory[k], t) for k in params}
    return params


@pytest.mark.parametrize("name", CASES)
def test_steps(name: str, tmp_path: Path) -> None:
    model = compiled(CASES[name].ours, tmp_path)
    params, expected = model.init_params(1), by_hand(model, name, STEPS)
    state = model.init_state(params)
    assert {k: v.shape for k, v in state.items()} == model.STATE_SHAPES
    for _ in range(STEPS):
        model.train_step(params, state, *numbers())
    for key, value in expected.items():
        np.testing.assert_allclose(params[key], value, rtol=1e-12, atol=1e-14)
        assert np.any(params[key] != model.init_params(1)[key])


@pytest.mark.parametrize("name", ["nesterov", "adam_clip_both", "adamw", "adagrad_options"])
def test_both_targets_take_the_same_steps(name: str, tmp_path: Path) -> None:
    ends = []
    for target in ("numpy", "c"):
        model = compiled(CASES[name].ours, tmp_path, target=target)
        params = model.init_params(1)
        state = model.init_state(params)
        order = np.arange(6)
        for _ in range(STEPS):
            model.train_epoch(params, state, *numbers(), order, batch=3)
        ends.append({**params, **state})
    assert list(ends[0]) == list(ends[1])
    for key in ends[0]:
        np.testing.assert_allclose(ends[0][key], ends[1][key], rtol=1e-12, atol=1e-14)
    if "step" in ends[0]:
        assert [int(end["step"]) for end in ends] == [2 * STEPS, 2 * STEPS]


def test_every_number_is_passed_at_run_time(tmp_path: Path) -> None:
    model = compiled(gw.adamw(clip_norm=5.0), tmp_path)
    assert model.HYPERPARAMETERS == {
        "lr": 1e-3,
        "beta1": 0.9,
        "beta2": 0.999,
        "eps": 1e-8,
        "weight_decay": 0.01,
        "clip_norm": 5.0,
    }
    other = compiled(gw.adamw(0.02, (0.8, 0.95), 1e-6, 0.1, clip_norm=0.1), tmp_path / "other")
    given = {
        "lr": 0.02, "beta1": 0.8, "beta2": 0.95, "eps": 1e-6, "weight_decay": 0.1, "clip_norm": 0.1
    }  # fmt: skip
    ends = []
    for module, hyper in ((model, given), (other, {})):
        params = module.init_params(1)
        state = module.init_state(params)
        for _ in range(3):
            module.train_step(params, state, *numbers(), **hyper)
        ends.append(params)
    for key, value in ends[0].items():
        np.testing.assert_array_equal(value, ends[1][key])


def test_what_is_0_is_not_compiled_in(tmp_path: Path) -> None:
    assert compiled(gw.sgd(0.1), tmp_path).HYPERPARAMETERS == {"lr": 0.1}
    assert compiled(gw.sgd(0.1), tmp_path).STATE_SHAPES == {}
    nothing = gw.sgd(0.1, dampening=0.5)
    assert (nothing.hyper, nothing.per_step) == ((("lr", 0.1),), None)


def test_the_hash_tells_rules_apart(tmp_path: Path) -> None:
    rules = [
        gw.sgd(0.1, 0.9),
        gw.sgd(0.1, 0.9, nesterov=True),
        gw.rmsprop(),
        gw.rmsprop(centered=True),
        gw.adam(weight_decay=0.01),
        gw.adamw(weight_decay=0.01),
        gw.adam(weight_decay=0.01, amsgrad=True),
        gw.adam(weight_decay=0.01, clip_value=1.0),
    ]
    found = [compiled(r, tmp_path / str(i)).MODEL_HASH for i, r in enumerate(rules)]
    assert len(set(found)) == len(rules)


def test_an_int64_input_named_step_is_not_the_counter(tmp_path: Path) -> None:
    @gw.network
    def network(step: gw.i32["batch"], x: gw.f64["batch", 3]):
        return gw.outputs(loss=gw.cross_entropy(gw.dense(x, 4, name="fc"), step))

    model = gw.compile(network, target="numpy", optimizer=gw.adam(), out=tmp_path)
    params = model.init_params(0)
    state = model.init_state(params)
    labels = np.array([1, 3], np.int32)
    for _ in range(3):
        model.train_step(params, state, labels, np.ones((2, 3)))
    assert int(state["step_2"]) == 3
    np.testing.assert_array_equal(labels, [1, 3])


# ---------------------------------------------------------------- parameters that do not train


def gradient_work(freeze: tuple[str, ...]) -> tuple[list[str], int]:
    from compiler.freeze import freeze as fixed

    *_, last = stages(fixed(twolayers.trace(batch=6), freeze), gw.adam())
    return [n for n, _ in last.program.gradients], len(last.program.definitions)


def test_frozen_parameters_have_no_backward_pass() -> None:
    whole, first, last = gradient_work(()), gradient_work(("fc1",)), gradient_work(("fc2",))
    assert whole[0] == ["fc1.W", "fc1.b", "fc2.W", "fc2.b"]
    assert first[0] == ["fc2.W", "fc2.b"]
    assert last[0] == ["fc1.W", "fc1.b"]
    assert first[1] < last[1] < whole[1]


@pytest.mark.parametrize("target", ["numpy", "c"])
def test_frozen_parameters_stay(target: str, tmp_path: Path) -> None:
    model = compiled(gw.adam(), tmp_path, target=target, freeze=("fc1", "fc2.b"))
    params, before = model.init_params(1), model.init_params(1)
    state = model.init_state(params)
    assert sorted(state) == ["fc2.W.m", "fc2.W.v", "step"]
    _, grads = model.value_and_grad(params, *numbers())
    _, whole = compiled(gw.adam(), tmp_path / "whole").value_and_grad(params, *numbers())
    np.testing.assert_allclose(grads["fc2.W"], whole["fc2.W"], rtol=1e-13)
    model.train_step(params, state, *numbers())
    changed = {key for key in params if np.any(params[key] != before[key])}
    assert changed == {"fc2.W"}


# ---------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: gw.sgd(0), "lr must be positive"),
        (lambda: gw.adam(-1e-3), "lr must be positive"),
        (lambda: gw.adam(betas=(0.9, 1.0)), "beta2 must be below 1"),
        (lambda: gw.rmsprop(alpha=1.5), "alpha must be below 1"),
        (lambda: gw.sgd(0.1, weight_decay=-1), "weight_decay must be a number of at least 0"),
        (lambda: gw.sgd(0.1, clip_norm=float("inf")), "clip_norm must be a number"),
        (lambda: gw.sgd(0.1, nesterov=True), "Nesterov"),
        (lambda: gw.sgd(0.1, 0.9, 0.1, nesterov=True), "Nesterov"),
        (lambda: gw.momentum(0.1, 0), "momentum must be positive"),
        (lambda: gw.optimizer("lion", lr=0.1), "no optimizer 'lion'"),
        (lambda: gw.emit(twolayers, freeze=("fc3",)), "no parameter or layer 'fc3'"),
        (lambda: gw.emit(twolayers, freeze=("fc1", "fc2")), "nothing to train"),
    ],
)
def test_mistakes_are_refused(make: Any, message: str) -> None:
    with pytest.raises(GradwrightError, match=message):
        make()
