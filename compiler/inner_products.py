"""Innermost loops that sum a product along unit strides, as inner products of their own.

    for k: sum += x[n, k]*W[j, k]        becomes        sum += gw_dot(x + ..., W + ..., count)

A target sums several lanes side by side there; the order of its terms is one everywhere.
"""

from __future__ import annotations

from dataclasses import replace

import sympy
from sympy import Expr, Integer, Symbol

from ir.expression import Access, symbols_of
from ir.loops import Accumulate, Dot, For, If, Statement, stride_of

WORTH_A_DOT = 8  # terms of an inner product that stands alone


def inner_products(body: tuple[Statement, ...]) -> tuple[Statement, ...]:
    """Innermost loops that sum a product along unit strides, as inner products of their own."""
    return tuple(_inner_product(s) for s in body)


def _inner_product(statement: Statement) -> Statement:
    if isinstance(statement, If):
        return replace(statement, body=inner_products(statement.body))
    if not isinstance(statement, For):
        return statement
    match statement.body:
        case (Accumulate(kind="sum") as term,) if statement.step == 1:
            return _as_dot(statement, term) or statement
    return replace(statement, body=inner_products(statement.body))


def _as_dot(loop: For, term: Accumulate) -> Dot | None:
    longest = loop.upper[0]
    if longest.is_Integer and int(longest) < WORTH_A_DOT:
        return None
    operands, factor = split_product(term.value, {loop.index})
    if len(operands) != 2 or any(stride_of(a, loop.index) != 1 for a in operands):
        return None
    left, right = operands
    return Dot(term.place, factor, left, right, loop.index, loop.lower, loop.upper)


def split_product(body: Expr, reduced: set[Symbol]) -> tuple[list[Access], Expr]:
    """The accesses that hold a reduced index and the other factors; none if another factor does."""
    operands: list[Access] = []
    factor: Expr = Integer(1)
    for part in sympy.Mul.make_args(body):
        if not symbols_of([part]) & reduced:
            factor = factor * part
        elif isinstance(part, Access):
            operands.append(part)
        else:
            return [], factor
    return operands, factor
