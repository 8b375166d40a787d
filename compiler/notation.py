"""The index notation that users write: indices, reductions, parameters, definitions.

    n, j, k = gw.indices("n j k")
    W = gw.param("W", (784, 100), init=gw.he_normal())
    y = gw.define((n, j), gw.sum(x[n, k] * W[k, j], over=k))

Everything here writes into the open trace (`compiler/trace.py`); the mathematics is SymPy's. The op
library (`compiler/oplib/`) is written with these names too; `define_as`, `elementwise` and
`suggest` are there for it, so that a layer without a name is called after the operation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import NoneType
from typing import Any, TypeAlias

import sympy
from sympy import Expr

from compiler.initializers import Init, he_normal, zeros
from compiler.recurrence import recurrence_of
from compiler.source import caller
from compiler.statement import enter, name_for
from compiler.tensor import Tensor, define_as, elementwise, expression, suggest
from compiler.trace import current
from ir.errors import IndexLanguageError, RangeError, ShapeError
from ir.expression import Index, Random, Reduce, size_symbol
from ir.names import check_name
from ir.program import Tensor as Declared

__all__ = [
    "Tensor",
    "argmax",
    "assign",
    "buffer",
    "define",
    "define_as",
    "elementwise",
    "in_training",
    "index",
    "indices",
    "max",
    "mean",
    "param",
    "random",
    "recurrence",
    "suggest",
    "sum",
    "tensor",
]

Indices: TypeAlias = Index | Sequence[Index]


def index(name: str, extent: int | str | sympy.Symbol | None = None) -> Index:
    """An index variable with a range: `gw.index("r", 3)` runs over 0, 1, 2.

    `gw.index("n", "batch")` runs over the batch. Raises RangeError for a range below 1 and
    InvalidNameError for a name outside the allow-list.
    """
    check_name(name, "index", caller()[0])
    if isinstance(extent, str):
        return Index(name, size_symbol(check_name(extent, "size", caller()[0])))
    if not isinstance(extent, (int, sympy.Expr, NoneType)) or isinstance(extent, bool):
        raise RangeError(f"index {name} has no range {extent!r}", at=caller()[0])
    if isinstance(extent, (int, sympy.Integer)) and extent < 1:
        raise RangeError(f"index {name} needs a range of at least 1, got {extent}", at=caller()[0])
    return Index(name, int(extent) if isinstance(extent, sympy.Integer) else extent)


def indices(names: str) -> Any:
    """Index variables whose ranges are inferred: `n, j, k = gw.indices("n j k")`.

    One name gives one index, not a tuple: `n = gw.indices("n")`.
    """
    made = tuple(index(name) for name in names.replace(",", " ").split())
    return made[0] if len(made) == 1 else made


def _reduce(kind: str, body: Any, over: Indices) -> Reduce:
    variables = (over,) if isinstance(over, Index) else tuple(over)
    if not variables:
        raise IndexLanguageError(f"{kind}() needs an index to reduce over", at=caller()[0])
    return Reduce(kind, expression(body, kind), *variables)


def sum(body: Any, *, over: Indices) -> Reduce:
    """Sum over one or more indices: `gw.sum(x[n, k] * W[k, j], over=k)`.

    A term in which an access is out of bounds is left out: that is zero padding.
    """
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
    """A free tensor for expressions outside a network, to be derived as they stand.

        x = gw.tensor("x", 3)
        gw.derive(x[0] ** 2, wrt=x[0])

    A size is an integer, a name or a symbol. Raises InvalidNameError for a name not allowed.
    """
    at = caller()[0]
    check_name(name, "tensor", at)
    sizes = (shape,) if isinstance(shape, int) else tuple(shape)
    return Tensor(
        name, tuple(size_symbol(s) if isinstance(s, str) else s for s in sizes), "float64"
    )


def param(
    name: str, shape: int | Sequence[int], init: Init | None = None, *, trainable: bool = True
) -> Tensor:
    """A parameter: `gw.param("W", (784, 100), init=gw.he_normal())`.

    Its name is its key in `params`. With `trainable=False` it has no gradient. Raises ShapeError
    for a size below 1, InvalidNameError for a name that is taken or not allowed.
    """
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


def buffer(name: str, shape: int | Sequence[int], init: Init | None = None) -> Tensor:
    """A tensor that lives among the parameters but has no gradient; it starts at zero.

    `mean = gw.buffer("bn.mean", 64)` holds running statistics; `gw.assign` replaces it.
    """
    return param(name, shape, init or zeros(), trainable=False)


def assign(target: Tensor, indices: Indices, body: Any) -> None:
    """Replace a buffer at the end of each training step.

        gw.assign(mean, (c,), 0.9 * mean[c] + 0.1 * m[c])

    Raises ShapeError where the line's shape is not the buffer's.
    """
    trace = current()
    made = define(indices, body, name=trace.unclaimed(f"{target.name}_next"))
    known = trace.tensors.get(target.name)
    if made.shape != target.shape or known is None or known.role != "parameter":
        raise ShapeError(
            f"cannot assign {made!r} to {target.name}, which is {target!r}", at=caller()[0]
        )
    trace.updates[target.name] = made.name


def random(*indices: Any) -> Random:
    """A uniform number in [0, 1) at these indices: `gw.random(n, j) < 0.5` is a dropout mask.

    It is a function of the training state's seed and step, of the order of this call in the
    network, and of the indices: the same bits in every target, for any number of threads.
    """
    trace = current()
    for name in ("seed", "step"):
        if name not in trace.tensors:
            trace.claim(name, "state", caller()[0])
            trace.tensors[name] = Declared(name, (), "int64", "state")
    trace.streams += 1
    seed, step = (trace.tensors[name][()] for name in ("seed", "step"))
    return Random(seed, step, trace.streams, *indices)


def in_training() -> bool:
    """True while the network is traced for its loss, False while for its outputs in use.

        kept = gw.random(n, j) < 0.9 if gw.in_training() else sympy.true

    A network that asks is traced both ways; inference is then a program of its own.
    """
    trace = current()
    trace.depends_on_mode = True
    return trace.training


def define(indices: Indices, body: Any, *, name: str | None = None) -> Tensor:
    """Define a tensor by one line of index notation.

        y = gw.define((n, j), gw.sum(x[n, k] * W[k, j], over=k))
        c = gw.define(t, lambda c: sympy.Piecewise((x[0], sympy.Eq(t, 0)), (c[t - 1] + x[t], True)))

    `indices` are the output indices, `()` for a scalar. `body` is a SymPy expression over accesses,
    or a function of the tensor itself that returns one: a recurrence along one index, at earlier
    values. Raises ShapeError, RangeError, IndexLanguageError or InvalidNameError, each on the
    user's line.
    """
    at, target = caller()
    trace = current()
    own = (indices,) if isinstance(indices, Index) else tuple(indices)
    final = name_for(trace, name, target, "t", at)
    if callable(body) and not isinstance(body, (Expr, Tensor)):
        return recurrence_of([(final, own)], lambda *made: [body(*made)], at, trace)[0]
    return Tensor.of(enter(final, own, expression(body, final), at, trace))


def recurrence(
    indices: Sequence[Indices],
    body: Callable[..., Sequence[Any]],
    *,
    names: Sequence[str] | None = None,
) -> tuple[Tensor, ...]:
    """Tensors that read one another at earlier values of one shared index: an LSTM's h and c.

        own = (t, n, j)
        h, c = gw.recurrence([own, own], lambda h, c: (f(h, c), g(h, c)), names=("h", "c"))

    A tensor may also read one that stands before it in the list at the same value of the index.
    Raises IndexLanguageError unless there are indices, a name and a value for each tensor.
    """
    at, _ = caller()
    trace = current()
    if isinstance(indices, Index) or names is not None and len(names) != len(indices):
        raise IndexLanguageError(
            "gw.recurrence takes the indices of each tensor, and as many names",
            at=at,
            fix='gw.recurrence([(t, n), (t, n)], lambda h, c: (…, …), names=("h", "c"))',
        )
    given = names or ("t",) * len(indices)
    heads = [
        (
            name_for(trace, n if names else None, n, "t", at),
            (i,) if isinstance(i, Index) else tuple(i),
        )
        for n, i in zip(given, indices, strict=True)
    ]
    return tuple(recurrence_of(heads, body, at, trace))
