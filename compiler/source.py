"""Where the user's line is: file, line, text, and the name on the left of its `=`.

    h = gw.relu(gw.dense(x, 100))       # relu() is called for `h`, dense() for nothing

The names that a user gives to Python variables survive into emitted source. Without source text
(an interactive prompt, `exec`) the line is unknown and names come from the operations instead.
"""

from __future__ import annotations

import ast
import linecache
import sys
from functools import lru_cache
from itertools import islice
from pathlib import Path
from types import FrameType

from ir.errors import Origin

_HOME = Path(__file__).resolve().parent.parent
_OURS = tuple(str(_HOME / part) + "/" for part in ("compiler", "ir", "codegen", "gradwright"))


def caller() -> tuple[Origin | None, str | None]:
    """The innermost line that is not ours, and the variable its call is assigned to."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and _is_ours(frame.f_code.co_filename):
        frame = frame.f_back
    if frame is None:
        return None, None
    path = frame.f_code.co_filename
    text = linecache.getline(path, frame.f_lineno).strip()
    return Origin(path, frame.f_lineno, text), _assigned(frame)


def of_function(path: str, line: int) -> Origin:
    """The origin of a function: the line with its `def`, below its decorators."""
    while linecache.getline(path, line).lstrip().startswith("@"):
        line += 1
    return Origin(path, line, linecache.getline(path, line).strip())


def _is_ours(path: str) -> bool:
    return path.startswith(_OURS) or path.startswith("<frozen")


def _assigned(frame: FrameType) -> str | None:
    at = frame.f_lasti // 2
    position = next(islice(frame.f_code.co_positions(), at, None), None)
    return None if position is None else _targets(frame.f_code.co_filename).get(position)


@lru_cache(maxsize=64)
def _targets(path: str) -> dict[tuple[int | None, ...], str]:
    """The name assigned to by each `name = call(...)` of a file, by the call's position."""
    try:
        tree = ast.parse("".join(linecache.getlines(path)))
    except (SyntaxError, ValueError):
        return {}
    found: dict[tuple[int | None, ...], str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            target, value = node.targets[0], node.value
            if isinstance(target, ast.Name) and isinstance(value, (ast.Call, ast.BinOp)):
                found[value.lineno, value.end_lineno, value.col_offset, value.end_col_offset] = (
                    target.id
                )
    return found
