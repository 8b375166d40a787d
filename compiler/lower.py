"""From a line of the surface language to definitions of the IR.

    y[n, j] = tanh(sum(x[n, k] * W[k, j], over=k) + b[j])
        y_sum[n, j] = sum over k < 784 of x[n, k]*W[k, j]
        y[n, j]     = tanh(y_sum[n, j] + b[j])

In this order: give every bound index a symbol of its own, infer the ranges, split nested
reductions, make out-of-bounds conditions explicit. Mistakes are reported on the user's line.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import sympy
from sympy import Expr, Symbol

from compiler.canonical import Scope, canonical
from ir.affine import linear
from ir.bounds import Doubt, doubts, integer_reads
from ir.errors import IndexLanguageError, Origin, RangeError, ShapeError
from ir.expression import (
    Access,
    Reduce,
    accesses,
    index_symbol,
    symbols_of,
    tensor_symbol,
    without_ite,
)
from ir.facts import Facts
from ir.program import Definition, DType, Range, Reduction, Scan, Shape, Size


@dataclass
class Context:
    """What lowering must know of the network around the line."""

    real: DType
    batch: Symbol | None
    shape_of: Callable[[str], Shape]
    fresh: Callable[[str], str]
    limits: dict[str, int]
    origin: Origin | None


@dataclass
class Line:
    """One line on its way down. `sizes` are known once `infer` has run."""

    name: str
    indices: tuple[Symbol, ...]
    body: Expr
    sizes: dict[Symbol, Size]
    scope: Scope
    context: Context
    made: list[Definition] = field(default_factory=list)

    def shape_of(self, name: str) -> Shape:
        """The shape of a tensor, the definitions just split from this line included."""
        own = next((d for d in self.made if d.name == name), None)
        return own.shape if own is not None else self.context.shape_of(name)


def read(name: str, indices: tuple[Symbol, ...], body: Expr, context: Context) -> Line:
    """The line in canonical form, with its own symbol for every index."""
    scope = Scope(context.batch, context.origin)
    own = tuple(scope.bind(i) for i in indices)
    if len(set(indices)) != len(indices):
        raise IndexLanguageError(
            f"{name}: an output index stands twice in ({', '.join(map(str, indices))})",
            at=context.origin,
        )
    return Line(name, own, without_ite(canonical(body, scope)), dict(scope.given), scope, context)


def infer(line: Line, unknown: frozenset[str] = frozenset()) -> None:
    """Give every index its size, from the accesses that use it alone.

    Tensors in `unknown` have no shape yet: those of an open recurrence.
    """
    origin: dict[Symbol, str] = {}
    for access in accesses(line.body):
        if access.tensor in unknown:
            continue
        shape = line.context.shape_of(access.tensor)
        if len(shape) != len(access.indices):
            raise ShapeError(
                f"{access} has {len(access.indices)} indices, {access.tensor} has "
                f"{len(shape)} dimensions",
                at=line.context.origin,
            )
        for index, size in zip(access.indices, shape, strict=True):
            _note_size(line, access, index, size, origin)
    _check_all_known(line)


def _note_size(
    line: Line, access: Access, index: Expr, size: Size, seen: dict[Symbol, str]
) -> None:
    symbol = linear(index).plain
    if symbol is None or symbol in line.scope.given or symbol == line.context.batch:
        return
    if line.sizes.setdefault(symbol, size) != size:
        raise RangeError(
            f"index {symbol} is used with two different sizes, {line.sizes[symbol]} and {size}",
            at=line.context.origin,
            notes=(f"{seen[symbol]} gives {line.sizes[symbol]}, {access} gives {size}",),
            fix="use two indices, or make the shapes agree",
        )
    seen.setdefault(symbol, str(access))


def _check_all_known(line: Line) -> None:
    bound = [
        v
        for node in sympy.preorder_traversal(line.body)
        if isinstance(node, Reduce)
        for v in node.over
    ]
    for symbol in (*line.indices, *bound):
        if symbol not in line.sizes:
            raise RangeError(
                f"the range of index {symbol} cannot be inferred",
                at=line.context.origin,
                notes=(f"no access uses {symbol} alone as an index",),
                fix=f'give it: {symbol} = gw.index("{symbol}", 10)',
            )


def split(line: Line) -> list[Definition]:
    """The definitions of the line, those of its nested reductions first."""
    body = line.body
    if isinstance(body, Reduce):
        line.made.append(_reduction(line, line.name, line.indices, body, line.indices))
    else:
        lowered = _without_reductions(line, body, line.indices)
        line.made.append(_map(line, lowered))
    return line.made


def _without_reductions(line: Line, node: Expr, order: tuple[Symbol, ...]) -> Expr:
    """The expression with every nested reduction replaced by an access to its own definition."""
    if isinstance(node, Reduce):
        free = symbols_of([node]) - set(node.over)
        indices = tuple(v for v in order if v in free)
        name = line.context.fresh(f"{line.name}_{node.kind}")
        made = _reduction(line, name, indices, node, order)
        line.made.append(made)
        return Access(tensor_symbol(name, made.dtype), *indices)
    if not node.args or not node.has(Reduce):
        return node
    return node.func(*(_without_reductions(line, a, order) for a in node.args))


def _reduction(
    line: Line, name: str, indices: tuple[Symbol, ...], node: Reduce, order: tuple[Symbol, ...]
) -> Definition:
    body = _without_reductions(line, node.body, order + node.over)
    kind: Reduction = "sum"
    if node.kind == "mean":
        body = body / sympy.Mul(*(sympy.sympify(line.sizes[v]) for v in node.over))
    else:
        kind = node.kind  # type: ignore[assignment]
        _check_batch_first(line, node)
    where = _conditions(line, body)
    made = Definition(
        name,
        "int32" if kind == "argmax" else line.context.real,
        _ranges(line, indices),
        body,
        kind,
        _ranges(line, node.over),
        where,
        origin=line.context.origin,
    )
    if kind == "argmax":
        _limit_argmax(line, made)
    return _with_plain_names(made)


def _check_batch_first(line: Line, node: Reduce) -> None:
    """The position of the largest term is row-major, and must be linear in the indices."""
    late = next((v for v in node.over[1:] if isinstance(line.sizes[v], Symbol)), None)
    if late is not None and node.kind in ("max", "argmax"):
        raise IndexLanguageError(
            f"{node.kind}() over {late}, which runs over the {line.sizes[late]}, "
            "must have it as its first index",
            at=line.context.origin,
            fix=f"write over=({late}, …)",
        )


def _limit_argmax(line: Line, made: Definition) -> None:
    count = 1
    for r in made.over:
        if isinstance(r.size, Symbol):
            return
        count *= r.size
    line.context.limits[made.name] = count


def _conditions(line: Line, body: Expr) -> tuple[Any, ...]:
    """What must hold for a reduction's accesses to be in bounds, where that is not certain."""
    found: dict[Any, None] = {}
    for doubt in _doubts(line, body):
        if doubt.inside_branch:
            raise _out_of_bounds(line, doubt)
        for condition in doubt.conditions():
            found.setdefault(condition)
    if any(c == sympy.false for c in found):
        raise RangeError(
            f"{line.name}: no term of the reduction is in bounds", at=line.context.origin
        )
    return tuple(c for c in found if c != sympy.true)


