"""One link of the chain rule: what the adjoint of a tensor receives from one access to it.

    y[n, j] = sum over k of x[n, k]*W[k, j]    gives W:    sum over n of d_y[n, j]*x[n, k]

The deltas of the access are solved for the line's own indices (`compiler/deltas.py`); variables
that remain are summed over. A link of a maximum compares with the stored argmax. Where a variable
inside an integer tensor's index would have to be searched, the contribution is a scatter.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import sympy
from sympy import Expr

from compiler.adjoint_names import final_names, index_names, marked
from compiler.deltas import Delta, Solution, guard, solve
from ir.expression import Access, symbols_of, tensor_symbol
from ir.names import fresh
from ir.program import Definition, Program, Range, Scan, Size


@dataclass(frozen=True, slots=True)
class Link:
    """One link of the chain: how the adjoint of `of` receives from the line `consumer`.

    `local` is SymPy's ∂body/∂access, `deltas` the Kronecker deltas, `solution` what they came to,
    and `definition` (or `term`, where nothing is reduced) the contribution.
    """

    of: str
    consumer: Definition
    access: Access
    local: Expr
    deltas: tuple[Delta, ...]
    solution: Solution | None
    definition: Definition | None
    term: Expr | None


@dataclass
class Walk:
    """A reverse walk under way: what is to be differentiated by, and what has been made so far.

    `needed` are the tensors that depend on a wanted one; `adjoint` names each adjoint, `terms`
    holds the links that it will be the sum of, `made` the definitions in the order they will run.
    """

    program: Program
    wanted: frozenset[str]
    shapes: dict[str, tuple[Size, ...]]
    limits: dict[str, int]
    names: set[str]
    needed: set[str]
    adjoint: dict[str, str] = field(default_factory=dict)
    terms: dict[str, list[Link]] = field(default_factory=dict)
    made: list[Definition] = field(default_factory=list)
    argmaxes: dict[str, Definition] = field(default_factory=dict)
    links: list[Link] = field(default_factory=list)
    outputs: dict[str, tuple[Range, ...]] = field(default_factory=dict)


def link_of(
    walk: Walk, d: Definition, access: Access, local: Expr, scan: Scan | None
) -> Link | None:
    """The contribution of one access of one definition to the adjoint of the tensor it reads."""
    outputs = outputs_of(walk, access.tensor)
    deltas = tuple(Delta(o.index, e) for o, e in zip(outputs, access.indices, strict=True))
    cotangent = Access(tensor_symbol(walk.adjoint[d.name], d.dtype), *d.access().indices)
    body, conditions = cotangent * local, list(d.where)
    if d.reduce == "max":
        conditions.append(_is_largest(walk, d))
    sizes = {o.index: o.size for o in outputs}
    solution = solve(deltas, sizes, {r.index: r.size for r in d.variables}, walk.limits)
    if solution.impossible:
        return None
    if _searches(solution):
        return _scatter(walk, d, access, local, deltas, body, conditions)
    kept = [c for c in (*map(solution.apply, conditions), *solution.conditions) if c != sympy.true]
    if any(c == sympy.false for c in kept):
        return None
    term = solution.apply(body)
    return _contribution(walk, d, access, local, deltas, solution, outputs, term, kept, scan)


def outputs_of(walk: Walk, tensor: str) -> tuple[Range, ...]:
    """Output indices of an adjoint: the tensor's own names, marked until the deltas are solved."""
    if tensor not in walk.outputs:
        shape = walk.shapes[tensor]
        walk.outputs[tensor] = marked(index_names(walk.program, tensor, len(shape)), shape)
    return walk.outputs[tensor]


def _is_largest(walk: Walk, d: Definition) -> Any:
    """The condition that a term of a maximum is the one that was taken: it stands at the argmax."""
    if d.name not in walk.argmaxes:
        name = fresh(f"{d.name}_argmax", walk.names)
        walk.argmaxes[d.name] = replace(
            d, name=name, dtype="int32", reduce="argmax", note=f"argmax of {d.name}"
        )
        walk.shapes[name] = d.shape
    return sympy.Eq(walk.argmaxes[d.name].access(), d.position())


def _searches(solution: Solution) -> bool:
    """Whether a condition reads an integer tensor at a variable that is still reduced over."""
    for condition in solution.conditions:
        for access in condition.atoms(Access):
            if symbols_of([access]) & set(solution.remaining):
                return True
    return False


def _scatter(
    walk: Walk,
    d: Definition,
    access: Access,
    local: Expr,
    deltas: tuple[Delta, ...],
    body: Expr,
    conditions: list[Any],
) -> Link:
    name = fresh(f"d_{access.tensor}_from_{d.name}", walk.names)
    made = Definition(
        name,
        d.dtype,
        d.variables,
        body,
        "scatter",
        (),
        tuple(conditions),
        target=access.indices,
        target_shape=walk.shapes[access.tensor],
        origin=d.origin,
        note=f"adjoint of {d.name}",
    )
    return Link(access.tensor, d, access, local, deltas, None, made, None)


def _contribution(
    walk: Walk,
    d: Definition,
    access: Access,
    local: Expr,
    deltas: tuple[Delta, ...],
    solution: Solution,
    outputs: tuple[Range, ...],
    term: Expr,
    kept: list[Any],
    scan: Scan | None,
) -> Link:
    rename = final_names(outputs, solution)
    term = term.xreplace(rename)
    kept = list(dict.fromkeys(c.xreplace(rename) for c in kept))
    if not solution.remaining:
        guarded = guard(term, kept)
        return Link(access.tensor, d, access, local, deltas, solution, None, guarded)
    indices = tuple(Range(rename[o.index], o.size) for o in outputs)
    over = tuple(Range(rename.get(v, v), s) for v, s in solution.remaining.items())
    name = fresh(f"d_{access.tensor}_from_{d.name}", walk.names)
    made = Definition(
        name,
        d.dtype,
        indices,
        term,
        "sum",
        over,
        tuple(kept),
        scan=scan,
        origin=d.origin,
        note=f"adjoint of {d.name}",
    )
    walk.shapes[name] = made.shape
    return Link(access.tensor, d, access, local, deltas, solution, made, None)
