"""The terms of a contraction as runs: from one term to the next, each operand goes as far.

    sum over k < 784 of x[n, k] * W[k, j]                       one run, in steps of 1 and of 100
    sum over c, r, s of W[o, c, r, s] * x[n, c, p + r, q + s]   runs along s, and where each begins

The indices of a run are the last ones of the terms, as many as both operands go through in steps
that stay the same. Where those are all, no table is needed. Short runs have tiles of their own,
which know the steps: then a compiler writes each term out.
"""

from __future__ import annotations

from math import prod

from sympy import Expr, Integer

from codegen.c.panels import Panel, Printer
from codegen.c.views import KindView, RunsView
from ir.loops import Contract, Operand
from ir.program import Range

SHORT = 7  # terms of a run: a filter is rarely as wide
COUNTED = "ptrdiff_t count, ptrdiff_t left_step, ptrdiff_t right_step"
TABLES = "ptrdiff_t runs, const ptrdiff_t *left_at, const ptrdiff_t *right_at"
STEPS, BEGINNINGS = "count, left_step, right_step", "runs, left_at, right_at"
ONE_RUN = KindView("", "whose terms are one run", COUNTED, STEPS, STEPS)
ANY_RUNS = KindView(
    "_runs", "whose terms are runs", f"{COUNTED}, {TABLES}", f"{STEPS}, {BEGINNINGS}",
    f"{STEPS}, {BEGINNINGS}",
)  # fmt: skip


def short_runs(length: str, left: str, right: str) -> KindView:
    """Tiles for runs of a known length, in known steps."""
    apart = "" if (left, right) == ("1", "1") else f"_{left}_{right}".replace("-", "minus")
    says = f"whose terms are runs of {length}, in steps of {left} and {right}"
    onward = f"{length}, {left}, {right}, {BEGINNINGS}"
    return KindView(f"_by{length}{apart}", says, TABLES, BEGINNINGS, onward, True)


class Runs:
    """The runs of one contraction while it is printed."""

    def __init__(self, printer: Printer, contract: Contract) -> None:
        self.printer, self.contract = printer, contract
        self.inner = [r for r in contract.terms.inner if r.size != 1] or [contract.terms.inner[-1]]
        self.outside = self.inner[: len(self.inner) - self._held()]
        outside = {r.index for r in self.outside}
        self.inside = [r for r in contract.terms.inner if r.index not in outside]

    def view(self, loops: tuple[str, ...], length: str) -> RunsView:
        """The strings, given the loops over the runs, if any, and how many terms one has."""
        left, right = self.contract.left, self.contract.right
        steps = self._step(left), self._step(right)
        kind = self._kind(length, *steps)
        return RunsView(
            kind=kind,
            arguments=kind.given.replace("count", length or "count"),
            entries=self._entries() if self.outside else 0,
            length=length,
            loops=loops,
            position=self._index(self._position()),
            left_at=self._begins(left),
            right_at=self._begins(right),
            left_step=steps[0],
            right_step=steps[1],
        )

    def _kind(self, length: str, left: str, right: str) -> KindView:
        """Which tiles take the terms."""
        if not self.outside:
            return ONE_RUN
        known = all(text.lstrip("-").isdigit() for text in (length, left, right))
        if self.contract.terms.along is not None or not known or int(length) > SHORT:
            return ANY_RUNS
        return short_runs(length, left, right)

    def _entries(self) -> int:
        """As many as the runs at most; more, if rows of the batch are in a run and outside too."""
        outside = [r.size for r in self.outside]
        if all(isinstance(n, int) for n in outside):
            return prod(int(n) for n in outside)
        inside = prod(r.size for r in self.inside if isinstance(r.size, int))
        return self.contract.terms.depth // inside

    def _held(self) -> int:
        """How many of the last indices are one run."""
        held = 1
        while held < len(self.inner) and self._goes_on(*self.inner[-held - 1 :][:2]):
            held += 1
        return held

    def _goes_on(self, above: Range, below: Range) -> bool:
        """Whether a step of the one is as far as all steps of the other, in both operands."""
        for operand in (self.contract.left, self.contract.right):
            far, near = self._apart(operand, above), self._apart(operand, below)
            if far is None or near is None or not isinstance(below.size, int):
                return False
            if far != near * below.size:
                return False
        return True

    def _apart(self, operand: Operand, r: Range) -> int | None:
        """The elements between two terms; of a panel, the lines."""
        if not operand.packed:
            return Panel(self.printer, self.contract).apart(operand.term, r.index)
        sizes = [s.size for s in self.inner[self.inner.index(r) + 1 :]]
        return prod(int(n) for n in sizes) if all(isinstance(n, int) for n in sizes) else None

    def _position(self) -> Expr:
        """The number of a run."""
        position: Expr = Integer(0)
        for r in self.outside:
            position = position * r.size + r.index
        return position

    def _begins(self, operand: Operand) -> str:
        """Where a run begins."""
        if not operand.packed:
            start: dict[Expr, Expr] = {r.index: Integer(0) for r in self.inside}
            return self.printer.scalars.offset(operand.term.xreplace(start))
        length = prod((r.size for r in self.inside), start=Integer(1))
        number = self._index(self._position() * length)
        return self._lines(number) if operand is self.contract.right else number

    def _step(self, operand: Operand) -> str:
        """How far it is from one term to the next."""
        if not operand.packed:
            last = self.inner[-1].index
            step = {r.index: Integer(int(r.index == last)) for r in self.contract.terms.inner}
            return self.printer.scalars.offset(operand.term.xreplace(step))
        return self._lines("1") if operand is self.contract.right else "1"

    def _lines(self, number: str) -> str:
        """So many lines of the right panel."""
        if number == "1":
            return "span"
        return f"({number})*span" if " " in number else f"{number}*span"

    def _index(self, expr: Expr) -> str:
        return self.printer.scalars.index(expr)
