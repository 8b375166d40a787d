"""What this machine can do at most: the limits that measured times are compared with.

    limits = measured("float32")
    limits.peak / 1e9                                  GFLOP/s of one core, in multiply-adds
    limits.seconds(operations, read, written)          no kernel that does this can be faster

The peak comes from independent multiply-adds on the widest vectors, bandwidths from reading and
copying working sets from the first-level cache to main memory: machine.c. Both are of one core. A
limit here is what we reached, not a figure of a data sheet, so a share of it can come out above
one. Needs a C compiler; without one `measured` gives None.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from gradwright.native import built, compiler

FLAGS = ["-O3", "-march=native", "-ffp-contract=fast"]
WORKING_SETS = tuple(2**k for k in (14, 15, 17, 19, 20, 22, 24, 26))
LINE = 64
SECONDS = 0.004
"""How long one reading of the clock lasts; each figure is the best of `READINGS`."""
READINGS = 5

Curve = tuple[tuple[int, float], ...]
"""Bytes of the working set, and the bytes a second at that size; larger sets are not faster."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one core: operations a second (a multiply-add is two), and bandwidths by working set."""

    peak: float
    reading: Curve
    copying: Curve

    def seconds(self, operations: float, read: float, written: float) -> float:
        """The larger of the arithmetic's and the memory's time.

        What is written is taken as copied from something read, the rest as read alone.
        """
        size = int(read + written)
        copied = min(read, written) + written
        alone = max(0.0, read - written)
        memory = copied / bandwidth(self.copying, size) + alone / bandwidth(self.reading, size)
        return max(operations / self.peak, memory)


def bandwidth(curve: Curve, size: int) -> float:
    """Bytes a second for a working set of `size` bytes: that of the next larger one measured."""
    return next((speed for limit, speed in curve if limit >= size), curve[-1][1])


class Meter:
    """machine.c, built for one floating type, and the arrays that it reads and copies.

    `clock` gives seconds; `time.process_time` leaves out what other processes took.
    """

    def __init__(self, dtype: str, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        real = "double" if dtype == "float64" else "float"
        self._library = built(Path(__file__).with_name("machine.c"), [*FLAGS, f"-DREAL={real}"])
        self._library.gw_operations.restype = ctypes.c_size_t
        self._operations = int(self._library.gw_operations())
        self._memory = np.zeros(max(WORKING_SETS) + LINE, np.uint8)
        address = self._memory.ctypes.data
        self._start = address + -address % LINE

    def peak(self, seconds: float = SECONDS) -> float:
        """Operations a second, once."""
        return self._operations * self._rate(self._multiply_add, seconds)

    def reading(self, size: int, seconds: float = SECONDS) -> float:
        """Bytes a second, once, for a working set of `size` bytes."""
        return size * self._rate(lambda n: self._call("gw_read", self._start, size, n), seconds)

    def copying(self, size: int, seconds: float = SECONDS) -> float:
        """Bytes a second, read and written, once: half of the working set onto the other half."""
        half = size // 2
        places = (self._start + half, self._start, half)
        return size * self._rate(lambda n: self._call("gw_copy", *places, n), seconds)

    def _rate(self, run: Callable[[int], None], seconds: float) -> float:
        """Rounds a second."""
        rounds = 1
        while True:
            began = self._clock()
            run(rounds)
            spent = self._clock() - began
            if spent >= seconds / 2:
                return rounds / spent
            rounds = max(2 * rounds, min(100 * rounds, int(rounds * seconds / max(spent, 1e-7))))

    def _multiply_add(self, rounds: int) -> None:
        self._call("gw_multiply_add", rounds)

    def _call(self, name: str, *arguments: int) -> None:
        getattr(self._library, name)(*map(ctypes.c_size_t, arguments))


@cache
def measured(dtype: str) -> Limits | None:
    """The limits, measured once for the process (half a second); None without a C compiler."""
    if not compiler():
        return None
    return measure(Meter(dtype))


def measure(meter: Meter) -> Limits:
    """The best of several readings of everything."""
    peak = max(meter.peak() for _ in range(READINGS))
    return Limits(peak, _curve(meter.reading), _curve(meter.copying))


def _curve(speed: Callable[[int], float]) -> Curve:
    """Best readings by size; what a larger set reached, a smaller one can reach as well."""
    found: list[tuple[int, float]] = []
    fastest = 0.0
    for size in reversed(WORKING_SETS):
        fastest = max(fastest, *(speed(size) for _ in range(READINGS)))
        found.append((size, fastest))
    return tuple(reversed(found))
