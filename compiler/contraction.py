"""Contractions: a sum of a product of two accesses, found and laid out for register tiles.

    y[n, j] = sum over k of x[n, k] * W[k, j]                        rows n, columns j
    d[k, j] = sum over n of x[n, k] * e[n, j]                        rows k, columns j
    y[n, o, p, q] = sum over c, r, s of W[o, c, r, s] * x[n, c, p + r, q + s]
                                rows o, columns p and q as one run, a plane for each n

Nothing here knows a matrix product from a convolution. An output index that only one operand holds
is a row or a column, whichever operand is called the right one; one that both hold is a loop
outside. Every way to give the roles is laid out, and the cheapest by a rough count of cycles is
taken. How an operand gets into the tile is in compiler/operands.py.

Lanes are neighbouring columns. Where there are too few of them, and both operands are read along
the same index of the terms, lanes are neighbouring terms instead:

    d[o, r, s] = sum over n, p, q of e[n, o, p, q] * x[n, p + r, q + s]         lanes along q

Left to the other schedules: three factors, a column of fewer than four elements or of a symbolic
number, a condition other than that of a border, and sums that are too small to gain.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import ceil, prod

from sympy import Expr, Symbol

from compiler.inner_products import split_product
from compiler.operands import Layout, Site, lay_out, lay_out_along
from ir.expression import Access, index_symbol, symbols_of
from ir.facts import Facts
from ir.loops import Contract, Terms, stride_of
from ir.program import Definition, Program, Range, Size

SMALLEST = 4  # columns of the narrowest plane
LANES = {"float32": 16, "float64": 8}  # of the longest vector that any machine has
DEPTH = 1024  # terms of a block: a strip of the right operand stays in the second-level cache
TILE = 8  # rows of a tile, about
MOST_ROWS = 8  # of a tile on any machine
MOST_VECTORS = 8  # of a tile on any machine
WORTH_TILES = 2048  # products of a plane that a tile gains on
FEW_TERMS = 16  # of a sum over the batch, where there is one row
SHORT_SUM = 1024  # terms, where the epilogue takes a good part of the time
STRIP = 512  # elements of a run that are finished together
TOTAL = 16  # cycles to add the lanes of a sum
CLOSE = 0.6  # of a run of columns, at least, must be columns


@dataclass(frozen=True, slots=True)
class Contraction:
    """What is known of one: the roles of its indices, and how its operands are laid out."""

    member: Definition
    outer: tuple[Range, ...]
    rows: tuple[Range, ...]
    columns: tuple[Range, ...]
    pitch: int
    terms: Terms
    left: Layout
    right: Layout
    factor: Expr
    largest: int

    @property
    def run(self) -> int:
        """The elements of a run of columns, gaps included."""
        last = int(self.columns[-1].size)
        return (int(self.columns[0].size) - 1) * self.pitch + last if self.pitch else last

    @property
    def strip(self) -> int:
        """The lines of a run that are finished together; 0 where each tile is by itself.

        Tiles end in the midst of a line. That costs something where the sums are short.
        """
        whole = not self.terms.blocks and self.terms.cut is None
        if not self.pitch or self.right.packed or not whole or self.terms.depth > SHORT_SUM:
            return 0
        return max(1, STRIP // self.pitch)

    def cost(self) -> float:
        """Cycles, roughly: of the products, of bringing the operands, and of what follows."""
        if self.terms.along is not None:
            return self._cost_along()
        planes, lines = self._count(self.outer), self._count(self.rows)
        depth, lanes = self._count(self.member.over), LANES[self.member.dtype]
        vectors, tiles = ceil(self.run / lanes), ceil(lines / TILE)
        products = max(lines * vectors, tiles * vectors + lines) * depth / 2
        bring = self.right.cycles(depth, vectors * lanes) + self.left.cycles(depth, lines)
        if self.left.packed:
            bring += self.left.cycles(depth, lines) * (ceil(vectors / 3) - 1)
        home = self.member.access()
        apart = 1 if stride_of(home, self.columns[-1].index) == 1 else 6
        return planes * (products + bring + apart * 0.4 * lines * self.run)

    def _cost_along(self) -> float:
        """The same where lanes run along the terms; every sum's lanes are added at the end."""
        sums = self._count(self.rows) * self._count(self.columns)
        blocks = self._count(self.terms.blocks)
        if self.terms.cut is not None:
            blocks *= ceil(extent(self.terms.cut.size, self.largest) / self.terms.length)
        depth = blocks * self.terms.depth
        bring = self.left.cycles(depth, 0) + self.right.cycles(depth, 0)
        return self._count(self.outer) * (sums * (depth / 2 + 2 * blocks + TOTAL) + bring)

    def _count(self, ranges: tuple[Range, ...]) -> int:
        return prod(extent(r.size, self.largest) for r in ranges)


