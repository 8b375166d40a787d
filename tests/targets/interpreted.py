"""What the interpreter says of a case: slow, and asked once for both types and targets.

    values = given(case, "float32", rows=3)          # the same numbers in either type
    expected(case, 3)["y"]                           # float64

The answers lie in the folder of the tests, where the other worker finds them.
"""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path
from tempfile import NamedTemporaryFile

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
    key = (case.definitions, rows)
    if key not in _KNOWN:
        digest = sha256(repr((case, rows)).encode()).hexdigest()[:16]
        path = Path(os.environ["GRADWRIGHT_TESTS"]) / f"{case.name}-{digest}.npz"
        if not path.exists():
            values = given(case, "float64", rows)
            _written(path, interpret(case.program("float64"), values, rows))
        with np.load(path) as known:
            _KNOWN[key] = dict(known)
    return _KNOWN[key]


def _written(path: Path, values: dict[str, np.ndarray]) -> None:
    """Under another name first: nobody reads half a file."""
    with NamedTemporaryFile(dir=path.parent, delete=False) as file:
        np.savez(file, **values)  # type: ignore[arg-type]
    Path(file.name).replace(path)
