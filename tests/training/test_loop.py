"""The loop: it learns, stops cleanly, goes on bit for bit, and keeps the last good checkpoint."""

from __future__ import annotations

import io
import os
import signal
from dataclasses import dataclass, field

import numpy as np
import pytest
from rich.console import Console

from gradwright.training import loop
from gradwright.training.checkpoint import Position
from gradwright.training.loop import DivergedError, Outcome, Plan, Start, fresh, train
from gradwright.training.progress import LiveTable, PlainLines, epoch_line, reporter
from ir.errors import InputError


@dataclass
class Saved:
    """Keeps copies instead of files."""

    starts: list[Start] = field(default_factory=list)

    def __call__(self, position: Position, params: dict, state: dict) -> None:
        copies = [{name: array.copy() for name, array in d.items()} for d in (params, state)]
        self.starts.append(Start(*copies, position))


@dataclass
class Watcher:
    """A reporter that does something after a given number of pieces."""

    after: int = -1
    action: object = None
    live: bool = False
    pieces: int = 0
    losses: list[float] = field(default_factory=list)

    def epoch_started(self, epoch: int, rows: int, done: int) -> None: ...

    def advanced(self, done: int, loss: float, accuracy: float | None, lr: float) -> None:
        self.pieces += 1
        assert (accuracy is not None) == self.live
        if self.pieces == self.after:
            self.action()

    def epoch_finished(self, result: loop.EpochResult) -> None:
        self.losses.append(result.loss)


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """A piece for each batch, so that every epoch has several."""
    monkeypatch.setattr(loop, "PIECE_SECONDS", 0.0)


def run(model, data, plan: Plan, watcher=None, start: Start | None = None) -> tuple[Outcome, Saved]:
    saved = Saved()
    start = start or fresh(model, plan.seed)
    return train(model, data, plan, watcher or Watcher(), saved, start), saved


def same_bits(a: Start, b: Start) -> bool:
    pairs = [(x[n], y[n]) for x, y in ((a.params, b.params), (a.state, b.state)) for n in x]
    return a.position == b.position and all(x.tobytes() == y.tobytes() for x, y in pairs)


def test_it_learns_digits(model, data) -> None:
    outcome, saved = run(model, data, Plan(5, 32, 0))
    assert outcome.epochs[-1].accuracy > 0.85
    assert outcome.epochs[-1].loss < outcome.epochs[0].loss / 2
    assert outcome.position == Position(5, 0, 5 * 45)
    assert [start.position.epoch for start in saved.starts] == [0, 1, 2, 3, 4, 5]
    assert not outcome.stopped


def test_pieces_change_no_bit(model, data, monkeypatch: pytest.MonkeyPatch) -> None:
    small = Watcher()
    _, saved = run(model, data, Plan(2, 32, 1), small)
    monkeypatch.setattr(loop, "PIECE_SECONDS", 60.0)
    large = Watcher()
    _, again = run(model, data, Plan(2, 32, 1), large)
    assert small.pieces == 90
    assert large.pieces < 10
    assert same_bits(saved.starts[-1], again.starts[-1])
    assert small.losses == large.losses


@pytest.mark.parametrize("stop_after", [1, 17, 45, 60])
def test_stop_and_resume_give_the_bits_of_one_run(model, data, stop_after: int) -> None:
    whole = Watcher()
    _, straight = run(model, data, Plan(3, 32, 5), whole)
    first = Watcher(stop_after, lambda: os.kill(os.getpid(), signal.SIGINT))
    outcome, saved = run(model, data, Plan(3, 32, 5), first)
    assert outcome.stopped
    assert outcome.position.step == stop_after
    second = Watcher()
    outcome, saved = run(model, data, Plan(3, 32, 5), second, saved.starts[-1])
    assert not outcome.stopped
    assert same_bits(straight.starts[-1], saved.starts[-1])
    assert first.losses + second.losses == whole.losses


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_polite_kill_and_a_lost_terminal_stop_and_save(model, data, number: int) -> None:
    outcome, saved = run(
        model, data, Plan(3, 32, 5), Watcher(7, lambda: os.kill(os.getpid(), number))
    )
    assert outcome.stopped
    assert saved.starts[-1].position.step == 7
    assert signal.getsignal(number) is signal.SIG_DFL


