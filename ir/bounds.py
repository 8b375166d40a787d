"""Which accesses can be proved in bounds, given ranges, conditions and the Piecewise around them.

    x[n, k - 1] if k > 0 else 0        # in bounds: the branch is only taken where k >= 1

Lowering asks this to make the surface rule "a term out of bounds is left out" explicit; the
verifier asks it again after every pass. What cannot be proved is a doubt, not an error: a proof may
exist that `ir/affine.py` does not find.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import sympy
from sympy import Expr

from ir.affine import Linear, linear
from ir.expression import Access
from ir.facts import Facts
from ir.program import Shape, Size


@dataclass(frozen=True, slots=True)
class Doubt:
    """An access whose index in one dimension is not proved to lie in 0 <= form < size."""

    access: Access
    dimension: int
    form: Linear
    size: Size
    inside_branch: bool
    low: bool
    high: bool

    def conditions(self) -> list[Any]:
        """What would have to hold: `form >= 0` and `form < size`, those of the two in doubt."""
        expr = self.form.expr()
        return [sympy.Ge(expr, 0)] * self.low + [sympy.Lt(expr, self.size)] * self.high


def doubts(expr: Any, facts: Facts, shape_of: Callable[[str], Shape]) -> list[Doubt]:
    """Every access of the expression that is not proved in bounds, each once a dimension."""
    return list(dict.fromkeys(_walk(expr, facts, shape_of, inside_branch=False)))


def _walk(
    node: Any, facts: Facts, shape_of: Callable[[str], Shape], *, inside_branch: bool
) -> Iterator[Doubt]:
    if isinstance(node, Access):
        yield from _of_access(node, facts, shape_of(node.tensor), inside_branch)
    if isinstance(node, sympy.Piecewise):
        yield from _branches(node, facts, shape_of)
        return
    for arg in node.args:
        yield from _walk(arg, facts, shape_of, inside_branch=inside_branch)


def _branches(
    node: sympy.Piecewise, facts: Facts, shape_of: Callable[[str], Shape]
) -> Iterator[Doubt]:
    for value, condition in node.args:
        yield from _walk(condition, facts, shape_of, inside_branch=True)
        yield from _walk(value, facts.assuming([condition]), shape_of, inside_branch=True)
        facts = facts.assuming([sympy.Not(condition)])


def _of_access(access: Access, facts: Facts, shape: Shape, inside_branch: bool) -> Iterator[Doubt]:
    for dimension, (index, size) in enumerate(zip(access.indices, shape, strict=True)):
        if facts.sizes.get(index) == size:
            continue  # the index runs over the dimension, as most do
        form = linear(index)
        low = not facts.nonnegative(form)
        high = not facts.nonnegative(linear(size) - form - 1)
        if low or high:
            yield Doubt(access, dimension, form, size, inside_branch, low, high)


def integer_reads(expr: Expr) -> Iterator[tuple[Access, Access, int]]:
    """Every (integer access, access whose index it is, dimension) of an expression."""
    for node in sympy.preorder_traversal(expr):
        if isinstance(node, Access):
            for dimension, index in enumerate(node.indices):
                for inner in index.atoms(Access) | (
                    {index} if isinstance(index, Access) else set()
                ):
                    yield inner, node, dimension
