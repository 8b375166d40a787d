"""Show a run: a moving bar on a terminal, one plain line an epoch anywhere else.

`reporter(epochs, console)` chooses. Both print the same line when an epoch ends, so a log and a
terminal can be compared.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from gradwright.training.download import Report
from gradwright.training.loop import EpochResult, Reporter


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

    def advanced(self, done: int, loss: float, accuracy: float | None) -> None:
        """A log has no use for what moves."""

    def epoch_finished(self, result: EpochResult) -> None:
        # soft_wrap: a log line stays one line, however narrow rich believes the file to be.
        self.console.print(epoch_line(result, self.epochs), highlight=False, soft_wrap=True)


@dataclass(slots=True)
class LiveBar:
    """For terminals: the epoch as a bar with loss, accuracy, samples a second and time left."""

    epochs: int
    progress: Progress
    live: bool = True
    task: TaskID | None = field(default=None, init=False)

    def epoch_started(self, epoch: int, rows: int, done: int) -> None:
        if self.task is not None:
            self.progress.remove_task(self.task)
        self.task = self.progress.add_task(
            f"epoch {epoch}/{self.epochs}", total=rows, completed=done, loss="", score=""
        )

    def advanced(self, done: int, loss: float, accuracy: float | None) -> None:
        assert self.task is not None
        score = "" if accuracy is None else f"accuracy {100 * accuracy:.1f} %"
        self.progress.update(self.task, completed=done, loss=f"loss {loss:.4f}", score=score)

    def epoch_finished(self, result: EpochResult) -> None:
        self.progress.console.print(epoch_line(result, self.epochs), highlight=False)


class _SpeedColumn(ProgressColumn):
    """Samples a second, as rich measures it over the last pieces."""

    def render(self, task: Task) -> Text:
        return Text("" if task.speed is None else f"{task.speed:.0f} samples/s")


@contextmanager
def reporter(epochs: int, console: Console) -> Iterator[Reporter]:
    """The reporter that suits `console`; the bar is taken away when the block ends."""
    if not console.is_terminal:
        yield PlainLines(epochs, console)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[loss]}"),
        TextColumn("{task.fields[score]}"),
        _SpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        yield LiveBar(epochs, progress)


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
