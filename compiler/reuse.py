"""Functions that a line works out again although it reads a multiple of them anyway.

    w[n, j]   = exp(s[n, j])/S[n]                       d_S[n] = -u[n]/S[n]
    d_s[n, j] = exp(s[n, j])*d_S[n] + w[n, j]*d_w[n, j]
    d_s[n, j] = w[n, j]*(d_w[n, j] - u[n])              exp(s) is w*S, and S cancels

So the second term of a quotient's adjoint reads what its first term reads, and s need not be kept.
Nothing is rewritten by halves: where a part of the multiple would be left, as S above without d_S,
the product might overflow where the function does not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import sympy
from sympy import Expr

from ir.affine import linear
from ir.expression import Access, value_accesses
from ir.facts import Facts
from ir.program import Definition, Program


def reuse(program: Program) -> Program:
    """The program with such functions written by the values that are read already."""
    maps = {d.name: d for d in program.definitions if d.reduce is None and d.scan is None}
    made = tuple(_rewritten(d, maps) for d in program.definitions)
    return replace(program, definitions=made)


def _rewritten(d: Definition, maps: dict[str, Definition]) -> Definition:
    if not d.body.has(sympy.Function):
        return d
    for known in value_accesses(d.body):
        for function, factor in _multiple(known, maps) if _is_whole(known, d, maps) else ():
            if d.body.has(function):
                body = _without(d.body, function, known, factor, maps)
                if body is not None:
                    return _rewritten(replace(d, body=body), maps)
    return d


def _is_whole(known: Access, d: Definition, maps: dict[str, Definition]) -> bool:
    """Whether the element is there at every point, not only under the condition it is read in."""
    if known.tensor not in maps:
        return False
    facts = Facts(d.ranges)
    shape = maps[known.tensor].shape
    return all(facts.within(linear(e), s) for e, s in zip(known.indices, shape, strict=True))


def _multiple(known: Access, maps: dict[str, Definition]) -> Iterator[tuple[Expr, Expr]]:
    """The function and the factor of which the element is the product, if it is one."""
    factors = sympy.Mul.make_args(_instance(maps[known.tensor], known))
    functions = [f for f in factors if f.has(sympy.Function)]
    if len(functions) == 1 and isinstance(functions[0], sympy.Function):
        yield functions[0], sympy.Mul(*(f for f in factors if f is not functions[0]))


def _instance(d: Definition, at: Access) -> Expr:
    """The body of a map at an element."""
    places = {r.index: e for r, e in zip(d.indices, at.indices, strict=True)}
    return d.body.xreplace(places)


def _without(
    body: Expr, function: Expr, known: Access, factor: Expr, maps: dict[str, Definition]
) -> Expr | None:
    """The body by the known multiple; None if anything of the factor stays, or is divided by."""
    parts = set(value_accesses(factor))
    short = body.xreplace({function: known / factor})
    dividing = {
        a: whole
        for a in value_accesses(short)
        if a.tensor in maps and _divisors(whole := _instance(maps[a.tensor], a)) & parts
    }
    short = short.xreplace({a: whole for a, whole in dividing.items() if a != known})
    if parts & set(value_accesses(short)) or not _divisors(short) <= _divisors(body):
        return None
    return _factored(short, known)


def _divisors(expr: Expr) -> set[Expr]:
    return {p.base for p in expr.atoms(sympy.Pow) if p.exp.could_extract_minus_sign()}


def _factored(body: Expr, known: Access) -> Expr:
    """Outside of the sum what stands in every term: a product less for each of them."""
    terms = sympy.Add.make_args(body)
    if len(terms) > 1 and all(known in sympy.Mul.make_args(t) for t in terms):
        return known * sympy.Add(*(t / known for t in terms))
    return body
