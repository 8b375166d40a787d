"""Whether a contestant's first pass gives what ours gives, within the rounding of float32.

    problem = disagreement(ours, theirs, start)         None, or what differs

Losses and outputs are compared with the largest of them, each parameter with the largest change
that the pass made to it, so that a step that does nothing, or half of it, does not agree.
"""

from __future__ import annotations

import numpy as np

from benchmarks.cases import Arrays

STEP = 1e-2
"""Of one pass; relative to the largest loss, output, or change of the parameter. A bias of VGG16 is
the sum of 50,000 terms that mostly cancel: two float32 frameworks differ by 5e-3 there."""
EPOCH = 5e-2
"""Of many steps, each of which starts from the rounding of those before it."""
ROUNDING = 2.0**-22
"""A parameter cannot be known better than this, relative to its largest element."""
NOTHING = 1e-5
"""Of the largest change of any parameter: a gradient that is zero (a key's bias) is only noise."""


def disagreement(ours: Arrays, theirs: Arrays, start: Arrays) -> str | None:
    """Names the first result that differs, and by how much."""
    missing = ours.keys() ^ theirs.keys()
    if missing:
        return f"no {min(missing)} to compare"
    many = "losses" in ours and len(ours["losses"]) > 1
    floor = NOTHING * max((abs(ours[n] - start[n]).max() for n in ours if n in start), default=0.0)
    for name, mine in ours.items():
        other = theirs[name]
        if mine.shape != other.shape:
            return f"{name} has shape {other.shape} and not {mine.shape}"
        before = start.get(name, np.zeros_like(mine))
        scale = abs(mine - before).max()
        allowed = (EPOCH if many else STEP) * scale + max(ROUNDING * abs(before).max(), floor)
        apart = abs(other - mine).max()
        if not apart <= allowed:  # a NaN differs
            return f"{name} differs by {apart / max(scale, 1e-30):.1e} of its change"
    return None
