"""Loop nests: what a schedule makes of a kernel, and what a target with loops prints.

    Nest      ::= name (Parameter…) { Statement… }                    one function
    Statement ::= For index from max(Expr…) to min(Expr…) step { Statement… }
                | If condition { Statement… }
                | Local name [extents] (= value)                      a scalar, or a small array
                | Position name = max(Expr…)                          an integer that bounds use
                | Store place value                                   place = value
                | Accumulate place kind value                         place += value, or its maximum
                | Choose best place value position                    running argmax
                | Contract row column { Statement… } epilogue { Statement… }    a register-tiled sum
                | MultiplyAdd left right                              the one term inside a Contract
                | Dot place factor left right index                   an inner product
    place     ::= Access of a parameter or of a local array | Symbol of a scalar local
    value     ::= SymPy expression; its leaves are numbers, index symbols, sizes and places

A schedule transforms nests: it orders, splits and unrolls loops here, and never writes source.
Addresses stay multi-dimensional until they are printed; every array is row-major in its shape.

Contract is the sum of a product over a plane of the output, rows × columns: the target keeps a tile
of it in vector registers, runs `terms` (loops that end in one MultiplyAdd) for the whole tile, and
then the epilogue at each of its points. `right` is loaded as vectors along the column, `left` is
one number for each row. Where `right` is not unit-stride along the column, `panel` says how to copy
a strip of it first; `lanes` along the reduced index (`dots`) serve when there are few rows.

What this cannot say: a loop that ends on a value, and a call of another nest.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from sympy import Expr, Symbol
from sympy.logic.boolalg import Boolean

from ir.affine import linear
from ir.errors import IndexLanguageError
from ir.expression import Access
from ir.program import DType, Range, Shape

Place: TypeAlias = Access | Symbol


@dataclass(frozen=True, slots=True)
class Parameter:
    """An array that the nest is given (or a scalar, by value), and whether it writes it.

    `scratch` memory holds nothing between calls.
    """

    name: str
    dtype: DType
    shape: Shape
    writable: bool = False
    scalar: bool = False
    scratch: bool = False


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


@dataclass(frozen=True, slots=True)
class MultiplyAdd:
    """`tile[row, column] += left * right`: `left` has no column index, `right` no row index."""

    left: Access
    right: Access


@dataclass(frozen=True, slots=True)
class Panel:
    """A strip of `right` copied so that columns are adjacent; `position` is the row in it.

    `terms` are the loops that copy, in which a condition may hold the column. If one does, the
    panel is `padded`: what no term copies is zero.
    """

    name: str
    depth: int
    position: Expr
    terms: tuple[Statement, ...]
    padded: bool


@dataclass(frozen=True, slots=True)
class Contract:
    """A plane of a contraction. `lanes` is the vector's length, 0 for the machine's own.

    `outer` are the indices of the loops around it; `dots`, if set, is the reduced index along which
    both operands have unit stride.
    """

    tile: Symbol
    row: Range
    column: Range
    outer: tuple[Symbol, ...]
    lanes: int
    terms: tuple[Statement, ...]
    epilogue: tuple[Statement, ...]
    panel: Panel | None = None
    dots: Symbol | None = None


@dataclass(frozen=True, slots=True)
class Dot:
    """`place += factor * sum of left * right` for the index from max(lower) to min(upper).

    Both operands have unit stride along the index; the factor does not hold it.
    """

    place: Place
    factor: Expr
    left: Access
    right: Access
    index: Symbol
    lower: tuple[Expr, ...]
    upper: tuple[Expr, ...]


Statement: TypeAlias = (
    For | If | Local | Position | Store | Accumulate | Choose | Contract | MultiplyAdd | Dot
)


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
        elif isinstance(statement, Contract):
            yield from walk(statement.terms)
            yield from walk(statement.epilogue)
            yield from walk(statement.panel.terms if statement.panel else ())


def stride_of(access: Access, index: Symbol) -> int | None:
    """0 or the coefficient in the last index, if the index stands there alone; otherwise None."""
    if not any(index in e.free_symbols for e in access.indices):
        return 0
    *outer, last = access.indices
    if any(index in e.free_symbols for e in outer):
        return None
    try:
        form = linear(last)
    except IndexLanguageError:
        return None
    rest = form.without(index)
    return None if index in rest.expr().free_symbols else form.coefficient(index)
