"""Where threads wait for one another: between calls of which one needs what another thread did.

    fc1: h[n, j] = ...        threads take some rows n each
    fc2: ... h[n, k] ...      reads its own rows of h: no wait
    WAIT
    d_W: sum over n of h[n, k]*d[n, j]      reads every row

Read `Waits` last. First the accesses of a nest: one is of a thread's own rows where its first index
is the loop over the batch that threads share out. Then what two calls do to one piece of memory.
Threads take a contraction's planes where the batch divides evenly; else, maybe, lines of each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from sympy import Basic, Symbol, Tuple

from ir.affine import linear
from ir.errors import IndexLanguageError
from ir.expression import Access, accesses
from ir.loops import (
    Accumulate,
    Choose,
    Contract,
    Dot,
    For,
    If,
    Local,
    Nest,
    Operand,
    Position,
    Statement,
    Store,
)
from ir.program import Range

Split = Literal["first", "rows", "planes", "other"]
"""Who does what: the first thread all; rows; rows where the batch divides evenly; anything."""


@dataclass(frozen=True, slots=True)
class Touch:
    """An array that a nest reads or writes, and whether a thread keeps to its own rows."""

    tensor: str
    writes: bool
    own: bool


@dataclass(frozen=True, slots=True)
class Touches:
    """All that a nest does to memory."""

    split: Split
    all: frozenset[Touch]


UNTOUCHED = Touches("first", frozenset())


@dataclass(frozen=True, slots=True)
class Region:
    """Bytes of one piece of memory; `row` is what one row of the batch takes."""

    memory: str
    start: int
    end: int
    row: int

    def overlaps(self, other: Region) -> bool:
        return self.memory == other.memory and self.start < other.end and other.start < self.end

    def same_rows(self, other: Region) -> bool:
        return (self.start, self.row) == (other.start, other.row)


# ---------------------------------------------------------------- what a nest touches


def touches_of(nest: Nest) -> Touches:
    """Every array of the caller or the workspace that it reads or writes."""
    split, index = _split(nest)
    arrays = {p.name for p in nest.parameters if not (p.scalar or p.scratch)}
    found = frozenset(
        Touch(access.tensor, writes, _is_row(access, index))
        for access, writes in _accesses(nest.body)
        if access.tensor in arrays
    )
    return Touches(split, found)


def _split(nest: Nest) -> tuple[Split, Symbol | None]:
    """How threads share it out, and the index of the batch where they share out that."""
    if not nest.shared:
        return "first", None
    match nest.body:
        case (For(shared=True, step=1) as loop,) if loop.upper == (nest.rows,):
            return "rows", loop.index
        case (Contract(outer=(plane, *_)),) if plane.size == nest.rows:
            return "planes", plane.index
        case (Contract(rows=(line, *more)), *_) if line.size == nest.rows:
            if all(_is_by_lines(s, (line, *more)) for s in nest.body):
                return ("planes" if more else "rows"), line.index
    return "other", None


def _is_by_lines(statement: Statement, lines: tuple[Range, ...]) -> bool:
    """Whether it is a contraction of which threads take some of these lines each."""
    match statement:
        case Contract(outer=(), by_columns=False, rows=rows):
            return rows == lines
    return False


def _is_row(access: Access, index: Symbol | None) -> bool:
    return index is not None and bool(access.indices) and access.indices[0] == index


def _accesses(body: tuple[Statement, ...]) -> Iterator[tuple[Access, bool]]:
    """Every access, and whether it is written. What is done for few rows is left out: no team."""
    for s in body:
        match s:
            case For() | If():
                yield from _accesses(s.body)
            case Contract():
                yield from _accesses(s.epilogue)
                yield from _of_operand(s.left)
                yield from _of_operand(s.right)
        for written in _written(s):
            yield written, True
        for read in accesses(Tuple(*_expressions(s))):
            yield read, False


def _of_operand(operand: Operand) -> Iterator[tuple[Access, bool]]:
    if operand.packed or operand.staging:
        yield from _accesses(operand.packed)
        yield from _accesses(operand.staging.copy if operand.staging else ())
    else:
        yield _whole(operand), False
    for read in accesses(Tuple(*operand.place.indices, *operand.along.indices)):
        yield read, False


def _whole(operand: Operand) -> Access:
    """The access of which the operand holds three parts."""
    parts = zip(operand.place.indices, operand.along.indices, operand.term.indices, strict=True)
    try:
        indices = [(linear(a) + linear(b) + linear(c)).expr() for a, b, c in parts]
    except IndexLanguageError:
        indices = [a + b + c for a, b, c in parts]
    return Access(operand.place.args[0], *indices)


def _written(s: Statement) -> list[Access]:
    match s:
        case Store() | Accumulate() | Dot():
            places = [s.place]
        case Choose():
            places = [s.best, s.place]
        case _:
            places = []
    return [p for p in places if isinstance(p, Access)]


def _expressions(s: Statement) -> list[Basic]:
    """What a statement reads, but for the statements inside it."""
    inside = [e for place in _written(s) for e in place.indices]
    match s:
        case For():
            return [*s.lower, *s.upper]
        case If():
            return [s.condition]
        case Local():
            return [] if s.value is None else [s.value]
        case Position():
            return list(s.values)
        case Store() | Accumulate():
            return [s.value, *inside]
        case Choose():
            return [s.value, s.position, *inside]
        case Dot():
            return [s.factor, s.left, s.right, *s.lower, *s.upper, *inside]
    return []


# ---------------------------------------------------------------- what calls do to one another


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a kernel: how it is shared out, and the regions that it touches."""

    split: Split
    touches: tuple[tuple[Region, bool, bool], ...]

    @staticmethod
    def of(touches: Touches, region: Callable[[str], Region]) -> Call:
        return Call(touches.split, tuple((region(t.tensor), t.writes, t.own) for t in touches.all))

    def disturbs(self, other: Call, *, even: bool) -> bool:
        """Whether a thread may read or write what another one does in the other call."""
        if self.split == other.split == "first":
            return False
        by_row = all(s == "rows" or (even and s == "planes") for s in (self.split, other.split))
        return any(
            (writes or others) and a.overlaps(b) and not (by_row and own and its and a.same_rows(b))
            for a, writes, own in self.touches
            for b, others, its in other.touches
        )


@dataclass(slots=True)
class Waits:
    """Where threads wait, found while calls are listed in the order they run.

        waits.before(call)      "", ALWAYS or UNEVEN

    `since` are the calls after the last wait, where the batch divides evenly and where it does not.
    """

    since: dict[bool, list[Call]] = field(default_factory=lambda: {True: [], False: []})

    def before(self, call: Call) -> str:
        needed = {
            even: any(earlier.disturbs(call, even=even) for earlier in calls)
            for even, calls in self.since.items()
        }
        if needed[True]:
            needed[False] = True
        for even in self.since:
            self.since[even] = [*(() if needed[even] else self.since[even]), call]
        return ALWAYS if needed[True] else UNEVEN if needed[False] else ""

    def around(self, calls: list[Call]) -> list[str]:
        """The waits before the calls of a loop: the first follows the last one as well."""
        found = [[self.before(call) for call in calls] for _ in range(2)]
        return [max(pair, key=ORDER.index) for pair in zip(*found, strict=True)]


ALWAYS = "GW_WAIT"
UNEVEN = "GW_WAIT_UNLESS(rows % team.threads == 0)"
ORDER = ("", UNEVEN, ALWAYS)
