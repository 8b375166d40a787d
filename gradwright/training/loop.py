"""The training loop: epochs of shuffled batches, run through the model's own `train_epoch`.

Read `train`, then `_Run.epoch`. The loop hands over some batches at a time, about a fifth of a
second's work, so that progress shows and a stop is heard; as pieces end between batches, their size
changes no bit of the result. What happens in a step is the generated module's business alone.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import takewhile
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gradwright.training.batches import Rows, epoch_order
from gradwright.training.checkpoint import Position
from gradwright.training.diverged import Memory, Piece, blame, first_not_finite
from gradwright.training.early_stopping import Patience
from gradwright.training.metrics import accuracy, mean_loss
from gradwright.training.model import Arrays, CompiledModel
from gradwright.training.schedules import Schedule
from gradwright.training.stopping import StopRequest, stoppable
from ir.errors import GradwrightError, InputError

PIECE_SECONDS = 0.2
SAVE_SECONDS = 60.0
"""A run that is killed loses no more than this, however long its epochs are."""


class DivergedError(GradwrightError):
    """The loss or a parameter stopped being a finite number."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How to train: `hyper` overrides the rates compiled into the model, `schedule` the rate `lr`.

    With `patience`, the run ends after so many epochs in a row without a better score on the test
    data: its accuracy, or its loss where the model has no classes.
    """

    epochs: int
    batch: int
    seed: int
    hyper: dict[str, float] = field(default_factory=dict)
    schedule: Schedule | None = None
    patience: int | None = None


@dataclass(frozen=True, slots=True)
class EpochResult:
    """One line of the report; `seconds` is training alone, without the test that follows.

    `rows` and `seconds` count what this process did: less than an epoch after a resume.
    """

    epoch: int
    loss: float
    accuracy: float | None
    seconds: float
    rows: int
    step: int = 0
    lr: float = math.nan

    @property
    def rate(self) -> float:
        """Samples a second."""
        return self.rows / self.seconds if self.seconds else math.inf


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended: its epochs, where it stands, whether it was asked to stop or ran dry."""

    epochs: list[EpochResult]
    position: Position
    stopped: bool
    exhausted: bool = False


class Reporter(Protocol):
    """What shows the run to a person; `live` asks for an accuracy while an epoch runs."""

    @property
    def live(self) -> bool: ...

    def epoch_started(self, epoch: int, rows: int, done: int) -> None: ...
    def advanced(self, done: int, loss: float, accuracy: float | None, lr: float) -> None: ...
    def epoch_finished(self, result: EpochResult) -> None: ...


@dataclass(frozen=True, slots=True)
class Start:
    """Where a run begins: fresh parameters, or those of a checkpoint."""

    params: Arrays
    state: Arrays
    position: Position = Position()


Save = Callable[[Position, Arrays, Arrays], None]


def fresh(model: CompiledModel, seed: int) -> Start:
    """Initial parameters and optimizer state for a new run."""
    params = model.init_params(seed)
    state = model.init_state(params)
    if "seed" in state:  # of the random numbers of dropout
        state["seed"][...] = seed
    return Start(params, state)


def train(
    model: CompiledModel,
    data: tuple[Rows, Rows],
    plan: Plan,
    reporter: Reporter,
    save: Save,
    start: Start,
) -> Outcome:
    """Train from `start` to the end of epoch `plan.epochs`; `start`'s arrays are written in place.

    `save` is called at the beginning, so that a folder that cannot be written is known at once,
    then after every epoch, every `SAVE_SECONDS` within one, and on a stop. Raises `DivergedError`
    when the loss stops being finite; the checkpoint saved before it stands. Raises `InputError`
    for a network without a loss.
    """
    if model.LOSS is None:
        raise InputError(f"{model.NAME} has no loss to train", fix="return gw.outputs(loss=...)")
    params = {name: start.params[name] for name in model.PARAM_SHAPES}
    at = start.position
    patience = Patience(plan.patience, at.best, at.waited)
    lr = plan.hyper.get("lr", model.HYPERPARAMETERS.get("lr", math.nan))
    memory = Memory(params, start.state, plan.batch)
    run = _Run(model, *data, plan, reporter, save, params, start.state, at, patience, lr, memory)
    run.save()
    results: list[EpochResult] = []
    with stoppable() as stop, np.errstate(all="ignore"):
        while run.position.epoch < plan.epochs and not (stop.requested or patience.over):
            result = run.epoch(stop)
            if result is not None:
                results.append(result)
    return Outcome(results, run.position, stop.requested, patience.over)


