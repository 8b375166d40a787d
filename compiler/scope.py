"""A kernel while its nest is made: members with their buffers named, loops over its space."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import sympy
from sympy import Expr, Integer, Symbol

from compiler import loop_bounds as bounds
from ir.expression import Access, accesses, tensor_symbol
from ir.facts import Facts
from ir.kernel import Kernel
from ir.loops import For, Place, Statement
from ir.program import Definition, DType, Program, Range


@dataclass(frozen=True, slots=True)
class Scope:
    """A kernel with its buffers named: accesses of updates already point to what they replace."""

    kernel: Kernel
    program: Program
    members: tuple[Definition, ...]
    homes: dict[str, str]
    rows: Symbol | None
    threads: int = 1
    moved: dict[Expr, Expr] = field(default_factory=dict)

    @staticmethod
    def of(kernel: Kernel, program: Program, threads: int = 1) -> Scope:
        homes = {definition: tensor for tensor, definition in reversed(program.updates)}
        homes |= dict(kernel.replaces)
        members = tuple(_with_homes(m, kernel, homes) for m in kernel.members)
        rows = program.batch.symbol if program.batch else None
        return Scope(kernel, program, members, homes, rows, threads)

    def facts(self, member: Definition) -> Facts:
        batch = self.program.batch
        return Facts(member.ranges, self.program.limits, batch.maximum if batch else None)

    @property
    def largest(self) -> int:
        return self.program.largest_batch

    def stored_at(self, member: Definition) -> Access:
        """The element of the buffer that the member writes."""
        access = member.access()
        name = self.homes.get(member.name, member.name)
        indices = (i.xreplace(self.moved) for i in access.indices)
        return Access(tensor_symbol(name, member.dtype), *indices)

    def part(self, index: Symbol, first: int, size: int) -> Scope:
        """The kernel over `size` steps of an index from `first` on, counted from 0 again."""
        moved = {index: index + first}
        back = {m.access().xreplace(moved): m.access() for m in self.members}
        here = {r: Range(index, size) for r in self.kernel.space if r.index == index}
        space = tuple(here.get(r, r) for r in self.kernel.space)
        members = tuple(
            replace(
                m,
                indices=tuple(here.get(r, r) for r in m.indices),
                body=m.body.xreplace(moved).xreplace(back),
                where=tuple(c.xreplace(moved) for c in m.where),
            )
            for m in self.members
        )
        kernel = replace(self.kernel, space=space)
        return replace(self, kernel=kernel, members=members, moved=moved)

    def places(self, at: dict[str, Place]) -> dict[Expr, Expr]:
        """What stands for the accesses of members at their own point."""
        return {m.access(): at[m.name] for m in self.members if m.name in at}


def _with_homes(member: Definition, kernel: Kernel, homes: dict[str, str]) -> Definition:
    """The member with reads of replaced tensors' new values spelled as reads of their memory."""
    own = {m.access() for m in kernel.members}
    moved = {
        a: Access(tensor_symbol(homes[a.tensor], member.dtype), *a.indices)
        for a in accesses(sympy.Tuple(member.body, *member.where))
        if a.tensor in homes and a not in own
    }
    return bounds.substituted(member, moved) if moved else member


def local(name: str, dtype: str) -> Symbol:
    """The scalar that holds a member's value at the point."""
    return Symbol(name, integer=True) if dtype.startswith("int") else Symbol(name, real=True)


def nested(ranges: tuple[Range, ...], body: tuple[Statement, ...]) -> tuple[Statement, ...]:
    """The body inside one loop for every range, the first outermost."""
    for r in reversed(ranges):
        body = (For(r.index, (Integer(0),), (sympy.sympify(r.size),), body),)
    return body


def real_of(program: Program) -> DType:
    """The floating type of the program."""
    kinds = [d.dtype for d in program.definitions] + [t.dtype for t in program.tensors().values()]
    return next((k for k in kinds if k.startswith("float")), "float32")
