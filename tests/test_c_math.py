"""The emitted exp, log, tanh, erf and pow: errors, special values, and that they vectorise.

A sample of what benchmarks/math_error.py measures over every float; the limits are those that the
comments of codegen/c/math.c.jinja state, rounded up.
"""

from __future__ import annotations

import ctypes
import math
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from benchmarks.math_coefficients import FITS, coefficients
from benchmarks.math_error import BUILDS, TYPES, build, program
from codegen.c.assemble import FAST_FLAGS
from codegen.c.scalars import MATHEMATICS

COMPILERS = [c for c in ("gcc", "clang") if shutil.which(c)]
MEASURED = [(COMPILERS[0], "fast"), *((c, "portable") for c in COMPILERS)]
LIMITS = {"exp": 1.0, "log": 1.0, "tanh": 2.2, "erf": 1.6, "pow": 1.5}
INF, NAN = math.inf, math.nan

# Function, argument, exact result.
SPECIAL = [
    ("exp", 0.0, 1.0), ("exp", -0.0, 1.0), ("exp", INF, INF), ("exp", -INF, 0.0),
    ("exp", NAN, NAN), ("exp", 1e30, INF), ("exp", -1e30, 0.0), ("exp", 1e-40, 1.0),
    ("log", 1.0, 0.0), ("log", 0.0, -INF), ("log", -0.0, -INF), ("log", -1.0, NAN),
    ("log", INF, INF), ("log", -INF, NAN), ("log", NAN, NAN),
    ("tanh", 0.0, 0.0), ("tanh", -0.0, -0.0), ("tanh", INF, 1.0), ("tanh", -INF, -1.0),
    ("tanh", NAN, NAN), ("tanh", 1e30, 1.0), ("tanh", 1e-40, 1e-40),
    ("erf", 0.0, 0.0), ("erf", -0.0, -0.0), ("erf", INF, 1.0), ("erf", -INF, -1.0),
    ("erf", NAN, NAN), ("erf", 1e30, 1.0),
]  # fmt: skip

# x, y and x**y as C99 has it; the measured program would choose y by itself.
POWERS = [
    (0.0, 3.0, 0.0), (-0.0, 3.0, -0.0), (0.0, -3.0, INF), (-0.0, -3.0, -INF), (-0.0, -2.0, INF),
    (NAN, 0.0, 1.0), (1.0, NAN, 1.0), (-1.0, INF, 1.0), (-8.0, 3.0, -512.0), (-8.0, 0.5, NAN),
    (0.5, INF, 0.0), (2.0, INF, INF), (2.0, -INF, 0.0), (-INF, 3.0, -INF), (-INF, 0.5, INF),
    (INF, -1.0, 0.0), (NAN, 1.0, NAN), (2.0, 1e9, INF), (2.0, -1e9, 0.0),
]  # fmt: skip


@pytest.mark.parametrize(("compiler", "said"), MEASURED)
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("name", MATHEMATICS)
def test_the_error_is_as_stated(
    name: str, dtype: str, compiler: str, said: str, tmp_path: Path
) -> None:
    built = build(name, dtype, BUILDS[said], compiler, tmp_path)
    step, count = (4099, 2**32 // 4099) if dtype == "float32" else (0, 100_000)
    most, where = built.worst(0, count, step)
    limit = 0.51 if (name, dtype) == ("pow", "float32") else LIMITS[name]
    assert 0.4 < most < limit, f"{most} ulp at {where!r}"


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("name", ["exp", "log", "tanh", "erf"])
def test_special_values(name: str, dtype: str, tmp_path: Path) -> None:
    for said, flags in BUILDS.items():
        cases = [(x, y) for function, x, y in SPECIAL if function == name]
        x = np.array([x for x, _ in cases], dtype)
        expected = np.array([y for _, y in cases], dtype)
        got = np.empty_like(x)
        _call(build(name, dtype, flags, COMPILERS[0], tmp_path).library.ours, x, got)
        np.testing.assert_array_equal(got, expected, said)
        known = ~np.isnan(expected)
        np.testing.assert_array_equal(np.signbit(got)[known], np.signbit(expected)[known], said)


@pytest.mark.parametrize("dtype", TYPES)
def test_special_powers(dtype: str, tmp_path: Path) -> None:
    """The rules of C99, annex F.9.4.4, in a program of its own: both arguments are given."""
    text = program("pow", dtype).split("#define CHUNK")[0]
    kind = TYPES[dtype]
    text += f"""
    {kind["real"]} both({kind["real"]} x, {kind["real"]} y) {{ return gw_pow{kind["f"]}(x, y); }}
    """
    source, library = tmp_path / "pow.c", tmp_path / "pow.so"
    source.write_text(text, encoding="utf-8")
    flags = [*FAST_FLAGS.split(), "-shared", "-fPIC"]
    subprocess.run(
        [COMPILERS[0], "-std=c99", *flags, str(source), "-o", str(library), "-lm"], check=True
    )
    both = ctypes.CDLL(str(library)).both
    both.restype = ctypes.c_float if dtype == "float32" else ctypes.c_double
    both.argtypes = [both.restype] * 2
    for x, y, expected in POWERS:
        got = both(x, y)
        assert got == expected or math.isnan(got) and math.isnan(expected), (x, y, got)
        assert math.isnan(expected) or math.copysign(1, got) == math.copysign(1, expected), (x, y)


@pytest.mark.skipif("gcc" not in COMPILERS, reason="gcc says which loops it vectorised")
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("name", ["exp", "log", "tanh", "erf"])
def test_a_loop_of_it_becomes_vectors(name: str, dtype: str, tmp_path: Path) -> None:
    source = tmp_path / "loop.c"
    text = program(name, dtype)
    source.write_text(text, encoding="utf-8")
    line = text.split("void ours")[0].count("\n") + 3
    command = ["gcc", "-std=c99", *FAST_FLAGS.split(), "-fopt-info-vec-optimized", "-c"]
    done = subprocess.run(
        [*command, str(source), "-o", str(tmp_path / "loop.o")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert re.search(rf"loop\.c:{line}:\d+: optimized: loop vectorized", done.stderr), done.stderr


@pytest.mark.parametrize(("name", "dtype"), FITS)
def test_the_coefficients_are_those_of_the_fit(name: str, dtype: str) -> None:
    function = name.split("_")[0]
    text = program(function, dtype)
    for value in coefficients(name, dtype):
        literal = value.lstrip("-") + ("f" if dtype == "float32" else "")
        assert re.search(rf"[ -]{re.escape(literal)};", text), value


def _call(function: object, x: np.ndarray, y: np.ndarray) -> None:
    function(ctypes.c_void_p(x.ctypes.data), ctypes.c_void_p(y.ctypes.data), ctypes.c_int64(x.size))
