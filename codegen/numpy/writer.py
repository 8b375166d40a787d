"""What an emitted function is written with: its lines, its names, its arrays, and what is known.

    w.say("h1 = np.matmul(x, fc1_W)")
    with w.block("if t >= 1:"): ...         # indented; what is computed inside stays inside

A `Frame` is the tuple of loop variables that are array axes where an expression stands. An
`Operand` is Python text for one value there; arrays are aligned to the frame's last axis as NumPy
broadcasts, so an axis that the value lacks has length one, or is missing on the left.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any, TypeAlias

from sympy import Expr, Symbol

from ir.affine import Facts, Linear
from ir.expression import Access, tensor_symbol
from ir.names import identifier
from ir.program import DType, Program, Range, Shape, Size

Frame: TypeAlias = tuple[Range, ...]

ATOM, NEGATED, PRODUCT, SUM, AND, OR, COMPARED, LOOSE = 100, 90, 80, 70, 60, 55, 50, 0


@dataclass(frozen=True, slots=True)
class Operand:
    """A value as text. `tight` is how strongly its outermost operator binds.

    `temporary` marks an array that this function made and nobody else holds: it may be
    overwritten. `computed` marks text that makes an array each time it stands somewhere.
    `literal` marks a Python number, which takes the type of what it meets, `indicator` truths that
    stand for 0 and 1.
    """

    text: str
    axes: frozenset[Symbol] = frozenset()
    tight: int = ATOM
    temporary: bool = False
    computed: bool = False
    literal: bool = False
    indicator: bool = False

    def within(self, tight: int) -> str:
        """The text as an operand of an operator that binds this strongly."""
        return self.text if self.tight >= tight else f"({self.text})"


@dataclass(frozen=True, slots=True)
class Array:
    """An array in memory: how it is written, its shape, and the dimensions it does not have.

    A value inside a recurrence lacks the dimension of the loop: `absent` are such positions.
    """

    text: str
    shape: Shape
    dtype: DType
    absent: frozenset[int] = frozenset()

    def present(self, indices: tuple[Any, ...]) -> tuple[Any, ...]:
        """The indices of the dimensions that there are."""
        return tuple(e for i, e in enumerate(indices) if i not in self.absent)


@dataclass
class Writer:
    """One emitted function while it is written.

    `names` are the identifiers that are taken, `fresh` the arrays that it made itself.
    """

    program: Program
    real: DType
    names: set[str]
    rows: str = "rows"
    arrays: dict[str, Array] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    scalars: dict[Symbol, str] = field(default_factory=dict)
    sizes: dict[Symbol, Size] = field(default_factory=dict)
    known: tuple[Any, ...] = ()
    memo: dict[Any, Any] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    fresh: set[str] = field(default_factory=set)
    depth: int = 1

    def __post_init__(self) -> None:
        if self.program.batch:
            self.scalars[self.program.batch.symbol] = self.rows

    @property
    def scalar_type(self) -> str:
        return f"np.{self.real}"

    def say(self, *lines: str) -> None:
        self.lines += ["    " * self.depth + line if line else "" for line in lines]

    def name(self, base: str) -> str:
        """A name that nothing in this function has: `base`, `base_2`, `base_3`, …"""
        first = name = identifier(base)
        count = 1
        while name in self.names:
            count += 1
            name = f"{first}_{count}"
        self.names.add(name)
        return name

    @contextmanager
    def block(self, header: str) -> Iterator[None]:
        """An indented block. What is remembered inside is forgotten at its end."""
        memo, known = dict(self.memo), self.known
        self.say(header)
        self.depth += 1
        yield
        self.depth -= 1
        self.memo, self.known = memo, known

    def facts(self, frame: Frame) -> Facts:
        """What holds for every point of the frame, and in the enclosing blocks."""
        key = ("facts", frame, self.known, tuple(self.sizes))
        if key not in self.memo:
            batch = self.program.batch
            sizes = self.sizes | {r.index: r.size for r in frame}
            largest = batch.maximum if batch else None
            self.memo[key] = Facts(sizes, self.program.limits, largest).assuming(self.known)
        found: Facts = self.memo[key]
        return found

    def size(self, size: Size) -> str:
        """`784`, or `rows`."""
        return self.scalars[size] if isinstance(size, Symbol) else str(int(size))

    def count(self, ranges: Frame) -> str:
        """`rows*16`: the number of points."""
        fixed = prod(r.size for r in ranges if isinstance(r.size, int))
        symbolic = [self.size(r.size) for r in ranges if isinstance(r.size, Symbol)]
        return "*".join(symbolic + [str(fixed)] * (fixed != 1 or not symbolic))

    def shape(self, shape: Shape) -> str:
        """`(rows, 784)`."""
        sizes = [self.size(s) for s in shape]
        return f"({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"

    def add(self, tensor: str, text: str, shape: Shape, dtype: DType) -> Array:
        """Says how a tensor is written from now on."""
        self.arrays[tensor] = Array(text, shape, dtype)
        return self.arrays[tensor]

    def hold(self, name: str, ranges: Frame, dtype: DType | None = None) -> Access:
        """The access that reads an array of this function, one dimension for each range."""
        kind = dtype or self.real
        self.add(name, name, tuple(r.size for r in ranges), kind)
        return Access(tensor_symbol(name, kind), *(r.index for r in ranges))

    def helper(self, name: str) -> str:
        """The name of a function of the emitted module, which is then emitted."""
        self.used.add(name)
        return f"_{name}"


def without(array: Array, absent: frozenset[int]) -> Array:
    """The array of a value at one step of a loop, without the loop's dimension."""
    shape = tuple(s for i, s in enumerate(array.shape) if i not in absent)
    return replace(array, shape=shape, absent=absent)


def frame_of(body: Expr, space: Frame, over: Frame) -> Frame:
    """The order of axes in which a reduction's terms are quickest to write and to reduce.

    That of an array that has them all, so that nothing is transposed; otherwise the reduced axes
    come first, so that the innermost loop of NumPy runs along the result.
    """
    ranges = {r.index: r for r in space + over}
    for node in sorted(body.atoms(Access), key=str):
        if len(node.indices) == len(ranges) and set(node.indices) == set(ranges):
            return tuple(ranges[e] for e in node.indices)
    return over + space


def axes_text(positions: list[int]) -> str:
    """`1`, or `(2, 3)`: the axes of a reduction."""
    return str(positions[0]) if len(positions) == 1 else f"({', '.join(map(str, positions))})"


def inside(facts: Facts, form: Linear, size: Size) -> bool:
    """Whether an index is proved to lie in its dimension."""
    axis = form.plain
    if axis is not None and facts.sizes.get(axis) == size:
        return True
    return facts.within(form, size)
