"""Fusion: from definitions to kernels.

    fc1_sum[n, j] = sum over k …        one kernel over n, j: the sum, then bias and relu
    fc1[n, j] = fc1_sum[n, j] + b[j]    on each element while it is in a register
    h[n, j] = 0 if fc1[n, j] <= 0 …

A definition joins the last kernel it reads from that has its space, and whose members it reads at
its own point only. A maximum and its argmax share their loop. An update joins its gradient's kernel
when every other reader of the old value can run before; the kernels are then put in an order in
which it does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import sympy
from sympy import Symbol

from compiler.in_order import in_order
from ir.expression import accesses, symbols_of
from ir.kernel import Kernel, Loop, Step
from ir.names import fresh, identifier
from ir.program import Definition, Program, Range


@dataclass
class _Group:
    """A kernel in the making."""

    space: tuple[Range, ...]
    members: list[Definition]
    position: int

    @property
    def scan(self) -> str | None:
        scan = self.members[0].scan
        return scan.group if scan else None


@dataclass
class _Fusion:
    """The kernels so far.

    `sources` are those that each kernel reads from, `readers` those that read each tensor. While
    they are `as_written`, none waits for a later one.
    """

    program: Program
    groups: list[_Group] = field(default_factory=list)
    home: dict[str, _Group] = field(default_factory=dict)
    twins: dict[Any, _Group] = field(default_factory=dict)
    sources: list[set[int]] = field(default_factory=list)
    readers: dict[str, set[int]] = field(default_factory=dict)
    as_written: bool = True


def fuse(program: Program) -> tuple[Step, ...]:
    """The kernels of a program, in an order in which they can run."""
    fusion = _Fusion(program)
    updates = {name for _, name in program.updates}
    for d in program.definitions:
        group = _partner(fusion, d, updates)
        if group is None:
            group = _Group(_space(d), [], len(fusion.groups))
            fusion.groups.append(group)
            fusion.sources.append(set())
        else:
            d = d.renamed(_names(d, group))
        _join(fusion, d, group)
    order = _ordered(fusion, _waits(fusion))
    assert order is not None, "an update was let in where it cannot wait"
    return _steps(fusion, order)


def _join(fusion: _Fusion, d: Definition, group: _Group) -> None:
    group.members.append(d)
    fusion.home[d.name] = group
    if d.reduce is not None:
        fusion.twins.setdefault(_terms(d), group)
    homes = _homes(fusion, d)
    fusion.sources[group.position] |= homes
    fusion.as_written &= d.scan is None and max(homes, default=0) <= group.position
    for name in d.reads():
        fusion.readers.setdefault(name, set()).add(group.position)


def _homes(fusion: _Fusion, d: Definition) -> set[int]:
    """The kernels that the definition reads from."""
    return {fusion.home[name].position for name in d.reads() if name in fusion.home}


def _space(d: Definition) -> tuple[Range, ...]:
    return tuple(r for r in d.indices if d.scan is None or r.index != d.scan.index)


def _names(d: Definition, group: _Group) -> dict[Symbol, Symbol]:
    """From the definition's output indices to the group's; its others, out of their way."""
    mapping = {
        mine.index: theirs.index for mine, theirs in zip(_space(d), group.space, strict=True)
    }
    taken = {str(v) for v in mapping.values()} | ({str(d.scan.index)} if d.scan else set())
    for r in d.over:
        if str(r.index) in taken:
            mapping[r.index] = sympy.Symbol(
                fresh(f"{r.index}_2", taken), integer=True, nonnegative=True
            )
        taken.add(str(r.index))
    return {a: b for a, b in mapping.items() if a != b}


def _partner(fusion: _Fusion, d: Definition, updates: set[str]) -> _Group | None:
    """The kernel that the definition can join."""
    if d.reduce == "scatter":
        return None
    if d.reduce is not None:
        twin = fusion.twins.get(_terms(d))
        if twin is not None or _is_contraction(d):
            return twin
    for rank, position in enumerate(sorted(_homes(fusion, d), reverse=True)):
        group = fusion.groups[position]
        if group.members[0].reduce == "scatter" or not _fits(d, group):
            continue
        if _reads_later(fusion, d, group):
            continue
        last = rank == 0 and fusion.as_written and d.name not in updates
        if last or _order_is_left(fusion, d, group):
            return group
    return None


def _terms(d: Definition) -> Any:
    """What a reduction goes over: a maximum and its argmax have the very same terms."""
    return d.indices, d.over, d.where, d.body, d.scan


def _is_contraction(d: Definition) -> bool:
    """A sum of a product of two or more factors that vary: it gets a loop nest of its own."""
    over = {r.index for r in d.over}
    factors = [
        f for f in sympy.Mul.make_args(d.body) if any(symbols_of([a]) & over for a in accesses(f))
    ]
    return d.reduce == "sum" and len(factors) > 1


def _fits(d: Definition, group: _Group) -> bool:
    """Same sizes, same recurrence, and members read at the definition's own point only."""
    if (d.scan.group if d.scan else None) != group.scan:
        return False
    if [r.size for r in d.indices] != [r.size for r in group.members[0].indices]:
        return False
    members = {m.name: m for m in group.members}
    own = tuple(r.index for r in d.indices)
    return all(a.tensor not in members or a.indices == own for a in d.accesses())


