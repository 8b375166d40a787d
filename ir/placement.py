"""Places in one piece of memory for things that live at different times.

    offsets, size = placed([Lifetime("a", 64, 0, 3), Lifetime("b", 64, 4, 5)])
                                                                        {"a": 0, "b": 0}, 64

Two that live at the same time never overlap. The largest are placed first, each at the lowest
offset that is free for its whole life, so the result does not depend on any hash. (The smallest
gap that fits was tried: up to a third larger on the examples.) The memory plan of a schedule counts
time in kernels, the NumPy target in lines.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

ALIGNMENT = 64


@dataclass(frozen=True, slots=True)
class Lifetime:
    """A thing to be stored, its size in bytes, and the first and the last moment it is needed."""

    name: str
    size: int
    first: int
    last: int


def placed(lifetimes: Iterable[Lifetime]) -> tuple[dict[str, int], int]:
    """An offset for each, the lowest first, and the bytes in all."""
    found: list[tuple[int, int, Lifetime]] = []
    for item in sorted(lifetimes, key=lambda t: (-t.size, t.first, t.name)):
        found.append((_lowest_free(item, found), item.size, item))
    end = max((offset + size for offset, size, _ in found), default=0)
    found.sort(key=lambda place: (place[0], place[2].first))
    return {item.name: offset for offset, _, item in found}, end


def aligned(size: int) -> int:
    """The size, rounded up so that what follows starts at a cache line."""
    return -(-size // ALIGNMENT) * ALIGNMENT


def _lowest_free(item: Lifetime, found: list[tuple[int, int, Lifetime]]) -> int:
    """The lowest offset at which the item meets nothing that lives when it does."""
    first, last = item.first, item.last
    busy = sorted([(o, s) for o, s, t in found if t.first <= last and first <= t.last])
    offset = 0
    for start, size in busy:
        if offset + item.size <= start:
            break
        offset = max(offset, start + size)
    return offset
