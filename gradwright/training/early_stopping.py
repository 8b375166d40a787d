"""Stop a run when its score on unseen data no longer improves.

    patience = Patience(3)
    patience.improved(0.91)     # True: the best so far
    patience.improved(0.90)     # False; after three in a row, patience.over

A score is larger when it is better: an accuracy, or a loss with its sign changed.
"""

from __future__ import annotations

from dataclasses import dataclass

from ir.errors import InputError


@dataclass(slots=True)
class Patience:
    """How many epochs without a better score a run may take; None for any number."""

    limit: int | None = None
    best: float | None = None
    waited: int = 0

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 1:
            raise InputError(f"patience must be at least 1 epoch, got {self.limit!r}")

    def improved(self, score: float) -> bool:
        """Note an epoch's score. A score that is equal to the best, or NaN, is no improvement."""
        better = self.best is None or score > self.best
        if better:
            self.best = score
        self.waited = 0 if better else self.waited + 1
        return better

    @property
    def over(self) -> bool:
        return self.limit is not None and self.waited >= self.limit
