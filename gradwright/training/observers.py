"""Watch a run while it goes: measure each epoch, keep its history, say each hint once.

    with observed(shown, watch, folder, extras) as reporter:
        train(model, data, plan, reporter, ...)

The history stands in the run's folder, so a resumed run goes on with it; `Extras` name further
places for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from gradwright.training.events import event_writer
from gradwright.training.extras import extra
from gradwright.training.hints import Hint, hints, last_words
from gradwright.training.history import FILE_NAME, Measured, read_csv, write_csv
from gradwright.training.loop import EpochResult
from gradwright.training.pictures import EXTRA
from gradwright.training.progress import Shown
from ir.errors import DataError

Observe = Callable[[Measured], None]


@dataclass(frozen=True, slots=True)
class Extras:
    """Where else a run is to be seen; None for nowhere."""

    report: Path | None = None
    csv: Path | None = None
    tensorboard: Path | None = None

    def require_libraries(self) -> None:
        """Raises `MissingLibraryError` now, not after an hour of training."""
        if self.report is not None:
            extra("matplotlib.figure", EXTRA)
        if self.tensorboard is not None:
            extra("tensorboardX", "tensorboard")


@dataclass(slots=True)
class Observer:
    """A reporter that measures and records, around the one that shows."""

    shown: Shown
    watch: Callable[[EpochResult], Measured]
    files: list[Path]
    event: Observe
    history: list[Measured]
    said: dict[str, Hint] = field(default_factory=dict)

    @property
    def live(self) -> bool:
        return self.shown.live

    def epoch_started(self, epoch: int, rows: int, done: int) -> None:
        self.shown.epoch_started(epoch, rows, done)

    def advanced(self, done: int, loss: float, accuracy: float | None, lr: float) -> None:
        self.shown.advanced(done, loss, accuracy, lr)

    def epoch_finished(self, result: EpochResult) -> None:
        self.shown.epoch_finished(result)
        measured = self.watch(result)
        self.history.append(measured)
        for path in self.files:
            write_csv(path, self.history)
        self.event(measured)
        self._say(hints(self.history))

    def finish(self) -> None:
        """What can only be said when nothing follows."""
        self._say(last_words(self.history))

    def _say(self, found: list[Hint]) -> None:
        for hint in found:
            if hint.kind not in self.said:
                self.shown.hint(hint.text)
            self.said[hint.kind] = hint


def earlier(folder: Path, epochs: int) -> list[Measured]:
    """The history of a run that is resumed after `epochs` epochs; empty where it is not whole."""
    try:
        known = [m for m in read_csv(folder / FILE_NAME) if m.epoch <= epochs]
    except DataError:
        return []
    return known if [m.epoch for m in known] == list(range(1, epochs + 1)) else []


@contextmanager
def observed(
    shown: Shown,
    watch: Callable[[EpochResult], Measured],
    folder: Path,
    extras: Extras,
    history: list[Measured],
) -> Iterator[Observer]:
    """The observer; its event file is closed when the block ends."""
    files = [folder / FILE_NAME, *([] if extras.csv is None else [extras.csv])]
    events = (
        nullcontext(_ignore) if extras.tensorboard is None else event_writer(extras.tensorboard)
    )
    with events as event:
        yield Observer(shown, watch, files, event, history)


def _ignore(measured: Measured) -> None:
    """Nobody asked for events."""
