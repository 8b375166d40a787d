"""Errors that say where, what, why and the fix, with the user's own source line.

    ShapeError: dense() needs a vector per row, got f32[batch, 28, 28]
      mnist_mlp.py:14   h = gw.dense(x, 100)
      x is the input declared at mnist_mlp.py:12
      fix: put gw.flatten(x) before it

Every error a user can cause is a `GradwrightError`; the command line prints it as above and exits
with code 2. Anything else that escapes is a defect of gradwright.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Origin:
    """The user's line that something came from.

    `path` is kept for messages on this machine; emitted source shows only the file's own name.
    """

    path: str
    line: int
    text: str = ""

    @property
    def short(self) -> str:
        """`mnist_mlp.py:12`: the form used in messages and in emitted comments.

        A file may be called anything; what could end a comment or a line there becomes `_`.
        """
        name = Path(self.path).name.strip("<>")
        return f"{''.join(c if c.isalnum() or c in '._-+ ' else '_' for c in name)}:{self.line}"


class GradwrightError(Exception):
    """A mistake in what the user gave us: what is wrong, where, why, and how to mend it."""

    def __init__(
        self,
        what: str,
        *,
        at: Origin | None = None,
        notes: tuple[str, ...] | list[str] = (),
        fix: str | None = None,
    ) -> None:
        self.what = what
        self.at = at
        self.notes = tuple(notes)
        self.fix = fix
        super().__init__(str(self))

    def __str__(self) -> str:
        lines = [self.what]
        if self.at is not None:
            lines.append(f"  {self.at.short}   {self.at.text}".rstrip())
        lines.extend(f"  {note}" for note in self.notes)
        if self.fix:
            lines.append(f"  fix: {self.fix}")
        return "\n".join(lines)

    def report(self) -> str:
        """The whole message as the command line prints it, the kind of error first."""
        return f"{type(self).__name__}: {self}"


@contextmanager
def bounded_depth(at: Origin | None) -> Iterator[None]:
    """Say clearly that an expression is nested deeper than SymPy can go."""
    try:
        yield
    except RecursionError:
        raise IndexLanguageError(
            "an expression is nested too deeply",
            at=at,
            notes=("SymPy follows some fifty functions of functions in one body",),
            fix="give the inner parts lines of their own with gw.define",
        ) from None


class InvalidNameError(GradwrightError):
    """A name that is unknown, taken, or not allowed."""


class ShapeError(GradwrightError):
    """Shapes or sizes that do not fit."""


class RangeError(GradwrightError):
    """An index range that is missing, contradictory, or out of bounds."""


class IndexLanguageError(GradwrightError):
    """An index expression or body that the index language cannot say."""


class DifferentiationError(GradwrightError):
    """A loss or a parameter that cannot be differentiated as asked."""


class VerifyError(GradwrightError):
    """A pass produced an invalid program: a defect of gradwright, never of the user."""


class BuildError(GradwrightError):
    """The emitted C source could not be built or loaded."""


class InputError(GradwrightError):
    """An array, a number of rows or an option that does not fit the compiled model."""


class DataError(GradwrightError):
    """A data file that is missing, damaged, or not what it says it is."""


class CheckpointError(GradwrightError):
    """A checkpoint that is damaged or belongs to another network."""


class OutputError(GradwrightError):
    """An output folder or file that cannot be written."""
