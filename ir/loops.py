"""Loop nests: what a schedule makes of a kernel, and what a target with loops prints.

    Nest      ::= name (Parameter…) { Statement… }                    one function
    Statement ::= For index from max(Expr…) to min(Expr…) step { Statement… }
                | If condition { Statement… }
                | Local name [extents] (= value)                      a scalar, or a small array
                | Position name = max(Expr…)                          an integer that bounds use
                | Store place value                                   place = value
                | Accumulate place kind value                         place += value, or its maximum
                | Choose best place value position                    running argmax
                | Fold name kind lanes                                a scalar: the lanes' total
                | Contract rows columns terms left right { Statement… }    a register-tiled sum
                | Dot place factor left right index                   an inner product
    place     ::= Access of a parameter or of a local array | Symbol of a scalar local
    value     ::= SymPy expression; its leaves are numbers, index symbols, sizes and places

A schedule transforms nests: it orders, splits and unrolls loops here, and never writes source.
Addresses stay multi-dimensional until they are printed; every array is row-major in its shape.

Contract is the sum of a product over a plane of the output, rows × columns: the target keeps a tile
of it in vector registers while it goes through the terms, and then runs the epilogue at each of its
points. The right operand is loaded as vectors along the columns, the left one is one number a row.
Both are addressed by sums of offsets: one for the row or column, one for the term. Where the terms
have lanes, both are loaded as vectors along the terms, and the lanes of each sum are added last.

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
from ir.expression import Access, index_symbol
from ir.kernel import Kernel
from ir.program import DType, Range, Shape

Place: TypeAlias = Access | Symbol

FEW_ROWS = 4  # below it, a batch is few rows: a kernel may have a way of its own for them
LANE = index_symbol("lane")  # the row or the column of a panel
SPAN = index_symbol("span")  # how far the terms of a panel are apart


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
    """`for index = max(lower); index < min(upper); index += step`.

    `shared`: threads may share out the steps, from 0 to the only upper bound, none of which reads
    what another writes.
    """

    index: Symbol
    lower: tuple[Expr, ...]
    upper: tuple[Expr, ...]
    body: tuple[Statement, ...]
    step: int = 1
    shared: bool = False


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
    """Keep the first largest value (the first NaN, if any) and its position.

    `best` starts at -oo. The position starts at -1 where there may be no term, else at 0: then a
    position of 0 stands for the first term too.
    """

    best: Place
    place: Place
    value: Expr
    position: Expr
    certain: bool = False


@dataclass(frozen=True, slots=True)
class Fold:
    """A scalar that is the sum or the maximum of an array's elements; in one order, by halves."""

    symbol: Symbol
    dtype: DType
    kind: Literal["sum", "max"]
    lanes: Symbol
    count: int


@dataclass(frozen=True, slots=True)
class Staging:
    """A copy of what an operand reads, with zeros around it; `copy` fills all but the zeros.

    `once`: the zeros stay where they are, so that they are written before all loops.
    """

    name: str
    shape: tuple[int, ...]
    copy: tuple[Statement, ...]
    padded: bool
    once: bool


@dataclass(frozen=True, slots=True)
class Operand:
    """An array at `place + along + term`: three accesses whose offsets add up to the element's.

    `along` holds the indices of the rows (left) or of the columns (right), `term` those of the
    inner terms, `place` the rest. A `packed` operand is copied to a panel first, one row or column
    at a time, by statements that store at (position of the term, lane): then the three are unused.
    """

    place: Access
    along: Access
    term: Access
    staging: Staging | None = None
    packed: tuple[Statement, ...] = ()
    zeros: bool = False


@dataclass(frozen=True, slots=True)
class Terms:
    """How the terms of a sum are gone through: `blocks`, then pieces of `inner`'s first index.

    `depth` is the most terms of a block. If there is a `cut`, its index is `first` + the first
    inner one, and `first` goes through it in pieces of `length`. If there are `lanes`, the index
    `along` is `lanes` times the last inner one: that many neighbours are one vector of terms.
    """

    blocks: tuple[Range, ...]
    inner: tuple[Range, ...]
    depth: int
    first: Symbol | None = None
    cut: Range | None = None
    length: int = 1
    along: Symbol | None = None
    lanes: int = 1


@dataclass(frozen=True, slots=True)
class Onto:
    """`place += scale * sum`: all that an epilogue does, if the scale is the same everywhere."""

    place: Access
    scale: Expr


@dataclass(frozen=True, slots=True)
class Contract:
    """A contraction: for every point of `outer`, a plane of `rows` by `columns` of sums.

    Two columns are one run, `pitch` elements of it for each step of the first; where the second is
    past its end, the run has gaps. With a `strip` the sums of about that many steps of the first
    are kept, and the epilogue then runs over all of them. `few`, if there, is what to do instead
    where the symbolic size is small. The epilogue runs at every point, where the element of `tile`
    is the sum; `onto` says it again, where it is so simple. Threads share out planes; else columns
    if `by_columns`, or else lines.
    """

    tile: Symbol
    outer: tuple[Range, ...]
    rows: tuple[Range, ...]
    columns: tuple[Range, ...]
    pitch: int
    terms: Terms
    left: Operand
    right: Operand
    epilogue: tuple[Statement, ...]
    few: tuple[Statement, ...] = ()
    by_columns: bool = False
    strip: int = 0
    onto: Onto | None = None

    @property
    def run(self) -> int:
        """The elements of the run of columns, gaps included."""
        last = int(self.columns[-1].size)
        return (int(self.columns[0].size) - 1) * self.pitch + last if self.pitch else last


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
    For | If | Local | Position | Store | Accumulate | Choose | Fold | Contract | Dot
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

    @property
    def shared(self) -> bool:
        """Whether threads can share out all that it does."""
        return all(map(_is_shared, self.body))

    def statements(self) -> Iterator[Statement]:
        """Every statement, the outer before the inner."""
        yield from walk(self.body)


@dataclass(frozen=True, slots=True)
class Rotation:
    """What can be last in a training step and what is first in the next one, as one nest.

    `next_inputs`: what the inputs of the next step are called among its parameters.
    """

    nest: Nest
    last: Kernel
    next_inputs: tuple[tuple[str, str], ...]


def _is_shared(statement: Statement) -> bool:
    """A contraction, a shared loop, or loops around nothing else."""
    if isinstance(statement, For) and not statement.shared:
        return all(map(_is_shared, statement.body))
    return isinstance(statement, Contract | For)


def walk(body: tuple[Statement, ...]) -> Iterator[Statement]:
    """The statements of a body and of everything inside them."""
    for statement in body:
        yield statement
        if isinstance(statement, For | If):
            yield from walk(statement.body)
        elif isinstance(statement, Contract):
            yield from walk(statement.epilogue)
            yield from walk(statement.few)
            for operand in (statement.left, statement.right):
                yield from walk(operand.packed)
                yield from walk(operand.staging.copy if operand.staging else ())


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
