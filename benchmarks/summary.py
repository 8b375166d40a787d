"""What was asked of the speed and what was measured, as one table: the first of RESULTS.md.

    print(table(results, figures))

Each line of `ASKED` says what is asked and works out its figures from the results of a run, and
from `figures`, what was measured beside the races (peers/figures.py, emit_time.py). Ours is the C
target, the faster of its two rows, as the fastest of a peer's rows counts: one call from Python for
each step, on one batch again and again, or from C, where `train_epoch` also collects the rows of
each batch. Peers are those on at most as many threads. What a run has left out shows as
not measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from benchmarks.cases import PERCEPTRON_BATCHES
from benchmarks.race import Result
from gradwright.machine import bandwidth

C, STEPS, NUMPY = "gradwright_c_alone", "gradwright_c", "gradwright_numpy"
BOTH = (STEPS, C)
BY_HAND = ("numpy_by_hand", "numpy_out")
PYTORCH = ("torch_eager", "torch_compiled")
SMALL = [b for b in PERCEPTRON_BATCHES if b <= 8]
MIDDLE = [b for b in PERCEPTRON_BATCHES if b > 8]
LARGE = [b for b in PERCEPTRON_BATCHES if b >= 64]


@dataclass(frozen=True)
class Run:
    """The results by model, batch and kind, and the figures that are no race."""

    results: Iterable[Result]
    figures: dict[str, Any]

    def of(self, model: str, batch: int, kind: str = "step") -> Result:
        """Raises LookupError where the run has left the case out."""
        wanted = (model, batch, kind)
        for r in self.results:
            if (r.case.model, r.case.batch, r.case.kind) == wanted:
                return r
        raise LookupError(wanted)

    def ahead(self, model: str, batch: int, kind: str = "step", threads: int = 1) -> float:
        """The fastest peer's time by ours, both on at most so many threads."""
        r = self.of(model, batch, kind)
        peer = r.fastest_peer(threads)
        if peer is None:
            raise LookupError("no peer")
        return peer.seconds / best(r, threads)

    def ahead_of(self, peers: tuple[str, ...], ours: tuple[str, ...], *case: Any) -> float:
        """The fastest of these by the fastest of ours, on one thread."""
        r = self.of(*case)
        return fastest(r, peers) / fastest(r, ours)

    def share(self, model: str, batch: int, kind: str = "step") -> float:
        """Our multiply-adds by what the machine could do in the same time, on one thread."""
        r = self.of(model, batch, kind)
        return r.facts["operations"] / r.limits.peak / best(r)

    def reading(self, model: str) -> float:
        """Our forward pass of one sample by the time to read its weights once."""
        r = self.of(model, 1, "forward")
        read = r.facts["read"]
        return fastest(r, (C,)) * bandwidth(r.limits.reading, int(read)) / read

    def gain(self, model: str, batch: int) -> float:
        """Our time on one thread by that on two."""
        r = self.of(model, batch)
        return best(r) / best(r, 2)


def fastest(result: Result, names: tuple[str, ...], threads: int = 1) -> float:
    """The seconds of the fastest of these, on just so many threads."""
    found = [t for name in names if (t := result.time(name, threads)) is not None]
    if not found:
        raise LookupError(names)
    return min(t.seconds for t in found)


def best(result: Result, threads: int = 1) -> float:
    """The faster of our rows with the C target, on just so many threads."""
    return fastest(result, BOTH, threads)


Figure = Callable[[Run], float]


@dataclass(frozen=True, slots=True)
class Line:
    """What is asked: `limit` is the least of each figure, or with `most` the largest."""

    what: str
    asked: str
    figures: tuple[Figure, ...]
    limit: float
    show: str = "{:.2f}"
    most: bool = False

    def row(self, run: Run) -> str:
        found = [self._found(figure, run) for figure in self.figures]
        known = [f for f in found if f is not None]
        if not known:
            return f"| {self.what} | {self.asked} | not measured | |"
        said = ", ".join("–" if f is None else self.show.format(f) for f in found)
        met = sum(f <= self.limit if self.most else f >= self.limit for f in known)
        reached = "yes" if met == len(known) else f"{met} of {len(known)}" if met else "no"
        return f"| {self.what} | {self.asked} | {said} | {reached} |"

    def _found(self, figure: Figure, run: Run) -> float | None:
        try:
            return figure(run)
        except LookupError:
            return None


def each(batches: Iterable[int], figure: Callable[[Run, int], float]) -> tuple[Figure, ...]:
    return tuple(lambda run, b=b: figure(run, b) for b in batches)  # type: ignore[misc]


def told(name: str) -> tuple[Figure]:
    """A figure that is no race."""
    return (lambda run: float(run.figures[name]),)


def of(*cases: tuple[Any, ...], by: Any) -> tuple[Figure, ...]:
    """One figure of each case: a method of `Run`."""
    return tuple(lambda run, case=case: by(run, *case) for case in cases)


def sizes(batches: Iterable[int]) -> str:
    return ", ".join(map(str, batches))


