"""Take the largest exponent out of exponential sums, and write logarithms and quotients safely.

    S[i] = sum over r of w*exp(g)  ->  exp(m[i]) * sum over r of w*exp(g - m[i]),  m = max of g

This runs before differentiation, so that gradients are made from the safe form. The shift m may be
any constant, so it is marked `detached`: constant under differentiation. Softmax, its logarithm and
cross-entropy are safe at ±1000 because of this line and those of `compiler/safe_scalars.py`,
however a user writes them: a map with an exponential in it is put into the sums and logarithms
that read it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import sympy
from sympy import Expr

from compiler.safe_scalars import safe
from ir.expression import Access, symbols_of, tensor_symbol, without_ite
from ir.names import fresh
from ir.program import Definition, Program


@dataclass
class _Seen:
    """Exponential maps, other maps with an exponential in them, and shifted sums met so far."""

    program: Program
    names: set[str]
    exponentials: dict[str, Definition] = field(default_factory=dict)
    quotients: dict[str, Definition] = field(default_factory=dict)
    shifts: dict[str, str] = field(default_factory=dict)


def stabilise(program: Program) -> Program:
    """The program in its safe form."""
    seen = _Seen(program, set(program.by_name()) | set(program.tensors()))
    made: list[Definition] = []
    for d in program.definitions:
        d = replace(d, body=_unshift(d.body, seen))
        d = replace(d, body=without_ite(safe(_opened(d, seen))))
        power = _exponent(d, seen)
        if power is not None:
            made += _shifted(d, power, seen)
            continue
        made.append(d)
        if d.reduce is None and d.scan is None:
            _remember(d, seen)
    return _restored(replace(program, definitions=tuple(made)), seen)


def _shifted(d: Definition, power: Expr, seen: _Seen) -> list[Definition]:
    """The sum with its largest exponent taken out, and that exponent."""
    shift = replace(
        d,
        name=fresh(f"{d.name}_max", seen.names),
        body=power,
        reduce="max",
        detached=True,
        note=f"shift of {d.name}, against overflow",
    )
    seen.shifts[d.name] = shift.name
    body = safe(d.body * sympy.exp(-shift.access()))
    return [shift, replace(d, body=body, note=f"divided by exp({shift.name})")]


def _opened(d: Definition, seen: _Seen) -> Expr:
    """The body with exponential maps put in where they meet a sum, a shift, or a logarithm."""
    if d.scan is not None or not (seen.exponentials or seen.quotients):
        return d.body
    free = {
        n: e for n, e in seen.exponentials.items() if n in d.reads() and not _balanced(e.body, seen)
    }
    shifted = any(name in seen.shifts for name in d.reads())
    if not (d.reduce == "sum" or shifted or d.body.has(sympy.exp) or len(free) > 1):
        free = {}
    return _in_logarithms(_inlined(d.body, free), seen)


def _in_logarithms(node: Any, seen: _Seen) -> Any:
    if isinstance(node, sympy.log):
        return sympy.log(_inlined(node.args[0], seen.exponentials | seen.quotients))
    if not node.args or isinstance(node, Access) or not node.has(sympy.log):
        return node
    return node.func(*(_in_logarithms(a, seen) for a in node.args))


def _balanced(body: Expr, seen: _Seen) -> bool:
    """Whether every exponent has both a value and its shift in it: then it is never large."""
    shifts = set(seen.shifts.values())
    kinds = [{a.tensor in shifts for a in e.atoms(Access)} for e in body.atoms(sympy.exp)]
    return bool(kinds) and all(found == {True, False} for found in kinds)


def _restored(program: Program, seen: _Seen) -> Program:
    """Where an exponential sum is itself a result, the result is its unshifted value."""
    wanted = [n for n in program.results() if n in seen.shifts]
    made = list(program.definitions)
    new: dict[str, str] = {}
    for name in wanted:
        d = program.definition(name)
        new[name] = fresh(f"{name}_value", seen.names)
        made.append(
            Definition(new[name], d.dtype, d.indices, _unshift(d.access(), seen), origin=d.origin)
        )
    return replace(
        program,
        definitions=tuple(made),
        outputs=tuple((public, new.get(n, n)) for public, n in program.outputs),
        loss=new.get(program.loss, program.loss) if program.loss else None,
    )


def _inlined(node: Any, bodies: dict[str, Definition]) -> Any:
    if isinstance(node, Access) and node.tensor in bodies:
        d = bodies[node.tensor]
        at = {r.index: e for r, e in zip(d.indices, node.indices, strict=True)}
        return d.body.xreplace(at)
    if not node.args or isinstance(node, Access):
        return node
    return node.func(*(_inlined(a, bodies) for a in node.args))


def _remember(d: Definition, seen: _Seen) -> None:
    """A chain of such maps is not put into one body: it would grow with every line."""
    nesting = _nesting(d.body)
    if nesting and _is_exponential(d.body) and nesting <= 2:
        seen.exponentials[d.name] = d
    elif nesting == 1:
        seen.quotients[d.name] = d


def _nesting(node: Any) -> int:
    """How many exponentials stand inside one another."""
    inside = max((_nesting(a) for a in node.args), default=0) if node.has(sympy.exp) else 0
    return inside + isinstance(node, sympy.exp)


def _is_exponential(body: Expr) -> bool:
    return any(isinstance(f, sympy.exp) for f in sympy.Mul.make_args(body))


def _exponent(d: Definition, seen: _Seen) -> Expr | None:
    """g, where d is a sum of w*exp(g) and g varies with the terms; None for any other line."""
    if d.reduce != "sum" or d.scan is not None or _balanced(d.body, seen):
        return None
    over = {r.index for r in d.over}
    found = [f for f in sympy.Mul.make_args(d.body) if isinstance(f, sympy.exp)]
    if len(found) == 1 and symbols_of(found) & over and found[0].atoms(Access):
        return found[0].args[0]
    return None


def _unshift(node: Any, seen: _Seen) -> Any:
    """S[e] becomes exp(m[e])*S[e] for every shifted sum."""
    if isinstance(node, Access):
        if node.tensor not in seen.shifts:
            return node
        return (
            sympy.exp(Access(tensor_symbol(seen.shifts[node.tensor], "float64"), *node.indices))
            * node
        )
    if not node.args:
        return node
    return node.func(*(_unshift(a, seen) for a in node.args))
