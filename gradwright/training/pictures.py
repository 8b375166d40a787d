"""The pictures of a report, drawn by matplotlib: curves as SVG, digits and weights as PNG.

Each function gives a data URI to put into a page. Needs the extra `report`. Nothing is drawn
through a window system, and equal figures give equal bytes.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradwright.training.extras import extra

EXTRA = "report"
Curves = Mapping[str, tuple[Sequence[float], Sequence[float]]]
"""By label: where, and how much."""


def figure(width: float, height: float) -> Any:
    """An empty figure. Raises `MissingLibraryError` without matplotlib."""
    return extra("matplotlib.figure", EXTRA).Figure(figsize=(width, height), layout="constrained")


def curves(lines: Curves, axis: str, *, logarithmic: bool = False) -> str:
    """Lines over epochs; on a logarithmic axis where all values allow it."""
    drawn = figure(6.4, 3.4)
    axes = drawn.subplots()
    for number, (label, (x, y)) in enumerate(lines.items()):
        style = ("-", "--", "-.", ":")[number // 10 % 4]
        axes.plot(x, y, style, marker="o", markersize=3, linewidth=1.4, label=label)
    positive = all(v > 0 for _, y in lines.values() for v in y if math.isfinite(v))
    axes.set_yscale("log" if logarithmic and positive else "linear")
    axes.set_xlabel("epoch")
    axes.set_ylabel(axis)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.3)
    if len(lines) > 6:
        axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
    elif len(lines) > 1:
        axes.legend(fontsize=8)
    return _svg(drawn)


def confusion(table: NDArray[Any]) -> str:
    """Counts by label (row) and answer (column); the shade is the share of its row."""
    size = max(3.2, 0.42 * len(table))
    drawn = figure(size + 0.6, size)
    axes = drawn.subplots()
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if len(table) <= 30:
        for row, column in np.argwhere(table > 0):
            dark = "white" if shares[row, column] > 0.5 else "black"
            text = str(table[row, column])
            axes.text(column, row, text, ha="center", va="center", fontsize=7, color=dark)
        axes.set_xticks(range(len(table)))
        axes.set_yticks(range(len(table)))
    axes.set_xlabel("answer")
    axes.set_ylabel("label")
    return _svg(drawn)


def images(pictures: NDArray[Any], captions: Sequence[str], *, signed: bool = False) -> str:
    """A wall of small pictures; `signed`: red above zero, blue below, each on its own scale."""
    columns = min(6 if any(captions) else 8, len(pictures))
    rows = math.ceil(len(pictures) / columns)
    drawn = figure(1.15 * columns, (1.35 if any(captions) else 1.1) * rows)
    for number, axes in enumerate(np.ravel(drawn.subplots(rows, columns, squeeze=False))):
        axes.set_axis_off()
        if number < len(pictures):
            picture = pictures[number]
            limit = float(np.max(np.abs(picture), initial=0.0)) or 1.0
            low, shades = (-limit, "RdBu_r") if signed else (0.0, "gray_r")
            axes.imshow(picture, cmap=shades, vmin=low, vmax=limit, interpolation="nearest")
            axes.set_title(captions[number], fontsize=9)
    return _png(drawn)


def _svg(drawn: Any) -> str:
    matplotlib = extra("matplotlib", EXTRA)
    made = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "gradwright", "svg.fonttype": "none"}):
        drawn.savefig(made, format="svg", metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(made.getvalue()).decode()


def _png(drawn: Any) -> str:
    made = io.BytesIO()
    drawn.savefig(made, format="png", dpi=110, metadata={"Software": None})
    return "data:image/png;base64," + base64.b64encode(made.getvalue()).decode()
