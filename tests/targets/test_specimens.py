"""The emitted C of every example: no warning in C or C++, nothing outside its arrays.

The specimens are small networks of every file of examples/, the four largest left to
`python -m tests.torture.emitted_c`, which asks many more tools; here compilers are enough.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from tests.targets.drive import Drive, program, run
from tests.targets.specimens import EXAMPLES, SPECIMENS
from tests.torture.determinism import SURROUNDINGS, text_digest
from tests.torture.emitted_c import threads, warned

LARGE = ("gpt", "small_vgg", "two_convolutions", "lenet5")
SMALL = [s for s in SPECIMENS if s.name not in LARGE]


@pytest.fixture(scope="module")
def drives(tmp_path_factory: pytest.TempPathFactory) -> list[Drive]:
    """The small specimens, written once."""
    return [Drive(s.module(), tmp_path_factory.mktemp("drive")) for s in SMALL]


def test_every_example_is_there() -> None:
    found = {str(p.relative_to(EXAMPLES).with_suffix("")) for p in EXAMPLES.rglob("*.py")}
    assert found == {s.file for s in SPECIMENS} - {""}


def test_every_function_stays_in_its_arrays(drives: list[Drive]) -> None:
    """Pages around every array stay untouched; no result is all zeros but biases at the start."""
    for drive in drives:
        said = drive.results(run(program([drive], ["gcc", "-DGUARD=1"])))
        for name, values in said.items():
            assert np.isfinite(values).all(), (drive.name, name)
            assert values.any() or name.startswith("init.") or name == "state.seed", name


@pytest.mark.parametrize(("compiler", "standard"), [("gcc", "c++17"), ("clang", "c11")])
def test_no_warnings(compiler: str, standard: str, drives: list[Drive]) -> None:
    """test_c_target.py asks for C99."""
    check = warned(compiler, standard)
    for drive in drives:
        check(drive)


def test_two_models_in_two_threads_each(drives: list[Drive]) -> None:
    threads([d for d in drives if d.name in ("regression", "three_or_seven")])


def test_the_text_is_the_same_whatever_surrounds_the_compiler(tmp_path: Path) -> None:
    """Hash seed, locale, time zone and folder; tests/torture/determinism.py has more of each."""
    surroundings = list(SURROUNDINGS.values())[1:]
    names = ("mixed", "lstm", "ten_sigmoids", "max_pooling")
    found = {text_digest(sys.executable, s, tmp_path, *names) for s in surroundings}
    assert len(found) == 1
