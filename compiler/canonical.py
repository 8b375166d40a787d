"""The canonical form of what a user wrote: our symbols, our index expressions, nothing ambiguous.

    Max(x, 0)     ->  Piecewise((0, x <= 0), (x, True))     relu'(0) = 0, and NaN stays NaN
    floor(k/28)   ->  k//28
    2*(p + r) - 1 ->  2*p + 2*r - 1                         inside an index

Conventions, equal in every target: relu'(0) = 0, |x|'(0) = 0 (SymPy's sign), and a tie in a maximum
goes to the first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import sympy
from sympy import Symbol
from sympy.core.relational import Relational

from ir.affine import linear
from ir.errors import IndexLanguageError, InvalidNameError, Origin
from ir.expression import (
    Access,
    FloorDiv,
    Index,
    Random,
    Reduce,
    Remainder,
    accesses,
    index_symbol,
    without_ite,
)
from ir.program import Size

SCALAR_FUNCTIONS = (
    sympy.exp,
    sympy.log,
    sympy.tanh,
    sympy.sinh,
    sympy.cosh,
    sympy.sin,
    sympy.cos,
    sympy.tan,
    sympy.asin,
    sympy.acos,
    sympy.atan,
    sympy.atan2,
    sympy.erf,
    sympy.erfc,
    sympy.Abs,
    sympy.sign,
)
_STRUCTURE = (
    sympy.Add,
    sympy.Mul,
    sympy.Pow,
    sympy.Piecewise,
    sympy.functions.elementary.piecewise.ExprCondPair,
    Relational,
    sympy.And,
    sympy.Or,
    sympy.Not,
    FloorDiv,
    Remainder,
    *SCALAR_FUNCTIONS,
)


@dataclass
class Scope:
    """The indices of one line: the symbol of the IR that each stands for, and the ranges given."""

    batch: Symbol | None
    origin: Origin | None
    symbols: dict[Symbol, Symbol] = field(default_factory=dict)
    given: dict[Symbol, Size] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)

    def bind(self, index: Any) -> Symbol:
        """A symbol of its own for an index: `k`, or `k__2` where k is taken in this line."""
        if not isinstance(index, Index):
            raise IndexLanguageError(
                f"{index!r} is not an index",
                at=self.origin,
                fix='make indices with gw.indices("n j k") or gw.index("r", 3)',
            )
        name, count = index.name, 1
        while name in self.taken:
            count += 1
            name = f"{index.name}__{count}"
        self.taken.add(name)
        symbol = index_symbol(name)
        self.symbols[index] = symbol
        if index.extent is not None:
            self.given[symbol] = index.extent
        return symbol


def canonical(node: Any, scope: Scope) -> Any:
    """The same expression over the symbols of the IR."""
    if isinstance(node, Access):
        return Access(node.args[0], *(_index(e, node, scope) for e in node.indices))
    if isinstance(node, Reduce):
        return _reduce(node, scope)
    if isinstance(node, Random):
        seed, step = node.args[:2]
        return Random(
            seed, step, node.stream, *(linear(canonical(e, scope)).expr() for e in node.indices)
        )
    if isinstance(node, Symbol):
        return _symbol(node, scope)
    if isinstance(node, (sympy.floor, sympy.Mod)):
        return _index_arithmetic(node, scope)
    rewrite = _REWRITES.get(type(node))
    if rewrite is not None:
        return canonical(rewrite(node), scope)
    _check_allowed(node, scope)
    if not node.args:
        return node
    args = [canonical(a, scope) for a in node.args]
    if isinstance(node, Relational):
        args = [_as_index(a) for a in args]
    made = node if tuple(args) == node.args else node.func(*args)
    if isinstance(made, sympy.Pow):
        return _power_of_zero(made)
    if not isinstance(made, sympy.Piecewise):
        return made
    made = made.replace(sympy.Pow, lambda *args: _power_of_zero(sympy.Pow(*args)))
    return _whole(made.xreplace({sympy.zoo: sympy.oo}), scope)  # 1/Max(x, 0): 1/0.0 is infinite


def _power_of_zero(node: Any) -> Any:
    """0**x by cases, as IEEE 754 has it: of 0**x itself SymPy's derivative is nan."""
    if not (isinstance(node, sympy.Pow) and node.base.is_zero):
        return node
    exponent = node.exp
    return sympy.Piecewise(
        (0, exponent > 0), (1, sympy.Eq(exponent, 0)), (sympy.oo, exponent < 0), (exponent, True)
    )


