"""The leaves and nodes of bodies that SymPy does not have.

    body   ::=  SymPy expression over leaves
    leaf   ::=  number | index | size | Access
    Access ::=  tensor [ index-expression, … ]            x[n, k], loss[]
    Random ::=  uniform(seed, step, stream; index, …)     in [0, 1), the same wherever it is drawn
    Reduce ::=  (sum | max | argmax | mean) over r… of body   surface language only; lowering splits
    index-expression ::= integer-affine over indices, sizes, FloorDiv, Remainder, integer Access

Every symbol is made here, with fixed assumptions: two SymPy symbols that differ only in assumptions
are different, and a derivative with respect to the wrong one is silently zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

import sympy
from sympy import AtomicExpr, Basic, Expr, Symbol
from sympy.printing.precedence import PRECEDENCE


class Index(Symbol):  # type: ignore[misc]
    """An index variable of the surface language: a name and, if given, a range."""

    __slots__ = ("extent",)
    extent: int | Symbol | None

    def __new__(cls, name: str, extent: int | Symbol | None = None) -> Index:
        made: Index = Symbol.__xnew__(cls, name, integer=True, nonnegative=True)
        made.extent = extent
        return made

    def _hashable_content(self) -> tuple[Any, ...]:
        content: tuple[Any, ...] = super()._hashable_content()
        return (*content, str(self.extent))


def index_symbol(name: str) -> Symbol:
    """An index variable inside the IR, where ranges stand in the definition."""
    return Symbol(name, integer=True, nonnegative=True)


def size_symbol(name: str) -> Symbol:
    """A symbolic size, the batch."""
    return Symbol(name, integer=True, positive=True)


class TensorName(AtomicExpr):  # type: ignore[misc]
    """The name of a tensor as it stands inside an access, and whether its elements are integers.

    It is no symbol: SymPy neither solves for it, nor puts a number in its place.
    """

    __slots__ = ("integer", "name")
    name: str
    integer: bool
    is_commutative = True
    is_number = False

    def __new__(cls, name: str, integer: bool) -> TensorName:
        made: TensorName = AtomicExpr.__new__(cls)
        made.name, made.integer = name, integer
        return made

    def __getnewargs__(self) -> tuple[str, bool]:
        return self.name, self.integer

    def _hashable_content(self) -> tuple[Any, ...]:
        return self.name, self.integer

    def _sympystr(self, printer: Any) -> str:
        return self.name


@lru_cache(maxsize=4096)
def tensor_symbol(name: str, dtype: str) -> TensorName:
    """The name of a tensor as it stands inside an access."""
    return TensorName(name, dtype.startswith("int"))


class Access(Expr):  # type: ignore[misc]
    """`x[n, k]`: one element of a tensor. A scalar tensor is read as `loss[]`."""

    is_commutative = True
    is_real = True

    def __new__(cls, tensor: TensorName | Symbol, *indices: Any) -> Access:
        if isinstance(tensor, Symbol):
            tensor = TensorName(tensor.name, bool(tensor.is_integer))
        return _access(tensor, *map(sympy.sympify, indices))

    @property
    def tensor(self) -> str:
        name: str = self.args[0].name
        return name

    @property
    def indices(self) -> tuple[Expr, ...]:
        return tuple(self.args[1:])

    @property
    def name(self) -> str:
        """The element as text: SymPy asks every free symbol of a sum for its name."""
        return str(self)

    @property
    def free_symbols(self) -> set[Basic]:
        """The element too, so that SymPy does not solve a condition on it for an index."""
        inner = (e.free_symbols for e in self.indices)
        return {self, self.args[0]}.union(*inner)

    def _eval_is_integer(self) -> bool | None:
        return True if self.args[0].integer else None

    def _eval_subs(self, old: Basic, new: Basic) -> Access:
        return Access(self.args[0], *(e._subs(old, new) for e in self.indices))

    def _sympystr(self, printer: Any) -> str:
        inner = ", ".join(printer._print(e) for e in self.indices)
        return f"{self.tensor}[{inner}]" if inner else self.tensor

    def _latex(self, printer: Any) -> str:
        name = self.tensor.replace("_", r"\_")
        inner = ", ".join(printer._print(e) for e in self.indices)
        return rf"\mathrm{{{name}}}_{{{inner}}}" if inner else rf"\mathrm{{{name}}}"


@lru_cache(maxsize=65536)
def _access(tensor: TensorName, *indices: Expr) -> Access:
    """One object for equal accesses: comparing them is cheap, and what SymPy asks is kept."""
    made: Access = Expr.__new__(Access, tensor, *indices)
    return made


class FloorDiv(Expr):  # type: ignore[misc]
    """`k // 28` for an integer index expression and a positive constant."""

    precedence = PRECEDENCE["Mul"]
    is_commutative = True
    is_integer = True

    def __new__(cls, value: Any, divisor: int | Expr) -> FloorDiv:
        made: FloorDiv = Expr.__new__(cls, sympy.sympify(value), sympy.Integer(divisor))
        return made

    def _sympystr(self, printer: Any) -> str:
        return (
            f"({printer._print(self.args[0])})//{self.args[1]}"
            if self.args[0].args
            else (f"{self.args[0]}//{self.args[1]}")
        )

    def _latex(self, printer: Any) -> str:
        return (
            rf"\left\lfloor \frac{{{printer._print(self.args[0])}}}{{{self.args[1]}}} \right\rfloor"
        )


class Remainder(Expr):  # type: ignore[misc]
    """`k % 28`, never negative, for an integer index expression and a positive constant."""

    precedence = PRECEDENCE["Mul"]
    is_commutative = True
    is_integer = True
    is_nonnegative = True

    def __new__(cls, value: Any, divisor: int | Expr) -> Remainder:
        made: Remainder = Expr.__new__(cls, sympy.sympify(value), sympy.Integer(divisor))
        return made

    def _sympystr(self, printer: Any) -> str:
        inner = printer._print(self.args[0])
        return f"({inner})%{self.args[1]}" if self.args[0].args else f"{inner}%{self.args[1]}"

    def _latex(self, printer: Any) -> str:
        return rf"\left({printer._print(self.args[0])} \bmod {self.args[1]}\right)"


class Random(Expr):  # type: ignore[misc]
    """A uniform number in [0, 1) that depends on (seed, step, stream, indices) and on nothing else.

    With mix the finaliser of splitmix64, G = 0x9e3779b97f4a7c15 and all arithmetic modulo 2**64:
    h = mix(mix(mix(seed + G) + (stream + 2**32)*G) + step*G), then h = mix(h + (index + 1)*G) for
    each index; the number is (h >> 40) / 2**24, exact in float32.
    """

    is_commutative = True
    is_real = True

    def __new__(cls, seed: Any, step: Any, stream: Any, *indices: Any) -> Random:
        made: Random = Expr.__new__(
            cls, seed, step, sympy.Integer(stream), *(sympy.sympify(e) for e in indices)
        )
        return made

    @property
    def stream(self) -> int:
        return int(self.args[2])

    @property
    def indices(self) -> tuple[Expr, ...]:
        return tuple(self.args[3:])

    def _sympystr(self, printer: Any) -> str:
        return f"uniform({', '.join(printer._print(a) for a in self.args)})"


class Reduce(Expr):  # type: ignore[misc]
    """A reduction anywhere in a body of the surface language; lowering gives it its own line."""

    is_commutative = True
    is_real = True

    def __new__(cls, kind: Any, body: Any, *over: Symbol) -> Reduce:
        tag = kind if isinstance(kind, Symbol) else Symbol(kind)
        made: Reduce = Expr.__new__(cls, tag, sympy.sympify(body), *over)
        return made

    @property
    def kind(self) -> str:
        return str(self.args[0].name)

    @property
    def body(self) -> Expr:
        return self.args[1]

    @property
    def over(self) -> tuple[Symbol, ...]:
        return tuple(self.args[2:])

    def _sympystr(self, printer: Any) -> str:
        over = ", ".join(str(v) for v in self.over)
        return f"({self.kind} over {over} of {printer._print(self.body)})"


@lru_cache(maxsize=65536)
def accesses(expr: Any) -> tuple[Access, ...]:
    """The distinct accesses of an expression, those inside indices included, in a stable order."""
    found: dict[Access, None] = {}
    if isinstance(expr, Access):
        found[expr] = None
    for node in expr.args:
        found.update(dict.fromkeys(accesses(node)))
    return tuple(found)


@lru_cache(maxsize=65536)
def value_accesses(expr: Any) -> tuple[Access, ...]:
    """The distinct accesses that a body reads as values: not those inside an index of another."""
    return tuple(dict.fromkeys(_outer(expr)))


def _outer(node: Any) -> Iterator[Access]:
    if isinstance(node, Access):
        yield node
        return
    for arg in node.args:
        yield from _outer(arg)


def symbols_of(exprs: Iterable[Any]) -> set[Symbol]:
    """The index and size symbols of expressions; the names of tensors are not among them."""
    return set().union(*map(_symbols, exprs))


@lru_cache(maxsize=65536)
def _symbols(expr: Any) -> frozenset[Symbol]:
    if isinstance(expr, Symbol):
        return frozenset((expr,))
    return frozenset().union(*map(_symbols, expr.args))


def without_ite(body: Any) -> Any:
    """SymPy folds a choice in a condition to ITE(c, a, b): here (c and a) or (not c and b)."""
    if not body.has(sympy.ITE):
        return body
    return body.replace(
        sympy.ITE, lambda c, a, b: sympy.Or(sympy.And(c, a), sympy.And(sympy.Not(c), b))
    )
