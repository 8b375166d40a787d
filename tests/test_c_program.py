"""The C program of examples/c, built as its readers build it: it trains and predicts in C alone.

With make, which must be there, and with CMake, which a machine may lack (the skip says so).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "examples" / "c"
GRADWRIGHT = f"{sys.executable} -m gradwright"
DIGITS = [
    f"digits-{part}-idx{axes}-ubyte"
    for part, axes in (("train-images", 3), ("train-labels", 1), ("test-images", 3),
                       ("test-labels", 1))
]  # fmt: skip


def run(*command: str | Path, where: Path) -> str:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        list(map(str, command)), cwd=where, env=environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "warning" not in done.stderr
    return done.stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SOURCE, tmp_path / "c", ignore=shutil.ignore_patterns("build")))


def test_it_trains_and_predicts(folder: Path, as_users_build: None) -> None:
    out = run("make", "run", f"GRADWRIGHT={GRADWRIGHT}", f"PYTHON={sys.executable}", where=folder)
    accuracies = [float(found) for found in re.findall(r"test accuracy (\S+) %", out)]
    assert len(accuracies) == 3
    assert accuracies[-1] > 88
    assert "the first test image is a 2, read as 2" in out
    again = run("build/digits", *(f"build/{name}" for name in DIGITS), where=folder)
    assert again in out


def test_cmake_builds_the_same(folder: Path) -> None:
    if shutil.which("cmake") is None:
        pytest.skip("cmake is not installed; make builds the same program")
    emit = folder / "emit.sh"  # one word, as a user's command is
    emit.write_text(f'#!/bin/sh\nexec {GRADWRIGHT} "$@"\n')
    emit.chmod(0o755)
    run("cmake", "-B", "made", f"-DGRADWRIGHT={emit}", where=folder)
    run("cmake", "--build", "made", where=folder)
    missing = subprocess.run(
        [folder / "made" / "digits", *DIGITS], capture_output=True, text=True, check=False
    )
    assert missing.returncode == 1
    assert missing.stderr == "digits-train-images-idx3-ubyte: cannot be opened\n"
