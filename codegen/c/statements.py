"""Loop nests as C functions: one statement of ir/loops.py at a time, in the same order.

    function = print_nest(nest)
    function.head      static void fc1(ptrdiff_t rows, const float *restrict x, ...)
    function.body      the lines between its braces
    function.helpers   the small functions that the text calls: floor_div, larger, ...

Names: arrays keep the user's; a value at the point whose array is stored is called `<name>_at`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from math import prod
from typing import assert_never

from sympy import Expr, Integer, Symbol

from codegen.c.contractions import DRIVE, WIDTH, Plane, helpers_of, wrapped
from codegen.c.scalars import C_TYPES, FUNCTIONS, ScalarPrinter
from codegen.c.views import PlaneView
from codegen.c.waits import UNTOUCHED, Touches, touches_of
from ir.expression import Access
from ir.loops import (
    Accumulate,
    Choose,
    Contract,
    Dot,
    Fold,
    For,
    If,
    Local,
    Nest,
    Parameter,
    Place,
    Position,
    Statement,
    Store,
    stride_of,
    walk,
)
from ir.names import identifier
from ir.program import Shape

INDENT = "    "
SHORT_LINES = range(9, 16)
ROWS, TEAM = ".rows", ".team"
"""What a kernel takes besides buffers: names that no tensor can have."""

# What the templates and the mathematics library call something in a kernel, so nothing else may.
_WORDS = """
    rows height width span at end row sum right left tile v r c i rest done first from lane wide
    vectors term better last larger found team planes lines strips by_plane column height_of_all
    widest left_at right_at row_at count start stop
    column_at width_of_all line strip apart length sums left_step right_step runs
