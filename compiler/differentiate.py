"""Reverse-mode differentiation of index notation, by the chain rule and Kronecker deltas alone.

For each access A[e(V)] in the body of T, over all its index variables V:

    dA[a…] += sum over V of dT[i…] * (∂body/∂access) * δ(a1, e1(V)) * … * δ(am, em(V))

SymPy differentiates the scalar body; `compiler/deltas.py` solves the deltas. There is no rule for any
operation here, nor anywhere else. The adjoint of a maximum compares with its stored argmax; an
adjoint whose deltas go through an integer tensor becomes a comparison, or a scatter where variables
inside that tensor's index would have to be searched.

A recurrence's adjoints form a recurrence of their own, along the same index the other way.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import sympy
from sympy import Expr, Symbol

from compiler.adjoint_names import final_names, index_names, marked, unmarked
from compiler.deltas import Delta, Solution, solve
from compiler.outputs import through_output
from ir.errors import DifferentiationError
from ir.expression import Access, symbols_of, tensor_symbol, value_accesses
from ir.names import fresh
from ir.program import Definition, Program, Range, Scan, Size


@dataclass(frozen=True, slots=True)
class Link:
    """One link of the chain: how the adjoint of `of` receives from the line `consumer`.

    `local` is SymPy's ∂body/∂access, `deltas` the Kronecker deltas, `solution` what they came to, and
    `definition` (or `term`, where nothing is reduced) the contribution.
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
class Gradients:
    """The program with its adjoints, and the links of the chain in the order they were made."""

    program: Program
    links: list[Link]


@dataclass
class _Walk:
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


def differentiate(program: Program, wrt: tuple[str, ...] | None = None) -> Gradients:
    """Append the adjoints of the loss; `gradients` gives that of each name in `wrt` (default: what trains).

    Raises DifferentiationError if there is no loss, or if it does not depend on one of them.
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
            _assemble(walk, name, None)
    return Gradients(_finished(walk, names), walk.links)


def _prepare(program: Program, names: tuple[str, ...]) -> _Walk:
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
    return _Walk(program, frozenset(names), shapes, dict(program.limits), set(everything), needed)


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


def _seed(walk: _Walk, loss: str) -> None:
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


def _block(walk: _Walk, block: list[Definition]) -> None:
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
        _assemble(walk, block[0].name, None)
        _differentiate_definition(walk, block[0], None, frozenset())
        return
    inside = frozenset(d.name for d in block)
    later: list[Definition] = []
    for d in reversed(block):
        if d.name in reached:
            later += _differentiate_definition(walk, d, scan, inside)
    for d in reversed(block):
        if d.name in reached:
            _assemble(walk, d.name, scan)
    walk.made.extend(later)


def _reached(walk: _Walk, block: list[Definition]) -> set[str]:
    """The block's definitions that have an adjoint: read by what came before, or by one that has."""
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
    walk: _Walk, d: Definition, scan: Scan | None, inside: frozenset[str]
) -> list[Definition]:
    """Add a link for each access of the body; returns definitions that must wait until a recurrence is done."""
    later: list[Definition] = []
    if d.detached:
        return later
    for access, local in local_derivatives(d.body):
        if d.reduce is None:
            local = through_output(d.body, local, d.access())
        if access.tensor in walk.needed and local != 0:
            link = _link(walk, d, access, local, scan if access.tensor in inside else None)
            if link is None:
                continue
            walk.terms.setdefault(access.tensor, []).append(link)
            walk.links.append(link)
            if link.definition is not None and access.tensor not in inside:
                (later if scan else walk.made).append(link.definition)
    return later


@lru_cache(maxsize=4096)
def local_derivatives(body: Expr) -> tuple[tuple[Access, Expr], ...]:
    """Each distinct access of a body with SymPy's derivative of the body by it."""
    reads = [a for a in value_accesses(body) if not a.is_integer]
    stand_in = {a: Symbol(f"v{i}", real=True) for i, a in enumerate(reads)}
    plain = _replace_accesses(body, stand_in)
    back = {s: a for a, s in stand_in.items()}
    found = []
    for access, symbol in stand_in.items():
        slope = sympy.diff(plain, symbol)
        if slope.has(sympy.Derivative, sympy.Subs):
            raise DifferentiationError(f"SymPy has no derivative of {body} by {access}")
        slope = slope.replace(lambda e: isinstance(e, sympy.DiracDelta), lambda e: sympy.S.Zero)
        found.append((access, slope.xreplace(back)))
    return tuple(found)


