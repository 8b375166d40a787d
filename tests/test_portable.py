"""The portable build: the same bits from every compiler, and an error where it cannot."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
import sympy

import gradwright as gw
from codegen.c.assemble import PORTABLE_FLAGS
from tests.targets.drive import Drive
from tests.targets.specimens import REFERENCES, SPECIMENS
from tests.torture.determinism import bits

DIGESTS = Path(__file__).with_name("portable_bits.json")
BY_NAME = {s.name: s for s in SPECIMENS if s.name in REFERENCES}


@pytest.mark.parametrize(("name", "dtype"), [("mixed", "float32"), ("lstm", "float64")])
def test_compilers_and_levels_train_to_the_same_bits(
    name: str, dtype: str, tmp_path: Path
) -> None:
    """100 steps; tests/torture/determinism.py compares more levels and networks."""
    drive = Drive(BY_NAME[name].module(dtype=dtype, portable=True), tmp_path)
    commands = ("gcc -O0", "gcc -O3", "clang -O2 -march=native")
    said = {c: bits(drive, c, PORTABLE_FLAGS, 100) for c in commands}
    assert len(set(said.values())) == 1, said


@pytest.mark.parametrize("name", REFERENCES)
def test_the_bits_are_those_checked_in(name: str, tmp_path: Path) -> None:
    """Of every result after 10 steps; `make generated` writes the digests of today."""
    drive = Drive(BY_NAME[name].module(portable=True), tmp_path)
    found = bits(drive, "gcc -O0", PORTABLE_FLAGS, 10)
    known = json.loads(DIGESTS.read_text(encoding="utf-8"))
    if os.environ.get("GRADWRIGHT_UPDATE") == "1":
        known[name] = found
        DIGESTS.write_text(json.dumps(known, indent=4, sort_keys=True) + "\n", encoding="utf-8")
    assert known.get(name) == found, "if that is meant: `make generated` writes today's digests"


def test_arithmetic_that_is_not_ieee_is_refused(tmp_path: Path) -> None:
    drive = Drive(BY_NAME["lstm"].module(portable=True), tmp_path)
    command = ["gcc", "-std=c99", "-Ofast", "-fsyntax-only", str(drive.files[0])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "portable bits need IEEE arithmetic" in done.stderr


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