def _whole(choice: sympy.Piecewise, scope: Scope) -> sympy.Piecewise:
    """A choice for every case. Of `(a, i > 1), (b, i <= 1)` SymPy makes `(b, True)` itself."""
    if choice.args[-1][1] == sympy.true:
        return choice
    raise IndexLanguageError(
        f"{choice} has no value where none of its conditions holds",
        at=scope.origin,
        fix="end it with (0, True), or whatever it shall be there",
    )


def _index(index: Any, access: Access, scope: Scope) -> Any:
    """An index in linear form; the elements in it are those of integer tensors."""
    form = linear(canonical(index, scope))
    for inner in accesses(form.expr()):
        if not inner.is_integer:
            raise IndexLanguageError(
                f"{inner} indexes {access.tensor}, but it is no integer",
                at=scope.origin,
                fix=f"declare {inner.tensor} as gw.i32, or make it with gw.argmax",
            )
    return form.expr()


def _reduce(node: Reduce, scope: Scope) -> Reduce:
    outer = dict(scope.symbols)
    over = tuple(scope.bind(v) for v in node.over)
    made = Reduce(node.kind, canonical(node.body, scope), *over)
    scope.symbols.clear()
    scope.symbols.update(outer)
    return made


def _symbol(node: Symbol, scope: Scope) -> Symbol:
    if isinstance(node, Index) and node in scope.symbols:
        return scope.symbols[node]
    if node == scope.batch:
        return node
    if isinstance(node, Index):
        raise IndexLanguageError(
            f"index {node} is neither an output index nor reduced over",
            at=scope.origin,
            fix=f"add {node} to the indices of gw.define, or reduce: gw.sum(…, over={node})",
        )
    raise InvalidNameError(
        f"unknown name {str(node)[:80]!r} in a body",
        at=scope.origin,
        notes=("the leaves of a body are numbers, indices, and accesses such as x[n, k]",),
        fix="read a tensor with its indices, a scalar tensor as t[()]",
    )


def _index_arithmetic(node: Any, scope: Scope) -> Any:
    inner = node.func(*(canonical(a, scope) for a in node.args))
    if not isinstance(inner, (sympy.floor, sympy.Mod)):
        return inner
    try:
        return linear(inner).expr()
    except IndexLanguageError as error:
        raise IndexLanguageError(
            error.what, at=scope.origin, notes=error.notes, fix=error.fix
        ) from None


def _as_index(side: Any) -> Any:
    """One side of a relation in linear form, when it is an index expression."""
    try:
        return linear(side).expr() if side.is_integer else side
    except IndexLanguageError:
        return side


def _check_allowed(node: Any, scope: Scope) -> None:
    if node.is_Atom and (node.is_number or node in (sympy.true, sympy.false)):
        if node in (sympy.nan, sympy.zoo) or node.is_real is False and not node.is_infinite:
            raise IndexLanguageError(f"{node} is not a real number", at=scope.origin)
        return
    if not isinstance(node, _STRUCTURE):
        raise IndexLanguageError(
            f"{type(node).__name__} cannot stand in a body",
            at=scope.origin,
            notes=(
                "a body is made of + * **, Piecewise and relations, Max, Min, and "
                + ", ".join(f.__name__ for f in SCALAR_FUNCTIONS),
            ),
        )


def _largest(node: sympy.Max) -> Any:
    """Max as a choice: constants first, so that Max(x, 0) is relu with relu'(0) = 0."""
    result, *rest = sorted(node.args, key=lambda a: (not a.is_number, sympy.default_sort_key(a)))
    for other in rest:
        result = sympy.Piecewise((result, other <= result), (other, True))
    return result


def _smallest(node: sympy.Min) -> Any:
    result, *rest = sorted(node.args, key=lambda a: (not a.is_number, sympy.default_sort_key(a)))
    for other in rest:
        result = sympy.Piecewise((result, other >= result), (other, True))
    return result


def _step(node: sympy.Heaviside) -> Any:
    x, at_zero = node.args
    return sympy.Piecewise((0, x < 0), (1, x > 0), (at_zero, True))


_REWRITES: dict[type, Callable[[Any], Any]] = {
    sympy.ITE: without_ite,
    sympy.Max: _largest,
    sympy.Min: _smallest,
    sympy.Heaviside: _step,
}
