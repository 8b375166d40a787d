"""The C target against the interpreter: every case, both compilers, with and without vectors.

Every case is built by gcc as users have it in float32, by clang in float64 and with plain loops;
contractions for every kind of vector that this machine has, in both types. What is not built as
users have it is not optimised: that takes a fifth of the time, and the same C is asked.
"""

from __future__ import annotations

import re
import subprocess
from functools import cache
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tests.targets.emitted_c import (
    BUILDS,
    COMPILERS,
    built,
    built_together,
    sources,
    warnings,
    write,
)
from tests.targets.interpret import interpret
from tests.targets.interpreted import expected, given
from tests.targets.programs import CASES, MAXIMUM, Case, by_name, perceptron

TOLERANCE = {"float32": 2e-5, "float64": 1e-12}
# With contractions: what is left out of the second list is in the first.
EVERY_CASE = [("gcc", "float32"), ("clang -O0", "float64"), ("gcc -O0 -DGW_NO_VECTORS", "float32")]
EVERY_VECTOR = [
    ("gcc", "float64"),
    ("clang", "float32"),
    ("gcc -O0 -DGW_NO_VECTORS", "float64"),
    *(("clang -O0 -DGW_NO_VECTORS", real) for real in TOLERANCE),
    *((f"gcc -O0 {less}", real) for less in ("-mno-avx512f", "-mno-avx") for real in TOLERANCE),
]


def there(builds: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(command, real) for command, real in builds if command.split()[0] in COMPILERS]


CONTRACTIONS = (
    "matmul_5_3", "matmul_17_67", "matmul_20_100", "batched", "vector", "long_row",
    "long_rows_of_few", "correlation",
)  # fmt: skip


def close(found: np.ndarray, expected: np.ndarray, real: str) -> None:
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=TOLERANCE[real], atol=TOLERANCE[real])


def compare(case: Case, real: str, model: ModuleType) -> None:
    """Every output of the case, for a full batch, a short one and a single row."""
    for rows in (MAXIMUM, 3, 1):
        found = model.forward({}, *given(case, real, rows).values())
        for public, name in case.program(real).outputs:
            close(getattr(found, public), expected(case, rows)[name], real)


def differing(cases: list[Case], real: str, command: str, folder: Path) -> dict[str, str]:
    """The cases that are not as the interpreter says, with what was found."""
    found = {}
    models = built_together([case.module(real) for case in cases], folder, command)
    for case, model in zip(cases, models, strict=True):
        try:
            compare(case, real, model)
        except AssertionError as error:
            found[case.name] = str(error)
    return found


@pytest.mark.parametrize(("command", "real"), there(EVERY_CASE))
@pytest.mark.parametrize("half", [0, 1])
def test_every_case_as_the_interpreter_says(
    half: int, command: str, real: str, tmp_path: Path
) -> None:
    assert differing(list(CASES[half::2]), real, command, tmp_path) == {}


@pytest.mark.parametrize(("command", "real"), there(EVERY_VECTOR))
def test_contractions_with_every_vector(command: str, real: str, tmp_path: Path) -> None:
    assert differing([by_name(name) for name in CONTRACTIONS], real, command, tmp_path) == {}


@pytest.mark.parametrize("name", ["long_rows_of_few", "correlation"])
def test_lanes_run_along_the_terms_where_there_are_few_columns(name: str) -> None:
    text = sources(by_name(name).module("float32"))
    assert "gw_tile_along(height" in "".join(text.values())


