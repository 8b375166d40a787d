"""Columns that fill no vector: a part of the kernel with tiles of its own.

    d[k, j] = sum over n of x[n, k] * e[n, j]        100 columns j: six vectors of 16, and 4 columns

As a seventh vector the 4 columns would cost as much as 16. Apart they are a contraction again, laid
out as it suits them: here with the lanes along k, so that no lane is idle. The number of lanes is
that of the longest vector anywhere, whatever the machine: so the bits depend on no vector length.
"""

from __future__ import annotations

from collections.abc import Callable

from compiler.contraction import LANES, Contraction
from compiler.scope import Scope

GAIN = 0.97  # of the cycles of the whole, at most, that both parts take


def in_parts(
    scope: Scope, whole: Contraction, find: Callable[[Scope], Contraction | None]
) -> list[tuple[Scope, Contraction]]:
    """The contraction with its kernel; or its full vectors and the columns behind them, apart."""
    column = whole.columns[-1]
    lanes = LANES[whole.member.dtype]
    rest = int(column.size) % lanes
    if whole.terms.along is not None or len(whole.columns) > 1 or rest in (0, int(column.size)):
        return [(scope, whole)]
    full = int(column.size) - rest
    parts = [scope.part(column.index, 0, full), scope.part(column.index, full, rest)]
    found = [find(part) for part in parts]
    main, tail = found
    if main is None or tail is None or main.columns[-1].index != column.index:
        return [(scope, whole)]
    if _share_a_copy(main, tail) or main.cost() + tail.cost() > GAIN * whole.cost():
        return [(scope, whole)]
    return [(parts[0], main), (parts[1], tail)]


def _share_a_copy(one: Contraction, other: Contraction) -> bool:
    """Whether both would lay out a copy under the same name."""
    return (one.left.staged and other.left.staged) or (one.right.staged and other.right.staged)
