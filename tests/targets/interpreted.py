"""What the interpreter says of a case: slow, and asked once a process for both types and targets.

    values = given(case, "float32", rows=3)          # the same numbers in either type
    expected(case, 3)["y"]                           # float64
"""

from __future__ import annotations

import numpy as np

from tests.targets.interpret import interpret
from tests.targets.programs import Case

_KNOWN: dict[tuple[object, int], dict[str, np.ndarray]] = {}


def given(case: Case, real: str, rows: int) -> dict[str, np.ndarray]:
    """Numbers that float32 holds exactly, in either type."""
    values = case.values("float32", rows)
    return {k: v.astype(real) if v.dtype.kind == "f" else v for k, v in values.items()}


def expected(case: Case, rows: int) -> dict[str, np.ndarray]:
    """Every definition of the case's program, on the numbers that are given."""
    if (case.definitions, rows) not in _KNOWN:
        values = given(case, "float64", rows)
        _KNOWN[case.definitions, rows] = interpret(case.program("float64"), values, rows)
    return _KNOWN[case.definitions, rows]