@dataclass(slots=True)
class _Run:
    """The moving parts of one call of `train`."""

    model: CompiledModel
    rows: Rows
    test: Rows
    plan: Plan
    reporter: Reporter
    write: Save
    params: Arrays
    state: Arrays
    position: Position
    patience: Patience
    lr: float
    memory: Memory
    looked: float = -math.inf
    saved: float = -math.inf
    piece: int = 1

    def save(self) -> None:
        self.write(self.position, self.params, self.state)
        self.saved = time.perf_counter()

    def epoch(self, stop: StopRequest) -> EpochResult | None:
        """One epoch, or what is left of it after a resume; None when a stop cut it short."""
        first = min(self.position.batch * self.plan.batch, len(self.rows))
        self.reporter.epoch_started(self.position.epoch + 1, len(self.rows), first)
        began = time.perf_counter()
        for done, loss in self._pieces(first, stop):
            self.reporter.advanced(done, loss, self._live_accuracy(), self.lr)
        seconds = time.perf_counter() - began
        if self.position.batch * self.plan.batch < len(self.rows):
            self.save()
            return None
        return self._finish_epoch(seconds, len(self.rows) - first)

    def _finish_epoch(self, seconds: float, rows: int) -> EpochResult:
        loss = self.position.loss_sum / self.position.batch
        epoch = self.position.epoch + 1
        share = accuracy(self.model, self.params, self.test)
        self._score(share)
        best, waited = self.patience.best, self.patience.waited
        self.position = Position(epoch, 0, self.position.step, 0.0, best, waited)
        self.save()
        result = EpochResult(epoch, loss, share, seconds, rows, self.position.step, self.lr)
        self.reporter.epoch_finished(result)
        return result

    def _score(self, share: float | None) -> None:
        """Note how good the epoch was on the test data, if anybody waits for it to improve."""
        if self.patience.limit is not None:
            unseen = -mean_loss(self.model, self.params, self.test) if share is None else share
            self.patience.improved(unseen)

    def _pieces(self, first: int, stop: StopRequest) -> Iterator[tuple[int, float]]:
        """Train piece by piece; now and then, how many rows are done and a piece's mean loss.

        A schedule may make a piece as short as one batch: what costs time in between, looking at
        the parameters and showing the run, has its own pace.
        """
        order = epoch_order(self.plan.seed, self.position.epoch, len(self.rows))
        while first < len(order) and not stop.requested:
            batches, hyper = self._rate()
            rows = order[first : first + batches * self.plan.batch]
            began = time.perf_counter()
            look = began - self.looked >= PIECE_SECONDS / 2
            if look:
                self._look()
                self.looked = began
            losses = self._train_piece((rows, hyper))
            self._resize_piece(time.perf_counter() - began, len(losses))
            first += len(rows)
            if look or first >= len(order):
                yield first, float(np.mean(losses))
        self._require_finite_parameters()

    def _look(self) -> None:
        """Keep the parameters of this moment, in memory and now and then in the checkpoint."""
        self._require_finite_parameters()
        self.memory.take()
        if self.position.batch and time.perf_counter() - self.saved >= SAVE_SECONDS:
            self.save()

    def _rate(self) -> tuple[int, dict[str, float]]:
        """How many batches, a piece at most, take the same rate; and the rates."""
        schedule, first = self.plan.schedule, self.position.step
        if schedule is None:
            return self.piece, self.plan.hyper
        self.lr = rate = schedule(first)
        same = takewhile(lambda k: schedule(first + k) == rate, range(self.piece))
        return sum(1 for _ in same), {**self.plan.hyper, "lr": rate}

    def _train_piece(self, piece: Piece) -> NDArray[Any]:
        self.memory.note(piece)
        losses = self._train_epoch(piece)
        self._require_finite_losses(losses)
        # Added one by one: the same sum wherever the pieces end.
        total = self.position.loss_sum
        for loss in losses.tolist():
            total += loss
        self.position = replace(
            self.position,
            batch=self.position.batch + len(losses),
            step=self.position.step + len(losses),
            loss_sum=total,
        )
        return losses

    def _train_epoch(self, piece: Piece) -> NDArray[Any]:
        rows, hyper = piece
        inputs, batch = self.rows.inputs(), self.plan.batch
        return self.model.train_epoch(self.params, self.state, *inputs, rows, batch=batch, **hyper)

    def _resize_piece(self, seconds: float, batches: int) -> None:
        self.piece = max(1, min(int(PIECE_SECONDS * batches / max(seconds, 1e-9)), 100_000))

    def _live_accuracy(self) -> float | None:
        """Accuracy of the first test batch: cheap enough to show while an epoch runs."""
        if not self.reporter.live:
            return None
        rows = min(self.model.MAX_BATCH, len(self.test))
        arrays = {name: array[:rows] for name, array in self.test.arrays.items()}
        return accuracy(self.model, self.params, Rows(arrays, self.test.labels[:rows]))

    def _require_finite_parameters(self) -> None:
        name = first_not_finite(self.params)
        if name is not None:
            raise self._diverged(f"{name} is no longer finite at step {self.position.step}", ())

    def _require_finite_losses(self, losses: NDArray[Any]) -> None:
        bad = np.flatnonzero(~np.isfinite(losses))
        if not len(bad):
            return
        number = int(bad[0])
        rows = self.memory.return_to(number, self._train_epoch)
        gradient: Arrays = {}
        if rows is not None:
            inputs = (array[rows] for array in self.rows.inputs())
            _, gradient = self.model.value_and_grad(self.params, *inputs)
        step = self.position.step + number + 1
        found = blame(self.params, gradient)
        raise self._diverged(f"the loss became {losses[number]} at step {step}", found)

    def _diverged(self, what: str, found: tuple[str, ...]) -> DivergedError:
        rates = {**self.model.HYPERPARAMETERS, **self.plan.hyper, "lr": self.lr}
        named = ", ".join(f"{name}={value:g}" for name, value in rates.items())
        where = f"in epoch {self.position.epoch + 1}, batches of {self.plan.batch}"
        return DivergedError(
            what,
            notes=(where, *found, "the last good checkpoint is kept"),
            fix=f"lower the learning rate ({named})",
        )