def _reads_later(fusion: _Fusion, d: Definition, group: _Group) -> bool:
    """Whether it reads, at its own step, what a later kernel of its recurrence works out.

    The kernels of a recurrence run in every step in the order in which they were begun.
    """
    if d.scan is None:
        return False
    for a in d.accesses():
        home = fusion.home.get(a.tensor)
        if home is not None and home.scan == group.scan and home.position > group.position:
            read = next(m for m in home.members if m.name == a.tensor)
            axis = [r.index for r in read.indices].index(d.scan.index)
            if a.indices[axis] == d.scan.index:
                return True
    return False


def _order_is_left(fusion: _Fusion, d: Definition, group: _Group) -> bool:
    """Whether the kernels can still be put in order when the definition joins this one.

    All else that it reads must come before; and of an update, all readers of what it replaces. Two
    updates cannot both ride with gradients that read the other tensor: dx reads w, dw reads x.
    """
    target = next((t for t, name in fusion.program.updates if name == d.name), None)
    if any(a.tensor == target for m in group.members for a in accesses(m.body)):
        return False
    return _ordered(fusion, _waits(fusion, d, group)) is not None


def _ordered(fusion: _Fusion, waits: dict[int, set[int]]) -> list[_Group] | None:
    """Kernels after all they wait for, otherwise as written; None where that is a circle."""
    order = in_order(waits)
    return None if order is None else [fusion.groups[position] for position in order]


def _waits(
    fusion: _Fusion, joining: Definition | None = None, group: _Group | None = None
) -> dict[int, set[int]]:
    """For each kernel those it reads from, and the readers of what it replaces.

    It can be asked what they would be with one more definition joining a kernel.
    """
    before = {p: set(found) for p, found in enumerate(fusion.sources)}
    home = {name: g.position for name, g in fusion.home.items()}
    readers = fusion.readers
    if joining is not None and group is not None:
        before[group.position] |= _homes(fusion, joining)
        home[joining.name] = group.position
        more = {n: readers.get(n, set()) | {group.position} for n in joining.reads()}
        readers = {**readers, **more}
    for target, name in fusion.program.updates:
        if name in home:
            before[home[name]] |= readers.get(target, set())
    _bind_recurrences(fusion, before)
    return before


def _bind_recurrences(fusion: _Fusion, before: dict[int, set[int]]) -> None:
    """The kernels of one recurrence stay together: they wait, and are waited for, as one."""
    for name in {g.scan for g in fusion.groups if g.scan}:
        inside = [g.position for g in fusion.groups if g.scan == name]
        outside = {b for p in inside for b in before[p]} - set(inside)
        for count, p in enumerate(inside):
            before[p] = outside | set(inside[:count])
        for p in set(before) - set(inside):
            if before[p] & set(inside):
                before[p] |= set(inside)


def _steps(fusion: _Fusion, groups: list[_Group]) -> tuple[Step, ...]:
    names: set[str] = set()
    stored = _stored(fusion)
    steps: list[Step] = []
    open_loop: list[Kernel] = []
    for position, group in enumerate(groups):
        kernel = Kernel(
            fresh(_kernel_name(group), names),
            group.space,
            tuple(group.members),
            tuple(m.name for m in group.members if m.name in stored),
        )
        scan = group.members[0].scan
        if scan is None:
            steps.append(kernel)
            continue
        open_loop.append(kernel)
        following = groups[position + 1].scan if position + 1 < len(groups) else None
        if following != scan.group:
            size = group.members[0].ranges[scan.index]
            steps.append(Loop(scan.group, scan.index, size, scan.downwards, tuple(open_loop)))
            open_loop = []
    return tuple(steps)


def _kernel_name(group: _Group) -> str:
    """The user's name: `fc1` for fc1_sum with its bias, `d_fc1_W` for a gradient and its update."""
    first = group.members[0].name
    parents = [m.name for m in group.members if first.startswith(f"{m.name}_") and m.name != first]
    return identifier(max(parents, key=len) if parents else first)


def _stored(fusion: _Fusion) -> set[str]:
    """What must be in memory: results, and what is read by another kernel or at another point."""
    found = set(fusion.program.results())
    for group in fusion.groups:
        members = {m.name: m for m in group.members}
        found |= {m.name for m in group.members if m.reduce == "scatter"}
        for m in group.members:
            for a in m.accesses():
                home = members.get(a.tensor)
                if home is None or a != home.access():
                    found.add(a.tensor)
    return found
