"""The machine itself, as one more that takes turns: gradwright/machine.py on the same core."""

from __future__ import annotations

from dataclasses import asdict
from functools import cache
from typing import Any

from benchmarks.cases import CLOCKS
from gradwright.machine import Meter, measure


@cache
def meter(clock: str) -> Meter:
    return Meter("float32", CLOCKS[clock])


def facts(clock: str, peak: bool = False) -> Any:
    """Multiply-adds a second at this moment; or everything, the bandwidths included."""
    return meter(clock).peak() if peak else asdict(measure(meter(clock)))
