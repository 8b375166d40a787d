"""300 random programs of a fixed seed and 25 of a fresh one, each checked against its meaning.

The gradient against a complex step and central differences; the passes against one another; NumPy
and C, both precisions, tiled kernels and plain loops, each within the rounding that is computed for
the program. `python -m tests.torture.random_programs` runs longer programs by the thousand.
"""

from __future__ import annotations

import random
import secrets
from pathlib import Path

import numpy as np
import pytest
import sympy
from hypothesis import given, settings

import gradwright as gw
from tests.random_programs import Array, RandomProgram, Tape, draw, programs, shrunk, text
from tests.random_programs_checks import BUILDS, Trial, check_gradients, check_threads, emitted
from tests.random_programs_run import BUNDLE, run
from tests.rounding import bounded

TURNS = (
    ("numpy", "C, float32, tiles"),
    ("numpy, float32", "C, tiles"),
    ("numpy", "C, float32, loops"),
    ("numpy, float32", "C, loops"),
)


def check(seed: object, turn: int) -> None:
    lines = 2 if turn % 3 == 0 else 1
    report = run(seed, BUNDLE, TURNS[turn % len(TURNS)], lines=lines, every_pass=turn % 6 == 0)
    assert not report.failures, "\n\n".join(report.failures)
    assert report.programs + report.drawn_again == BUNDLE
    assert report.programs > BUNDLE // 2
    assert report.unknown < report.compared // 20


@pytest.mark.parametrize("turn", range(12))
def test_programs_of_a_fixed_seed(turn: int) -> None:
    check(f"fixed {turn}", turn)


def test_one_thread_and_three_give_the_same_bits(tmp_path: Path) -> None:
    tapes = [Tape(rng=random.Random(f"threads {i}")) for i in range(8)]
    bundle = [draw(tape, lines=2) for tape in tapes]
    trial = Trial.of(bundle, tmp_path, seed=1)
    assert not check_threads(trial, "float32")
    texts = [path.read_text(encoding="utf-8") for path in tmp_path.glob("build*/sample.c")]
    assert sorted("omp_get_thread_num" in text for text in texts) == [False, True]


def test_programs_of_a_fresh_seed() -> None:
    seed = secrets.randbelow(10**9)
    print(f"fresh seed {seed}")
    check(f"fresh {seed}", seed)


@settings(max_examples=20, derandomize=True, database=None)
@given(programs())
def test_any_program_is_text_that_says_itself(program: RandomProgram) -> None:
    compile(text([program]), "sample.py", "exec")
    assert text([program, program]).count("def sample(") == 1


def test_a_gradient_that_is_zero_everywhere_fails(tmp_path: Path) -> None:
    still = draw(Tape())
    lines = (
        'i = gw.index("i", 3)',
        "@loss = gw.define((), gw.sum(Piecewise((@a0[i, i], @a0[i, i] > 9), (1, True)), over=i))",
    )
    trial = Trial.of(
        [RandomProgram((), still.parameters, lines, ())], tmp_path, seed=1, name="still"
    )
    assert check_gradients(trial) == ["every gradient of program 0 is zero"]


def test_a_wrong_gradient_is_found(tmp_path: Path) -> None:
    """One element of one gradient, off by a thousandth of it."""
    trial = Trial.of([draw(Tape())], tmp_path, seed=1)
    name = dict(trial.stages[-1].program.gradients)["a0"]
    assert not check_gradients(trial)
    trial.known[name].centre.flat[0] *= 1.001
    assert len(check_gradients(trial)) == 1


def test_tiles_are_everywhere_and_nowhere(tmp_path: Path) -> None:
    """The two kinds of C that are compared are not the same C."""
    source = (
        'i, j, r = gw.index("i", 6), gw.index("j", 8), gw.index("r", 9)',
        "@h = gw.define((i, j), gw.sum(@a0[i, r]*@a1[r, j], over=r))",
        'i, j = gw.index("i", 6), gw.index("j", 8)',
        "@loss = gw.define((), gw.sum(@h[i, j]**2, over=(i, j)))",
    )
    shapes = {"a0": (6, 9), "a1": (9, 8)}
    arrays = tuple(Array(name, shape) for name, shape in shapes.items())
    trial = Trial.of([RandomProgram((), arrays, source, ("h",))], tmp_path, seed=1)
    texts = {}
    for name in ("C, tiles", "C, loops"):
        folder = emitted(trial, BUILDS[name]).__file__
        assert folder is not None
        texts[name] = Path(folder).with_name("sample.c").read_text(encoding="utf-8")
    assert "gw_tile" in texts["C, tiles"]
    assert "gw_tile" not in texts["C, loops"]


def test_a_failing_program_is_made_simple() -> None:
    rng = random.Random(3)
    tapes = (Tape(rng=rng) for _ in range(1000))
    tape = next(t for t in tapes if "atan2" in text([draw(t)]))
    small = shrunk(tuple(tape.made), lambda p: "atan2" in text([p]))
    assert len(text([small])) < 600


def test_rounding_bounds_hold_and_are_near(tmp_path: Path) -> None:
    """A sum of float32 numbers in the worst order stays within a radius that is not idle."""

    @gw.network
    def total(x: gw.f64[64]):
        i = gw.index("i", 64)
        s = gw.define((), gw.sum(sympy.exp(x[i]), over=i))
        return gw.outputs(loss=s)

    x = np.random.default_rng(1).uniform(-1, 1, 64).astype(np.float32)
    made = bounded(total.trace(dtype="float64"), {"x": x})["s"]
    worst = np.float32(0)
    for e in sorted(np.exp(x)):
        worst += e
    error = abs(float(worst) - float(made.centre))
    assert 0 < error < made.radius[1]
    assert made.radius[1] < 100 * 64 * 2.0**-24 * made.centre
    assert made.radius[0] < 1e-8 * made.radius[1]
