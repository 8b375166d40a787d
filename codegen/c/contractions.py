"""A plane of a contraction as C: what the template contraction.c.jinja is filled with.

    view = Plane(printer, contract).view({"rows": "ptrdiff_t rows", "x": "const float *restrict x"})

Read the template first: it is the shape of every tiled kernel. Here its lines are printed with the
right names: the loops of the sum around one multiply-add in three settings (a tile, the copying of
a panel, dot products), and the epilogue at one point of the tile. Which operand is which, and
what is a row, the schedule has decided.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from sympy import Symbol

from codegen.c.scalars import ScalarPrinter
from ir.expression import Access, index_symbol
from ir.loops import Contract, For, MultiplyAdd, Statement

WIDTH = 100
DRIVE = "@drive@"  # where the template puts the loops over the tiles


class Printer(Protocol):
    """The printer of statements; `term` and `special` say how to print two of them."""

    names: dict[Symbol, str]
    scalars: ScalarPrinter
    term: Callable[[MultiplyAdd], list[str]]
    special: tuple[Symbol, Callable[[For], list[str]]] | None

    def spell(self, symbol: Symbol) -> str: ...
    def lines(self, statement: Statement) -> list[str]: ...


@dataclass(frozen=True, slots=True)
class PlaneView:
    """The strings of one plane. `kind` is its vector type's suffix, `lanes` the length."""

    kind: str
    lanes: str
    real: str
    unused: tuple[str, ...]
    point_parameters: str
    point_arguments: str
    tile_parameters: str
    tile_arguments: str
    strip_parameters: str
    strip_arguments: str
    dots_parameters: str
    dots_arguments: str
    row: str
    row_first: str
    row_end: str
    column: str
    column_first: str
    columns: str
    panel: str
    padded: int
    tile_terms: tuple[str, ...]
    pack_terms: tuple[str, ...]
    dot_terms: tuple[str, ...]
    epilogue: tuple[str, ...]

    def mentions(self) -> tuple[str, ...]:
        """The text that may use the function's own parameters."""
        return (self.strip_parameters, self.dots_parameters, *self.pack_terms)


def wrapped(items: Iterable[str]) -> str:
    """A list of parameters in lines of at most WIDTH, indented once."""
    lines = [""]
    for item in items:
        if lines[-1] and len(lines[-1]) + len(item) > WIDTH - 8:
            lines.append("")
        lines[-1] += f"{', ' if lines[-1] else ''}{item}"
    return ",\n    ".join(lines)


def helpers_of(contract: Contract) -> set[str]:
    """The vector types that its text uses."""
    kind = str(contract.lanes or "")
    dots = {"gw_vec8", "gw_dots"} if contract.dots is not None else set()
    return {f"gw_vec{kind}", f"gw_tile{kind}"} | dots


def _used(declared: dict[str, str], lines: tuple[str, ...]) -> dict[str, str]:
    """The parameters that the lines mention."""
    words = _words(lines)
    return {name: text for name, text in declared.items() if name in words}


def _words(lines: tuple[str, ...]) -> set[str]:
    return set(re.findall(r"\w+", "\n".join(lines)))