def test_an_ignored_signal_stays_ignored(model, data) -> None:
    """As under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        watcher = Watcher(7, lambda: os.kill(os.getpid(), signal.SIGHUP))
        outcome, _ = run(model, data, Plan(1, 32, 5), watcher)
    finally:
        assert signal.signal(signal.SIGHUP, before) is signal.SIG_IGN
    assert not outcome.stopped


def test_long_epochs_are_saved_within(model, data, monkeypatch: pytest.MonkeyPatch) -> None:
    """And a run that goes on from there gives the bits of an uninterrupted one."""
    _, straight = run(model, data, Plan(2, 32, 5))
    monkeypatch.setattr(loop, "SAVE_SECONDS", 0.0)
    _, often = run(model, data, Plan(2, 32, 5))
    assert [start.position.step for start in straight.starts] == [0, 45, 90]
    assert [start.position.step for start in often.starts] == [0, *range(1, 46), *range(46, 91)]
    _, resumed = run(model, data, Plan(2, 32, 5), start=often.starts[60])
    assert same_bits(straight.starts[-1], resumed.starts[-1])


def test_second_interrupt_stops_at_once(model, data) -> None:
    def twice() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run(model, data, Plan(3, 32, 5), Watcher(3, twice))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_rates_at_run_time_reach_the_model(model, data) -> None:
    _, still = run(model, data, Plan(1, 32, 0, {"lr": 0.0}))
    assert (still.starts[-1].params["fc.W"] == model.init_params(0)["fc.W"]).all()


def test_nan_loss_names_the_step_and_keeps_the_good_checkpoint(model, data) -> None:
    real, calls = model.train_epoch, []

    def poisoned(params, state, *inputs, **rest):
        calls.append(1)
        losses = real(params, state, *inputs, **rest)
        if len(calls) == 50:
            losses[0] = np.nan
        return losses

    model.train_epoch = poisoned
    saved = Saved()
    with pytest.raises(DivergedError, match=r"(?s)became nan at step 50.*epoch 2.*lr=0\.05"):
        train(model, data, Plan(3, 32, 0), Watcher(), saved, fresh(model, 0))
    assert [start.position.epoch for start in saved.starts] == [0, 1]
    assert all(np.isfinite(array).all() for array in saved.starts[-1].params.values())


def test_parameters_that_overflow_are_not_saved(model, data) -> None:
    real = model.train_epoch

    def overflowing(params, *rest, **options):
        losses = real(params, *rest, **options)
        params["fc.b"][0] = np.inf
        return np.zeros_like(losses)

    model.train_epoch = overflowing
    saved = Saved()
    with pytest.raises(DivergedError, match="is no longer finite at step 1"):
        train(model, data, Plan(1, 32, 0), Watcher(), saved, fresh(model, 0))
    assert len(saved.starts) == 1


def test_nothing_left_to_do(model, data) -> None:
    _, saved = run(model, data, Plan(1, 32, 0))
    outcome, _ = run(model, data, Plan(1, 32, 0), start=saved.starts[-1])
    assert outcome.epochs == []


def test_live_runs_ask_for_accuracy(model, data) -> None:
    watcher = Watcher(live=True)
    run(model, data, Plan(1, 512, 0), watcher)
    assert watcher.pieces == 3


def test_plain_lines_off_a_terminal(model, data) -> None:
    text = io.StringIO()
    with reporter(2, Console(file=text, width=20)) as lines:
        assert isinstance(lines, PlainLines)
        outcome, _ = run(model, data, Plan(2, 32, 0), lines)
    assert text.getvalue().splitlines() == [epoch_line(r, 2) for r in outcome.epochs]
    assert text.getvalue().startswith("epoch 1/2   loss ")
    assert "test accuracy " in text.getvalue()


def test_a_live_table_on_a_terminal(model, data) -> None:
    text = io.StringIO()
    with reporter(2, Console(file=text, force_terminal=True, width=120)) as shown:
        assert isinstance(shown, LiveTable)
        outcome, _ = run(model, data, Plan(2, 32, 0), shown)
        shown.hint("take care")
    for column in ("loss", "test accuracy", "learning rate", "samples/s"):
        assert column in text.getvalue()
    assert f"2/2 {outcome.epochs[-1].loss:.4f}" in " ".join(text.getvalue().split())
    assert "hint: take care" in text.getvalue()
    assert shown.progress.finished
    bar = io.StringIO()
    Console(file=bar, width=120).print(shown.progress)
    assert "100% 0:00:00 left" in bar.getvalue()


def test_a_network_without_a_loss_is_refused(model, data) -> None:
    model.LOSS = None
    with pytest.raises(InputError, match="softmax has no loss to train"):
        run(model, data, Plan(1, 32, 0))
