"""The portable build: the same bits from every compiler, and an error where it cannot."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import sympy

import gradwright as gw
from benchmarks.portable_bits import MODELS, Toolchain, emitted, trained

COMPILERS = [c for c in ("gcc", "clang") if shutil.which(c)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("model", MODELS)
def test_compilers_and_levels_train_to_the_same_bits(
    model: str, dtype: str, tmp_path: Path
) -> None:
    """100 steps; benchmarks/portable_bits.py compares more levels, and other architectures."""
    source, program = emitted(model, dtype, tmp_path)
    said = {
        f"{c} {level}": trained(source, program, Toolchain(c, (c, level)))
        for c in COMPILERS
        for level in ("-O0", "-O3")
    }
    assert len(set(said.values())) == 1, said
    assert "failed" not in next(iter(said.values()))


def test_a_function_of_the_machine_is_refused() -> None:
    @gw.network
    def wave(x: gw.f32["batch", 3]):
        n, j = gw.indices("n j")
        w = gw.param("w", (3,))
        y = gw.define((n, j), sympy.sin(x[n, j] * w[j]))
        return gw.outputs(loss=gw.mse(y, x))

    with pytest.raises(gw.GradwrightError) as error:
        gw.emit(wave, target="c", portable=True)
    text = str(error.value)
    assert "the portable build has no sin()" in text or "no cos()" in text
    assert "test_portable.py" in text
    assert "sin(x[n, j] * w[j])" in text
    assert "sinf(" in gw.emit(wave, target="c")["wave.c"]
