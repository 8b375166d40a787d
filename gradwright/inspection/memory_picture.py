"""The memory plan as a picture: time runs to the right, offsets in the workspace upwards.

    view = memory_picture(report(mnist_mlp).memory)      # templates/memory.svg.jinja draws it

Every temporary is a box over the loop nests during which it is needed, at the bytes that it takes.
Boxes never overlap: two that live at the same time have different bytes.
"""

from __future__ import annotations

from dataclasses import dataclass

from compiler.report import MemoryPlan

_WIDTH, _HEIGHT = 960.0, 360.0
_LEFT, _TOP, _BOTTOM = 78.0, 12.0, 34.0
_TALL_ENOUGH, _CHARACTER = 13.0, 6.4


@dataclass(frozen=True, slots=True)
class BoxView:
    """A temporary: its box, what is said of it, and its name where that fits."""

    name: str
    title: str
    shade: int
    x: float
    y: float
    width: float
    height: float
    label: str


@dataclass(frozen=True, slots=True)
class TickView:
    """A mark on one of the two axes."""

    at: float
    label: str


@dataclass(frozen=True, slots=True)
class MemoryView:
    """The whole picture."""

    width: float
    height: float
    left: float
    bottom: float
    label: str
    boxes: tuple[BoxView, ...]
    offsets: tuple[TickView, ...]
    times: tuple[TickView, ...]


def memory_picture(plan: MemoryPlan) -> MemoryView:
    """The boxes and the two axes of a memory plan."""
    width = max(_WIDTH, _LEFT + 9.0 * len(plan.steps))
    step = (width - _LEFT) / max(1, len(plan.steps))
    scale = (_HEIGHT - _TOP - _BOTTOM) / max(1, plan.workspace)
    base = _HEIGHT - _BOTTOM
    boxes = []
    for number, item in enumerate(plan.lifetimes):
        offset = plan.offsets[item.name]
        wide, high = (item.last - item.first + 1) * step, item.size * scale
        fits = high >= _TALL_ENOUGH and wide >= len(item.name) * _CHARACTER + 6
        boxes.append(
            BoxView(
                item.name,
                f"{item.name}: {size_text(item.size)} at {size_text(offset)}, from "
                f"{plan.steps[item.first]} to {plan.steps[item.last]}",
                number % 6,
                _LEFT + item.first * step,
                base - (offset + item.size) * scale,
                wide,
                max(high, 0.6),
                item.name if fits else "",
            )
        )
    label = (
        f"{len(boxes)} temporaries of {size_text(plan.temporaries)} in a workspace of "
        f"{size_text(plan.workspace)}, over {len(plan.steps)} loop nests"
    )
    return MemoryView(
        width,
        _HEIGHT,
        _LEFT,
        base,
        label,
        tuple(boxes),
        tuple(
            TickView(
                base - part * plan.workspace * scale / 4, size_text(plan.workspace * part // 4)
            )
            for part in range(5)
        ),
        tuple(
            TickView(_LEFT + (number + 0.5) * step, str(number + 1))
            for number in range(0, len(plan.steps), max(1, len(plan.steps) // 16))
        ),
    )


def size_text(size: int) -> str:
    """`256 B`, `12.5 KiB`, `7.9 GiB`."""
    value, unit = float(size), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