VGG16 = (("vgg16", 1, "forward"), ("vgg16", 1, "step"))
X, PERCENT = "× the fastest peer", "{:.0%}"
ASKED = (
    Line(f"perceptron, batch {sizes(SMALL)}", f"≥ 2 {X}",
         each(SMALL, lambda run, b: run.ahead("perceptron", b)), 2),
    Line(f"perceptron, batch {sizes(MIDDLE)}", "faster than every peer",
         each(MIDDLE, lambda run, b: run.ahead("perceptron", b)), 1),
    Line(f"perceptron, batch {sizes(LARGE)}", "≥ 80 % of the multiply-add peak",
         each(LARGE, lambda run, b: run.share("perceptron", b)), 0.8, PERCENT),
    Line(f"perceptron on two threads, batch {sizes(LARGE)}", "≥ 1.7 × our one thread",
         each(LARGE, lambda run, b: run.gain("perceptron", b)), 1.7),
    Line(f"perceptron on two threads, batch {sizes(LARGE)}", f"≥ 2 {X} on one or two",
         each(LARGE, lambda run, b: run.ahead("perceptron", b, threads=2)), 2),
    Line("LeNet-5, batch 64", f"≥ 4 {X}", of(("lenet5", 64), by=Run.ahead), 4),
    Line("two convolutions, batch 64", f"≥ 1.8 {X}",
         of(("two_convolutions", 64), by=Run.ahead), 1.8),
    Line("two convolutions, batch 64", "≥ 65 % of the peak",
         of(("two_convolutions", 64), by=Run.share), 0.65, PERCENT),
    Line("small GPT, batch 12", f"≥ 1.5 {X}", of(("small_gpt", 12), by=Run.ahead), 1.5),
    Line("small GPT, batch 12", "≥ 55 % of the peak",
         of(("small_gpt", 12), by=Run.share), 0.55, PERCENT),
    Line("LeNet-5, two convolutions, small GPT on two threads", "faster than our one thread",
         of(("lenet5", 64), ("two_convolutions", 64), ("small_gpt", 12), by=Run.gain), 1),
    Line("VGG16, batch 1, forward and step", "faster than PyTorch",
         of(*VGG16, by=lambda run, *case: run.ahead_of(PYTORCH, BOTH, *case)), 1),
    Line("VGG16, batch 1, forward and step", "≥ 65 % of the peak",
         of(*VGG16, by=Run.share), 0.65, PERCENT),
    Line("perceptron, forward of one sample", "≤ 1.3 × reading its weights",
         of(("perceptron",), by=Run.reading), 1.3, most=True),
    Line("LeNet-5, forward of one sample", "≥ 40 % of the peak",
         of(("lenet5", 1, "forward"), by=Run.share), 0.4, PERCENT),
    Line(f"NumPy target, perceptron, batch {sizes(PERCEPTRON_BATCHES)}",
         "faster than NumPy by hand",
         each(PERCEPTRON_BATCHES, lambda run, b: run.ahead_of(BY_HAND, (NUMPY,), "perceptron", b)),
         1),
    Line("NumPy target, bytes allocated in a step of the perceptron", "no array (≤ 12,000)",
         told("allocations"), 12_000, "{:,.0f}", most=True),
    Line("`train_epoch`, perceptron, batch 1, 2", "≥ 2 × JAX's scan",
         each([1, 2], lambda run, b: run.ahead_of(("jax_scan",), (C,), "perceptron", b)), 2),
    Line("epoch of LeNet-5 by `gradwright train`", "≤ 1.15 × the sum of its steps",
         told("epoch"), 1.15, most=True),
    Line("memory of a C program that trains the perceptron, without data", "≤ 4 MB",
         told("memory"), 4, "{:.1f} MB", most=True),
    Line("workspace of the small GPT by all its temporaries", "≤ 40 %",
         told("workspace"), 0.4, "{:.1%}", most=True),
    Line("DSL to both sources: perceptron", "≤ 0.4 s", told("perceptron emission"), 0.4,
         "{:.2f} s", most=True),
    Line("DSL to both sources: small GPT", "≤ 3 s", told("small_gpt emission"), 3,
         "{:.2f} s", most=True),
    Line("DSL to both sources: VGG16", "≤ 4 s", told("vgg16 emission"), 4, "{:.2f} s", most=True),
    Line("import of gradwright", "≤ 0.7 s", told("import"), 0.7, "{:.2f} s", most=True),
    Line("C compiler: perceptron", "≤ 2 s", told("perceptron compiling"), 2, "{:.1f} s", most=True),
    Line("C compiler: small GPT", "≤ 10 s", told("small_gpt compiling"), 10, "{:.1f} s", most=True),
    Line("C compiler: VGG16", "≤ 20 s", told("vgg16 compiling"), 20, "{:.1f} s", most=True),
    Line("models whose bits are those of 1, 2, 3 and 4 threads", "both: perceptron, LeNet-5",
         told("bits"), 2, "{:.0f}"),
)  # fmt: skip


def table(results: Iterable[Result], figures: dict[str, Any]) -> str:
    """Asked, measured, and whether that is reached, in Markdown."""
    run = Run(results, figures)
    head = "## Asked and measured\n\n| what | asked | measured | reached |\n|---|---|---|---|"
    return "\n".join([head, *(line.row(run) for line in ASKED)]) + "\n"
