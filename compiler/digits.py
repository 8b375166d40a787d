"""Loops over an index that is only taken apart, as loops over its digits.

    for i < 28: y[i] = x[i//2] if i%2 == k else 0

    for i_quotient < 14: for i_rest < 2: y[2*i_quotient + i_rest] = x[i_quotient] if i_rest == k …

No division is left for each element, and what depends on the quotient alone is computed once. The
order of the points stays what it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from typing import Any

import sympy
from sympy import Integer, Symbol

from ir.expression import FloorDiv, Remainder, index_symbol
from ir.loops import Contract, For, If, Statement, walk

WORTH_A_LOOP = 8  # steps


def split_digits(body: tuple[Statement, ...]) -> tuple[Statement, ...]:
    """The body with such loops split; kernels of tiles take their indices apart themselves.

    Nothing is split where an innermost loop would have few steps left: divisions cost less there.
    """
    if any(isinstance(s, Contract) or _is_short(s) for s in walk(body)):
        return body
    return tuple(_split(s) for s in body)


def _split(statement: Statement) -> Statement:
    if isinstance(statement, If | For):
        statement = replace(statement, body=tuple(_split(s) for s in statement.body))
    if not isinstance(statement, For):
        return statement
    divisor = _divisor(statement)
    if divisor is None:
        return statement
    quotient = index_symbol(f"{statement.index}_quotient")
    rest = index_symbol(f"{statement.index}_rest")
    change = _change(statement.index, divisor, quotient, rest)
    body = tuple(_rewritten(s, change) for s in statement.body)
    inner = For(rest, (Integer(0),), (Integer(divisor),), body)
    size = statement.upper[0] / divisor
    return _split(For(quotient, (Integer(0),), (size,), (inner,), shared=statement.shared))


def _is_short(loop: Statement) -> bool:
    """Whether it is an innermost loop that would have few steps left."""
    if not isinstance(loop, For) or any(isinstance(s, For) for s in walk(loop.body)):
        return False
    divisor = _divisor(loop)
    return divisor is not None and int(loop.upper[0]) // divisor < WORTH_A_LOOP


def _divisor(loop: For) -> int | None:
    """The smallest number that the index is divided by, if it fits the others and the size."""
    size = loop.upper[0]
    if loop.step != 1 or loop.lower != (Integer(0),) or len(loop.upper) > 1:
        return None
    if not size.is_Integer:
        return None
    found = {
        int(node.args[1])
        for expr in _expressions(loop.body)
        for node in expr.atoms(FloorDiv, Remainder)
        if node.args[0] == loop.index
    }
    if not found:
        return None
    smallest = min(found)
    fits = int(size) % smallest == 0 and all(d % smallest == 0 for d in found)
    return smallest if fits and 1 < smallest < int(size) else None


def _change(
    index: Symbol, divisor: int, quotient: Symbol, rest: Symbol
) -> Callable[[sympy.Basic], sympy.Basic]:
    """The expression with the index written by its digits."""

    def change(expr: sympy.Basic) -> sympy.Basic:
        mapping: dict[sympy.Basic, sympy.Basic] = {index: divisor * quotient + rest}
        for node in expr.atoms(FloorDiv, Remainder):
            if node.args[0] != index:
                continue
            times = int(node.args[1]) // divisor
            whole = isinstance(node, FloorDiv)
            if times == 1:
                mapping[node] = quotient if whole else rest
            else:
                above = type(node)(quotient, times)
                mapping[node] = above if whole else divisor * above + rest
        return expr.xreplace(mapping)

    return change


def _expressions(body: tuple[Statement, ...]) -> Iterator[sympy.Basic]:
    for statement in walk(body):
        for f in fields(statement):
            if f.name != "body":
                yield from _in(getattr(statement, f.name))


def _in(value: Any) -> Iterator[sympy.Basic]:
    if isinstance(value, sympy.Basic):
        yield value
    elif isinstance(value, tuple):
        for part in value:
            yield from _in(part)


def _rewritten(
    statement: Statement, change: Callable[[sympy.Basic], sympy.Basic]
) -> Statement:
    """The statement with every expression in it changed."""

    def changed(value: Any) -> Any:
        if isinstance(value, sympy.Basic):
            return change(value)
        if isinstance(value, tuple):
            return tuple(changed(v) for v in value)
        return _rewritten(value, change) if isinstance(value, For | If) else value

    new: dict[str, Any] = {}
    for f in fields(statement):
        old = getattr(statement, f.name)
        if f.name == "body":
            new[f.name] = tuple(_rewritten(s, change) for s in old)
        else:
            new[f.name] = changed(old)
    return replace(statement, **new)
