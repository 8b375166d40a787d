"""The members of a kernel at one point of its space: locals in order, and then what is stored.

    total = 0;  for k: total += x[n, k]        a reduction, in a loop of its own
    y = exp(total)                             a map
    y_out[n] = y                               stores come last
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import sympy
from sympy import Expr, Integer, Symbol

from compiler import loop_bounds as bounds
from compiler.conditional_loads import hoisted
from compiler.inner_products import inner_products
from compiler.lanes import in_lanes
from compiler.scope import Scope, local, real_of
from ir.loops import Accumulate, Choose, Local, Place, Statement, Store
from ir.program import Definition


def epilogue(scope: Scope, sums: Mapping[str, Expr]) -> list[Statement]:
    """The members at one point, those in `sums` already summed; then what is stored.

    Stores come last, so that a member may read the old value of what another replaces.
    """
    body: list[Statement] = []
    stores: list[Statement] = []
    at: dict[str, Place] = {}
    positions = {largest: found for found, largest in chosen_with_maximum(scope.members).items()}
    for member in scope.members:
        value = local(member.name, member.dtype)
        if member.name in sums:
            total = sums[member.name].xreplace(scope.places(at))
            body.append(Local(value, member.dtype, total))
        elif member.name in positions:
            body += _maximum(scope, positions[member.name], value, at)
        elif member.name not in at:
            body += _member(scope, member, value, scope.places(at))
        at[member.name] = value
        if member.name in scope.kernel.stored:
            stores.append(Store(scope.stored_at(member), value))
    return body + stores


def with_terms_written(scope: Scope, member: Definition, count: int) -> list[Statement]:
    """The members at one point where one of them is a sum of so many terms, written out."""
    (row,) = member.over
    terms = [member.body.xreplace({row.index: Integer(number)}) for number in range(count)]
    total = replace(member, reduce=None, over=(), body=sympy.Add(*terms))
    members = tuple(total if m == member else m for m in scope.members)
    return epilogue(replace(scope, members=members), {})


def _member(
    scope: Scope, member: Definition, value: Symbol, known: dict[Expr, Expr]
) -> list[Statement]:
    """One member as a local: a map in one statement, a reduction in a loop."""
    here = bounds.substituted(member, known)
    loads, body = hoisted(here.body, scope.facts(here), scope.program, member.name)
    if member.reduce is None:
        return [*loads, Local(value, member.dtype, body)]
    if member.reduce == "argmax":
        return _argmax(scope, here, value)
    kind, start = kind_of(member)
    inner: tuple[Statement, ...] = (*loads, Accumulate(value, kind, body))
    loops = bounds.reduction_loops(here, scope.facts(here), inner)
    if member.dtype.startswith("float"):
        return list(in_lanes(value, member.dtype, start, inner_products(loops)))
    return [Local(value, member.dtype, start, changes=True), *loops]


def _maximum(
    scope: Scope, name: str, largest: Symbol, at: dict[str, Place]
) -> list[Statement]:
    """A maximum, and on the way to it the position that the member `name` is."""
    member = next(m for m in scope.members if m.name == name)
    here = bounds.substituted(member, scope.places(at))
    at[name] = place = local(name, member.dtype)
    return _argmax(scope, here, place, largest)


def chosen_with_maximum(members: tuple[Definition, ...]) -> dict[str, str]:
    """The maximum that each argmax finds on its way, where it is a member too."""
    found = {}
    for member in members:
        for other in members:
            same = (other.body, other.over, other.where) == (member.body, member.over, member.where)
            if member.reduce == "argmax" and other.reduce == "max" and same:
                found[member.name] = other.name
    return found


def kind_of(member: Definition) -> tuple[Literal["sum", "max"], Expr]:
    """How the terms are joined, and what they start from."""
    return ("max", -sympy.oo) if member.reduce == "max" else ("sum", Integer(0))


def _argmax(
    scope: Scope, member: Definition, place: Symbol, largest: Symbol | None = None
) -> list[Statement]:
    """The flat position of the first largest term, and that term if it has a name."""
    best = largest or Symbol(f"{member.name}_best", real=True)
    inner: tuple[Statement, ...] = (choice(member, best, place),)
    chosen = [
        Local(best, real_of(scope.program), -sympy.oo, changes=True),
        Local(place, member.dtype, nowhere(member), changes=True),
        *bounds.reduction_loops(member, scope.facts(member), inner),
    ]
    return chosen if not member.where else [*chosen, Store(place, somewhere(place))]


def choice(member: Definition, best: Place, place: Place) -> Choose:
    position: Expr = Integer(0)
    for r in member.over:
        position = position * r.size + r.index
    return Choose(best, place, member.body, position, certain=not member.where)


def nowhere(member: Definition) -> Integer:
    """The position before any term: under conditions there may be none."""
    return Integer(-1 if member.where else 0)


def somewhere(place: Place) -> Expr:
    return sympy.Piecewise((Integer(0), place < 0), (place, True))
