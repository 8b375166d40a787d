"""Reverse-mode differentiation of index notation, by the chain rule and Kronecker deltas alone.

For each access A[e(V)] in the body of T, over all its index variables V:

    dA[a…] += sum over V of dT[i…] * (∂body/∂access) * δ(a1, e1(V)) * … * δ(am, em(V))

SymPy differentiates the scalar body (`compiler/local_derivative.py`), `compiler/deltas.py` solves
the deltas, `compiler/chain.py` makes one contribution of them and `compiler/adjoints.py` the sum of
all. This file is the walk: last definition first, each after everything that reads it. There is no
rule for any operation here, nor anywhere else.

A recurrence's adjoints form a recurrence of their own, along the same index the other way. Second
derivatives come from differentiating the result again (`compiler/grad.py`), not from here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

import sympy

from compiler.adjoints import assemble
from compiler.chain import Link, Walk, link_of
from compiler.local_derivative import local_derivatives
from compiler.outputs import through_output
from ir.errors import DifferentiationError, bounded_depth
from ir.expression import value_accesses
from ir.names import fresh
from ir.program import Definition, Program, Scan


@dataclass
class Gradients:
    """The program with its adjoints, and the links of the chain in the order they were made."""

    program: Program
    links: list[Link]


def differentiate(program: Program, wrt: tuple[str, ...] | None = None) -> Gradients:
    """Append the adjoints of the loss; `gradients` gives that of each name in `wrt`.

    By default these are the parameters that train. Raises DifferentiationError if there is no loss,
    or if it does not depend on one of them.
    """
    if program.loss is None:
        raise DifferentiationError(
            f"{program.name} has no loss", at=program.origin, fix="return gw.outputs(loss=…)"
        )
    names = wrt if wrt is not None else tuple(t.name for t in program.parameters if t.trainable)
    walk = _prepare(program, names)
    _seed(walk, program.loss)
    for block in reversed(_blocks(program)):
        _block(walk, block)
    for name in names:
        if name not in walk.adjoint:
            assemble(walk, name, None)
    return Gradients(_finished(walk, names), walk.links)


def _prepare(program: Program, names: tuple[str, ...]) -> Walk:
    everything = [*program.tensors(), *(d.name for d in program.definitions)]
    shapes = {n: program.shape_of(n) for n in everything}
    for name in names:
        if name not in shapes:
            raise DifferentiationError(
                f"{program.name} has no tensor {name!r}",
                at=program.origin,
                notes=(f"it has {', '.join(everything)}",),
            )
    needed = set(names)
    changed = True
    while changed:
        more = {
            d.name
            for d in program.definitions
            if not d.detached and d.reduce != "argmax" and needed.intersection(_value_reads(d))
        }
        changed = not more <= needed
        needed |= more
    return Walk(program, frozenset(names), shapes, dict(program.limits), set(everything), needed)


def _value_reads(definition: Definition) -> list[str]:
    return [a.tensor for a in value_accesses(definition.body)]


def _blocks(program: Program) -> list[list[Definition]]:
    """Definitions one by one, those of a recurrence together."""
    blocks: list[list[Definition]] = []
    for d in program.definitions:
        if blocks and d.scan and blocks[-1][0].scan and d.scan.group == blocks[-1][0].scan.group:
            blocks[-1].append(d)
        else:
            blocks.append([d])
    return blocks


def _seed(walk: Walk, loss: str) -> None:
    if loss not in walk.needed:
        missing = ", ".join(sorted(walk.wanted))
        raise DifferentiationError(
            f"the loss of {walk.program.name} depends on none of: {missing or 'no parameters'}",
            at=walk.program.definition(loss).origin,
        )
    walk.terms[loss] = [
        Link(
            loss,
            walk.program.definition(loss),
            walk.program.definition(loss).access(),
            sympy.S.One,
            (),
            None,
            None,
            sympy.S.One,
        )
    ]


def _block(walk: Walk, block: list[Definition]) -> None:
    """Differentiate one definition, or a recurrence as a whole."""
    reached = _reached(walk, block)
    if not reached:
        return
    scan = _adjoint_scan(block[0].scan)
    for d in block:
        if d.name in reached:
            walk.adjoint[d.name] = fresh(f"d_{d.name}", walk.names)
            walk.shapes[walk.adjoint[d.name]] = d.shape
    if scan is None:
        assemble(walk, block[0].name, None)
        _differentiate_definition(walk, block[0], None, frozenset())
        return
    inside = frozenset(d.name for d in block)
    later: list[Definition] = []
    for d in reversed(block):
        if d.name in reached:
            later += _differentiate_definition(walk, d, scan, inside)
    for d in reversed(block):
        if d.name in reached:
            assemble(walk, d.name, scan)
    walk.made.extend(later)


def _reached(walk: Walk, block: list[Definition]) -> set[str]:
    """The block's definitions with an adjoint: later lines read them, or one that has one does."""
    reached = {d.name for d in block if d.name in walk.terms and d.name in walk.needed}
    changed = True
    while changed:
        more = {
            name
            for d in block
            if d.name in reached
            for name in _value_reads(d)
            if name in {b.name for b in block} & walk.needed
        }
        changed = not more <= reached
        reached |= more
    return reached


def _adjoint_scan(scan: Scan | None) -> Scan | None:
    return scan and Scan(f"d_{scan.group}", scan.index, not scan.downwards)


def _differentiate_definition(
    walk: Walk, d: Definition, scan: Scan | None, inside: frozenset[str]
) -> list[Definition]:
    """Add a link for each access of the body; returns what must wait for a recurrence's end."""
    later: list[Definition] = []
    if d.detached:
        return later
    with bounded_depth(d.origin):
        derivatives = local_derivatives(d.body)
    for access, local in derivatives:
        if d.reduce is None:
            local = through_output(d.body, local, d.access())
        if access.tensor in walk.needed and local != 0:
            link = link_of(walk, d, access, local, scan if access.tensor in inside else None)
            if link is None:
                continue
            walk.terms.setdefault(access.tensor, []).append(link)
            walk.links.append(link)
            if link.definition is not None and access.tensor not in inside:
                (later if scan else walk.made).append(link.definition)
    return later


def _finished(walk: Walk, names: tuple[str, ...]) -> Program:
    forward: list[Definition] = []
    for d in walk.program.definitions:
        forward.append(d)
        if d.name in walk.argmaxes:
            forward.append(walk.argmaxes[d.name])
    limits = dict(walk.limits)
    for argmax in walk.argmaxes.values():
        sizes = [r.size for r in argmax.over if isinstance(r.size, int)]
        if len(sizes) == len(argmax.over):
            limits.setdefault(argmax.name, prod(sizes))
    return replace(
        walk.program,
        definitions=(*forward, *walk.made),
        gradients=tuple((n, walk.adjoint[n]) for n in names),
        limits=limits,
    )
