"""A contraction as C: what the template contraction.c.jinja is filled with.

    view = Plane(printer, contract).view()

Read the template first: it is the shape of every tiled kernel. Here its lines are printed with the
right names: the offsets of the terms, where a tile's operands begin, how a copy is filled, and the
epilogue at one point. Which operand is which, and what is a row, the schedule has decided.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from math import prod

from sympy import Expr, Symbol

from codegen.c.ahead import next_plane, next_strip
from codegen.c.panels import Panel, Printer
from codegen.c.runs import Runs
from codegen.c.views import PlaneView, RunsView
from ir.expression import Access
from ir.loops import LANE, SPAN, Contract, For, Operand, Staging, Statement, Store, walk
from ir.program import Range

WIDTH = 100
LONGEST = 16  # lanes of the longest vector
WIDEST = 8  # vectors side by side in a tile
SHORT_SUM = 16  # terms: to read and to write what they are added to takes the time
ROW, START = Symbol("row", integer=True), Symbol("start", integer=True)  # where a tile begins
DRIVE = "@drive@"  # and a number: where the template puts the loops over the tiles


def wrapped(items: Iterable[str]) -> str:
    """A list of parameters in lines of at most WIDTH, indented once."""
    lines = [""]
    for item in items:
        if lines[-1] and len(lines[-1]) + len(item) > WIDTH - 8:
            lines.append("")
        lines[-1] += f"{', ' if lines[-1] else ''}{item}"
    return ",\n    ".join(lines)


def helpers_of(contract: Contract) -> set[str]:
    """The helpers that its text calls."""
    zeros = {"gw_clear"} if _cleared(contract) else set()
    if contract.terms.along is not None:
        return {"gw_along"} | zeros
    runs = {"gw_most"} if contract.pitch and not contract.strip else set()
    ends = {"gw_least"} if _has_ends(contract) else set()
    return {"gw_tiles"} | zeros | runs | ends


def _has_ends(contract: Contract) -> bool:
    """Whether columns, lines of a run, a panel or pieces of the terms may end early."""
    panel, pieces = contract.right.packed, contract.terms.cut is not None
    return bool(panel or pieces or contract.pitch) or not _is_even(contract)


def _cleared(contract: Contract) -> bool:
    """A panel with zeros between its elements or behind the last column, or a padded copy."""
    left, right = contract.left, contract.right
    uneven = not _is_even(contract)
    panels = (left.packed and left.zeros) or (right.packed and (right.zeros or uneven))
    return bool(panels) or any(o.staging and o.staging.padded for o in (left, right))


def _is_even(contract: Contract) -> bool:
    return contract.run % LONGEST == 0


class Plane:
    """One contraction while it is printed."""

    def __init__(self, printer: Printer, contract: Contract) -> None:
        self.printer = printer
        self.contract = contract
        self.terms = contract.terms
        printer.names |= {SPAN: "span", LANE: "lane"}

    def view(self) -> PlaneView:
        """The strings."""
        contract, spell = self.contract, self.printer.spell
        along = self.terms.along is not None
        row_digits = self._digits(contract.rows, "row + r")
        columns = tuple(spell(r.index) for r in contract.columns)
        epilogue = self._epilogue()
        words = set(re.findall(r"\w+", "\n".join(epilogue)))
        used = [spell(r.index) in words for r in contract.rows]
        left, right = contract.left, contract.right
        loops, copies, block_loops, block_copies = self._levels()
        onto, onto_apart, onto_scale = self._onto()
        return PlaneView(
            real="float" if self.printer.scalars.dtype == "float32" else "double",
            shared=self.printer.shared,
            by_columns=contract.by_columns,
            planes=self._size(contract.outer[0]) if contract.outer else "",
            few=tuple(line for s in contract.few for line in self.printer.lines(s)),
            lines=self._product(contract.rows),
            height=prod(r.size for r in contract.rows if isinstance(r.size, int)),
            batches=sum(not isinstance(r.size, int) for r in contract.rows),
            width=prod(int(r.size) for r in contract.columns),
            run=contract.run,
            flat=bool(onto) and self.terms.depth <= SHORT_SUM and contract.run <= LONGEST * WIDEST,
            even=self._even,
            start=self._start,
            depth=self.terms.depth,
            left=self._base(left, "gw_left_panel"),
            right=self._base(right, "gw_right_panel"),
            zeros=self._zeros(),
            runs=self._runs(),
            loops=loops,
            copies=copies,
            block_loops=block_loops,
            block_copies=block_copies,
            piece_loop=self._piece_loop(),
            count=self._count(),
            more=self._more(),
            last=self._last(),
            row_digits=row_digits,
            row_at=f"r*{self.terms.depth}" if left.packed else self._offset(left.along),
            column_digits=self._digits(contract.columns, "column + c" if along else "at"),
            left_fill=self._lines(left.packed),
            left_zeros=left.zeros,
            right_fill=self._lines(right.packed),
            along_memory=Panel(self.printer, contract).filling(right),
            right_zeros=right.zeros,
            left_panel=self.printer.buffers.get("gw_left_panel", ""),
            right_panel=self.printer.buffers.get("gw_right_panel", ""),
            sums=self.printer.buffers["gw_sums"] if self._keeps_sums() else "",
            columns=columns,
            inner_size=int(contract.columns[-1].size),
            pitch=contract.pitch,
            epilogue=epilogue,
            finish_digits=tuple(d for d, u in zip(row_digits, used, strict=True) if u),
            strip=contract.strip,
            next_strip=next_strip(self.printer, contract),
            lines_of_run=int(contract.columns[0].size),
            along=along,
            columns_of_all=self._product(contract.columns) if along else "",
            column_at=self._offset(right.along) if along else "",
            onto=onto,
            onto_apart=onto_apart,
            onto_scale=onto_scale,
        )

    @property
    def _even(self) -> bool:
        """Whether the columns fill their vectors on every machine."""
        return _is_even(self.contract)

    @property
    def _start(self) -> str:
        """The name of the column where a tile's first vector begins."""
        return "first" if self.contract.right.packed or self._even else "start"

    # ------------------------------------------------------------ loops and positions

    def _size(self, r: Range) -> str:
        return str(r.size) if isinstance(r.size, int) else "rows"

    def _product(self, ranges: tuple[Range, ...]) -> str:
        """How many points they have: the rows of the batch, times one number."""
        batches = [self._size(r) for r in ranges if not isinstance(r.size, int)]
        number = prod(r.size for r in ranges if isinstance(r.size, int))
        return "*".join([*batches, *([str(number)] if number != 1 or not batches else [])])

    def _loop(self, r: Range) -> str:
        name = self.printer.spell(r.index)
        return f"for (ptrdiff_t {name} = 0; {name} < {self._size(r)}; {name}++) {{"

    def _levels(self) -> tuple[tuple[str, ...], ...]:
        """The loops over planes and over blocks, and the copies that each of them needs."""
        blocks = {r.index for r in self.terms.blocks}
        outside = next_plane(self.printer, self.contract)
        inside: list[str] = []
        for operand in (self.contract.left, self.contract.right):
            if operand.staging is None:
                continue
            each = bool(operand.place.free_symbols & blocks) or self._reads(operand, blocks)
            target = inside if each else outside
            if operand.staging.padded and not operand.staging.once:
                target.append(self._clear(operand))
            target += self._copy(operand, operand.staging)
        loops = tuple(self._loop(r) for r in self.contract.outer)
        if self.printer.shared:
            loops = self._planes_of_thread(loops)
        block_loops = tuple(self._loop(r) for r in self.terms.blocks)
        return loops, tuple(outside), block_loops, tuple(inside)

    def _copy(self, operand: Operand, staging: Staging) -> tuple[str, ...]:
        """The copy of an operand: in a team, of the lines of this thread where each is one step."""
        lines = self._lines(staging.copy)
        if not self.printer.shared or not self._is_line_by_line(operand, staging):
            return lines
        (loop,) = staging.copy
        assert isinstance(loop, For)
        z = self.printer.spell(loop.index)
        return (f"for (ptrdiff_t {z} = lines.first; {z} < lines.end; {z}++) {{", *lines[1:])

    def _is_line_by_line(self, operand: Operand, staging: Staging) -> bool:
        """Whether the first index of the copy is the number of the line."""
        contract = self.contract
        if operand is not contract.left or contract.by_columns or len(contract.rows) != 1:
            return False
        (row,), loop = contract.rows, staging.copy[0]
        whole = isinstance(loop, For) and (loop.lower, loop.upper) == ((0,), (row.size,))
        parts = (operand.place, operand.along, operand.term)
        return whole and tuple(p.indices[0] for p in parts) == (0, row.index, 0)

    def _planes_of_thread(self, loops: tuple[str, ...]) -> tuple[str, ...]:
        """The loops over planes, the outermost over those of this thread alone."""
        if not loops:
            return ()
        self.printer.scalars.helpers.add("gw_by_plane")
        i = self.printer.spell(self.contract.outer[0].index)
        own = f"for (ptrdiff_t {i} = planes.first; {i} < planes.end; {i}++) {{"
        return (own, *loops[1:])

    def _piece_loop(self) -> tuple[str, ...]:
        """The loop over the pieces of the index that is cut."""
        if self.terms.cut is None or self.terms.first is None:
            return ()
        name, size = self.printer.spell(self.terms.first), self._size(self.terms.cut)
        step = self.terms.length
        return (f"for (ptrdiff_t {name} = 0; {name} < {size}; {name} += {step}) {{",)

    def _reads(self, operand: Operand, blocks: set[Symbol]) -> bool:
        assert operand.staging is not None
        return any(s.free_symbols & blocks for s in _values(operand.staging.copy))

    def _clear(self, operand: Operand) -> str:
        assert operand.staging is not None
        count = prod(operand.staging.shape)
        return f"gw_clear({self.printer.buffers[operand.staging.name]}, {count});"

    def _zeros(self) -> tuple[tuple[str, int], ...]:
        """The copies whose zeros are written once, and their elements."""
        found = []
        for operand in (self.contract.left, self.contract.right):
            if operand.staging and operand.staging.padded and operand.staging.once:
                name = self.printer.buffers[operand.staging.name]
                found.append((name, prod(operand.staging.shape)))
        return tuple(found)

    def _count(self) -> str:
        """The terms of the block at hand."""
        if self.terms.cut is None or self.terms.first is None:
            return self._product(self.terms.inner)
        first, size = self.printer.spell(self.terms.first), self._size(self.terms.cut)
        rest = self._product(self.terms.inner[1:])
        piece = f"gw_least({self.terms.length}, {size} - {first})"
        return piece if rest == "1" else f"{rest}*{piece}"

    def _keeps_sums(self) -> bool:
        """Whether sums outlive a tile: until the next block, or the end of a strip."""
        return bool(self.terms.blocks or self.terms.cut or self.contract.strip)

    def _onto(self) -> tuple[str, int, str]:
        """Where a tile adds its sums, how far its lines are apart there, and what scales them."""
        contract, found = self.contract, self.contract.onto
        plain = len(contract.rows) == len(contract.columns) == 1 and self.terms.along is None
        if found is None or not plain or self._keeps_sums() or contract.right.packed:
            return "", 0, ""
        row, column = contract.rows[0].index, contract.columns[0].index
        panel = Panel(self.printer, contract)
        apart = panel.apart(found.place, row)
        if apart is None or panel.apart(found.place, column) != 1:
            return "", 0, ""
        self.printer.names |= {ROW: "row", START: self._start}
        at = self._offset(found.place.xreplace({row: ROW, column: START}))
        scale = self.printer.scalars.value(found.scale)
        return f"{self.printer.buffers[found.place.tensor]} + {at}", apart, scale

    def _more(self) -> str:
        """Whether a block before this one has begun the sums."""
        names = [self.printer.spell(r.index) for r in self.terms.blocks]
        if self.terms.first is not None:
            names.append(self.printer.spell(self.terms.first))
        return " || ".join(f"{name} > 0" for name in names)

    def _last(self) -> str:
        """Whether no block comes after this one."""
        tests = [
            f"{self.printer.spell(r.index)} == {self._size(r)} - 1" for r in self.terms.blocks
        ]
        if self.terms.cut is not None and self.terms.first is not None:
            name = self.printer.spell(self.terms.first)
            tests.append(f"{name} + {self.terms.length} >= {self._size(self.terms.cut)}")
        return " && ".join(tests)

    def _digits(self, ranges: tuple[Range, ...], number: str) -> tuple[str, ...]:
        """The indices of a row or column whose number is known."""
        if len(ranges) == 1:
            return (f"const ptrdiff_t {self.printer.spell(ranges[0].index)} = {number};",)
        lines = []
        for place, r in enumerate(ranges):
            below = self._stride(ranges, place)
            text = _operand(number)
            text += f" / {_operand(below)}" if below != "1" else ""
            text += f" % {self._size(r)}" if place else ""
            lines.append(f"const ptrdiff_t {self.printer.spell(r.index)} = {text};")
        return tuple(lines)

    def _stride(self, ranges: tuple[Range, ...], place: int) -> str:
        if ranges == self.contract.columns and place == 0 and self.contract.pitch:
            return str(self.contract.pitch)
        return self._product(ranges[place + 1 :])

    def _runs(self) -> RunsView:
        """The terms, and the loops that fill the table of where runs of them begin."""
        runs = Runs(self.printer, self.contract)
        loops = tuple(self._loop(r) for r in runs.outside)
        return runs.view(loops, self._product(tuple(runs.inside)) if loops else "")

    # ------------------------------------------------------------ operands

    def _offset(self, access: Access) -> str:
        return self.printer.scalars.offset(access)

    def _base(self, operand: Operand, panel: str) -> str:
        """The pointer to which the offsets of rows, columns and terms are added."""
        if operand.packed:
            return self.printer.buffers[panel]
        name = self.printer.buffers[operand.place.tensor]
        offset = self._offset(operand.place)
        return name if offset == "0" else f"{name} + {offset}"

    def _lines(self, statements: tuple[Statement, ...]) -> tuple[str, ...]:
        return tuple(line for s in statements for line in self.printer.lines(s))

    # ------------------------------------------------------------ the epilogue

    def _epilogue(self) -> tuple[str, ...]:
        """Its first line reads the sum where the tile left it."""
        self.printer.scalars.cells[str(self.contract.tile.name)] = self._sum()
        return self._lines(self.contract.epilogue)

    def _sum(self) -> str:
        """Where the tile left the sum of a point."""
        if self.terms.along is not None:
            return "gw_sum_of_lanes(&sum[(r*width + c)*GW_ALONG])"
        last = self.printer.spell(self.contract.columns[-1].index)
        if self.contract.strip:
            line = self.printer.spell(self.contract.columns[0].index)
            return f"sum[r*apart + ({line} - line)*{self.contract.pitch} + {last}]"
        column = f"at + {last}" if self.contract.pitch else last
        return f"sum[r*width*GW_LANES + {column} - {self._start}]"


def _operand(text: str) -> str:
    """In parentheses, unless it is one word."""
    return text if text.isidentifier() or text.isdigit() else f"({text})"


def _values(statements: tuple[Statement, ...]) -> list[Expr]:
    """The values that copying statements store."""
    return [s.value for s in walk(statements) if isinstance(s, Store)]
