"""The index notation that users write: tensors, indices, definitions, reductions, parameters.

    n, j, k = gw.indices("n j k")
    W = gw.param("W", (784, 100), init=gw.he_normal())
    y = gw.define((n, j), gw.sum(x[n, k] * W[k, j], over=k))

Everything here writes into the open trace (`compiler/trace.py`); the mathematics is SymPy's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import sympy
from sympy import Expr

from compiler import lower
from compiler.initializers import Init, he_normal, zeros
from compiler.source import caller
from compiler.trace import Trace, current
from ir.affine import linear
from ir.errors import GradwrightError, IndexLanguageError, Origin, RangeError, ShapeError
from ir.expression import Access, Index, Random, Reduce, accesses, size_symbol, tensor_symbol
from ir.names import check_name
from ir.program import DType, Shape, Size
from ir.program import Tensor as Declared

Indices: TypeAlias = Index | Sequence[Index]


class Tensor:
    """A named tensor of a network. `x[n, k]` is one element; `loss[()]` reads a scalar tensor.

    `+ - * /` and unary minus between tensors and numbers are element-wise, with NumPy's broadcasting.
    """

    def __init__(self, name: str, shape: Shape, dtype: DType) -> None:
        self.name = name
        self.shape = shape
        self.dtype = dtype

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
                "an index is an integer or an expression in index variables; a slice is a "
                "definition over a smaller range",
            ),
        )

    def provenance(self) -> str:
        """`x is the input declared at mnist_mlp.py:12`."""
        trace = current()
        declared = trace.tensors.get(self.name) or trace.definitions.get(self.name)
        at = (
            declared.origin.short if declared is not None and declared.origin else "an unknown line"
        )
        kind = (
            f"the {trace.tensors[self.name].role} declared"
            if self.name in trace.tensors
            else "defined"
        )
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


def index(name: str, extent: int | str | sympy.Symbol | None = None) -> Index:
    """An index variable with a range: `gw.index("r", 3)` runs over 0, 1, 2; `gw.index("n", "batch")` over the batch."""
    check_name(name, "index", caller()[0])
    if isinstance(extent, str):
        return Index(name, size_symbol(check_name(extent, "size", caller()[0])))
    if isinstance(extent, (int, sympy.Integer)) and extent < 1:
        raise RangeError(f"index {name} needs a range of at least 1, got {extent}", at=caller()[0])
    return Index(name, int(extent) if isinstance(extent, sympy.Integer) else extent)


def indices(names: str) -> Any:
    """Index variables whose ranges are inferred: `n, j, k = gw.indices("n j k")`. One name gives one index."""
    made = tuple(index(name) for name in names.replace(",", " ").split())
    return made[0] if len(made) == 1 else made


def _reduce(kind: str, body: Any, over: Indices) -> Reduce:
    variables = (over,) if isinstance(over, Index) else tuple(over)
    if not variables:
        raise IndexLanguageError(f"{kind}() needs an index to reduce over", at=caller()[0])
    return Reduce(kind, _expression(body, kind), *variables)


def sum(body: Any, *, over: Indices) -> Reduce:
    """Sum over one or more indices: `gw.sum(x[n, k] * W[k, j], over=k)`. A term out of bounds is left out."""
    return _reduce("sum", body, over)


def max(body: Any, *, over: Indices) -> Reduce:
    """Largest term over one or more indices; a tie goes to the first, in row-major order."""
    return _reduce("max", body, over)


def argmax(body: Any, *, over: Indices) -> Reduce:
    """Row-major position of the largest term: an integer tensor, usable as an index."""
    return _reduce("argmax", body, over)


def mean(body: Any, *, over: Indices) -> Reduce:
    """Sum divided by the number of index values (those left out count too)."""
    return _reduce("mean", body, over)


def tensor(name: str, shape: int | Sequence[int | str | sympy.Symbol]) -> Tensor:
    """A free tensor for expressions outside a network: `x = gw.tensor("x", 3)`, then `gw.derive(x[0]**2, x[0])`."""
    at = caller()[0]
    check_name(name, "tensor", at)
    sizes = (shape,) if isinstance(shape, int) else tuple(shape)
    return Tensor(
        name, tuple(size_symbol(s) if isinstance(s, str) else s for s in sizes), "float64"
    )


def param(
    name: str, shape: int | Sequence[int], init: Init | None = None, *, trainable: bool = True
) -> Tensor:
    """A parameter: `gw.param("W", (784, 100), init=gw.he_normal())`. Its name is its key in `params`."""
    at = caller()[0]
    trace = current()
    sizes = (shape,) if isinstance(shape, int) else tuple(int(s) for s in shape)
    if any(s < 1 for s in sizes):
        raise ShapeError(f"parameter {name} has shape {sizes}; every size is at least 1", at=at)
    trace.claim(name, "parameter", at)
    made = (init or he_normal())(sizes)
    declared = Declared(name, sizes, trace.real, "parameter", at, made, trainable)
    trace.tensors[name] = declared
    return Tensor(name, sizes, trace.real)


def training() -> bool:
    """Whether the network is traced for its loss and gradients (True) or for its outputs in use (False)."""
    trace = current()
    trace.depends_on_mode = True
    return trace.training


def buffer(name: str, shape: int | Sequence[int], init: Init | None = None) -> Tensor:
    """A tensor that lives among the parameters but has no gradient: running statistics. Starts at zero."""
    return param(name, shape, init or zeros(), trainable=False)


def assign(target: Tensor, indices: Indices, body: Any) -> None:
    """Replace a buffer at the end of each training step: `gw.assign(mean, (c,), 0.9 * mean[c] + 0.1 * m[c])`."""
    trace = current()
    made = define(indices, body, name=trace.unclaimed(f"{target.name}_next"))
    if made.shape != target.shape or not trace.tensors[target.name].role == "parameter":
        raise ShapeError(
            f"cannot assign {made!r} to {target.name}, which is {target!r}", at=caller()[0]
        )
    trace.updates[target.name] = made.name


def random(*indices: Any) -> Random:
    """A uniform number in [0, 1) at these indices: `gw.random(n, j) < 0.5` is a dropout mask.

    It is a function of the training state's seed and step, of the order of this call in the network, and of
    the indices: the same bits in every target, for any number of threads.
    """
    trace = current()
    for name in ("seed", "step"):
        if name not in trace.tensors:
            trace.claim(name, "state", caller()[0])
            trace.tensors[name] = Declared(name, (), "int64", "state")
    trace.streams += 1
    seed, step = (trace.tensors[name][()] for name in ("seed", "step"))
    return Random(seed, step, trace.streams, *indices)


def define(indices: Indices, body: Any, *, name: str | None = None) -> Tensor:
    """Define a tensor by one line of index notation.

        y = gw.define((n, j), gw.sum(x[n, k] * W[k, j], over=k))
        c = gw.define(t, lambda c: sympy.Piecewise((x[0], sympy.Eq(t, 0)), (c[t - 1] + x[t], True)))

    `indices` are the output indices, `()` for a scalar. `body` is a SymPy expression over accesses, or
    a function of the tensor itself that returns one: a recurrence along one index, at earlier values.
    Raises ShapeError, RangeError, IndexLanguageError or InvalidNameError on the user's line.
    """
    at, target = caller()
    trace = current()
    own = (indices,) if isinstance(indices, Index) else tuple(indices)
    final = _name(trace, name, target, "t", at)
    if callable(body) and not isinstance(body, (Expr, Tensor)):
        return _recurrence([(final, own, None)], lambda *made: [body(*made)], at, trace)[0]
    return _one(final, own, _expression(body, final), at, trace)


def recurrence(
    indices: Sequence[Indices],
    body: Callable[..., Sequence[Any]],
    *,
    names: Sequence[str] | None = None,
) -> tuple[Tensor, ...]:
    """Tensors that read one another at earlier values of one shared index: an LSTM's h and c.

        h, c = gw.recurrence([(t, n, j), (t, n, j)], lambda h, c: (f(h, c), g(h, c)), names=("h", "c"))

    A tensor may also read one that stands before it in the list at the same value of the index.
    """
    at, _ = caller()
    trace = current()
    given = names or ("t",) * len(indices)
    heads = [
        (
            _name(trace, n if names else None, n, "t", at),
            (i,) if isinstance(i, Index) else tuple(i),
            None,
        )
        for n, i in zip(given, indices, strict=True)
    ]
    return tuple(_recurrence(heads, body, at, trace))


def elementwise(
    function: Callable[..., Expr], *operands: Any, op: str, name: str | None = None
) -> Tensor:
    """A map over operands of broadcast shapes; numbers stand for themselves."""
    shapes = [o.shape for o in operands if isinstance(o, Tensor)]
    shape = _broadcast(shapes, op)
    loops = tuple(Index(f"i{d}", s) for d, s in enumerate(shape))
    return define_as(op, loops, function(*(_aligned(o, loops) for o in operands)), name=name)


def define_as(op: str, indices: Sequence[Index], body: Any, *, name: str | None = None) -> Tensor:
    """`define` for the op library: the name falls back to the operation's."""
    at, target = caller()
    trace = current()
    return _one(
        _name(trace, name, target, op, at), tuple(indices), _expression(body, op), at, trace
    )


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