class Plane:
    """One plane while it is printed: the symbols that stand for its tile's corner."""

    def __init__(self, printer: Printer, contract: Contract) -> None:
        self.printer = printer
        self.contract = contract
        self.row_first = index_symbol(f"{contract.row.index}_first")
        self.column_first = index_symbol(f"{contract.column.index}_first")
        self.kind = str(contract.lanes or "")
        self.lanes = str(contract.lanes or "GW_LANES")

    def view(self, declared: dict[str, str]) -> PlaneView:
        """The strings; `declared` are the function's parameters, for the pieces to pick."""
        contract, spell = self.contract, self.printer.spell
        row, column = contract.row, contract.column
        row_end = str(row.size) if isinstance(row.size, int) else "rows"
        tile_terms, epilogue = self._sum(self._tile_term), self._epilogue()
        dot_terms = self._dots() if contract.dots is not None else ()
        words = _words(epilogue)
        point = _used(declared, epilogue)
        tile = _used(declared, (*tile_terms, *epilogue))
        strip = _used(declared, (*tile_terms, *epilogue, row_end))
        dots = _used(declared, (*dot_terms, *epilogue))
        return PlaneView(
            kind=self.kind,
            lanes=self.lanes,
            real=self._real,
            unused=tuple(n for n in (spell(row.index), spell(column.index)) if n not in words),
            point_parameters=f",\n    {wrapped(point.values())}" if point else "",
            point_arguments="".join(f", {p}" for p in point),
            tile_parameters=wrapped(tile.values()),
            tile_arguments=", ".join(tile),
            strip_parameters=wrapped(strip.values()),
            strip_arguments=", ".join(strip),
            dots_parameters=wrapped(dots.values()),
            dots_arguments=", ".join(dots),
            row=spell(row.index),
            row_first=spell(self.row_first),
            row_end=row_end,
            column=spell(column.index),
            column_first=spell(self.column_first),
            columns=str(column.size),
            panel=contract.panel.name if contract.panel else "",
            tile_terms=tile_terms,
            pack_terms=self._pack() if contract.panel else (),
            padded=contract.panel.depth if contract.panel and contract.panel.padded else 0,
            dot_terms=dot_terms,
            epilogue=epilogue,
        )

    # ------------------------------------------------------------ one term of the sum

    def _sum(self, term: Callable[[MultiplyAdd], list[str]]) -> tuple[str, ...]:
        """The loops of the sum, with their multiply-add printed in this way."""
        self.printer.term = term
        return tuple(line for s in self.contract.terms for line in self.printer.lines(s))

    def _element(self, access: Access, index: Symbol, text: str) -> str:
        """The element at a position of an index that is only known as C."""
        named = Symbol(f"{index}={text}", integer=True, nonnegative=True)
        self.printer.names[named] = text
        return self.printer.scalars.element(access.xreplace({index: named}))

    def _left(self, term: MultiplyAdd, row: str) -> str:
        return self._element(term.left, self.contract.row.index, row)

    def _right(self, term: MultiplyAdd, column: str) -> str:
        return self._element(term.right, self.contract.column.index, column)

    def _tile_term(self, term: MultiplyAdd) -> list[str]:
        kind, first = self.kind, self.printer.spell(self.row_first)
        at = self._panel(f"v*{self.lanes}") if self.contract.panel else self._right(term, "at[v]")
        return [
            f"gw_vec{kind} right[GW_WIDE];",
            "for (int v = 0; v < width; v++) {",
            f"    gw_load{kind}(&right[v], &{at});",
            "}",
            "for (int r = 0; r < height; r++) {",
            f"    const {self._real} left = {self._left(term, f'({first} + r)')};",
            "    for (int v = 0; v < width; v++) {",
            f"        gw_multiply_add{kind}(&sum[r][v], left, &right[v]);",
            "    }",
            "}",
        ]

    def _pack(self) -> tuple[str, ...]:
        """The loops that copy one column of a panel."""
        assert self.contract.panel is not None
        self.printer.term = self._pack_term
        return tuple(line for s in self.contract.panel.terms for line in self.printer.lines(s))

    def _pack_term(self, term: MultiplyAdd) -> list[str]:
        return [f"{self._panel('lane')} = {self.printer.scalars.element(term.right)};"]

    def _panel(self, lane: str) -> str:
        panel = self.contract.panel
        assert panel is not None
        position = self.printer.scalars.index(panel.position)
        if panel.position.is_Add:
            position = f"({position})"
        return f"{panel.name}[{position}*width*{self.lanes} + {lane}]"

    # ------------------------------------------------------------ dot products

    def _dots(self) -> tuple[str, ...]:
        """The sum for one row and four columns: eight terms at a time, then one by one."""
        index = self.contract.dots
        assert index is not None
        self.printer.special = (index, self._dot_loop)
        found = self._sum(lambda term: [])
        self.printer.special = None
        return found

    def _dot_loop(self, loop: For) -> list[str]:
        (term,) = loop.body
        assert isinstance(term, MultiplyAdd)
        index, first = self.printer.spell(loop.index), self.printer.spell(self.column_first)
        lower = self.printer.scalars.index(loop.lower[0])
        upper = self.printer.scalars.index(loop.upper[0])
        left = self._left(term, self.printer.spell(self.row_first))
        right = self._right(term, f"({first} + c)")
        return [
            f"ptrdiff_t {index} = {lower};",
            f"for (; {index} + 8 <= {upper}; {index} += 8) {{",
            "    gw_vec8 left, right;",
            f"    gw_load8(&left, &{left});",
            "    for (int c = 0; c < 4; c++) {",
            f"        gw_load8(&right, &{right});",
            "        gw_add_product8(&sum[c], &left, &right);",
            "    }",
            "}",
            f"for (; {index} < {upper}; {index}++) {{",
            "    for (int c = 0; c < 4; c++) {",
            f"        rest[c] += {left}*{right};",
            "    }",
            "}",
        ]

    # ------------------------------------------------------------ the epilogue

    @property
    def _real(self) -> str:
        return "float" if self.printer.scalars.dtype == "float32" else "double"

    def _epilogue(self) -> tuple[str, ...]:
        self.printer.scalars.cells[str(self.contract.tile.name)] = "value"
        return tuple(line for s in self.contract.epilogue for line in self.printer.lines(s))
