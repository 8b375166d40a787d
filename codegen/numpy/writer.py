"""What an emitted function is written with: its lines, its names, its arrays, and what is known.

    w.say("h1 = np.matmul(x, fc1_W)")
    with w.block("if t >= 1:"): ...         # indented; what is computed inside stays inside

A `Frame` is the tuple of loop variables that are array axes where an expression stands. An
`Operand` is Python text for one value there; arrays are aligned to the frame's last axis as NumPy
broadcasts, so an axis that the value lacks has length one, or is missing on the left.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any, TypeAlias

from sympy import Expr, Symbol

from ir.affine import Linear
from ir.expression import Access, tensor_symbol
from ir.facts import Facts
from ir.names import identifier
from ir.program import DType, Program, Range, Shape, Size

Frame: TypeAlias = tuple[Range, ...]

WORD = re.compile(r"[A-Za-z_]\w*")
ATOM, NEGATED, PRODUCT, SUM, AND, OR, COMPARED, LOOSE = 100, 90, 80, 70, 60, 55, 50, 0


@dataclass(frozen=True, slots=True)
class Operand:
    """A value as text. `tight` is how strongly its outermost operator binds.

    `temporary` marks an array that this function made and nobody else holds: it may be
    overwritten. `literal` marks a Python number, which takes the type of what it meets, `indicator`
    truths that stand for 0 and 1, `constant` what depends on the number of rows alone. `strides`
    are those of a view in elements, by axis; None if that is not known.
    """

    text: str
    axes: frozenset[Symbol] = frozenset()
    tight: int = ATOM
    temporary: bool = False
    literal: bool = False
    indicator: bool = False
    constant: bool = False
    strides: tuple[tuple[Symbol, int], ...] | None = None

    def within(self, tight: int) -> str:
        """The text as an operand of an operator that binds this strongly."""
        return self.text if self.tight >= tight else f"({self.text})"


@dataclass(frozen=True, slots=True)
class Array:
    """An array in memory: how it is written, its shape, and the dimensions it does not have.

    A value inside a recurrence lacks the dimension of the loop: `absent` are such positions.
    `strides`, in elements, are those of a view; None for an array that lies row by row.
    """

    text: str
    shape: Shape
    dtype: DType
    absent: frozenset[int] = frozenset()
    strides: tuple[int, ...] | None = None

    def present(self, indices: tuple[Any, ...]) -> tuple[Any, ...]:
        """The indices of the dimensions that there are."""
        return tuple(e for i, e in enumerate(indices) if i not in self.absent)


@dataclass(frozen=True, slots=True)
class Place:
    """An array of the workspace: shape and dtype, `bool` for truths, `intp` for positions."""

    shape: Shape
    dtype: str


@dataclass
class Writer:
    """One emitted function while it is written.

    `names` are the identifiers that are taken, `places` the arrays it has in the workspace, `fresh`
    those of them that nobody else holds. `constants` are lines that run once for each number of
    rows. `loops` are the first and last lines of its loops. `words` are
    all that its code mentions, `births` the lines at which arrays were made,
    `relus` the values that are never below zero. `read` makes an operand of an access.
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
    places: dict[str, Place] = field(default_factory=dict)
    constants: dict[str, str] = field(default_factory=dict)
    loops: list[tuple[int, int]] = field(default_factory=list)
    words: set[str] = field(default_factory=set)
    births: dict[str, int] = field(default_factory=dict)
    relus: frozenset[str] = frozenset()
    read: Callable[[Writer, Access, Frame], Operand] = field(kw_only=True)
    depth: int = 2

    def __post_init__(self) -> None:
        if self.program.batch:
            self.scalars[self.program.batch.symbol] = self.rows

    @property
    def scalar_type(self) -> str:
        return f"np.{self.real}"

    def say(self, *lines: str) -> None:
        """Adds lines of code, indented; comments and empty lines as well."""
        for line in lines:
            if not line.startswith("#"):
                self.words.update(WORD.findall(line))
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
        memo, known, first = dict(self.memo), self.known, len(self.lines)
        self.say(header)
        self.depth += 1
        yield
        self.depth -= 1
        if header.startswith("for "):
            self.loops.append((first, len(self.lines) - 1))
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

    def count_text(self, shape: Shape) -> str:
        """`rows*16`: the number of elements."""
        fixed = prod(s for s in shape if isinstance(s, int))
        symbolic = [self.size(s) for s in shape if isinstance(s, Symbol)]
        return "*".join(symbolic + [str(fixed)] * (fixed != 1 or not symbolic))

    def last(self, size: Size) -> str:
        """The last position of a dimension."""
        return str(size - 1) if isinstance(size, int) else f"{self.size(size)} - 1"

    def shape(self, shape: Shape) -> str:
        """`(rows, 784)`."""
        sizes = [self.size(s) for s in shape]
        return f"({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"

    def add(
        self, tensor: str, text: str, shape: Shape, dtype: DType,
        strides: tuple[int, ...] | None = None,
    ) -> Array:
        """Says how a tensor is written from now on."""
        made = Array(text, shape, dtype)
        turned = strides is not None and strides != self.strides(made)
        self.arrays[tensor] = replace(made, strides=strides) if turned else made
        return self.arrays[tensor]

    def hold(
        self, name: str, ranges: Frame, dtype: DType | None = None, of: Operand | None = None
    ) -> Access:
        """The access that reads an array of this function, one dimension for each range."""
        kind = dtype or self.real
        self.add(name, name, tuple(r.size for r in ranges), kind, steps_of(of, ranges))
        return Access(tensor_symbol(name, kind), *(r.index for r in ranges))

    def place(self, name: str, shape: Shape, dtype: str) -> str:
        """The name of an array of the workspace, for a statement to write."""
        self.places[name] = Place(shape, dtype)
        self.births[name] = len(self.lines)
        self.fresh.add(name)
        return name

    def spread(self, axes: frozenset[Symbol], frame: Frame) -> Shape:
        """The shape over some axes of a frame: from the first of them, of length one elsewhere."""
        first = next((i for i, r in enumerate(frame) if r.index in axes), len(frame))
        return tuple(r.size if r.index in axes else 1 for r in frame[first:])

    def constant(self, base: str, text: str) -> str:
        """The name of an array that depends on the number of rows alone."""
        if text not in self.constants:
            self.constants[text] = self.name(base)
        return self.constants[text]

    def count_of(self, size: Size) -> int:
        """The size as a number that stands for all: the batch as a large prime."""
        return 999_983 if isinstance(size, Symbol) else int(size)

    def strides(self, array: Array) -> tuple[int, ...]:
        """Steps in elements from one position to the next, along each dimension."""
        if array.strides is not None:
            return array.strides
        sizes = [self.count_of(s) for s in array.shape]
        return tuple(prod(sizes[i + 1 :]) for i in range(len(sizes)))

    def flat(self, text: str) -> str:
        """All elements of an array in a row; of one in the workspace a view that is made once."""
        whole = f"{text}.reshape(-1)"
        return self.constant(f"{text}_flat", whole) if text in self.places else whole

    def helper(self, name: str) -> str:
        """The name of a function of the emitted module, which is then emitted."""
        self.used.add(name)
        return f"_{name}"


def steps_of(value: Operand | None, ranges: Frame) -> tuple[int, ...] | None:
    """The strides of a view that has the ranges as its dimensions."""
    if value is None or value.strides is None:
        return None
    steps = dict(value.strides)
    return tuple(steps[r.index] for r in ranges) if len(steps) == len(ranges) else None


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


def sizes_of(ranges: Frame) -> Shape:
    """The shape of an array over the ranges."""
    return tuple(r.size for r in ranges)


def axes_text(positions: list[int]) -> str:
    """`1`, or `(2, 3)`: the axes of a reduction."""
    return str(positions[0]) if len(positions) == 1 else f"({', '.join(map(str, positions))})"


def inside(facts: Facts, form: Linear, size: Size) -> bool:
    """Whether an index is proved to lie in its dimension."""
    axis = form.plain
    if axis is not None and facts.sizes.get(axis) == size:
        return True
    return facts.within(form, size)
