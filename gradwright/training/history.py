"""What was measured after each epoch, and its file: one CSV row an epoch, written whole each time.

    write_csv(Path("history.csv"), [measured, ...]); read_csv(Path("history.csv"))

Columns that belong to a parameter are `gradient_norm fc1.W`, `parameter_norm fc1.W` and
`zero_gradients fc1.b`; what a network does not have (the accuracy of a regression) stays empty.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_type_hints

from gradwright.training.whole_file import write_whole
from ir.errors import DataError

FILE_NAME = "history.csv"


@dataclass(frozen=True, slots=True)
class Measured:
    """One epoch. `loss` is the mean over its steps; the other losses are of fixed samples.

    `gradient_norm` and `zero_gradients` are those of the training sample: a unit whose bias has a
    gradient of exactly 0 over all its rows passes nothing on. Norms are Euclidean, per parameter.
    """

    epoch: int
    step: int
    seconds: float
    samples_per_second: float
    lr: float
    loss: float
    train_loss: float
    test_loss: float
    train_accuracy: float | None
    test_accuracy: float | None
    gradient_norm: dict[str, float]
    parameter_norm: dict[str, float]
    zero_gradients: dict[str, float]


_HINTS = get_type_hints(Measured)
_FAMILIES = [f.name for f in fields(Measured) if _HINTS[f.name] == dict[str, float]]
_PLAIN = [f.name for f in fields(Measured) if f.name not in _FAMILIES]


def write_csv(path: Path, history: Sequence[Measured]) -> None:
    """Whole or not at all. Raises `OutputError`; then the old file stands."""
    rows = [_row(measured) for measured in history]
    text = io.StringIO()
    columns = dict.fromkeys([*_PLAIN, *(name for row in rows for name in row)])
    writer = csv.DictWriter(text, list(columns), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_whole(path, text.getvalue().encode())


def read_csv(path: Path) -> list[Measured]:
    """The epochs of a file that `write_csv` wrote. Raises `DataError` for any other."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = csv.DictReader(file, strict=True)
            missing = set(_PLAIN) - set(rows.fieldnames or ())
            if missing:
                raise ValueError(f"no column {min(missing)}")
            return [_measured(row) for row in rows]
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise DataError(
            f"{path} is no history of a run", notes=(f"found: {type(error).__name__}: {error}",)
        ) from None


def _row(measured: Measured) -> dict[str, Any]:
    row: dict[str, Any] = {name: getattr(measured, name) for name in _PLAIN}
    for family in _FAMILIES:
        figures = getattr(measured, family)
        row |= {f"{family} {name}": figure for name, figure in figures.items()}
    return {name: "" if value is None else repr(value) for name, value in row.items()}


def _measured(row: dict[str, str]) -> Measured:
    if None in row:
        raise ValueError("more figures than columns")
    plain: dict[str, Any] = {name: _value(row[name], _HINTS[name]) for name in _PLAIN}
    families: dict[str, dict[str, float]] = {name: {} for name in _FAMILIES}
    for column, text in row.items():
        family, _, name = column.partition(" ")
        if family in families and name and text:
            families[family][name] = float(text)
    return Measured(**{**plain, **families})


def _value(text: str, kind: Any) -> Any:
    if kind is int:
        return int(text)
    if not text and kind == (float | None):
        return None
    return float(text)


def total_norm(norms: dict[str, float]) -> float:
    """The norm of all parameters together."""
    return math.hypot(*norms.values())
