"""The index names of adjoints: those that the user gave to the tensor.

    W[k, j]    ->    d_W[k, j], and while its deltas are open d_W[k', j']

Until its deltas are solved an output index carries a mark (`k__of`, shown as k'), which tells it
from the forward line's own k. A tensor that is never read by plain indices gets i0, i1, ….
"""

from __future__ import annotations

from sympy import Symbol

from compiler.deltas import Solution
from ir.expression import index_symbol, value_accesses
from ir.program import Program, Range, Shape

_MARK = "__of"


def index_names(program: Program, tensor: str, rank: int) -> list[str]:
    """The index names of a tensor: its definition's, or those of its first access by plain ones."""
    home = program.by_name().get(tensor)
    if home is not None and home.reduce != "scatter":
        return [str(r.index) for r in home.indices]
    for d in program.definitions:
        for access in value_accesses(d.body):
            if access.tensor != tensor:
                continue
            names = [e.name for e in access.indices if isinstance(e, Symbol)]
            if len(set(names)) == rank:
                return names
    return [f"i{position}" for position in range(rank)]


def marked(names: list[str], shape: Shape) -> tuple[Range, ...]:
    """Output indices while the deltas are open."""
    return tuple(Range(index_symbol(f"{n}{_MARK}"), s) for n, s in zip(names, shape, strict=True))


def unmarked(outputs: tuple[Range, ...]) -> tuple[Range, ...]:
    """The same indices without their mark."""
    return tuple(Range(index_symbol(str(o.index).removesuffix(_MARK)), o.size) for o in outputs)


def final_names(outputs: tuple[Range, ...], solution: Solution) -> dict[Symbol, Symbol]:
    """Output indices lose their mark; reduced variables keep their name unless it is taken."""
    mapping = {o.index: u.index for o, u in zip(outputs, unmarked(outputs), strict=True)}
    taken = {str(u) for u in mapping.values()}
    for v in solution.remaining:
        base = str(v).partition("__")[0]
        spare = (base, *"jkmnpqrsuvw", *(f"r{i}" for i in range(99)))
        name = next(n for n in spare if n not in taken)
        mapping[v] = index_symbol(name)
        taken.add(name)
    return mapping
