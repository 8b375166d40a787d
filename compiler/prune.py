"""Leave out what nothing reads, merge what is said twice, and look through lines that only copy.

d_fc1_sum[n, j] = d_fc1[n, j]       readers read d_fc1
d_loss[] = 1                        readers read 1
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sympy import Expr

from ir.expression import Access, accesses, index_symbol, tensor_symbol
from ir.program import Definition, Program


def prune(program: Program) -> Program:
    """Only the definitions that a result needs."""
    by_name = program.by_name()
    needed: set[str] = set()
    stack = program.results()
    while stack:
        name = stack.pop()
        if name in by_name and name not in needed:
            needed.add(name)
            stack.extend(by_name[name].reads())
    return replace(program, definitions=tuple(d for d in program.definitions if d.name in needed))


def look_through(program: Program) -> Program:
    """Replace reads of constant and copying maps by what these stand for. Results keep a line."""
    stands: dict[str, Definition] = {}
    made = []
    for d in program.definitions:
        d = replace(
            d,
            body=_replaced(d.body, stands),
            where=tuple(_replaced(c, stands) for c in d.where),
            target=tuple(_replaced(e, stands) for e in d.target),
        )
        made.append(d)
        if d.reduce is None and d.scan is None and _only_copies(d):
            stands[d.name] = d
    return prune(replace(program, definitions=tuple(made)))


def _only_copies(d: Definition) -> bool:
    own = tuple(r.index for r in d.indices)
    if isinstance(d.body, Access):
        return d.body.indices == own and not d.body.is_integer
    return bool(d.body.is_number)


def _replaced(node: Any, stands: dict[str, Definition]) -> Any:
    if isinstance(node, Access):
        indices = tuple(_replaced(e, stands) for e in node.indices)
        home = stands.get(node.tensor)
        if home is None:
            return node if indices == node.indices else Access(node.args[0], *indices)
        return home.body.xreplace({r.index: e for r, e in zip(home.indices, indices, strict=True)})
    if not node.args or not any(a.tensor in stands for a in accesses(node)):
        return node
    return node.func(*(_replaced(a, stands) for a in node.args))


def merge(program: Program) -> Program:
    """Two definitions of the same value become one; the later reads the earlier."""
    first: dict[Any, str] = {}
    same: dict[str, str] = {}
    made = []
    kept = set(program.results())
    for d in program.definitions:
        d = _with_readings(d, same, program)
        key = _canonical(d)
        if d.scan is None and d.name not in kept and key in first:
            same[d.name] = first[key]
            continue
        first.setdefault(key, d.name)
        made.append(d)
    return replace(program, definitions=tuple(made))


def _with_readings(d: Definition, same: dict[str, str], program: Program) -> Definition:
    mapping = {
        a: Access(tensor_symbol(same[a.tensor], program.dtype_of(a.tensor)), *a.indices)
        for a in d.accesses()
        if a.tensor in same
    }
    if not mapping:
        return d
    return replace(
        d,
        body=d.body.xreplace(mapping),
        where=tuple(c.xreplace(mapping) for c in d.where),
        target=tuple(e.xreplace(mapping) for e in d.target),
    )


def _canonical(d: Definition) -> tuple[Any, ...]:
    """The definition with its variables numbered: equal for equal values."""
    mapping = {r.index: index_symbol(f"c{i}") for i, r in enumerate(d.variables)}
    body: Expr = d.body.xreplace(mapping)
    where = frozenset(c.xreplace(mapping) for c in d.where)
    target = tuple(e.xreplace(mapping) for e in d.target)
    sizes = tuple(r.size for r in d.indices), tuple(r.size for r in d.over)
    return (d.reduce, sizes, body, where, target, d.target_shape, d.scan, d.dtype, d.detached)
