"""The IR: one node, `Definition`, and the `Program` that lists them.

    Program    ::=  inputs, parameters, state, scalars, Definition…, outputs
    Definition ::=  t[i…] = body                                        a map
                 |  t[i…] = (sum | max | argmax) over r… [where c…] of body   a reduction
                 |  t[e…] += body over i… [where c…]                    a scatter, from zero
    i, r       ::=  index < size                size ::= integer | the batch
    body       ::=  SymPy expression, see ir/expression.py; conditions are Piecewise
    c          ::=  relation between index expressions (or integer tensors)

A term of a reduction whose `where` does not hold is left out. The surface rule "a term in which an
access is out of bounds is left out" is made explicit by lowering: from then on every access is in
bounds by the ranges, the `where` and the `Piecewise` around it, and the verifier proves it.

Recurrence: consecutive definitions with the same `scan` run together inside one loop over
`scan.index`, upwards or downwards, each reading the others at earlier steps of that loop, or,
if it stands later in the list, at the same step. Every one has `scan.index` as an output index.

Maps and reductions are values: nothing is ever changed in place, not here and not by SymPy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

import sympy
from sympy import Expr, Symbol
from sympy.logic.boolalg import Boolean

from ir.errors import Origin
from ir.expression import Access, accesses, tensor_symbol

Size: TypeAlias = int | Symbol
Shape: TypeAlias = tuple[Size, ...]
DType: TypeAlias = Literal["float32", "float64", "int32", "int64"]
Reduction: TypeAlias = Literal["sum", "max", "argmax", "scatter"]


def _computed_once() -> Any:
    """A field that is no part of the value: what a method found out about it, kept."""
    return field(default=None, init=False, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Range:
    """`index < size`: the index runs over 0, 1, …, size - 1."""

    index: Symbol
    size: Size


@dataclass(frozen=True, slots=True)
class Scan:
    """The loop that a recurrence shares: its group's name, its index, and which way it runs."""

    group: str
    index: Symbol
    downwards: bool = False