def _map(line: Line, body: Expr) -> Definition:
    for doubt in _doubts(line, body):
        raise _out_of_bounds(line, doubt)
    return Definition(
        line.name, line.context.real, _ranges(line, line.indices), body, origin=line.context.origin
    )


def _doubts(line: Line, body: Expr) -> list[Doubt]:
    _note_limits(line, body)
    facts = Facts(line.sizes, line.context.limits)
    return doubts(body, facts, line.shape_of)


def _note_limits(line: Line, body: Expr) -> None:
    """An integer tensor used alone as an index must hold values below that dimension's size."""
    for inner, outer, dimension in integer_reads(body):
        size = line.shape_of(outer.tensor)[dimension]
        if isinstance(size, int) and linear(outer.indices[dimension]) == linear(inner):
            limits = line.context.limits
            limits[inner.tensor] = min(size, limits.get(inner.tensor, size))


def _out_of_bounds(line: Line, doubt: Doubt) -> RangeError:
    index = doubt.access.indices[doubt.dimension]
    return RangeError(
        f"{doubt.access} may be out of bounds: {index} is not always in 0 … {doubt.size} - 1",
        at=line.context.origin,
        notes=("only a term of a reduction is left out where an access is out of bounds",),
        fix="guard the access with a Piecewise, or give the index a smaller range",
    )


def _ranges(line: Line, symbols: tuple[Symbol, ...]) -> tuple[Range, ...]:
    return tuple(Range(s, line.sizes[s]) for s in symbols)


def _with_plain_names(made: Definition) -> Definition:
    """Sibling reductions over `k` were told apart as k, k_2; alone, each may say k again."""
    names = {str(r.index) for r in made.variables}
    mapping = {}
    for r in made.over:
        plain = str(r.index).partition("__")[0]
        if plain != str(r.index) and plain not in names:
            mapping[r.index] = index_symbol(plain)
            names.add(plain)
    return made.renamed(mapping) if mapping else made


def grouped(
    lines: list[list[Definition]], group: str, index: str, downwards: bool
) -> list[Definition]:
    """The definitions of a recurrence: those outside its loop, then the group with its scan."""
    everything = [d for made in lines for d in made]
    inside = {made[-1].name for made in lines}
    changed = True
    while changed:
        more = {d.name for d in everything if inside.intersection(d.reads())}
        changed = not more <= inside
        inside |= more
    scan = Scan(group, index_symbol(index), downwards)
    outside = [d for d in everything if d.name not in inside]
    return outside + [replace(d, scan=scan) for d in everything if d.name in inside]