@pytest.mark.parametrize("real", ["float32", "float64"])
def test_a_training_step_as_the_interpreter_says(
    real: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = perceptron((9, 20, 5, 4), 6, real)
    assert module.gradient is not None
    assert module.step is not None
    model = built(module, tmp_path, BUILDS[0], monkeypatch)
    random = np.random.default_rng(0)
    for rows in (6, 2, 1):
        x = random.normal(size=(rows, 9)).astype(real)
        label = random.integers(0, 4, rows).astype("int32")
        params = model.init_params(seed=rows)
        values = {"x": x, "label": label, **{k: v.copy() for k, v in params.items()}}
        values_of = interpret(module.gradient.program, values, rows)
        loss, grads = model.value_and_grad(params, x, label)
        close(np.array(loss), values_of["loss"], real)
        for name, definition in module.gradient.program.gradients:
            assert np.abs(grads[name]).max() > 0
            close(grads[name], values_of[definition], real)
        stepped = interpret(module.step.program, values | {"lr": 0.25}, rows)
        assert model.train_step(params, {}, x, label, lr=0.25) == loss
        for name, definition in module.step.program.updates:
            close(params[name], stepped[definition], real)


def test_nan_goes_through_a_maximum(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = built(by_name("nan_max").module("float64"), tmp_path, BUILDS[0], monkeypatch)
    x = np.array([[1.0, -1.0, 9.0, -2.0], [1.0, 9.0, 2.0, 9.0]])
    out = model.forward({}, x)
    assert np.isnan(out.out_y[0])
    assert out.out_am.tolist() == [1, 1]
    np.testing.assert_allclose(out.out_y[1], np.log(9.0))


# ---------------------------------------------------------------- the text


@cache
def texts() -> list[dict[str, str]]:
    """The files of every case and of a perceptron, in both types."""
    made = [case.module(real) for case in CASES for real in TOLERANCE]
    return [sources(m) for m in (*made, *(perceptron((20, 12, 5), 4, real) for real in TOLERANCE))]


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("flags", [[], ["-DGW_NO_VECTORS"], ["-march=native"]], ids=str)
def test_no_warnings(compiler: str, flags: list[str], tmp_path: Path) -> None:
    """All the cases in one call of the compiler."""
    files = []
    for number, emitted in enumerate(texts()):
        folder = tmp_path / str(number)
        folder.mkdir()
        for name, text in emitted.items():
            (folder / name).write_text(text, encoding="utf-8")
        files += map(str, folder.glob("*.c"))
    command = [compiler, *warnings(compiler), *flags, "-fsyntax-only", *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[:3000]


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("flags", [[], ["-DGW_NO_VECTORS"], ["-mavx2"]], ids=str)
def test_no_warnings_of_the_optimiser(compiler: str, flags: list[str], tmp_path: Path) -> None:
    """Some warnings (an index out of bounds) come only with optimisation."""
    write(by_name("matmul_17_67").module("float32"), tmp_path)
    source = str(tmp_path / "case_matmul_17_67.c")
    command = [compiler, *warnings(compiler), *flags, "-O2", "-c", "-o", "/dev/null", source]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[:3000]


def test_only_headers_of_c99() -> None:
    for emitted in texts():
        (header,) = (name for name in emitted if name.endswith(".h"))
        text = emitted[header.replace(".h", ".c")]
        included = {line.split()[1] for line in text.splitlines() if line.startswith("#include")}
        assert included <= {f'"{header}"', "<math.h>", "<string.h>"}
        for word in ("malloc", "calloc", "realloc", "free(", "printf", "static float"):
            assert word not in text


def test_layers_five_times_as_wide_are_as_many_lines() -> None:
    """But for the lists of tiles, each as long as its machine has room for at most."""
    narrow, wide = (sources(perceptron((784, h, 200, 10), 128, "float32")) for h in (200, 1000))
    for name in narrow:
        counts = [
            sum(not line.startswith("    what(") for line in text[name].splitlines())
            for text in (narrow, wide)
        ]
        assert counts[0] == counts[1]
    for text in (narrow, wide):
        _, *lists = text["perceptron.c"].split("#define GW_TILES(what)")
        shapes = [re.findall(r"^    (what\(.*)$", after, re.MULTILINE) for after in lists]
        counts = [" ".join(lines).count("what(") for lines in shapes]
        assert all(0 < n <= most for n, most in zip(counts, (44, 44, 25, 25), strict=True)), counts


def test_every_kernel_says_its_equation() -> None:
    text = sources(perceptron((784, 100, 200, 10), 128, "float32"))["perceptron.c"]
    assert "fc1_sum[n, j] = sum over k < 784 of fc1.W[k, j]*x[n, k]    programs.py:1" in text
    assert "adjoint of fc1" in text
    assert "fused SGD update" in text


def test_what_more_than_a_line_is_for_stands_in_brackets() -> None:
    text = sources(perceptron((784, 100, 200, 10), 128, "float32"))["perceptron.c"]
    assert "(1 if j == label[n] else 0))/batch\n       [programs.py:1] */\n" in text
