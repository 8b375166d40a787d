"""Panels that are filled along memory, whichever way the right operand lies.

    panel[k*span + lane] = W[first + lane, k]      columns are lines: blocks, transposed

        gw_transpose(gw_right_panel, span, fc2_W + first*200, 200, end - first, 200);

    panel[k*span + lane] = W[k, first + lane]      columns are neighbours: lanes innermost

Of a line that a border leaves a part of, the call is for that part. Where columns are neither, or
each has other terms, the panel is filled one after the other.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Protocol

from sympy import Expr, Integer, Symbol

from codegen.c.scalars import ScalarPrinter
from ir.affine import linear
from ir.errors import IndexLanguageError
from ir.expression import Access
from ir.loops import LANE, Contract, For, Operand, Position, Statement, Store
from ir.program import Shape

FIRST, END = (Symbol(name, integer=True) for name in ("first", "end"))  # columns of a tile
STOP = Symbol("stop", integer=True)  # where a line of terms ends


class Printer(Protocol):
    """The printer of statements."""

    names: dict[Symbol, str]
    buffers: dict[str, str]
    scalars: ScalarPrinter
    shared: bool

    def spell(self, symbol: Symbol) -> str: ...
    def lines(self, statement: Statement) -> list[str]: ...


class Panel:
    """The right panel of a contraction while it is printed."""

    def __init__(self, printer: Printer, contract: Contract) -> None:
        self.printer, self.contract = printer, contract

    def filling(self, operand: Operand) -> tuple[str, ...]:
        """The lines that fill it along memory; none where that cannot be."""
        loops, store = _nest(operand.packed)
        (column, *more) = self.contract.columns
        if more or store is None or not isinstance(store.value, Access):
            return ()
        ends = [e for loop in loops for e in (*loop.lower, *loop.upper)]
        if any(column.index in e.free_symbols for e in ends):
            return ()
        apart = self.apart(store.value, column.index)
        if apart == 1:
            return self._side_by_side(loops, store, column.index)
        return self._transposed(loops, store, store.value, apart)

    def _side_by_side(self, loops: list[For], store: Store, column: Symbol) -> tuple[str, ...]:
        self.printer.names |= {FIRST: "first", END: "end"}
        value = store.value.xreplace({column: FIRST + LANE})
        lanes = For(LANE, (Integer(0),), (END - FIRST,), (replace(store, value=value),))
        return self._around(loops, lanes)

    def _transposed(
        self, loops: list[For], store: Store, read: Access, apart: int | None
    ) -> tuple[str, ...]:
        """Calls that transpose as many terms as lie in one line, with the other loops around."""
        if apart is None or not loops:
            return ()
        whole, length = self._line(loops, read)
        if whole:
            start: dict[Expr, Expr] = {loop.index: Integer(0) for loop in whole}
            outer = loops[: len(loops) - len(whole)]
            return self._with_call(outer, (store,), store, start, apart, str(length))
        *outer, line = loops
        if not self._is_part_of_line(line, read):
            return ()
        self.printer.names[STOP] = "stop"
        name = self.printer.spell(line.index)
        ends = Position(line.index, line.lower, False), Position(STOP, line.upper, True)
        return self._with_call(outer, (*ends, store), store, {}, apart, f"stop - {name}")

    def _with_call(
        self,
        loops: list[For],
        inside: tuple[Statement, ...],
        store: Store,
        start: dict[Expr, Expr],
        apart: int,
        length: str,
    ) -> tuple[str, ...]:
        """The loops around the statements, a call in the place of the store."""
        assert isinstance(store.value, Access)
        read, (column,) = store.value, self.contract.columns
        self.printer.names[FIRST] = "first"
        self.printer.scalars.helpers.add("gw_transpose")
        panel, name = self.printer.buffers["gw_right_panel"], self.printer.buffers[read.tensor]
        at = store.place.indices[0].xreplace({**start, LANE: Integer(0)})
        to = panel if at == 0 else f"{panel} + {self.printer.scalars.index(at)}"
        offset = self.printer.scalars.offset(read.xreplace({**start, column.index: FIRST}))
        source = name if offset == "0" else f"{name} + {offset}"
        call = f"gw_transpose({to}, span, {source}, {apart}, end - first, {length});"
        return tuple(
            line[: line.index(panel)] + call if line.lstrip().startswith(panel) else line
            for line in self._around(loops, *inside)
        )

    def _around(self, loops: list[For], *inside: Statement) -> tuple[str, ...]:
        """The loops around some statements, printed."""
        for loop in reversed(loops):
            inside = (replace(loop, body=inside),)
        return tuple(line for statement in inside for line in self.printer.lines(statement))

    def _is_part_of_line(self, loop: For, read: Access) -> bool:
        """Whether the loop goes along memory, in it and in the panel, wherever it ends."""
        last = self.contract.terms.inner[-1].index
        return loop.index == last and loop.step == 1 and self.apart(read, last) == 1

    def _line(self, loops: list[For], read: Access) -> tuple[list[For], int]:
        """The inner loops that go along memory, in it and in the panel, and how far."""
        sizes = {r.index: r.size for r in self.contract.terms.inner}
        whole: list[For] = []
        length = 1
        for loop, term in zip(reversed(loops), reversed(self.contract.terms.inner), strict=False):
            complete = loop.lower == (0,) and loop.upper == (sizes.get(loop.index),)
            if not complete or loop.index != term.index or self.apart(read, term.index) != length:
                break
            if not loop.upper[0].is_Integer:
                break
            whole.insert(0, loop)
            length *= int(loop.upper[0])
        return whole, length

    def apart(self, read: Access, index: Symbol) -> int | None:
        """The elements between two steps of the index, if every step is as far."""
        try:
            steps = [linear(e).coefficient(index) for e in read.indices]
            held = [index in linear(e).without(index).expr().free_symbols for e in read.indices]
        except IndexLanguageError:
            return None
        sizes = self.printer.scalars.shapes[read.tensor][1:]
        if any(held) or not known(sizes):
            return None
        strides = [prod(int(n) for n in sizes[place:]) for place in range(len(sizes) + 1)]
        return sum(step * stride for step, stride in zip(steps, strides, strict=True))


def _nest(body: tuple[Statement, ...]) -> tuple[list[For], Store | None]:
    """Loops around nothing but one another and one store, the outermost first."""
    loops: list[For] = []
    while len(body) == 1 and isinstance(body[0], For):
        loops.append(body[0])
        body = body[0].body
    store = body[0] if len(body) == 1 and isinstance(body[0], Store) else None
    return loops, store


def known(shape: Shape) -> bool:
    return all(isinstance(size, int) for size in shape)
