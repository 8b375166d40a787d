"""The adjoint of a tensor as one definition: the sum of what its links contribute.

    d_h[n, j] = d_h_from_y[n, j] + d_h_from_z[n, j]

A single contribution takes the adjoint's name and needs no sum.
"""

from __future__ import annotations

from dataclasses import replace

import sympy

from compiler.adjoint_names import unmarked
from compiler.chain import Link, Walk, outputs_of
from ir.errors import DifferentiationError
from ir.expression import Access, tensor_symbol
from ir.names import fresh
from ir.program import Definition, Scan


def assemble(walk: Walk, name: str, scan: Scan | None) -> None:
    """The adjoint of a tensor: the sum of its links' contributions, as one definition."""
    links = walk.terms.get(name, [])
    adjoint = walk.adjoint.get(name) or fresh(f"d_{name}", walk.names)
    if not links:
        _refuse(walk, name)
    walk.adjoint[name] = adjoint
    walk.shapes[adjoint] = walk.shapes[name]
    if scan is not None:
        walk.made.extend(
            k.definition for k in links if k.definition is not None and k.definition.scan
        )
    if len(links) == 1 and links[0].definition is not None and links[0].definition.scan == scan:
        _rename_last(walk, links[0].definition, adjoint)
        return
    walk.made.append(_total(walk, name, adjoint, links, scan))


def _total(walk: Walk, name: str, adjoint: str, links: list[Link], scan: Scan | None) -> Definition:
    indices = unmarked(outputs_of(walk, name))
    own = tuple(r.index for r in indices)
    terms = [
        k.term
        if k.definition is None
        else Access(tensor_symbol(k.definition.name, k.definition.dtype), *own)
        for k in links
    ]
    first = links[0].consumer
    others = ", ".join(dict.fromkeys(k.consumer.name for k in links))
    return Definition(
        adjoint,
        first.dtype,
        indices,
        sympy.Add(*terms),
        scan=scan,
        origin=first.origin,
        note=f"adjoint of {others}" if links[0].term != 1 else "the loss itself",
    )


def _rename_last(walk: Walk, contribution: Definition, adjoint: str) -> None:
    """A single contribution is the adjoint: it takes its name."""
    position = next(i for i, m in enumerate(walk.made) if m is contribution)
    walk.made[position] = replace(contribution, name=adjoint)
    walk.links[:] = [
        replace(k, definition=walk.made[position]) if k.definition is contribution else k
        for k in walk.links
    ]


def _refuse(walk: Walk, name: str) -> None:
    tensor = walk.program.tensors().get(name)
    raise DifferentiationError(
        f"the loss does not depend on {name}: its gradient would be zero everywhere",
        at=tensor.origin if tensor else None,
        notes=(f"no path of derivatives leads from {walk.program.loss} to {name}",),
        fix=f"use {name} in the loss, remove it, or declare it with trainable=False",
    )
