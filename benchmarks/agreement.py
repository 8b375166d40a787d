"""Whether a contestant's first pass gives what ours gives, within the rounding of float32.

    problem = disagreement(ours, theirs, start, moved)         None, or what differs

Losses and outputs are compared with the largest of them, each parameter with the largest change
that the pass made to it, so that a step that does nothing, or half of it, does not agree.

    moved = rounding(step, start)        how far each result of a pass can jump by rounding alone

A ReLU whose argument is nearer to zero than its rounding, or a maximum of two such neighbours, may
go either way, as the order of a sum has it; a gradient is another one there. One of VGG16's 400,000
arguments in conv4_1 is 4e-7 beside a rounding of 2e-6: with one BLAS thread NumPy takes the other
side, and the bias of that channel changes by 1.4 % less (in float64 all agree to 1e-14). So the
pass is done again from parameters that are moved by a little more than such roundings, both ways.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmarks.cases import Arrays

STEP = 2e-3
"""Of one pass; relative to the largest loss, output, or change of the parameter."""
EPOCH = 5e-2
"""Of many steps, each of which starts from the rounding of those before it."""
ROUNDING = 2.0**-22
"""A parameter cannot be known better than this, relative to its largest element."""
NOTHING = 1e-5
"""Of the largest change of any parameter: a gradient that is zero (a key's bias) is only noise."""
MOVE = 2.0**-18
"""Of a weight, and as such of a bias: twice the rounding of VGG16's sums, of values around one."""


def rounding(step: Callable[[Arrays], Arrays], start: Arrays) -> dict[str, float]:
    """How far each result moves, of a pass from parameters that are moved up and down."""
    usual = _changes(step, start)
    found = dict.fromkeys(usual, 0.0)
    for way in (MOVE, -MOVE):
        for name, change in _changes(step, _moved(start, way)).items():
            found[name] = max(found[name], float(abs(change - usual[name]).max()))
    return found


def _changes(step: Callable[[Arrays], Arrays], start: Arrays) -> Arrays:
    made = step({name: a.copy() for name, a in start.items()})
    return {name: a - start[name] if name in start else a.copy() for name, a in made.items()}


def _moved(start: Arrays, way: float) -> Arrays:
    """Every weight by its part, its sign drawn; every bias by the same, so that no ReLU is left."""
    rng = np.random.default_rng(0)
    moved = {}
    for name, a in start.items():
        factor = 1 + np.float32(way) * rng.choice(np.array([-1, 1], np.float32), a.shape)
        moved[name] = a * factor + (np.float32(way) if a.ndim == 1 else np.float32(0))
    return moved


def disagreement(
    ours: Arrays, theirs: Arrays, start: Arrays, moved: dict[str, float] | None = None
) -> str | None:
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
        allowed += 0.0 if many else (moved or {}).get(name, 0.0)
        apart = abs(other - mine).max()
        if not apart <= allowed:  # a NaN differs
            return f"{name} differs by {apart / max(scale, 1e-30):.1e} of its change"
    return None
