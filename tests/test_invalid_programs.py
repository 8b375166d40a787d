"""136 programs made invalid on purpose, in 17 ways: each refused, on the user's own line."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from compiler.pipeline import stages
from ir.errors import GradwrightError
from tests.invalid_programs import KINDS, spoil
from tests.random_programs import imported

EACH = 8


@pytest.mark.parametrize("kind", KINDS)
def test_invalid_programs_are_refused_on_their_line(kind: str, tmp_path: Path) -> None:
    for number in range(EACH):
        bad = spoil(random.Random(f"{kind} {number}").randrange, kind)
        path = tmp_path / f"model{number}.py"
        path.write_text(bad.text, encoding="utf-8")
        with pytest.raises(GradwrightError) as caught:
            list(stages(imported(path, "sample").trace(dtype="float64", batch=3)))
        at = caught.value.at
        assert at is not None, bad.text
        named = bad.text.split("\n")[at.line - 1].strip()
        assert at.path == str(path)
        assert at.text == named
        if kind == "no gradient":  # of the parameter that nothing reads, or another like it
            assert "gw.param(" in named
        else:
            assert at.line == bad.line, f"{caught.value}\n{bad.text}"
