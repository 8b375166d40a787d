"""The text around a run: what is about to be trained, and what came of it.

Plain lines, alike on a terminal and in a log, so that they can be searched.
"""

from __future__ import annotations

import math
import statistics
from pathlib import Path

from gradwright.training.checkpoint import FILE_NAME, Settings
from gradwright.training.datasets import Dataset
from gradwright.training.loop import Outcome
from gradwright.training.model import CompiledModel


def headline(model: CompiledModel, settings: Settings, dataset: Dataset, folder: Path) -> str:
    """Network, data and folder, one line each."""
    parameters = sum(math.prod(shape) for shape in model.PARAM_SHAPES.values())
    rates = {**model.HYPERPARAMETERS, **({} if settings.lr is None else {"lr": settings.lr})}
    named = " ".join(f"{name} {value:g}" for name, value in rates.items())
    network = f"{model.NAME}: {parameters} parameters, {model.TARGET} {model.DTYPE}"
    how = f"batch {settings.batch}, {settings.optimizer} {named}, seed {settings.seed}"
    if settings.schedule != "constant":
        how += f", schedule {settings.schedule}"
    return "\n".join((f"{network}, {how}", dataset.describe(), f"files in {folder}"))


def summary(outcome: Outcome, settings: Settings, folder: Path, epochs: int) -> str:
    """A small table of names and figures; when the run was stopped, how to go on."""
    rows = [("epochs", f"{outcome.position.epoch} of {epochs}, {outcome.position.step} steps")]
    if outcome.epochs:
        rows += _figures(outcome)
    rows.append(("checkpoint", str(folder / FILE_NAME)))
    if outcome.exhausted:
        waited = outcome.position.waited
        rows.append(("ended early", f"no better score on the test data for {waited} epochs"))
    if outcome.stopped:
        rows.append(("stopped", f"go on with --resume {folder}"))
    return "\n".join(("", *(f"{name:<18} {value}" for name, value in rows)))


def _figures(outcome: Outcome) -> list[tuple[str, str]]:
    last = outcome.epochs[-1]
    rows = [("training loss", f"{last.loss:.4f}")]
    scored = [(e.accuracy, -e.epoch) for e in outcome.epochs if e.accuracy is not None]
    if scored and last.accuracy is not None:
        best, epoch = max(scored)
        rows.append(("test accuracy", f"{100 * last.accuracy:.2f} %"))
        rows.append(("best", f"{100 * best:.2f} % (epoch {-epoch})"))
    # The rest of an epoch that a resume finished says nothing about a whole one.
    whole = max(e.rows for e in outcome.epochs)
    seconds = [e.seconds for e in outcome.epochs if e.rows == whole]
    rates = [e.rate for e in outcome.epochs]
    rows.append(("seconds an epoch", f"{statistics.median(seconds):.2f} (median)"))
    rows.append(("samples a second", f"{statistics.median(rates):.0f} (median)"))
    return rows
