"""The verifier: a table of named invariants, checked after every pass. Valid IR in, valid IR out.

A violation is a `VerifyError` that names the pass, the invariant and the definition: a defect of
gradwright, never the user's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache

import sympy
from sympy import Expr
from sympy.logic.boolalg import Boolean

from ir.affine import linear
from ir.bounds import Doubt, doubts
from ir.errors import GradwrightError, VerifyError
from ir.expression import Access, Index, Reduce, symbols_of
from ir.facts import Facts
from ir.names import check_name
from ir.program import Definition, Program, Range, Shape


def verify(program: Program, after: str) -> Program:
    """The program itself, or a VerifyError naming the broken invariant."""
    for name, holds in INVARIANTS.items():
        for complaint in holds(program):
            raise VerifyError(f"after {after}: {name}: {complaint}", at=program.origin)
    return program


def _names(program: Program) -> Iterator[str]:
    seen: set[str] = set(program.tensors())
    for d in program.definitions:
        if d.name in seen:
            yield f"{d.name} is defined twice"
        seen.add(d.name)
        try:
            check_name(d.name, "definition")
        except GradwrightError as error:
            yield error.what


def _order(program: Program) -> Iterator[str]:
    """Everything is defined before it is read; only a recurrence reads ahead in its own group."""
    known = set(program.tensors())
    groups: dict[str, set[str]] = {}
    for d in program.definitions:
        if d.scan is not None:
            groups.setdefault(d.scan.group, set()).add(d.name)
    for d in program.definitions:
        group = groups[d.scan.group] if d.scan is not None else ()
        for name in d.reads():
            if name not in known and name not in group:
                yield f"{d.name} reads {name} before it is defined"
        known.add(d.name)


def _ranks(program: Program) -> Iterator[str]:
    for d in program.definitions:
        for access in d.accesses():
            if len(access.indices) != len(program.shape_of(access.tensor)):
                yield f"{d.name}: {access} has the wrong number of indices"


def _closed(program: Program) -> Iterator[str]:
    """The only free symbols of a line are its own indices and the batch."""
    batch = {program.batch.symbol} if program.batch else set()
    for d in program.definitions:
        free = symbols_of([d.body, *d.where, *d.target]) - set(d.ranges) - batch
        if free:
            yield f"{d.name} has free symbols {sorted(map(str, free))}"
        if len(d.ranges) != len(d.variables):
            yield f"{d.name} uses an index twice"


def _language(program: Program) -> Iterator[str]:
    for d in program.definitions:
        for complaint in _foreign(d.body):
            yield f"{d.name} holds {complaint}"


@lru_cache(maxsize=65536)
def _foreign(body: Expr) -> tuple[str, ...]:
    """What a body holds that is no part of the language; most bodies outlive a pass as they are."""
    found = []
    for node in sympy.preorder_traversal(body):
        if isinstance(node, (Reduce, Index, sympy.floor, sympy.Mod, sympy.Max, sympy.Min)):
            found.append(f"{type(node).__name__}, which the IR does not have")
        if isinstance(node, sympy.Piecewise) and node.args[-1][1] != sympy.true:
            found.append("a choice that leaves a case out")
        if node is sympy.nan or node is sympy.zoo:
            found.append(str(node))
        if isinstance(node, Access):
            for e in node.indices:
                linear(e)
    return tuple(found)


def _forms(program: Program) -> Iterator[str]:
    for d in program.definitions:
        if (d.reduce in ("sum", "max", "argmax")) != bool(d.over):
            yield f"{d.name}: a reduction has indices to reduce over, and nothing else has"
        if d.reduce is None and d.where:
            yield f"{d.name}: a map has no terms to leave out"
        if (d.reduce == "scatter") != bool(d.target):
            yield f"{d.name}: a scatter has a target, and nothing else has"


def _bounds(program: Program) -> Iterator[str]:
    largest = program.batch.maximum if program.batch else None
    for d in program.definitions:
        known = tuple(
            (name, program.shape_of(name), program.limits.get(name))
            for name in (d.name, *d.reads())
        )
        exprs = (d.body, *d.target, d.access())
        for doubt in _in_doubt(exprs, d.where, d.variables, known, largest):
            yield f"{d.name}: {doubt.access} may be out of bounds in dimension {doubt.dimension}"


@lru_cache(maxsize=16384)
def _in_doubt(
    exprs: tuple[Expr, ...],
    where: tuple[Boolean, ...],
    variables: tuple[Range, ...],
    known: tuple[tuple[str, Shape, int | None], ...],
    largest: int | None,
) -> tuple[Doubt, ...]:
    """The doubts of a line, from all that decides them: most lines outlive a pass as they are."""
    limits = {name: limit for name, _, limit in known if limit is not None}
    facts = Facts({r.index: r.size for r in variables}, limits, largest).assuming(where)
    shapes = {name: shape for name, shape, _ in known}
    return tuple(doubts(sympy.Tuple(*exprs), facts, shapes.__getitem__))


def _scans(program: Program) -> Iterator[str]:
    """A recurrence's lines stand together, carry its index, read one another at earlier steps."""
    finished: set[str] = set()
    previous: str | None = None
    for d in program.definitions:
        group = d.scan.group if d.scan else None
        if group != previous and previous is not None:
            finished.add(previous)
        if group in finished:
            yield f"recurrence {group} is in two parts"
        previous = group
        if d.scan is not None:
            yield from _scan_reads(program, d)


def _scan_reads(program: Program, d: Definition) -> Iterator[str]:
    assert d.scan is not None
    members = {g.name: g for g in program.definitions if g.scan and g.scan.group == d.scan.group}
    order = list(members)
    if d.scan.index not in {r.index for r in d.indices}:
        yield f"{d.name} lacks its recurrence index {d.scan.index}"
        return
    for access in d.accesses():
        home = members.get(access.tensor)
        if home is None or home.scan is None:
            continue
        axis = [r.index for r in home.indices].index(home.scan.index)
        lag = linear(access.indices[axis]) - linear(d.scan.index)
        ahead = -lag.const if d.scan.downwards else lag.const
        earlier = order.index(home.name) < order.index(d.name)
        if not lag.is_constant or ahead > 0 or (ahead == 0 and not earlier):
            yield f"{d.name} reads {access}, which its recurrence has not reached"


def _results(program: Program) -> Iterator[str]:
    known = program.by_name()
    for name in program.results():
        if name not in known:
            yield f"result {name} is not defined"
    for tensor, name in (*program.gradients, *program.updates):
        if tensor in program.tensors() and program.shape_of(tensor) != known[name].shape:
            yield f"{name} has not the shape of {tensor}"


INVARIANTS: dict[str, Callable[[Program], Iterator[str]]] = {
    "names are unique and allowed": _names,
    "definitions precede their readers": _order,
    "indices fit dimensions": _ranks,
    "no free symbols": _closed,
    "only the IR's language": _language,
    "forms are whole": _forms,
    "accesses are in bounds": _bounds,
    "recurrences look back": _scans,
    "results exist": _results,
}
