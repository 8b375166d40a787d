"""Schedules, early stopping, and minimisation over all rows at once."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from gradwright.training import loop
from gradwright.training.early_stopping import Patience
from gradwright.training.lbfgs import gradient_descent, lbfgs
from gradwright.training.loop import Plan, fresh, train
from gradwright.training.metrics import mean_loss
from gradwright.training.schedules import constant, cosine, named, step_decay, warmup
from ir.errors import InputError

# ---------------------------------------------------------------- schedules


def test_constant_and_step() -> None:
    assert [constant(0.1)(k) for k in (0, 1000)] == [0.1, 0.1]
    assert [step_decay(1.0, 3, 0.5)(k) for k in range(7)] == [1, 1, 1, 0.5, 0.5, 0.5, 0.25]


def test_cosine_goes_from_the_rate_to_the_lowest_and_stays() -> None:
    rate = cosine(1.0, steps=8, lowest=0.2)
    assert [rate(0), rate(4), rate(8), rate(100)] == pytest.approx([1.0, 0.6, 0.2, 0.2])
    assert rate(2) == pytest.approx(0.2 + 0.4 * (1 + math.sqrt(0.5)))
    assert all(rate(k) > rate(k + 1) for k in range(8))


def test_warmup_rises_to_the_schedule() -> None:
    rate = warmup(constant(1.0), steps=4)
    assert [rate(k) for k in range(6)] == [0.25, 0.5, 0.75, 1, 1, 1]


@pytest.mark.parametrize(
    ("text", "step", "expected"),
    [
        ("constant", 500, 0.1),
        ("step:2", 199, 0.1),
        ("step:2", 200, 0.01),
        ("step:0.5:0.3", 100, 0.1 * 0.3**2),
        ("cosine", 500, 0.05),
        ("cosine:0.02", 1000, 0.02),
        ("warmup:1", 49, 0.05),
        ("warmup:1", 100, 0.1),
        ("warmup:1+cosine", 0, 0.001),
        ("warmup:1+cosine", 500, 0.05),
    ],
)
def test_names(text: str, step: int, expected: float) -> None:
    assert named(text, 0.1, epochs=10, steps_per_epoch=100)(step) == pytest.approx(expected)


@pytest.mark.parametrize(
    "text",
    ["", "linear", "step", "step:a", "step:0", "step:1:2:3", "cosine+warmup:1", "cosine:inf",
     "warmup", "constant:1", "step:-1", "warmup:1+"],
)  # fmt: skip
def test_what_is_no_schedule(text: str) -> None:
    with pytest.raises(InputError, match="no schedule"):
        named(text, 0.1, 10, 100)


@pytest.mark.parametrize("make", [cosine, lambda lr, n: step_decay(lr, n)])
def test_no_steps(make: Any) -> None:
    with pytest.raises(InputError, match="must be at least 1"):
        make(0.1, 0)


class Rates:
    """A model that notes the rate of every batch."""

    def __init__(self, model: Any) -> None:
        self.model, self.seen = model, []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)

    def train_epoch(self, *args: Any, lr: float, **rest: Any) -> Any:
        losses = self.model.train_epoch(*args, lr=lr, **rest)
        self.seen += [lr] * len(losses)
        return losses


class Quiet:
    live = False

    def epoch_started(self, epoch: int, rows: int, done: int) -> None: ...
    def advanced(self, done: int, loss: float, accuracy: float | None, lr: float) -> None: ...
    def epoch_finished(self, result: loop.EpochResult) -> None: ...


def run(model: Any, data: Any, plan: Plan, start: Any = None) -> tuple[loop.Outcome, list[Any]]:
    saved: list[Any] = []
    start = start or fresh(model, plan.seed)
    return train(model, data, plan, Quiet(), lambda *now: saved.append(now), start), saved


@pytest.mark.parametrize("piece_seconds", [0.0, 0.2])
def test_every_batch_has_its_rate(
    model: Any, data: Any, piece_seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "PIECE_SECONDS", piece_seconds)
    noted = Rates(model)
    schedule = warmup(step_decay(0.05, 30, 0.5), 10)
    outcome, _ = run(noted, data, Plan(2, 32, 0, schedule=schedule))
    assert noted.seen == [schedule(k) for k in range(outcome.position.step)]


# ---------------------------------------------------------------- early stopping


def test_patience_counts_epochs_without_a_better_score() -> None:
    patience = Patience(2)
    scores = [0.5, 0.7, 0.7, 0.8, math.nan, 0.6]
    assert [patience.improved(s) for s in scores] == [True, True, False, True, False, False]
    assert patience.over
    assert (patience.best, patience.waited) == (0.8, 2)
    endless = Patience(None, 1.0, 50)
    assert not endless.over
    with pytest.raises(InputError, match="at least 1 epoch"):
        Patience(0)


def test_a_run_ends_when_nothing_improves(model: Any, data: Any) -> None:
    stuck = Plan(9, 32, 0, {"lr": 0.0}, patience=2)
    outcome, saved = run(model, data, stuck)
    assert (outcome.position.epoch, outcome.exhausted, outcome.stopped) == (3, True, False)
    assert saved[-1][0] == outcome.position
    assert outcome.position.best == outcome.epochs[0].accuracy
    position, params, state = saved[-1]
    again, _ = run(model, data, stuck, loop.Start(params, state, position))
    assert (again.epochs, again.exhausted) == ([], True)


def test_patience_goes_on_where_a_run_was_resumed(model: Any, data: Any) -> None:
    first, saved = run(model, data, Plan(2, 32, 0, {"lr": 0.0}, patience=3))
    position, params, state = saved[-1]
    assert (first.exhausted, position.waited) == (False, 1)
    rest = Plan(9, 32, 0, {"lr": 0.0}, patience=3)
    outcome, _ = run(model, data, rest, loop.Start(params, state, position))
    assert (len(outcome.epochs), outcome.exhausted) == (2, True)


def test_a_model_without_classes_is_judged_by_its_loss(model: Any, data: Any) -> None:
    class Unclassed(Rates):
        OUTPUTS: dict[str, Any] = {}

    params = model.init_params(0)
    expected = model.value_and_grad(params, *data[1].inputs())[0]
    assert mean_loss(model, params, data[1]) == pytest.approx(expected, rel=1e-12)
    outcome, _ = run(Unclassed(model), data, Plan(1, 32, 0, {"lr": 0.0}, patience=1))
    assert outcome.position.best == pytest.approx(-expected, rel=1e-12)


# ---------------------------------------------------------------- all rows at once


class Surface:
    """A model of one parameter `p` whose loss is a given function."""

    NAME, LOSS, INPUTS, MAX_BATCH = "surface", "loss", dict[str, Any](), 1

    def __init__(self, function: Any, dtype: str = "float64") -> None:
        self.function, self.dtype, self.calls = function, dtype, 0

    def value_and_grad(self, params: Any) -> Any:
        self.calls += 1
        loss, gradient = self.function(params["p"].astype(np.float64))
        return float(loss), {"p": np.asarray(gradient, self.dtype)}


def rosenbrock(x: np.ndarray) -> tuple[float, np.ndarray]:
    a, b = x[1:] - x[:-1] ** 2, 1 - x[:-1]
    gradient = np.zeros_like(x)
    gradient[:-1] = -400 * x[:-1] * a - 2 * b
    gradient[1:] += 200 * a
    return float(np.sum(100 * a**2 + b**2)), gradient


def bowl(x: np.ndarray) -> tuple[float, np.ndarray]:
    widths = np.arange(1.0, x.size + 1).reshape(x.shape)
    return float(np.sum(widths * (x - 3) ** 2) / 2), widths * (x - 3)


@pytest.mark.parametrize("start", [[-1.2, 1.0], [2.0, -3.0], [-1.2, 1.0] * 5])
def test_lbfgs_finds_the_end_of_rosenbrocks_valley(start: list[float]) -> None:
    params = {"p": np.array(start)}
    surface = Surface(rosenbrock)
    result = lbfgs(surface, params, steps=300)
    assert result.reason == "gradient"
    np.testing.assert_allclose(params["p"], 1.0, rtol=1e-6)
    assert all(a > b for a, b in zip(result.losses, result.losses[1:], strict=False))
    assert surface.calls < 2 * len(result.losses) + 20


def test_lbfgs_needs_few_steps_where_descent_needs_many() -> None:
    shapes = {"p": np.zeros((4, 5))}
    quick = lbfgs(Surface(bowl), shapes, steps=40)
    np.testing.assert_allclose(shapes["p"], 3, rtol=1e-6)
    slow = gradient_descent(Surface(bowl), {"p": np.zeros((4, 5))}, lr=0.05, steps=40)
    assert len(slow.losses) == 41
    assert slow.losses[-1] > 1e-4 > 1e-10 > quick.losses[-1]


def test_in_float32_it_ends_where_rounding_begins() -> None:
    params = {"p": np.zeros((2, 3), np.float32)}
    surface = Surface(lambda x: bowl(x - 0.1), "float32")
    result = lbfgs(surface, params, steps=300, tolerance=0)
    assert params["p"].dtype == np.float32
    assert result.reason == "stalled"
    np.testing.assert_allclose(params["p"], 3.1, rtol=1e-6)


def test_a_loss_that_is_not_finite_is_stepped_back_from() -> None:
    def barrier(x: np.ndarray) -> tuple[float, np.ndarray]:
        with np.errstate(all="ignore"):
            return float(np.sum(x - np.log(x))), 1 - 1 / x

    params = {"p": np.array([0.01, 5.0])}
    assert lbfgs(Surface(barrier), params, steps=60).reason == "gradient"
    np.testing.assert_allclose(params["p"], 1.0, rtol=1e-6)


def test_lbfgs_trains_a_model(model: Any, data: Any) -> None:
    params = model.init_params(0)
    inputs = data[0].inputs()
    before = model.value_and_grad(params, *inputs)[0]
    result = lbfgs(model, params, *inputs, steps=25)
    assert result.losses[0] == before
    assert result.losses[-1] == model.value_and_grad(params, *inputs)[0]
    assert result.losses[-1] < 0.2 * before


@pytest.mark.parametrize(
    "call",
    [
        lambda m, p: lbfgs(m, p, steps=-1),
        lambda m, p: lbfgs(m, p, history=0),
        lambda m, p: gradient_descent(m, p, lr=0.0),
    ],
)
def test_mistakes_are_refused(call: Any) -> None:
    with pytest.raises(InputError, match="must be"):
        call(Surface(bowl), {"p": np.zeros(2)})


def test_a_model_without_a_loss_is_refused() -> None:
    surface = Surface(bowl)
    surface.LOSS = None
    with pytest.raises(InputError, match="has no loss"):
        lbfgs(surface, {"p": np.zeros(2)})
