"""Numbers in an order in which none comes before those it waits for.

    in_order({0: set(), 1: {2}, 2: set()})                  [0, 2, 1]
    in_order({0: set(), 1: set()}, rank=lambda n: -n)       [1, 0]
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from heapq import heapify, heappop, heappush
from typing import Any


def in_order(
    waits: Mapping[int, set[int]], rank: Callable[[int], Any] = lambda n: n
) -> list[int] | None:
    """Of those that can come next the one of the least rank; None where some wait in a circle."""
    left = {n: found - {n} for n, found in waits.items()}
    followers: dict[int, list[int]] = {n: [] for n in left}
    for n, found in left.items():
        for earlier in found:
            followers[earlier].append(n)
    ready = [(rank(n), n) for n, found in left.items() if not found]
    heapify(ready)
    done: list[int] = []
    while ready:
        _, n = heappop(ready)
        done.append(n)
        for later in followers[n]:
            left[later].discard(n)
            if not left[later]:
                heappush(ready, (rank(later), later))
    return done if len(done) == len(left) else None