def _aligned(operand: Any, loops: tuple[Index, ...]) -> Any:
    if not isinstance(operand, Tensor):
        return sympy.sympify(operand)
    mine = loops[len(loops) - len(operand.shape) :]
    return operand[tuple(0 if s == 1 else i for i, s in zip(mine, operand.shape, strict=True))]


def _broadcast(shapes: Iterable[Shape], op: str) -> Shape:
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


def _expression(body: Any, what: str) -> Expr:
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


def _name(trace: Trace, given: str | None, target: str | None, op: str, at: Origin | None) -> str:
    if given is not None:
        return trace.claim(given, "name", at)
    try:
        return trace.fresh(check_name(target or op, "name", at))
    except GradwrightError:
        return trace.fresh(op)


def _context(
    trace: Trace, at: Origin | None, unknown: dict[str, Shape] | None = None
) -> lower.Context:
    shapes = {} if unknown is None else unknown

    def shape_of(name: str) -> Shape:
        if name in shapes:
            return shapes[name]
        if name in trace.tensors:
            return trace.tensors[name].shape
        if name in trace.definitions:
            return trace.definitions[name].shape
        raise IndexLanguageError(f"{name} does not belong to this network", at=at)

    return lower.Context(trace.real, trace.batch, shape_of, trace.fresh, trace.limits, at)


