"""Show a run: a live table on a terminal, one plain line an epoch anywhere else.

`reporter(epochs, console)` chooses. While an epoch runs, the table's last row shows the loss of the
latest batches and the accuracy on one test batch; when it ends, its mean loss and the accuracy on
the whole test set.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from gradwright.training.download import Report
from gradwright.training.loop import EpochResult, Reporter

LINES = 15


class Shown(Reporter, Protocol):
    """A reporter that can also say a hint."""

    def hint(self, text: str) -> None: ...


def epoch_line(result: EpochResult, epochs: int) -> str:
    """`epoch  3/10   loss 0.0712   test accuracy 97.10 %   1.23 s   48780 samples/s`."""
    width = len(str(epochs))
    parts = [f"epoch {result.epoch:>{width}}/{epochs}", f"loss {result.loss:.4f}"]
    if result.accuracy is not None:
        parts.append(f"test accuracy {100 * result.accuracy:5.2f} %")
    parts += [f"{result.seconds:.2f} s", f"{result.rate:.0f} samples/s"]
    return "   ".join(parts)


@dataclass(slots=True)
class PlainLines:
    """For files and pipes: one line when an epoch ends."""

    epochs: int
    console: Console
    live: bool = False

    def epoch_started(self, epoch: int, rows: int, done: int) -> None:
        """Nothing to say before there is a result."""

    def advanced(self, done: int, loss: float, accuracy: float | None, lr: float) -> None:
        """A log has no use for what moves."""

    def epoch_finished(self, result: EpochResult) -> None:
        # soft_wrap: a log line stays one line, however narrow rich believes the file to be.
        self.console.print(epoch_line(result, self.epochs), highlight=False, soft_wrap=True)

    def hint(self, text: str) -> None:
        self.console.print(f"hint: {text}", highlight=False, soft_wrap=True)


@dataclass(slots=True)
class LiveTable:
    """For terminals: a table of the epochs, the running one last, and a bar with the time left."""

    epochs: int
    progress: Progress
    live: bool = True
    display: Live | None = None
    finished: list[tuple[str, ...]] = field(default_factory=list, init=False)
    running: tuple[str, ...] | None = field(default=None, init=False)
    task: TaskID | None = field(default=None, init=False)
    epoch: int = field(default=0, init=False)

    def epoch_started(self, epoch: int, rows: int, done: int) -> None:
        self.epoch = epoch
        if self.task is None:
            left = rows * (self.epochs - epoch + 1)
            self.task = self.progress.add_task("all epochs", total=left, completed=done, part=rows)

    def advanced(self, done: int, loss: float, accuracy: float | None, lr: float) -> None:
        assert self.task is not None
        task = self.progress.tasks[self.task]
        before = int(task.completed) // task.fields["part"] * task.fields["part"]
        self.progress.update(self.task, completed=before + done)
        speed = "" if task.speed is None else f"{task.speed:.0f}"
        self.running = (f"{self.epoch}/{self.epochs}", *_figures(loss, accuracy, lr), speed)
        self._show()

    def epoch_finished(self, result: EpochResult) -> None:
        figures = _figures(result.loss, result.accuracy, result.lr)
        row = (f"{result.epoch}/{self.epochs}", *figures, f"{result.rate:.0f}")
        self.finished.append(row)
        self.running = None
        self._show()

    def hint(self, text: str) -> None:
        self.progress.console.print(f"hint: {text}", highlight=False)

    def table(self) -> Table:
        """The last epochs, as many as leave room for other lines."""
        table = Table(box=None, pad_edge=False)
        for name in ("epoch", "loss", "test accuracy", "learning rate", "samples/s"):
            table.add_column(name, justify="right")
        for row in self.finished[-LINES:]:
            table.add_row(*row)
        if self.running is not None:
            table.add_row(*self.running, style="bold")
        return table

    def _show(self) -> None:
        if self.display is not None:
            self.display.update(Group(self.table(), self.progress))


def _figures(loss: float, accuracy: float | None, lr: float) -> tuple[str, str, str]:
    share = "" if accuracy is None else f"{100 * accuracy:.2f} %"
    return f"{loss:.4f}", share, "" if math.isnan(lr) else f"{lr:.3g}"


@contextmanager
def reporter(epochs: int, console: Console) -> Iterator[Shown]:
    """The reporter that suits `console`; the table stays when the block ends, its bar goes."""
    if not console.is_terminal:
        yield PlainLines(epochs, console)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        TextColumn("left"),
    )
    progress = Progress(*columns, console=console, auto_refresh=False)
    shown = LiveTable(epochs, progress)
    with Live(console=console, refresh_per_second=8) as shown.display:
        try:
            yield shown
        finally:
            shown.display.update(shown.table())


@contextmanager
def download_report(console: Console) -> Iterator[Report]:
    """A bar for each file on a terminal, one line for each file elsewhere."""
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    ) as progress:
        tasks: dict[str, TaskID] = {}

        def report(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = progress.add_task(name, total=total)
                if not console.is_terminal:
                    console.print(f"downloading {name} ({total} bytes)", highlight=False)
            progress.update(tasks[name], completed=done)

        yield report
