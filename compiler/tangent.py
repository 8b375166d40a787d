"""Forward mode: the tangent of every line, in the order of the lines.

    t_T[i…] = reduce over r… of (sum over accesses A[e] of (∂body/∂A[e]) * t_A[e])

    forward = gw.jvp(regression, wrt="W")
        inputs: those of regression, and t_W of W's shape
        outputs: those of regression, loss_value, and t_NAME of each

The local derivatives are those of reverse mode (SymPy's); the deltas are trivial, since a tangent
stands where its tensor stands. The tangent of a maximum is that of the term at its stored argmax.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import sympy
from sympy import Expr

from compiler.local_derivative import local_derivatives
from ir.errors import DifferentiationError
from ir.expression import Access, tensor_symbol
from ir.names import fresh, identifier
from ir.program import Definition, Program, Tensor


@dataclass
class _Forward:
    program: Program
    names: set[str]
    tangents: dict[str, str]
    made: list[Definition]


def tangents(program: Program, wrt: Sequence[str]) -> Program:
    """The program with a tangent input for each name in `wrt`, and the tangents of its results."""
    owned = program.tensors()
    for name in wrt:
        if name not in owned:
            raise DifferentiationError(
                f"{program.name} has no input or parameter {name!r}",
                at=program.origin,
                notes=(f"it has {', '.join(owned)}",),
            )
    walk = _Forward(program, {*owned, *program.by_name()}, {}, [])
    inputs = tuple(_tangent_input(walk, owned[name]) for name in wrt)
    blocks: dict[str, list[Definition]] = {}
    for d in program.definitions:
        blocks.setdefault(d.scan.group if d.scan else d.name, []).append(d)
    for block in blocks.values():
        _block(walk, block)
    results = [*program.outputs] + ([("loss_value", program.loss)] if program.loss else [])
    moved = [(f"t_{public}", walk.tangents[n]) for public, n in results if n in walk.tangents]
    if not moved:
        raise DifferentiationError(f"no result of {program.name} depends on {', '.join(wrt)}")
    return replace(
        program,
        inputs=program.inputs + inputs,
        definitions=tuple(walk.made),
        outputs=(*results, *moved),
        loss=None,
    )


def _tangent_input(walk: _Forward, tensor: Tensor) -> Tensor:
    walk.tangents[tensor.name] = fresh(f"t_{identifier(tensor.name)}", walk.names)
    return Tensor(walk.tangents[tensor.name], tensor.shape, tensor.dtype, "input", tensor.origin)


def _block(walk: _Forward, block: list[Definition]) -> None:
    """The lines of one definition or recurrence, then their tangents: a recurrence too."""
    walk.made.extend(block)
    moving = [d for d in block if d.reduce != "argmax" and not d.detached]
    for d in moving:
        walk.tangents[d.name] = fresh(f"t_{d.name}", walk.names)
    later: list[Definition] = []
    for d in moving:
        tangent = _tangent(walk, d)
        if tangent is None:
            del walk.tangents[d.name]
        else:
            later.append(tangent)
    walk.made.extend(later)


def _tangent(walk: _Forward, d: Definition) -> Definition | None:
    terms: list[Expr] = []
    for access, local in local_derivatives(d.body):
        name = walk.tangents.get(access.tensor)
        if name is not None and local != 0:
            terms.append(local * Access(tensor_symbol(name, d.dtype), *access.indices))
    if not terms:
        return None
    where, reduce = d.where, d.reduce
    if d.reduce == "max":
        where, reduce = (*d.where, _at_argmax(walk, d)), "sum"
    scan = d.scan and replace(d.scan, group=f"t_{d.scan.group}")
    return replace(
        d,
        name=walk.tangents[d.name],
        body=sympy.Add(*terms),
        reduce=reduce,
        where=where,
        scan=scan,
        note=f"tangent of {d.name}",
    )


def _at_argmax(walk: _Forward, d: Definition) -> sympy.Eq:
    argmax = replace(d, name=fresh(f"{d.name}_argmax", walk.names), dtype="int32", reduce="argmax")
    walk.made.append(argmax)
    return sympy.Eq(argmax.access(), d.position())