def extent(size: Size, largest: int) -> int:
    """The size as a number: of the batch, the most rows it can have."""
    return largest if isinstance(size, Symbol) else int(size)


@dataclass(frozen=True, slots=True)
class Product:
    """A sum of the product of two operands, one of them called the right one."""

    member: Definition
    left: Access
    right: Access
    factor: Expr
    space: tuple[Range, ...]
    facts: Facts
    program: Program

    def only_in(self, access: Access, other: Access) -> tuple[Range, ...]:
        """The output indices that one operand holds, and the other does not."""
        held = symbols_of(access.indices) - symbols_of(other.indices)
        return tuple(r for r in self.space if r.index in held)

    @property
    def lanes(self) -> int:
        return LANES[self.member.dtype]

    @property
    def largest(self) -> int:
        """The most rows of a batch."""
        return self.program.largest_batch

    def site(self, columns: tuple[Range, ...], terms: Terms) -> Site:
        """The product with these columns; what only the left operand holds is a row."""
        rows = self.only_in(self.left, self.right)
        outer = tuple(r for r in self.space if r not in (*rows, *columns))
        return Site(
            self.member, self.left, self.right, outer, rows, columns, terms, self.facts,
            self.program,
        )  # fmt: skip


def recognise(
    member: Definition, space: tuple[Range, ...], facts: Facts, program: Program
) -> Contraction | None:
    """The contraction that a member is, if it is one that tiles can hold."""
    if member.reduce != "sum" or not space or member.dtype not in LANES:
        return None
    operands, factor = split_product(member.body, {r.index for r in member.over})
    if len(operands) != 2 or _mentions(space) - _mentions_of(operands):
        return None
    first, second = operands
    found = [
        c
        for left, right in ((first, second), (second, first))
        for arrangements in (_lanes_of_columns, _lanes_of_terms)
        for c in arrangements(Product(member, left, right, factor, space, facts, program))
    ]
    return min(found, key=Contraction.cost, default=None)


def _mentions(ranges: tuple[Range, ...]) -> set[Symbol]:
    return {r.index for r in ranges}


def _mentions_of(operands: list[Access]) -> set[Symbol]:
    return {s for a in operands for s in symbols_of(a.indices)}


def _lanes_of_columns(p: Product) -> Iterator[Contraction]:
    """One for every output index that can be the column of this right operand."""
    candidates = list(p.only_in(p.right, p.left))
    terms = split_terms(p.member.over, p.largest, DEPTH)
    for column in candidates:
        if not isinstance(column.size, int) or column.size < SMALLEST:
            continue
        for columns in _runs(column, candidates):
            site = p.site(columns, terms)
            laid = lay_out(site, p.lanes, CLOSE)
            if laid is None:
                continue
            c = _contraction(p, site, laid.left, laid.right, laid.pitch)
            if _worthwhile(c):
                yield c


def _lanes_of_terms(p: Product) -> Iterator[Contraction]:
    """One for every index of the terms along which both operands can be loaded as vectors."""
    columns = p.only_in(p.right, p.left)
    if not all(isinstance(r.size, int) for r in columns):
        return
    for along in p.member.over:
        if not isinstance(along.size, int) or along.size < SMALLEST:
            continue
        terms = terms_along(p.member.over, along, p.lanes, p.largest)
        if terms is None:
            continue
        whole = Range(along.index, ceil(along.size / p.lanes) * p.lanes)
        over = tuple(whole if r == along else r for r in p.member.over)
        facts = replace(p.facts, sizes={**p.facts.sizes, along.index: whole.size})
        wide = replace(p, member=replace(p.member, over=over), facts=facts)
        site = wide.site(columns, terms)
        laid = lay_out_along(site, along)
        if laid is None:
            continue
        c = _contraction(p, site, *laid, 0)
        if c._count(c.rows) * c._count(c.columns) * c._count(c.member.over) >= WORTH_TILES:
            yield c