@dataclass(frozen=True, slots=True)
class Initializer:
    """How a parameter starts: zeros, uniform (low, high), normal (mean, std), constant (values)."""

    kind: Literal["zeros", "uniform", "normal", "constant"]
    values: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor that the caller owns: an input, a parameter, a state or a run-time scalar."""

    name: str
    shape: Shape
    dtype: DType
    role: Literal["input", "parameter", "state", "scalar"]
    origin: Origin | None = None
    init: Initializer | None = None
    trainable: bool = True

    def __getitem__(self, indices: object) -> Access:
        where = indices if isinstance(indices, tuple) else (indices,)
        return Access(tensor_symbol(self.name, self.dtype), *where)


@dataclass(frozen=True, slots=True)
class Definition:
    """One line of index notation. See the grammar at the top of the file.

    `indices` are the output variables, in the order of the shape (for a scatter: the loop
    variables). `note` says what the line is for, in emitted comments: "adjoint of fc1", "fused SGD
    update". `detached` marks a value that is constant under differentiation, because the rewrite
    that made it holds for any constant (the shift of a stabilised exponential sum).
    """

    name: str
    dtype: DType
    indices: tuple[Range, ...]
    body: Expr
    reduce: Reduction | None = None
    over: tuple[Range, ...] = ()
    where: tuple[Boolean, ...] = ()
    target: tuple[Expr, ...] = ()
    target_shape: Shape = ()
    scan: Scan | None = None
    origin: Origin | None = None
    note: str = ""
    detached: bool = False
    _accesses: tuple[Access, ...] | None = _computed_once()
    _reads: tuple[str, ...] | None = _computed_once()

    @property
    def shape(self) -> Shape:
        return (
            self.target_shape if self.reduce == "scatter" else tuple(r.size for r in self.indices)
        )

    @property
    def variables(self) -> tuple[Range, ...]:
        """Every loop variable: output first, then reduced."""
        return self.indices + self.over

    @property
    def ranges(self) -> dict[Symbol, Size]:
        return {r.index: r.size for r in self.variables}

    def accesses(self) -> tuple[Access, ...]:
        """The accesses in the body, the conditions and the target, each once."""
        if self._accesses is None:
            found = (a for e in (self.body, *self.where, *self.target) for a in accesses(e))
            object.__setattr__(self, "_accesses", tuple(dict.fromkeys(found)))
        return self._accesses or ()

    def reads(self) -> tuple[str, ...]:
        """The tensors read, in the body, the conditions and the target, each once."""
        if self._reads is None:
            names = dict.fromkeys(a.tensor for a in self.accesses())
            object.__setattr__(self, "_reads", tuple(names))
        return self._reads or ()

    def access(self) -> Access:
        """The element that the line defines: `t[i…]`."""
        where = self.target if self.reduce == "scatter" else tuple(r.index for r in self.indices)
        return Access(tensor_symbol(self.name, self.dtype), *where)

    def position(self) -> Expr:
        """The row-major position of a reduced term, which is what an argmax gives."""
        found: Expr = sympy.S.Zero
        for r in self.over:
            found = found * r.size + r.index
        return found

    def renamed(self, mapping: dict[Symbol, Symbol]) -> Definition:
        """The same line with other index variables."""

        def ranges(rs: tuple[Range, ...]) -> tuple[Range, ...]:
            return tuple(Range(mapping.get(r.index, r.index), r.size) for r in rs)

        scan = self.scan and replace(self.scan, index=mapping.get(self.scan.index, self.scan.index))
        return replace(
            self,
            indices=ranges(self.indices),
            over=ranges(self.over),
            body=self.body.xreplace(mapping),
            where=tuple(c.xreplace(mapping) for c in self.where),
            target=tuple(e.xreplace(mapping) for e in self.target),
            scan=scan,
        )


@dataclass(frozen=True, slots=True)
class Batch:
    """The symbolic size and the largest value it can take at run time (None: not compiled yet)."""

    symbol: Symbol
    maximum: int | None = None


@dataclass(frozen=True, slots=True)
class Program:
    """A whole network, or any of its forward, gradient and update programs.

    `outputs` are (public name, definition), `gradients` (parameter, definition),
    `updates` (parameter or state, definition whose value replaces it at the end of the step).
    `scalars` have a default value; `limits` give the exclusive upper bound of every integer tensor
    that is used as an index.
    """

    name: str
    batch: Batch | None = None
    inputs: tuple[Tensor, ...] = ()
    parameters: tuple[Tensor, ...] = ()
    state: tuple[Tensor, ...] = ()
    scalars: tuple[tuple[Tensor, float], ...] = ()
    definitions: tuple[Definition, ...] = ()
    outputs: tuple[tuple[str, str], ...] = ()
    loss: str | None = None
    gradients: tuple[tuple[str, str], ...] = ()
    updates: tuple[tuple[str, str], ...] = ()
    limits: dict[str, int] = field(default_factory=dict)
    origin: Origin | None = None
    _tensors: Mapping[str, Tensor] | None = _computed_once()
    _by_name: Mapping[str, Definition] | None = _computed_once()

    @property
    def largest_batch(self) -> int:
        """The most rows that a call may pass; 1 where nothing has a batch."""
        return (self.batch.maximum if self.batch else None) or 1

    def tensors(self) -> Mapping[str, Tensor]:
        """Everything the caller owns, by name."""
        if self._tensors is None:
            owned = (*self.inputs, *self.parameters, *self.state, *(t for t, _ in self.scalars))
            object.__setattr__(self, "_tensors", {t.name: t for t in owned})
        return self._tensors or {}

    def definition(self, name: str) -> Definition:
        return self.by_name()[name]

    def by_name(self) -> Mapping[str, Definition]:
        if self._by_name is None:
            object.__setattr__(self, "_by_name", {d.name: d for d in self.definitions})
        return self._by_name or {}

    def shape_of(self, name: str) -> Shape:
        tensor = self.tensors().get(name)
        return tensor.shape if tensor else self.definition(name).shape

    def dtype_of(self, name: str) -> DType:
        tensor = self.tensors().get(name)
        return tensor.dtype if tensor else self.definition(name).dtype

    def results(self) -> list[str]:
        """The definitions that the caller sees: outputs, loss, gradients, updates."""
        seen = [d for _, d in self.outputs]
        seen += [self.loss] if self.loss else []
        seen += [d for _, d in self.gradients] + [d for _, d in self.updates]
        return list(dict.fromkeys(seen))
