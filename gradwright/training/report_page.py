"""The report of a run: one HTML file that needs nothing else, pictures inside.

    write_report(Path("report.html"), Finished(model, params, test, history, heading, hints))

Curves of loss, accuracy, learning rate and norms; the confusion matrix, the digits furthest from
right, the first layer's weights as pictures; and the figures as a table. Parts that a network does
not have (a regression has no classes) are left out. Needs the extra `report`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from numpy.typing import NDArray

from gradwright.training import pictures
from gradwright.training.batches import Rows
from gradwright.training.history import Measured
from gradwright.training.metrics import class_scores
from gradwright.training.model import Arrays, CompiledModel
from gradwright.training.watch import SAMPLE, Judged, judged
from gradwright.training.whole_file import write_whole

WORST, WEIGHTS = 24, 32


@dataclass(frozen=True, slots=True)
class Finished:
    """A run that has ended; `heading` is its text before training, line by line."""

    model: CompiledModel
    params: Arrays
    test: Rows
    history: Sequence[Measured]
    heading: str
    hints: Sequence[str]


@dataclass(frozen=True, slots=True)
class Picture:
    """`title` above, `note` below; `text` is what a reader who cannot see it is told."""

    title: str
    uri: str
    text: str
    note: str = ""


def write_report(path: Path, run: Finished) -> None:
    """Raises `OutputError`; then no file is left. Raises `MissingLibraryError`."""
    templates = Environment(
        loader=PackageLoader("gradwright.training", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = templates.get_template("report.html.jinja")
    text = page.render(
        name=run.model.NAME,
        heading=run.heading.splitlines(),
        hints=run.hints,
        pictures=[*_curves(run.history), *_classes(run), *_weights(run)],
        columns=COLUMNS,
        rows=[[_shown(getattr(m, key)) for key, _ in COLUMNS] for m in run.history],
    )
    write_whole(path, text.encode("utf-8", "replace"))


COLUMNS = (
    ("epoch", "epoch"),
    ("step", "steps"),
    ("loss", "loss over the epoch"),
    ("train_loss", "training loss"),
    ("test_loss", "test loss"),
    ("train_accuracy", "training accuracy"),
    ("test_accuracy", "test accuracy"),
    ("lr", "learning rate"),
    ("samples_per_second", "samples/s"),
)
NOTE = f"Losses and the training accuracy are measured on {SAMPLE} evenly spaced rows of each set."


def _curves(history: Sequence[Measured]) -> list[Picture]:
    if not history:
        return []
    norms = [_family(history, name) for name in ("gradient_norm", "parameter_norm")]
    lines = {
        "loss": (_lines(history, ("train_loss", "test_loss")), NOTE),
        "accuracy": (_lines(history, ("train_accuracy", "test_accuracy")), ""),
        "learning rate": (_lines(history, ("lr",)), ""),
        "norm of the gradient": (norms[0], "Per parameter, on the training sample."),
        "norm of the parameters": (norms[1], ""),
    }
    return [
        Picture(
            title.capitalize(),
            pictures.curves(drawn, title, logarithmic=title not in ("accuracy", "learning rate")),
            f"{title} over {len(history)} epochs",
            note,
        )
        for title, (drawn, note) in lines.items()
        if drawn
    ]


def _lines(history: Sequence[Measured], names: Sequence[str]) -> pictures.Curves:
    """One line for each figure that the network has."""
    found = {}
    for name in names:
        points = [(m.epoch, getattr(m, name)) for m in history]
        known = [(x, y) for x, y in points if y is not None and math.isfinite(y)]
        if known:
            found[name.replace("_", " ")] = _split(known)
    return found


def _family(history: Sequence[Measured], family: str) -> pictures.Curves:
    names = dict.fromkeys(name for m in history for name in getattr(m, family))
    points = {
        n: [(m.epoch, getattr(m, family)[n]) for m in history if n in getattr(m, family)]
        for n in names
    }
    return {name: _split(known) for name, known in points.items()}


def _split(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]


def _classes(run: Finished) -> list[Picture]:
    scores = class_scores(run.model, run.params, run.test)
    if scores is None:
        return []
    found = judged(scores, run.test.labels)
    table = found.confusion()
    wrong = int(table.sum() - np.trace(table))
    note = f"{wrong} of {len(scores)} test images are wrong."
    title = "Confusion matrix"
    made = [Picture(title, pictures.confusion(table), "counts by label and answer", note)]
    shown = _square(next(iter(run.test.arrays.values())))
    worst = found.worst(WORST)
    if shown is not None and len(worst):
        made.append(_worst(shown, found, worst))
    return made


def _worst(shown: NDArray[Any], found: Judged, worst: NDArray[Any]) -> Picture:
    captions = [f"{found.labels[n]} read as {found.predicted[n]}" for n in worst]
    return Picture(
        "Furthest from right",
        pictures.images(shown[worst], captions),
        "; ".join(captions),
        "Test images by the distance between the best score and that of the label.",
    )


def _weights(run: Finished) -> list[Picture]:
    """The first parameter of two dimensions or more, where it is made of pictures."""
    name = next((n for n, shape in run.model.PARAM_SHAPES.items() if len(shape) > 1), None)
    if name is None:
        return []
    weights = run.params[name]
    units = weights[:, 0] if weights.ndim == 4 else _square(weights.T)
    if units is None or weights.ndim == 3 or units.shape[1] < 2:
        return []
    units = units[:WEIGHTS]
    return [
        Picture(
            f"Weights of {name}",
            pictures.images(units, [""] * len(units), signed=True),
            f"the weights of {len(units)} units as pictures",
            f"{len(units)} units; red above zero, blue below, each on its own scale.",
        )
    ]


def _square(rows: NDArray[Any]) -> NDArray[Any] | None:
    """Rows as pictures: they have two dimensions, or one channel of them, or a square number."""
    side = math.isqrt(math.prod(rows.shape[1:]))
    if rows.ndim == 3:
        return rows
    if rows.ndim == 4 and rows.shape[1] == 1:
        return rows[:, 0]
    if rows.ndim == 2 and side * side == rows.shape[1]:
        return rows.reshape(len(rows), side, side)
    return None


def _shown(figure: float | None) -> str:
    if figure is None or (isinstance(figure, float) and math.isnan(figure)):
        return ""
    whole = isinstance(figure, int) or figure >= 10_000
    return f"{figure:,.0f}" if whole else f"{figure:.4g}"
