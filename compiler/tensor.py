"""Tensors as users hold them: elements by their indices, arithmetic on the whole by broadcasting.

    x[n, k]            # an access, for a body in index notation
    2 * x + y          # a definition over all elements, with NumPy's broadcasting

There are no values here and no slices: an operation writes its line into the open trace.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import sympy
from sympy import Expr

from compiler.source import caller
from compiler.statement import enter, name_for
from compiler.trace import current
from ir.errors import IndexLanguageError, ShapeError
from ir.expression import Access, Index, tensor_symbol
from ir.program import Definition, DType, Shape, Size


class Tensor:
    """A named tensor of a network. `x[n, k]` is one element; `loss[()]` reads a scalar tensor.

    `+ - * /` and unary minus between tensors and numbers are element-wise, with NumPy's
    broadcasting.
    """

    def __init__(self, name: str, shape: Shape, dtype: DType) -> None:
        self.name = name
        self.shape = shape
        self.dtype = dtype

    @classmethod
    def of(cls, line: Definition) -> Tensor:
        """The tensor that a line defines."""
        return cls(line.name, line.shape, line.dtype)

    def __getitem__(self, indices: Any) -> Access:
        where = indices if isinstance(indices, tuple) else (indices,)
        if len(where) != len(self.shape):
            raise ShapeError(
                f"{self.name} has {len(self.shape)} dimensions, got {len(where)} indices",
                at=caller()[0],
                notes=(f"{self.name} is {self}",),
                fix="give one index a dimension; read a scalar tensor as t[()]",
            )
        return Access(tensor_symbol(self.name, self.dtype), *(self._index(e) for e in where))

    def _index(self, index: Any) -> Expr:
        if isinstance(index, (int, Expr)) and not isinstance(index, bool):
            return sympy.sympify(index)
        raise IndexLanguageError(
            f"{index!r} cannot index {self.name}",
            at=caller()[0],
            notes=(
                (
                    "an index is an integer or an expression in index variables; a slice is a "
                    "definition over a smaller range"
                ),
            ),
        )

    def provenance(self) -> str:
        """`x is the input declared at mnist_mlp.py:12`."""
        trace = current()
        owned = trace.tensors.get(self.name)
        kind = f"the {owned.role} declared" if owned else "defined"
        line = owned or trace.definitions.get(self.name)
        at = line.origin.short if line is not None and line.origin else "an unknown line"
        return f"{self.name} is {kind} at {at}"

    def __repr__(self) -> str:
        short = {"float32": "f32", "float64": "f64", "int32": "i32", "int64": "i64"}[self.dtype]
        return f"{short}[{', '.join(str(s) for s in self.shape)}]"

    def __add__(self, other: Tensor | float) -> Tensor:
        return elementwise(lambda a, b: a + b, self, other, op="add")

    def __sub__(self, other: Tensor | float) -> Tensor:
        return elementwise(lambda a, b: a - b, self, other, op="sub")

    def __mul__(self, other: Tensor | float) -> Tensor:
        return elementwise(lambda a, b: a * b, self, other, op="mul")

    def __truediv__(self, other: Tensor | float) -> Tensor:
        return elementwise(lambda a, b: a / b, self, other, op="div")

    def __neg__(self) -> Tensor:
        return elementwise(lambda a: -a, self, op="neg")

    def __radd__(self, other: float) -> Tensor:
        return elementwise(lambda a: other + a, self, op="add")

    def __rsub__(self, other: float) -> Tensor:
        return elementwise(lambda a: other - a, self, op="sub")

    def __rmul__(self, other: float) -> Tensor:
        return elementwise(lambda a: other * a, self, op="mul")

    def __rtruediv__(self, other: float) -> Tensor:
        return elementwise(lambda a: other / a, self, op="div")


def elementwise(
    function: Callable[..., Expr], *operands: Any, op: str, name: str | None = None
) -> Tensor:
    """A map over operands of broadcast shapes; numbers stand for themselves."""
    shapes = [o.shape for o in operands if isinstance(o, Tensor)]
    shape = broadcast(shapes, op)
    loops = tuple(Index(f"i{d}", s) for d, s in enumerate(shape))
    return define_as(op, loops, function(*(_aligned(o, loops, op) for o in operands)), name=name)


def _aligned(operand: Any, loops: tuple[Index, ...], op: str) -> Any:
    if not isinstance(operand, Tensor):
        return expression(operand, op)
    mine = loops[len(loops) - len(operand.shape) :]
    return operand[tuple(0 if s == 1 else i for i, s in zip(mine, operand.shape, strict=True))]


def broadcast(shapes: Iterable[Shape], op: str) -> Shape:
    """NumPy's rule: align at the right; a size of 1 stretches."""
    result: list[Size] = []
    for shape in shapes:
        result = [1] * (len(shape) - len(result)) + result
        for d, size in enumerate(reversed(shape), 1):
            if result[-d] == 1:
                result[-d] = size
            elif size not in (1, result[-d]):
                raise ShapeError(
                    f"{op}() cannot broadcast {' with '.join(str(list(s)) for s in shapes)}",
                    at=caller()[0],
                    notes=(f"sizes {result[-d]} and {size} meet, and neither is 1",),
                )
    return tuple(result)


def define_as(op: str, indices: Sequence[Index], body: Any, *, name: str | None = None) -> Tensor:
    """`define` for the op library: the name falls back to the operation's."""
    at, target = caller()
    trace = current()
    own = name_for(trace, name, target, op, at)
    return Tensor.of(enter(own, tuple(indices), expression(body, op), at, trace))


def suggest(op: str) -> str:
    """A free name for a layer that was given none: the user's variable, or the operation's name."""
    _, target = caller()
    names = current().names
    base, count = target or op, 1
    candidate = base
    while any(n == candidate or n.startswith(candidate + ".") for n in names):
        count += 1
        candidate = f"{base}_{count}"
    return candidate


def expression(body: Any, what: str) -> Expr:
    """A body as a SymPy expression; a scalar tensor stands for its element."""
    if isinstance(body, Tensor):
        if body.shape:
            raise ShapeError(
                f"{what}: {body.name} is {body!r}; a body reads one element of it",
                at=caller()[0],
                fix=f"write {body.name}[…] with its indices",
            )
        return body[()]
    if isinstance(body, (str, bytes)):
        raise IndexLanguageError(f"{what}: a body is an expression, got a string", at=caller()[0])
    try:
        made = sympy.sympify(body, strict=True)
    except sympy.SympifyError:
        made = None
    if not isinstance(made, Expr):
        raise IndexLanguageError(
            f"{what}: {type(body).__name__} is not a SymPy expression", at=caller()[0]
        )
    return made
