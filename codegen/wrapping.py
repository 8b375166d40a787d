"""Break lines at places that do not depend on how many digits a size has.

    widened("j < 28")      "j < 28" with room for five digits; `narrowed` takes the room away again

Otherwise a layer of 1,000 units could take a line more than one of 100: the emitted source has the
same number of lines for both.
"""

from __future__ import annotations

import re

_ROOM, _DIGITS = "\0", 5
_SIZE = re.compile(r"(?<![\w.])\d+(?![\w.])")


def widened(text: str) -> str:
    """The text with every whole number as wide as five digits."""
    return _SIZE.sub(lambda found: found.group().ljust(_DIGITS, _ROOM), text)


def narrowed(lines: list[str]) -> list[str]:
    """The lines as they are meant."""
    return [line.replace(_ROOM, "") for line in lines]
