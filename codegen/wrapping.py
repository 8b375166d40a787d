"""Break lines at places that do not depend on how many digits a size has, comments above all.

    widened("j < 28")      "j < 28" with room for five digits; `narrowed` takes the room away again
    remark(member, …)      the equation of a definition and what it is for, as lines of a comment

Otherwise a layer of 1,000 units could take a line more than one of 100: the emitted source has the
same number of lines for both, but for C's list of tiles. Which tiles there are depends on the
sizes; they are never more than those that a machine has room for (codegen/c/tiles.py).
"""

from __future__ import annotations

import re
import textwrap
from functools import lru_cache

from ir.program import Definition
from ir.text import equation

_ROOM, _DIGITS = "\0", 5
_SIZE = re.compile(r"(?<![\w.])\d+(?![\w.])")


def widened(text: str) -> str:
    """The text with every whole number as wide as five digits."""
    return _SIZE.sub(lambda found: found.group().ljust(_DIGITS, _ROOM), text)


def narrowed(lines: list[str]) -> list[str]:
    """The lines as they are meant."""
    return [line.replace(_ROOM, "") for line in lines]


@lru_cache(maxsize=4096)
def remark(member: Definition, first: str, more: str, width: int) -> tuple[str, ...]:
    """A definition's equation, what it is for and the user's line, in lines of a comment.

    `first` opens the first line, `more` the others. What needs more than one line has what the
    equation is for in brackets: it is no part of the equation.
    """
    where = member.origin.short if member.origin else ""
    note = f"{member.note} ({where})" if member.note and where else member.note or where
    said = first + widened(equation(member))
    text = f"{said}    {note}" if note else said
    if note and len(text) > width:
        text = f"{said}  [{note}]"
    lines = textwrap.wrap(
        text, width, subsequent_indent=more, break_long_words=False, break_on_hyphens=False
    )
    return tuple(narrowed(lines))
