"""The NumPy target against the interpreter: every case, both types, full and short batches.

Warnings are errors here, as everywhere in the tests, so a branch that is not taken may not warn.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from codegen.numpy.emit import emit
from ir.kernel import Module
from tests.targets.interpret import interpret
from tests.targets.programs import CASES, MAXIMUM, Case, perceptron

ROOT = Path(__file__).resolve().parents[2]
TOLERANCE = {"float32": 5e-5, "float64": 1e-12}


def loaded(module: Module) -> ModuleType:
    """The emitted module, run from its text."""
    ((name, text),) = emit(module).items()
    made = ModuleType(name.removesuffix(".py"))
    exec(compile(text, name, "exec"), made.__dict__)
    return made


def close(found: Any, expected: np.ndarray, real: str) -> None:
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=TOLERANCE[real], atol=TOLERANCE[real])


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
@pytest.mark.parametrize("real", ["float32", "float64"])
def test_every_case_as_the_interpreter_says(case: Case, real: str) -> None:
    module = case.module(real)
    program = module.forward.program
    model = loaded(module)
    for rows in (MAXIMUM, 1, 3):
        values = case.values(real, rows)
        before = {name: array.copy() for name, array in values.items()}
        expected = interpret(program, values, rows)
        found = model.forward({}, *values.values())
        for public, name in program.outputs:
            result = getattr(found, public)
            assert result.dtype == program.dtype_of(name), public
            close(result, expected[name], real)
        for name, array in values.items():
            np.testing.assert_array_equal(array, before[name])
