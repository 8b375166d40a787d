"""The C target against the interpreter: every case, both compilers, with and without vectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.targets.emitted_c import BUILDS, built
from tests.targets.interpret import interpret
from tests.targets.programs import CASES, MAXIMUM, Case

TOLERANCE = {"float32": 2e-5, "float64": 1e-12}


def close(found: np.ndarray, expected: np.ndarray, real: str) -> None:
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=TOLERANCE[real], atol=TOLERANCE[real])


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
@pytest.mark.parametrize("real", ["float32", "float64"])
@pytest.mark.parametrize("command", BUILDS)
def test_every_case_as_the_interpreter_says(
    case: Case, real: str, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = case.module(real)
    program = module.forward.program
    model = built(module, tmp_path, command, monkeypatch)
    for rows in (MAXIMUM, 1):
        values = case.values(real, rows)
        expected = interpret(program, values, rows)
        found = model.forward({}, *values.values())
        for public, name in program.outputs:
            close(getattr(found, public), expected[name], real)
