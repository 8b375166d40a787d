"""How the operands of a contraction get into its tiles: from where they lie, or from a copy.

    direct   every offset is a sum of one for the row or column, one for the term, and the rest
    staged   the same in a copy with zeros around it: a term out of bounds reads a zero
    packed   a panel is filled for the tile, where a term is left out or no vector can be loaded

Lanes along the terms want both operands direct or staged: the copies are zero behind the last term.

A term out of bounds is a zero in the operand that is read there, so the partner is multiplied by
zero: one that is not finite shows in the sums of the border. A sum under any other condition is
left to the other schedules, for what a condition hides must not show.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

from sympy import Eq, Expr, Integer, Symbol
from sympy.logic.boolalg import And, Boolean

from compiler.loop_bounds import reduction_loops
from compiler.staging import Moving, staging
from ir.affine import Linear, linear, remainder
from ir.bounds import doubts
from ir.errors import IndexLanguageError
from ir.expression import Access, FloorDiv, Remainder, symbols_of, tensor_symbol
from ir.facts import Facts, inequalities
from ir.loops import LANE, SPAN, Operand, Staging, Store, Terms, stride_of
from ir.program import Definition, Program, Range, Size

BY_BLOCKS = 0.4  # cycles for an element of a panel that is filled by blocks
MOST_TURNED = 16  # lines of a copy that is turned: each is written here and there


@dataclass(frozen=True, slots=True)
class Layout:
    """An operand as the tile will read it; `copied` elements are staged for every plane.

    A panel is filled `by_blocks` where its rows or columns lie in memory as lines.
    """

    operand: Operand
    copied: int = 0
    by_blocks: bool = False

    @property
    def packed(self) -> bool:
        return bool(self.operand.packed)

    @property
    def staged(self) -> bool:
        return self.operand.staging is not None

    def cycles(self, depth: int, count: int) -> float:
        """What it takes to bring the terms of so many rows or columns once, roughly."""
        if self.packed:
            return depth * count * (BY_BLOCKS if self.by_blocks else 1.2)
        return self.copied * 0.5


@dataclass(frozen=True, slots=True)
class Site:
    """A contraction with the roles of its indices given."""

    member: Definition
    left: Access
    right: Access
    outer: tuple[Range, ...]
    rows: tuple[Range, ...]
    columns: tuple[Range, ...]
    terms: Terms
    facts: Facts
    program: Program


@dataclass(frozen=True, slots=True)
class Laid:
    """Both operands, and the elements of a run of columns for each step of the first of two."""

    left: Layout
    right: Layout
    pitch: int


@dataclass(frozen=True, slots=True)
class Side:
    """One operand while it is laid out: its own conditions, and its part of the plane."""

    site: Site
    name: str
    access: Access
    along: frozenset[Symbol]
    conditions: tuple[Boolean, ...]
    all_conditions: tuple[Boolean, ...]

    @property
    def fixed(self) -> frozenset[Symbol]:
        """The indices that stand still while a plane, or a block of it, is worked on."""
        return frozenset(r.index for r in (*self.site.outer, *self.site.terms.blocks))

    def doubtful(self, conditions: tuple[Boolean, ...]) -> bool:
        known = self.site.facts.assuming(conditions)
        return bool(list(doubts(self.access, known, self.site.program.shape_of)))


def lay_out(site: Site, lanes: int, close: float) -> Laid | None:
    """Both operands in the cheapest form that they allow; None if there is none."""
    sides = _sides(site)
    if sides is None:
        return None
    left, right = _left(sides[0]), _right(sides[1], lanes, close)
    if left is None or right is None:
        return None
    return Laid(left, right[0], right[1])


def lay_out_along(site: Site, along: Range) -> tuple[Layout, Layout] | None:
    """Both operands with unit stride along that index of the terms, one of them as it is at least.

    The site's own range of the index ends where the last vector does; `along` where its terms do.
    """
    sides = _sides(site)
    if sides is None or all(stride_of(s.access, along.index) != 1 for s in sides):
        return None
    left, right = (_along(side, along.index) for side in sides)
    if left is None or right is None:
        return None
    whole = int(along.size) % site.terms.lanes == 0
    return (left, right) if whole or any(_ends(side, along) for side in sides) else None


def _along(side: Side, index: Symbol) -> Layout | None:
    if not _separable(side):
        return None
    if stride_of(side.access, index) != 1:
        return _turned(side, index)
    if not side.conditions and not side.doubtful(()):
        return Layout(_split(side, side.access))
    return _staged(side)


def _turned(side: Side, index: Symbol) -> Layout | None:
    """A copy of a few lines in which they lie along the index, one behind the other."""
    place = _dimension(side, index)
    if place is None:
        return None
    found = _staged_access(side, last=place)
    if found is None or prod(found[1].shape) > MOST_TURNED * found[1].shape[-1]:
        return None
    return _layout_of(side, *found)


def _dimension(side: Side, index: Symbol) -> int | None:
    """The dimension that the index goes through in steps of one, if it is in no other."""
    steps = [linear(e).coefficient(index) for e in side.access.indices]
    return steps.index(1) if sorted(steps) == [*[0] * (len(steps) - 1), 1] else None


def _ends(side: Side, along: Range) -> bool:
    """Whether the tensor ends where the index does: its copy is zero in the lanes behind it."""
    place = _dimension(side, along.index)
    if place is None:
        return False
    size = side.site.program.shape_of(side.access.tensor)[place]
    low, _ = side.site.facts.bounds(linear(side.access.indices[place]).without(along.index))
    return isinstance(size, int) and low is not None and low + int(along.size) >= size


def _sides(site: Site) -> tuple[Side, Side] | None:
    """The conditions shared out: to the operand whose row or column they hold, or in need."""
    rows = frozenset(r.index for r in site.rows)
    columns = frozenset(r.index for r in site.columns)
    parts = [p for c in site.member.where for p in _parts(c)]
    symbols = [symbols_of([p]) for p in parts]
    if not all(_is_border(site, p) for p in parts):
        return None
    for_left = tuple(p for p, s in zip(parts, symbols, strict=True) if not s & columns)
    for_right = tuple(p for p, s in zip(parts, symbols, strict=True) if not s & rows)
    left = Side(site, "left", site.left, rows, (), for_left)
    right = Side(site, "right", site.right, columns, (), for_right)
    neither = [p for p, s in zip(parts, symbols, strict=True) if not s & (rows | columns)]
    to_right = right.doubtful(()) and not left.doubtful(())
    own_left = [p for p in for_left if p not in neither or not to_right]
    own_right = [p for p in for_right if p not in neither or to_right]
    return replace(left, conditions=tuple(own_left)), replace(right, conditions=tuple(own_right))


def _parts(condition: Boolean) -> list[Boolean]:
    if isinstance(condition, And):
        return [p for c in condition.args for p in _parts(c)]
    return [condition]


def _is_border(site: Site, condition: Boolean) -> bool:
    """Whether it says that an element is there; what any other leaves out, nobody may see."""
    within, divided = [], []
    for access in (site.left, site.right):
        for index, size in zip(
            access.indices, site.program.shape_of(access.tensor), strict=True
        ):
            form = linear(index)
            within += [form, linear(size) - form - 1]
            divided += [a.args for a in form.atoms if isinstance(a, FloorDiv)]
    rests = condition.atoms(Remainder)
    if rests:
        wanted = [Remainder(sign * value, by) for value, by in divided for sign in (1, -1)]
        whole = {remainder(linear(r.args[0]), int(r.args[1])) for r in wanted}
        return any(condition == Eq(r, 0) and linear(r) in whole for r in rests)
    known = replace(site.facts, known=(*site.facts.known, *within))
    asked = inequalities(condition)
    return bool(asked) and all(known.nonnegative(form) for form in asked)


def _left(side: Side) -> Layout | None:
    if _separable(side):
        if not side.conditions and not side.doubtful(()):
            return Layout(_split(side, side.access))
        if (staged := _staged(side)) is not None:
            return staged
    return _packed(side, row_major=True)


def _right(side: Side, lanes: int, close: float) -> tuple[Layout, int] | None:
    """The layout and the pitch. Vectors are loaded only where a run holds one at least."""
    columns = side.site.columns
    if _separable(side):
        found = None
        if not side.conditions and not side.doubtful(()):
            shape = side.site.program.shape_of(side.access.tensor)
            found = Layout(_split(side, side.access)), side.access, shape
        elif (staged := _staged_access(side)) is not None:
            found = _layout_of(side, *staged), staged[0], staged[1].shape
        if found is not None:
            layout, access, shape = found
            pitch = _pitch(access, shape, columns, close)
            if pitch is not None and _run(columns, pitch) >= lanes:
                return layout, pitch
    packed = _packed(side, row_major=False)
    pitch = int(columns[-1].size) if len(columns) > 1 else 0
    return None if packed is None else (packed, pitch)


def _run(columns: tuple[Range, ...], pitch: int) -> int:
    last = int(columns[-1].size)
    return (int(columns[0].size) - 1) * pitch + last if pitch else last


def _pitch(
    access: Access, shape: tuple[Size, ...], columns: tuple[Range, ...], close: float
) -> int | None:
    """0 for one column of unit stride, the row length for two that make a run; None: no vectors."""
    last = columns[-1]
    if stride_of(access, last.index) != 1:
        return None
    if len(columns) == 1:
        return 0
    first, width = columns[0].index, shape[-1]
    if len(shape) < 2 or not isinstance(width, int):
        return None
    if not close * width <= int(last.size) <= width:
        return None
    *others, above, below = (linear(e) for e in access.indices)
    if above.coefficient(first) != 1 or below.coefficient(first):
        return None
    return None if any(f.coefficient(first) for f in others) else width


# ---------------------------------------------------------------- direct


def _separable(side: Side) -> bool:
    """Whether every index is a linear form in index variables and sizes alone."""
    if side.site.program.dtype_of(side.access.tensor) != side.site.member.dtype:
        return False
    try:
        forms = [linear(e) for e in side.access.indices]
    except IndexLanguageError:
        return False
    return all(isinstance(a, Symbol) for f in forms for a in f.atoms)


def _split(side: Side, access: Access, staging: Staging | None = None) -> Operand:
    """The access as the sum of its three parts."""
    terms = side.site.terms
    forms = [linear(e) for e in access.xreplace(cut_of(terms)).indices]
    inner = frozenset(r.index for r in terms.inner)
    tensor = access.args[0]

    def part(keep: frozenset[Symbol]) -> Access:
        return Access(tensor, *(_only(f, keep).expr() for f in forms))

    rest = [f - _only(f, side.along) - _only(f, inner) for f in forms]
    place = Access(tensor, *(f.expr() for f in rest))
    return Operand(place, part(side.along), part(inner), staging)


def _only(form: Linear, keep: frozenset[Symbol]) -> Linear:
    return Linear(tuple((a, c) for a, c in form.terms if a in keep))


def cut_of(terms: Terms) -> dict[Expr, Expr]:
    """What stands for the index that is gone through in pieces."""
    found: dict[Expr, Expr] = {}
    if terms.cut is not None and terms.first is not None:
        found[terms.cut.index] = terms.first + terms.inner[0].index
    if terms.along is not None:
        found[terms.along] = terms.lanes * terms.inner[-1].index
    return found


# ---------------------------------------------------------------- staged


def _staged(side: Side) -> Layout | None:
    found = _staged_access(side)
    return None if found is None else _layout_of(side, *found)


def _layout_of(side: Side, access: Access, staging: Staging) -> Layout:
    blocks = [r.size for r in side.site.terms.blocks]
    times = prod(size for size in blocks if isinstance(size, int))
    return Layout(_split(side, access, staging), prod(staging.shape) * times)


def _staged_access(side: Side, last: int | None = None) -> tuple[Access, Staging] | None:
    """The same element in a copy that has zeros wherever an index can be out of bounds.

    The `last` of the tensor's dimensions is the last of the copy's.
    """
    shape = side.site.program.shape_of(side.access.tensor)
    forms = [linear(e) for e in side.access.indices]
    if not _only_bounds(side.conditions, forms, shape):
        return None
    moving: list[Moving] = []
    for dimension, form in enumerate(forms):
        fixed = Linear(tuple((a, c) for a, c in form.terms if _still(side, a)), form.const)
        rest = form - fixed
        if rest.is_constant:
            if not side.site.facts.within(form, shape[dimension]):
                return None
            continue
        low, high = side.site.facts.bounds(rest)
        if low is None or high is None or not isinstance(shape[dimension], int):
            return None
        moving.append(Moving(dimension, fixed + low, rest - low, high - low + 1))
    if not moving:
        return None
    moving.sort(key=lambda m: m.dimension == last)
    name = f"gw_{side.name}_copy"
    tensor = tensor_symbol(name, side.site.member.dtype)
    staged = Access(tensor, *(m.offset.expr() for m in moving))
    return staged, staging(tensor, side.access, moving, shape)


def _still(side: Side, atom: Expr) -> bool:
    plane = side.along | {r.index for r in side.site.member.over} - side.fixed
    return atom not in plane


def _only_bounds(
    conditions: tuple[Boolean, ...], forms: list[Linear], shape: tuple[Size, ...]
) -> bool:
    """Whether the conditions say no more than that the element is there."""
    said = [inequalities(c) for c in conditions]
    implied = set(forms) | {linear(s) - f - 1 for f, s in zip(forms, shape, strict=True)}
    return all(found and set(found) <= implied for found in said)


# ---------------------------------------------------------------- packed


def _packed(side: Side, *, row_major: bool) -> Layout | None:
    """Statements that copy the terms of one row or column, its conditions as bounds of loops."""
    conditions = side.all_conditions if side.doubtful(side.conditions) else side.conditions
    if side.doubtful(conditions):
        return None
    terms, member = side.site.terms, side.site.member
    cut = cut_of(terms)
    where = tuple(c.xreplace(cut) for c in conditions)
    if terms.cut is not None and terms.first is not None:
        where += (terms.first + terms.inner[0].index < terms.cut.size,)
    tensor = tensor_symbol(f"gw_{side.name}_panel", member.dtype)
    position = position_of(terms)
    at = LANE * terms.depth + position if row_major else position * SPAN + LANE
    store = Store(Access(tensor, at), side.access.xreplace(cut))
    sizes = {**side.site.facts.sizes, **{r.index: r.size for r in terms.inner}}
    facts = replace(side.site.facts, sizes=sizes)
    copy = reduction_loops(replace(member, over=terms.inner, where=where), facts, (store,))
    line = stride_of(side.access, terms.inner[-1].index) == 1 and not where
    operand = Operand(side.access, side.access, side.access, None, copy, bool(conditions))
    return Layout(operand, by_blocks=line and not row_major and terms.cut is None)


def position_of(terms: Terms) -> Expr:
    """The number of a term in its block."""
    position: Expr = Integer(0)
    for r in terms.inner:
        position = position * r.size + r.index
    return position