"""
OWN_NAMES = (
    frozenset(_WORDS.split())
    | {f"{name}f" for name in FUNCTIONS.values()}
    | set(FUNCTIONS.values())
)


@dataclass(frozen=True, slots=True)
class Function:
    """The text of one nest, and what it needs: arguments by buffer name, indices as `[t]`."""

    name: str
    parameters: tuple[str, ...]
    arguments: tuple[str, ...]
    body: tuple[str, ...]
    helpers: frozenset[str]
    guarded: bool
    shared: bool
    scratch: tuple[tuple[str, int], ...]
    touches: Touches
    planes: tuple[PlaneView, ...] = ()

    @property
    def head(self) -> str:
        """A load that must stay conditional is not vectorised: compiler/conditional_loads.py."""
        careful = "GW_SCALAR_LOOPS " if self.guarded else ""
        whole = f"{careful}static void {self.name}({', '.join(self.parameters)})"
        if len(whole) <= WIDTH:
            return whole
        return f"{careful}static void {self.name}(\n    {wrapped(self.parameters)})"


@dataclass(slots=True)
class Spelling:
    """Every symbol of a nest gets one C name that nothing else in it has."""

    rows: Symbol | None
    taken: set[str]
    names: dict[Symbol, str] = field(default_factory=dict)
    ends: dict[Symbol, str] = field(default_factory=dict)

    def __call__(self, symbol: Symbol) -> str:
        if symbol == self.rows:
            return "rows"
        if symbol not in self.names:
            name = identifier(str(symbol.name))
            if name in self.taken and not symbol.is_nonnegative:
                name = name.rstrip("_") + "_at"
            self.names[symbol] = self.claimed(name)
        return self.names[symbol]

    def end(self, symbol: Symbol) -> str:
        """Where the loop over an index ends, if that has a name."""
        if symbol not in self.ends:
            self.ends[symbol] = self.claimed(self(symbol).rstrip("_") + "_end")
        return self.ends[symbol]

    def claimed(self, name: str) -> str:
        """The name, lengthened until nothing else in the function has it.

        Never by a second underscore: such names are not ours to use in C++.
        """
        candidate, count = name, 1
        while candidate in self.taken:
            candidate = f"{name.rstrip('_')}_{count if count > 1 else ''}"
            count += 1
        self.taken.add(candidate)
        return candidate


def print_nest(nest: Nest, real: str, threads: int = 1) -> Function:
    """The function of a nest whose floating type is `real` (float32 or float64).

    With several threads a nest that they can share is told which of them calls it.
    """
    shared = threads > 1 and nest.shared
    printer = StatementPrinter(nest, real, shared)
    body = tuple(line for s in nest.body for line in printer.lines(s))
    integers = ["rows", *(printer.spell(t) for t in nest.free)]
    declared = {name: f"ptrdiff_t {name}" for name in integers}
    declared |= {
        printer.buffers[p.name]: _declared(p, printer.buffers[p.name]) for p in nest.parameters
    }
    planes = printer.planes()
    lines = (*body, *(line for plane in planes for line in plane.mentions()))
    sized = any(re.search(r"\brows\b", line) for line in lines)
    if not sized:
        del declared["rows"]
    arguments = ([ROWS] if sized else []) + [f"[{t.name}]" for t in nest.free]
    if shared:
        declared = {"team": "gw_team team"} | declared
        arguments = [TEAM, *arguments]
    return Function(
        nest.name,
        tuple(declared.values()) or ("void",),
        (*arguments, *(p.name for p in nest.parameters)),
        body,
        frozenset(printer.scalars.helpers | ({"GW_SCALAR_LOOPS"} if nest.guarded else set())),
        nest.guarded,
        shared,
        tuple((p.name, prod(p.shape)) for p in nest.parameters if p.scratch),
        touches_of(nest) if threads > 1 else UNTOUCHED,
        planes,
    )


def _limits(nest: Nest) -> dict[Symbol, int]:
    """Where the loops end that begin at 0."""
    return {
        s.index: int(s.upper[0])
        for s in nest.statements()
        if isinstance(s, For) and s.lower == (0,) and s.upper[0].is_Integer
    }


def _is_short_map(loop: For) -> bool:
    """Whether it stores a line that is longer than a vector of eight and shorter than two."""
    if loop.lower != (0,) or len(loop.upper) > 1 or loop.upper[0] not in SHORT_LINES:
        return False
    *before, last = loop.body
    if not isinstance(last, Store) or not all(isinstance(s, Local | Store) for s in before):
        return False
    return isinstance(last.place, Access) and stride_of(last.place, loop.index) == 1


def _declared(parameter: Parameter, name: str) -> str:
    kind = C_TYPES[parameter.dtype]
    if parameter.scalar:
        return f"{kind} {name}"
    return f"{'' if parameter.writable else 'const '}{kind} *restrict {name}"


class StatementPrinter:
    """The lines of statements; `spell` and `scalars` hold the names and the expressions."""

    def __init__(self, nest: Nest, real: str, shared: bool = False) -> None:
        self.shared = shared
        self.contracts = [s for s in nest.statements() if isinstance(s, Contract)]
        self.spell = Spelling(nest.rows, set(OWN_NAMES))
        self.buffers = {p.name: self.spell.claimed(identifier(p.name)) for p in nest.parameters}
        shapes: dict[str, Shape] = {p.name: p.shape for p in nest.parameters}
        self.dtypes = {p.name: p.dtype for p in nest.parameters}
        for statement in walk(nest.body):
            if not isinstance(statement, Local):
                continue
            self.dtypes.setdefault(str(statement.symbol.name), statement.dtype)
            if statement.extents:
                name = str(statement.symbol.name)
                shapes[name] = statement.extents
                self.buffers[name] = self.spell(statement.symbol)
        by_value = frozenset(p.name for p in nest.parameters if p.scalar)
        self.real = real
        self.names = self.spell.names
        self.scalars = ScalarPrinter(self.spell, shapes, real, by_value, self.buffers)
        self.scalars.small = frozenset(n for n, kind in self.dtypes.items() if kind == "int32")
        self.scalars.limits = _limits(nest)

    def lines(self, statement: Statement) -> list[str]:
        """The statement as lines without the function's own indentation."""
        match statement:
            case For():
                return self._for(statement)
            case If():
                return self._block(
                    f"if ({self.scalars.condition(statement.condition)}) {{", statement.body
                )
            case Local():
                return self._local(statement)
            case Position():
                values = self._extreme(
                    statement.values, "gw_least" if statement.smallest else "gw_most"
                )
                return [f"const ptrdiff_t {self.spell(statement.symbol)} = {values};"]
            case Store():
                value = self._value(statement.value, statement.place)
                return [f"{self._place(statement.place)} = {value};"]
            case Accumulate():
                return [self._accumulate(statement)]
            case Choose():
                return self._choose(statement)
            case Fold():
                return [self._fold(statement)]
            case Contract():
                return self._contract(statement)
            case Dot():
                return self._dot(statement)
        assert_never(statement)

    def planes(self) -> tuple[PlaneView, ...]:
        """The pieces of the nest's contractions."""
        for contract in self.contracts:
            self.scalars.helpers |= helpers_of(contract)
        return tuple(Plane(self, contract).view() for contract in self.contracts)

    def _contract(self, contract: Contract) -> list[str]:
        """Its place: a block of its own where the columns that fill no vector are another."""
        drive = f"{DRIVE}{self.contracts.index(contract)}"
        if len(self.contracts) == 1:
            return [drive]
        rest = contract is not self.contracts[0]
        comment = ["/* The columns that fill no vector. */"] if rest else []
        return [*comment, "{", f"{INDENT}{drive}", "}"]

    def _block(self, opening: str, body: tuple[Statement, ...]) -> list[str]:
        inner = [INDENT + line for s in body for line in self.lines(s)]
        return [opening, *inner, "}"]

    def _for(self, loop: For) -> list[str]:
        index = self.spell(loop.index)
        start = self._extreme(loop.lower, "gw_most")
        end = self._extreme(loop.upper, "gw_least")
        if len(loop.upper) > 1:
            stop = self.spell.end(loop.index)
            start += f", {stop} = {end}"
            end = stop
        if loop.shared and self.shared:
            start, end = self._own_steps(loop, end)
        advance = f"{index}++" if loop.step == 1 else f"{index} += {loop.step}"
        opening = f"for (ptrdiff_t {index} = {start}; {index} < {end}; {advance}) {{"
        lines = self._block(opening, loop.body)
        return [self._rolled(), *lines] if _is_short_map(loop) else lines

    def _rolled(self) -> str:
        self.scalars.helpers.add("GW_ROLLED")
        return "GW_ROLLED"

    def _own_steps(self, loop: For, end: str) -> tuple[str, str]:
        """Where the steps of this thread begin and end."""
        self.scalars.helpers.add("gw_share_out")
        if loop.step == 1:
            return f"gw_first(team, {end})", f"gw_end(team, {end})"
        known = loop.upper[0].is_Integer
        count = f"({end} + {loop.step - 1}) / {loop.step}"
        count = str(-(-int(loop.upper[0]) // loop.step)) if known else count
        return f"{loop.step}*gw_first(team, {count})", f"{loop.step}*gw_end(team, {count})"

    def _extreme(self, values: tuple[Expr, ...], function: str) -> str:
        """The largest or smallest of some integers."""
        text = self.scalars.index(values[0])
        for value in values[1:]:
            self.scalars.helpers.add(function)
            text = f"{function}({text}, {self.scalars.index(value)})"
        return text

    def _local(self, local: Local) -> list[str]:
        kind, name = C_TYPES[local.dtype], self.spell(local.symbol)
        value = Integer(0) if local.value is None else local.value
        if not local.extents:
            text = self._value(value, local.symbol)
            return [f"{'' if local.changes else 'const '}{kind} {name} = {text};"]
        count = " * ".join(str(e) for e in local.extents)
        if value == 0:
            return [f"{kind} {name}[{count}] = {{0}};"]
        return [
            f"{kind} {name}[{count}];",
            f"for (ptrdiff_t i = 0; i < {count}; i++) {{",
            f"{INDENT}{name}[i] = {self._value(value, local.symbol)};",
            "}",
        ]

    def _place(self, place: Place) -> str:
        return self.scalars.element(place) if isinstance(place, Access) else self.spell(place)

    def _value(self, value: Expr, place: Place) -> str:
        """The value in the type of the place."""
        if not place.is_integer:
            return self.scalars.value(value)
        text = self.scalars.index(value)
        return text if value.is_Integer else f"({self._kind(place)})({text})"

    def _kind(self, place: Place) -> str:
        name = place.tensor if isinstance(place, Access) else str(place.name)
        return C_TYPES[self.dtypes[name]]

    def _accumulate(self, statement: Accumulate) -> str:
        place, value = self._place(statement.place), self.scalars.value(statement.value)
        if statement.kind == "sum":
            return f"{place} += {value};"
        self.scalars.helpers.add("gw_larger")
        return f"{place} = gw_larger({place}, {value});"

    def _dot(self, dot: Dot) -> list[str]:
        match dot.lower, dot.upper:
            case (Integer() as start,), (Integer() as end,) if start < end:
                first = {dot.index: start}
                left, right = dot.left.xreplace(first), dot.right.xreplace(first)
                return [self._inner_product(replace(dot, left=left, right=right), str(end - start))]
        index, stop = self.spell(dot.index), self.spell.end(dot.index)
        lower, upper = self._extreme(dot.lower, "gw_most"), self._extreme(dot.upper, "gw_least")
        inner = [
            f"const ptrdiff_t {index} = {lower}, {stop} = {upper};",
            f"if ({index} < {stop}) {{",
            f"{INDENT}{self._inner_product(dot, f'{stop} - {index}')}",
            "}",
        ]
        return ["{", *(INDENT + line for line in inner), "}"]

    def _inner_product(self, dot: Dot, count: str) -> str:
        """The sum of so many products, added to its place."""
        self.scalars.helpers.add("gw_dots")
        left, right = self.scalars.element(dot.left), self.scalars.element(dot.right)
        factor = "" if dot.factor == 1 else f"({self.scalars.value(dot.factor)}) * "
        return f"{self._place(dot.place)} += {factor}gw_dot(&{left}, &{right}, {count});"

    def _fold(self, fold: Fold) -> str:
        function = "gw_total" if fold.kind == "sum" else "gw_largest"
        self.scalars.helpers |= {function} | ({"gw_larger"} if fold.kind == "max" else set())
        call = f"{function}({self.spell(fold.lanes)}, {fold.count})"
        return f"const {C_TYPES[fold.dtype]} {self.spell(fold.symbol)} = {call};"

    def _choose(self, statement: Choose) -> list[str]:
        """One comparison a choice: GCC 12 makes branches, slow ones, of two joined in one."""
        best, place = self._place(statement.best), self._place(statement.place)
        real = C_TYPES[self.real]
        position = f"({self._kind(statement.place)})({self.scalars.index(statement.position)})"
        better = "!(term <= last)" if statement.certain else f"!(term <= last) | ({place} < 0)"
        return [
            f"const {real} last = {best}, term = {self.scalars.value(statement.value)};",
            f"const int better = {better};",
            f"const {real} larger = better ? term : last;",
            f"const {self._kind(statement.place)} found = better ? {position} : {place};",
            f"{best} = last != last ? last : larger;",
            f"{place} = last != last ? {place} : found;",
        ]
