"""Loop nests: what a schedule makes of a kernel, and what a target with loops prints.

    Nest      ::= name (Parameter…) { Statement… }                    one function
    Statement ::= For index from max(Expr…) to min(Expr…) step { Statement… }
                | If condition { Statement… }
                | Local name [extents] (= value)                      a scalar, or a small array
                | Position name = max(Expr…)                          an integer that bounds use
                | Store place value                                   place = value
                | Accumulate place kind value                         place += value, or its maximum
                | Choose best place value position                    running argmax
    place     ::= Access of a parameter or of a local array | Symbol of a scalar local
    value     ::= SymPy expression; its leaves are numbers, index symbols, sizes and places

A schedule transforms nests: it orders, splits and unrolls loops here, and never writes source.
Addresses stay multi-dimensional until they are printed; every array is row-major in its shape.
What this cannot say: a loop that ends on a value, and a call of another nest.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from sympy import Expr, Symbol
from sympy.logic.boolalg import Boolean

from ir.expression import Access
from ir.program import DType, Shape

Place: TypeAlias = Access | Symbol


@dataclass(frozen=True, slots=True)
class Parameter:
    """An array that the nest is given (or a scalar, by value), and whether it writes it."""

    name: str
    dtype: DType
    shape: Shape
    writable: bool = False
    scalar: bool = False


@dataclass(frozen=True, slots=True)
class For:
    """`for index = max(lower); index < min(upper); index += step`."""

    index: Symbol
    lower: tuple[Expr, ...]
    upper: tuple[Expr, ...]
    body: tuple[Statement, ...]
    step: int = 1


@dataclass(frozen=True, slots=True)
class If:
    """The statements, where the condition holds."""

    condition: Boolean
    body: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class Local:
    """A scalar with a value, or an array of fixed extents whose elements all start at `value`."""

    symbol: Symbol
    dtype: DType
    value: Expr | None = None
    extents: tuple[int, ...] = ()
    changes: bool = False


@dataclass(frozen=True, slots=True)
class Position:
    """An integer for bounds and addresses: the largest of its values."""

    symbol: Symbol
    values: tuple[Expr, ...]
    smallest: bool = False


@dataclass(frozen=True, slots=True)
class Store:
    """`place = value`."""

    place: Place
    value: Expr


@dataclass(frozen=True, slots=True)
class Accumulate:
    """`place += value`, or `place = max(place, value)` in which a NaN wins."""

    place: Place
    kind: Literal["sum", "max"]
    value: Expr


@dataclass(frozen=True, slots=True)
class Choose:
    """Keep the first largest value (the first NaN, if any) and its position; -1 is none yet."""

    best: Symbol
    place: Symbol
    value: Expr
    position: Expr


Statement: TypeAlias = For | If | Local | Position | Store | Accumulate | Choose


@dataclass(frozen=True, slots=True)
class Nest:
    """One function over arrays. `free` are the indices that the caller's own loop gives it.

    `guarded`: a load under a condition is left that would be out of bounds without it.
    """

    name: str
    parameters: tuple[Parameter, ...]
    body: tuple[Statement, ...]
    rows: Symbol | None = None
    free: tuple[Symbol, ...] = ()
    guarded: bool = False

    def statements(self) -> Iterator[Statement]:
        """Every statement, the outer before the inner."""
        yield from walk(self.body)


def walk(body: tuple[Statement, ...]) -> Iterator[Statement]:
    """The statements of a body and of everything inside them."""
    for statement in body:
        yield statement
        if isinstance(statement, For | If):
            yield from walk(statement.body)
