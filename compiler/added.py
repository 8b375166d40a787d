"""Sums that are only scaled and added to what lies in memory: a tile can do that by itself.

    W_next[k, j] = W[k, j] - lr*d_W[k, j]        W += -lr * sum

So the sums need not leave the registers before they are done with.
"""

from __future__ import annotations

from collections.abc import Sequence

import sympy

from ir.expression import Access, accesses, symbols_of
from ir.loops import Local, Onto, Statement, Store


def added(epilogue: Sequence[Statement], total: Access) -> Onto | None:
    """Where and how the epilogue adds the sum, if that is all it does."""
    *before, last = epilogue
    if not isinstance(last, Store) or not isinstance(last.place, Access):
        return None
    value = last.value
    for local in reversed(before):
        if not isinstance(local, Local) or local.extents or local.value is None:
            return None
        value = value.xreplace({local.symbol: local.value})
    scale = sympy.Add(value, -last.place) / total
    varies = symbols_of(total.indices) & symbols_of([scale])
    if varies or any(a.indices for a in accesses(scale)) or last.place.tensor == total.tensor:
        return None
    return Onto(last.place, scale)