def _contraction(p: Product, site: Site, left: Layout, right: Layout, pitch: int) -> Contraction:
    row, column = Range(index_symbol("one_row"), 1), Range(index_symbol("one_column"), 1)
    rows, columns = site.rows or (row,), site.columns or (column,)
    return Contraction(
        p.member, site.outer, rows, columns, pitch, site.terms, left, right, p.factor, p.largest
    )


def terms_along(over: tuple[Range, ...], along: Range, lanes: int, largest: int) -> Terms | None:
    """The terms in vectors of lanes along that index, the last of them; None if too many.

    The rows of the batch are blocks, for a copy holds one of them.
    """
    batch = tuple(r for r in over if isinstance(r.size, Symbol))
    others = tuple(r for r in over if r != along and r not in batch)
    steps = Range(index_symbol(f"{along.index}_step"), ceil(int(along.size) / lanes))
    terms = split_terms((*others, steps), largest, max(1, DEPTH // lanes))
    if terms.cut is not None or steps not in terms.inner:
        return None
    return replace(terms, blocks=(*batch, *terms.blocks), along=along.index, lanes=lanes)


def _runs(column: Range, candidates: list[Range]) -> list[tuple[Range, ...]]:
    """The column alone, and after each other index that might make one run with it."""
    others = [c for c in candidates if c is not column and isinstance(c.size, int)]
    return [(column,), *((other, column) for other in others)]


def _worthwhile(c: Contraction) -> bool:
    """A plane has enough to do, and a copy of the right operand serves a few rows at least."""
    lines = c._count(c.rows)
    if lines * c.run * c._count(c.member.over) < WORTH_TILES:
        return False
    return lines >= SMALLEST or not (c.right.packed or c.right.staged)


def few_rows(c: Contraction, batch: Symbol | None) -> bool:
    """Whether tiles gain nothing when the batch is small: few terms, or few rows for a copy."""
    if batch is None:
        return False
    over = [r for r in c.member.over if r.size != batch]
    if len(over) < len(c.member.over) and prod(int(r.size) for r in over) < FEW_TERMS:
        return True
    others = [r for r in c.rows if r.size != batch]
    return c.right.packed and len(others) < len(c.rows) and not others


def one_line(c: Contraction) -> bool:
    """Whether a plane is one line, so that nothing is read twice: a loop does what a tile does."""
    return c._count(c.rows) == 1 and c.terms.along is None and not c.pitch


def scratch_shapes(plane: Contract, lanes: int, largest: int) -> dict[str, tuple[int, ...]]:
    """The memory that a contraction needs besides its arrays, on any machine."""
    lines = prod(extent(r.size, largest) for r in plane.rows)
    shapes = {
        o.staging.name: o.staging.shape
        for o in (plane.left, plane.right)
        if o.staging is not None
    }
    if plane.left.packed:
        shapes["gw_left_panel"] = (MOST_ROWS * plane.terms.depth,)
    if plane.right.packed:
        shapes["gw_right_panel"] = (MOST_VECTORS * lanes * plane.terms.depth,)
    if plane.strip:
        shapes["gw_sums"] = (MOST_ROWS * (plane.strip * plane.pitch + lanes),)
    elif plane.terms.blocks or plane.terms.cut is not None:
        columns = prod(int(r.size) for r in plane.columns)
        along = plane.terms.along is not None
        shapes["gw_sums"] = (lines * (columns * lanes if along else plane.run + lanes),)
    return shapes


def split_terms(over: tuple[Range, ...], largest: int, most: int) -> Terms:
    """All terms at once if they are few; else blocks of the last indices, one of them in pieces."""
    if prod(extent(r.size, largest) for r in over) <= most:
        return Terms((), over, prod(extent(r.size, largest) for r in over))
    inner: tuple[Range, ...] = ()
    depth = 1
    blocks = over
    while blocks and depth * extent(blocks[-1].size, largest) <= most:
        inner = (blocks[-1], *inner)
        depth *= extent(blocks[-1].size, largest)
        blocks = blocks[:-1]
    length = most // depth
    if length < 2 or not blocks:
        return Terms(blocks, inner, depth)
    cut, blocks = blocks[-1], blocks[:-1]
    piece = index_symbol(f"{cut.index}_in")
    first = index_symbol(f"{cut.index}_first")
    inner = (Range(piece, length), *inner)
    return Terms(blocks, inner, depth * length, first, cut, length)
