"""TensorBoard event files, written by tensorboardX: one scalar a figure and epoch.

    with event_writer(Path("events")) as write:
        write(measured)

Needs the extra `tensorboard`. Loss and accuracy of training and test data share a chart each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gradwright.training.extras import extra
from gradwright.training.history import Measured
from ir.errors import OutputError


@contextmanager
def event_writer(folder: Path) -> Iterator[Callable[[Measured], None]]:
    """Raises `MissingLibraryError`, or `OutputError` for a folder that cannot be written."""
    library = extra("tensorboardX", "tensorboard")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        writer = library.SummaryWriter(logdir=str(folder))
    except OSError as error:
        raise OutputError(f"{folder} cannot be written: {error.strerror or error}") from None
    try:
        yield lambda measured: _write(writer, measured)
    finally:
        writer.close()


def _write(writer: Any, measured: Measured) -> None:
    for name, figure in scalars(measured).items():
        writer.add_scalar(name, figure, measured.step)
    writer.flush()


def scalars(measured: Measured) -> dict[str, float]:
    """TensorBoard's names and the figures: `loss/train`, `gradient_norm/fc1.W`."""
    found: dict[str, float | None] = {
        "loss/train": measured.train_loss,
        "loss/test": measured.test_loss,
        "loss/steps": measured.loss,
        "accuracy/train": measured.train_accuracy,
        "accuracy/test": measured.test_accuracy,
        "learning_rate": measured.lr,
        "samples_per_second": measured.samples_per_second,
    }
    for family in ("gradient_norm", "parameter_norm", "zero_gradients"):
        figures = getattr(measured, family)
        found |= {f"{family}/{name}": figure for name, figure in figures.items()}
    return {name: figure for name, figure in found.items() if figure is not None}
