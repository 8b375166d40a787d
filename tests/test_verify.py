"""What the verifier finds: a table of broken programs, each with the complaint that it must make.

Every program is one small change of `SOUND`, which is valid. tests/test_pipeline.py sabotages what
the passes made of a network in the same way.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import sympy

from ir.errors import VerifyError
from ir.expression import FloorDiv
from ir.program import Definition, Program, Scan, Tensor
from ir.text import show
from ir.verify import verify
from tests.targets.programs import T, b, define, guarded, i, j, label, over, t, total, x, y

UP = Scan("c", t)
SUM = total("y", over(i, 3), over(j, 4), x(i, j))
RUNNING = define("c", over(t, 4), b(t) + guarded(t > 0, T("c")(t - 1)), scan=UP)
SOUND = Program(
    "sound",
    inputs=(
        Tensor("x", (3, 4), "float64", "input"),
        Tensor("b", (4,), "float64", "input"),
        Tensor("label", (3,), "int32", "input"),
    ),
    definitions=(SUM, RUNNING),
    outputs=(("y", "y"), ("c", "c")),
    limits={"label": 4},
)


def lines(*made: Definition) -> Program:
    return replace(SOUND, definitions=(*made, *SOUND.definitions))


def instead(**fields: object) -> Program:
    """The sum, with these fields instead of its own."""
    return replace(SOUND, definitions=(replace(SUM, **fields), RUNNING))


def looping(**fields: object) -> Program:
    """The recurrence, with these fields instead of its own."""
    return replace(SOUND, definitions=(SUM, replace(RUNNING, **fields)))


z = define("z", over(i, 3), x(i, 0))
OTHER = define("d", over(t, 4), b(t), scan=UP)
BROKEN: dict[str, tuple[Program, str]] = {
    "twice": (lines(SUM), "names are unique and allowed: y is defined twice"),
    "an input's name": (lines(replace(z, name="x")), "x is defined twice"),
    "no name": (lines(replace(z, name="a b")), "names are unique and allowed: .*a b"),
    "before it is defined": (lines(define("z", over(i, 3), y(i))), "z reads y before it is"),
    "too few indices": (lines(define("z", over(i, 3), x(i))), r"z: x\[i\] has the wrong number"),
    "a free index": (lines(define("z", over(i, 3), x(i, j))), r"z has free symbols \['j'\]"),
    "an index twice": (instead(over=over(i, 3), body=x(i, i)), "y uses an index twice"),
    "a maximum of numbers": (lines(replace(z, body=sympy.Max(x(i, 0), 1))), "z holds Max, which"),
    "no number": (lines(replace(z, body=sympy.zoo)), "z holds zoo"),
    "no number in a choice": (
        lines(define("z", over(i, 3), guarded(i > 1, sympy.nan, x(i, 0)))), "z holds nan",
    ),
    "no last case": (
        lines(define("z", over(i, 3), sympy.Piecewise((x(i, 0), i > 1)))), "z holds a choice that",
    ),
    "a sum over nothing": (instead(over=(), body=x(i, 0)), "y: a reduction has indices to reduce"),
    "a map over something": (instead(reduce=None), "y: a reduction has indices to reduce over"),
    "a map with conditions": (lines(replace(z, where=(i > 1,))), "z: a map has no terms to leave"),
    "a scatter without target": (lines(replace(z, reduce="scatter")), "z: a scatter has a target"),
    "a target without scatter": (lines(replace(z, target=(i,))), "z: a scatter has a target"),
    "out of bounds": (instead(over=over(j, 5)), r"y: x\[i, j\] may be out of bounds in dim"),
    "out of bounds below": (instead(body=x(i, j - 1)), "out of bounds in dimension 1"),
    "an integer without limit": (
        replace(lines(define("z", over(i, 3), x(i, label(i)))), limits={}), "out of bounds",
    ),
    "in two parts": (lines(OTHER), "recurrence c is in two parts"),
    "without its index": (looping(indices=over(i, 4), body=b(i)), "c lacks its recurrence index t"),
    "downwards": (looping(scan=replace(UP, downwards=True)), r"c reads c\[t - 1\], which its"),
    "two steps on": (
        looping(body=b(t) + guarded(t < 2, T("c")(t + 2))), r"c reads c\[t \+ 2\], which its",
    ),
    "somewhere": (looping(body=b(t) + T("c")(FloorDiv(t, 2))), r"c reads .*, which its recurrence"),
    "no such result": (replace(SOUND, loss="nowhere"), "result nowhere is not defined"),
    "a gradient of another shape": (
        replace(SOUND, gradients=(("b", "y"),)), "results exist: y has not the shape of b",
    ),
}  # fmt: skip


def test_a_sound_program_passes() -> None:
    assert verify(SOUND, "nothing") is SOUND
    assert verify(lines(z, define("u", over(i, 3), x(i, label(i)))), "nothing")


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_named(name: str) -> None:
    program, complaint = BROKEN[name]
    with pytest.raises(VerifyError, match=f"after sabotage: .*{complaint}"):
        verify(program, "sabotage")


def test_the_text_of_a_program_says_how_its_recurrences_run() -> None:
    text = show(looping(scan=replace(UP, downwards=True), note="a sum"))
    assert "  c[t] = (c[t - 1] if t > 0 else 0) + b[t]\n" in text
    assert "# for t < 4; recurrence c along t, downwards; a sum; programs.py:1\n" in text
    assert "  output    c = c\n" in text
    assert "loss" not in text
    assert "along t, upwards" in show(SOUND)
