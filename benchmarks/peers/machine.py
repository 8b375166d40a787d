"""The machine itself, as one more that takes turns: gradwright/machine.py on the same core."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import asdict
from functools import cache
from typing import Any

from benchmarks.cases import CLOCKS
from gradwright.machine import Meter, measure

SECOND_LEVEL = 2**18


@cache
def meter(clock: str) -> Meter:
    return Meter("float32", CLOCKS[clock])


def facts(clock: str, peak: bool = False, cores: Iterable[int] = ()) -> Any:
    """Multiply-adds a second at this moment; or everything, the bandwidths included.

    Of some `cores`, the one that is disturbed least at this moment: where it stays.
    """
    if cores:
        return quietest(clock, cores)
    return meter(clock).peak() if peak else asdict(measure(meter(clock)))


def quietest(clock: str, cores: Iterable[int]) -> int:
    """Who shares a core with us takes of its multiply-adds, or of its second-level cache."""
    speed: dict[int, float] = {}
    for core in cores:
        os.sched_setaffinity(0, {core})
        speed[core] = meter(clock).peak() * meter(clock).reading(SECOND_LEVEL)
    best = max(speed, key=lambda core: speed[core])
    os.sched_setaffinity(0, {best})
    return best