def _one(name: str, own: tuple[Index, ...], body: Expr, at: Origin | None, trace: Trace) -> Tensor:
    try:
        line = lower.read(name, own, body, _context(trace, at))
        lower.infer(line)
        made = lower.split(line)
    except GradwrightError as error:
        raise _located(error, at) from None
    for definition in made:
        trace.definitions[definition.name] = definition
    return Tensor(name, made[-1].shape, made[-1].dtype)


def _located(error: GradwrightError, at: Origin | None) -> GradwrightError:
    """The same error on the user's line, where it was raised without one."""
    if error.at is not None:
        return error
    return type(error)(error.what, at=at, notes=error.notes, fix=error.fix)


def _recurrence(
    heads: list[tuple[str, tuple[Index, ...], None]],
    body: Callable[..., Sequence[Any]],
    at: Origin | None,
    trace: Trace,
) -> list[Tensor]:
    handles = [Tensor(name, ("?",) * len(own), trace.real) for name, own, _ in heads]  # type: ignore[arg-type]
    bodies = [_expression(b, h.name) for b, h in zip(body(*handles), handles, strict=True)]
    shapes: dict[str, Shape] = {}
    context = _context(trace, at, shapes)
    unknown = frozenset(h.name for h in handles)
    try:
        lines = [
            lower.read(name, own, b, context)
            for (name, own, _), b in zip(heads, bodies, strict=True)
        ]
        for line in lines:
            lower.infer(line, unknown)
            shapes[line.name] = tuple(line.sizes[i] for i in line.indices)
        axis, downwards = _scan_axis(lines, unknown, at)
        group = [lower.split(line) for line in lines]
    except GradwrightError as error:
        raise _located(error, at) from None
    for definition in lower.grouped(group, heads[0][0], str(lines[0].indices[axis]), downwards):
        trace.definitions[definition.name] = definition
    return [Tensor(line.name, shapes[line.name], trace.real) for line in lines]


def _scan_axis(
    lines: list[lower.Line], unknown: frozenset[str], at: Origin | None
) -> tuple[int, bool]:
    """The dimension along which the lines read one another at earlier values, and the direction."""
    names = [line.name for line in lines]
    reads = [
        (position, names.index(access.tensor), _lags(line, access))
        for position, line in enumerate(lines)
        for access in accesses(line.body)
        if access.tensor in unknown
    ]
    for axis in range(min(len(line.indices) for line in lines)):
        if len({line.indices[axis] for line in lines}) != 1:
            continue
        for sign, downwards in ((-1, False), (1, True)):
            if reads and all(_earlier(lags[axis], sign, own > other) for own, other, lags in reads):
                return axis, downwards
    raise IndexLanguageError(
        f"{lines[0].name} reads itself, but along no index only at earlier values",
        at=at,
        notes=(
            "a recurrence reads itself at t - 1, t - 2, … of one output index t, the same in every line",
        ),
    )


def _lags(line: lower.Line, access: Access) -> list[int | None]:
    """How far from the line's own point an access stands, dimension by dimension; None where it varies."""
    differences = (
        linear(e) - linear(i) for e, i in zip(access.indices, line.indices, strict=False)
    )
    return [d.const if d.is_constant else None for d in differences]


def _earlier(lag: int | None, sign: int, stands_before: bool) -> bool:
    return lag is not None and (lag * sign > 0 or (lag == 0 and stands_before))