def _replace_accesses(node: Any, mapping: dict[Access, Symbol]) -> Any:
    """Replace accesses read as values; those inside an index of another stay."""
    if isinstance(node, Access):
        return mapping.get(node, node)
    if not node.args:
        return node
    return node.func(*(_replace_accesses(a, mapping) for a in node.args))


def _link(
    walk: _Walk, d: Definition, access: Access, local: Expr, scan: Scan | None
) -> Link | None:
    """The contribution of one access of one definition to the adjoint of the tensor it reads."""
    outputs = _outputs(walk, access.tensor)
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


def _outputs(walk: _Walk, tensor: str) -> tuple[Range, ...]:
    """Output indices of an adjoint: the tensor's own names, marked until the deltas are solved."""
    shape = walk.shapes[tensor]
    return marked(index_names(walk.program, tensor, len(shape)), shape)


def _is_largest(walk: _Walk, d: Definition) -> Any:
    """The condition that a term of a maximum is the one that was taken: its position is the argmax."""
    if d.name not in walk.argmaxes:
        name = fresh(f"{d.name}_argmax", walk.names)
        walk.argmaxes[d.name] = replace(
            d, name=name, dtype="int32", reduce="argmax", note=f"argmax of {d.name}"
        )
        walk.shapes[name] = d.shape
    argmax = walk.argmaxes[d.name]
    position: Expr = sympy.S.Zero
    for r in d.over:
        position = position * r.size + r.index
    return sympy.Eq(argmax.access(), position)


def _searches(solution: Solution) -> bool:
    """Whether a condition compares with an integer tensor at a variable that is still reduced over."""
    for condition in solution.conditions:
        for access in condition.atoms(Access):
            if symbols_of([access]) & set(solution.remaining):
                return True
    return False


def _scatter(
    walk: _Walk,
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
    walk: _Walk,
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
        guarded = sympy.Piecewise((term, sympy.And(*kept)), (0, True)) if kept else term
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


def _assemble(walk: _Walk, name: str, scan: Scan | None) -> None:
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


def _total(
    walk: _Walk, name: str, adjoint: str, links: list[Link], scan: Scan | None
) -> Definition:
    indices = unmarked(_outputs(walk, name))
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


def _rename_last(walk: _Walk, contribution: Definition, adjoint: str) -> None:
    """A single contribution is the adjoint: it takes its name."""
    position = next(i for i, m in enumerate(walk.made) if m is contribution)
    walk.made[position] = replace(contribution, name=adjoint)
    walk.links[:] = [
        replace(k, definition=walk.made[position]) if k.definition is contribution else k
        for k in walk.links
    ]


def _refuse(walk: _Walk, name: str) -> None:
    tensor = walk.program.tensors().get(name)
    raise DifferentiationError(
        f"the loss does not depend on {name}: its gradient would be zero everywhere",
        at=tensor.origin if tensor else None,
        notes=(f"no path of derivatives leads from {walk.program.loss} to {name}",),
        fix=f"use {name} in the loss, remove it, or declare it with trainable=False",
    )


def _finished(walk: _Walk, names: tuple[str, ...]) -> Program:
    forward: list[Definition] = []
    for d in walk.program.definitions:
        forward.append(d)
        if d.name in walk.argmaxes:
            forward.append(walk.argmaxes[d.name])
    limits = dict(walk.limits)
    for argmax in walk.argmaxes.values():
        limits.setdefault(argmax.name, int(sympy.prod([r.size for r in argmax.over])))
    return replace(
        walk.program,
        definitions=(*forward, *walk.made),
        gradients=tuple((n, walk.adjoint[n]) for n in names),
        limits=limits,
    )
