"""The machine itself, as one more that takes turns: gradwright/machine.py on the same core."""

from __future__ import annotations

from dataclasses import asdict
from functools import cache
from typing import Any

from gradwright.machine import Meter, measure


@cache
def meter() -> Meter:
    return Meter("float32")


def facts(peak: bool = False) -> Any:
    """Multiply-adds a second at this moment; or everything, the bandwidths included."""
    return meter().peak() if peak else asdict(measure(meter()))
