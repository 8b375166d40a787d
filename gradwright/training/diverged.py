"""Where a run went wrong: the first parameter or gradient that is no longer finite.

    memory.note(batches)              # before each piece: what it will be trained on
    memory.blame(step)                # after a bad loss: the notes of the error

`Memory` copies parameters and state now and then. When a loss is not finite, the batches since the
copy are taken again up to the bad one (the same bits, so the same fault), and parameters and
gradient are read there. Above 256 MiB nothing is copied: then the parameters are read as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradwright.training.model import Arrays

LARGEST = 256 * 2**20

Piece = tuple[NDArray[np.int64], dict[str, float]]
"""Some batches of rows, and the rates they are trained with."""


@dataclass(slots=True)
class Memory:
    """The arrays of a run, a copy of them, and the pieces trained since it was made."""

    params: Arrays
    state: Arrays
    batch: int
    copies: list[NDArray[Any]] = field(default_factory=list)
    since: list[Piece] = field(default_factory=list)

    def take(self) -> None:
        """Copy the arrays as they are now, and forget the pieces before."""
        arrays = self._arrays()
        if sum(array.nbytes for array in arrays) > LARGEST:
            return
        self.since.clear()
        if not self.copies:
            self.copies = [array.copy() for array in arrays]
        for copy, array in zip(self.copies, arrays, strict=True):
            np.copyto(copy, array)

    def note(self, piece: Piece) -> None:
        """Remember a piece that is about to be trained."""
        if self.copies:
            self.since.append(piece)

    def return_to(self, batch: int, train: Callable[[Piece], object]) -> NDArray[np.int64] | None:
        """Go back to before batch number `batch` of the last piece: its rows; None if we cannot."""
        if not self.copies:
            return None
        for copy, array in zip(self.copies, self._arrays(), strict=True):
            np.copyto(array, copy)
        for piece in self.since[:-1]:
            train(piece)
        rows, hyper = self.since[-1]
        first = batch * self.batch
        if first:
            train((rows[:first], hyper))
        return rows[first : first + self.batch]

    def _arrays(self) -> list[NDArray[Any]]:
        return [*self.params.values(), *self.state.values()]


def first_not_finite(arrays: Arrays) -> str | None:
    """The first name, in the order of the dict, whose array holds an infinity or a NaN."""
    return next((name for name, a in arrays.items() if not np.isfinite(a).all()), None)


def blame(params: Arrays, gradient: Arrays) -> tuple[str, ...]:
    """Notes for the error: the parameter if one is at fault, else the gradient and the largest."""
    name = first_not_finite(params)
    if name is not None:
        return (f"first parameter that is not finite: {name}",)
    # The backward pass comes to the last layer first.
    first = first_not_finite(dict(reversed(gradient.items())))
    notes = [] if first is None else [f"first gradient that is not finite: {first}"]
    sizes = {name: float(np.max(np.abs(a), initial=0.0)) for name, a in params.items()}
    if sizes:
        name = max(sizes, key=lambda name: sizes[name])
        notes.append(f"every parameter was finite; the largest is {name} ({sizes[name]:.3g})")
    return tuple(notes)
