"""The op library: forward lines of index notation, nothing else. Every gradient is derived from them.

    h = gw.relu(gw.dense(x, 100, name="fc1"))
    loss = gw.cross_entropy(gw.dense(h, 10, name="fc2"), label)

To add an op, write its forward line. Names and defaults are PyTorch's.
"""

from __future__ import annotations

from collections.abc import Sequence

import sympy

from compiler import notation as gw
from compiler.initializers import Init, he_normal, zeros
from compiler.notation import Tensor, define_as, elementwise
from compiler.source import caller
from ir.errors import Origin, ShapeError
from ir.expression import Index
from ir.program import Shape


def dense(
    x: Tensor, features: int, *, name: str | None = None, bias: bool = True, init: Init | None = None
) -> Tensor:
    """y[n, j] = sum over k of x[n, k] W[k, j] + b[j], a vector a row; `linear` takes further dimensions.

    Parameters `name.W` of (in, features) and `name.b` of (features,).
    Raises ShapeError unless x is [rows, in] with an integer `in`.
    """
    if len(x.shape) != 2:
        raise ShapeError(
            f"dense() needs a vector per row, got {x!r}",
            at=_at(), notes=(x.provenance(),), fix=f"put gw.flatten({x.name}) before it",
        )
    return linear(x, features, name=name or gw.suggest("dense"), bias=bias, init=init)


def linear(
    x: Tensor, features: int, *, name: str | None = None, bias: bool = True, init: Init | None = None
) -> Tensor:
    """y[…, j] = sum over k of x[…, k] W[k, j] + b[j], as torch.nn.Linear; parameters as for `dense`."""
    if not x.shape or not isinstance(x.shape[-1], int):
        raise ShapeError(f"linear() needs a last dimension of fixed size, got {x!r}", at=_at())
    name = name or gw.suggest("linear")
    *rows, j, k = *_loops(x.shape[:-1]), gw.index("j", features), gw.index("k", x.shape[-1])
    weight = gw.param(f"{name}.W", (x.shape[-1], features), init or he_normal())
    body = gw.sum(x[(*rows, k)] * weight[k, j], over=k)
    if bias:
        body += gw.param(f"{name}.b", features, zeros())[j]
    return gw.define((*rows, j), body, name=name)


def relu(x: Tensor, *, name: str | None = None) -> Tensor:
    """max(x, 0); the derivative at 0 is 0, and NaN stays NaN."""
    return elementwise(lambda v: sympy.Max(v, 0), x, op="relu", name=name)


def sigmoid(x: Tensor, *, name: str | None = None) -> Tensor:
    """1 / (1 + exp(-x))."""
    return elementwise(lambda v: 1 / (1 + sympy.exp(-v)), x, op="sigmoid", name=name)


def tanh(x: Tensor, *, name: str | None = None) -> Tensor:
    """The hyperbolic tangent."""
    return elementwise(sympy.tanh, x, op="tanh", name=name)


def softmax(x: Tensor, *, axis: int = -1, name: str | None = None) -> Tensor:
    """exp(x[…, j]) / sum over k of exp(x[…, k])."""
    loops, other, k = _along(x, axis, "softmax")
    body = sympy.exp(x[loops]) / gw.sum(sympy.exp(x[other]), over=k)
    return define_as("softmax", loops, body, name=name)


def log_softmax(x: Tensor, *, axis: int = -1, name: str | None = None) -> Tensor:
    """x[…, j] - log(sum over k of exp(x[…, k]))."""
    loops, other, k = _along(x, axis, "log_softmax")
    body = x[loops] - sympy.log(gw.sum(sympy.exp(x[other]), over=k))
    return define_as("log_softmax", loops, body, name=name)


def cross_entropy(logits: Tensor, label: Tensor, *, name: str | None = None) -> Tensor:
    """Mean over the rows of -log softmax(logits)[label]: logits real [rows, classes], labels integer [rows]."""
    _need(logits, "cross_entropy", 2, exactly=True)
    if label.shape != logits.shape[:1] or not label.dtype.startswith("int"):
        raise ShapeError(
            f"cross_entropy() needs an integer label a row, got {label!r} for logits {logits!r}", at=_at()
        )
    n, k = gw.index("n", logits.shape[0]), gw.index("k", logits.shape[1])
    row = sympy.log(gw.sum(sympy.exp(logits[n, k]), over=k)) - logits[n, label[n]]
    return define_as("cross_entropy", (), gw.mean(row, over=n), name=name)


def mse(x: Tensor, target: Tensor, *, name: str | None = None) -> Tensor:
    """Mean of (x - target)**2 over all elements, as torch.nn.MSELoss."""
    if x.shape != target.shape:
        raise ShapeError(f"mse() needs two tensors of one shape, got {x!r} and {target!r}", at=_at())
    loops = _loops(x.shape)
    if not loops:
        return define_as("mse", (), (x[()] - target[()]) ** 2, name=name)
    return define_as("mse", (), gw.mean((x[loops] - target[loops]) ** 2, over=loops), name=name)


def add(a: Tensor, b: Tensor | float, *, name: str | None = None) -> Tensor:
    """a + b, element-wise with NumPy's broadcasting."""
    return elementwise(lambda u, v: u + v, a, b, op="add", name=name)


def mul(a: Tensor, b: Tensor | float, *, name: str | None = None) -> Tensor:
    """a * b, element-wise with NumPy's broadcasting."""
    return elementwise(lambda u, v: u * v, a, b, op="mul", name=name)


def flatten(x: Tensor, *, name: str | None = None) -> Tensor:
    """[batch, a, b, …] to [batch, a*b*…], row-major."""
    _need(x, "flatten", 2)
    sizes = [int(s) for s in x.shape[1:]]
    n, k = gw.index("n", x.shape[0]), gw.index("k", int(sympy.prod(sizes)))
    return define_as("flatten", (n, k), x[n, *_digits(k, sizes)], name=name)


def _digits(k: Index, sizes: Sequence[int]) -> list[sympy.Expr]:
    """The row-major indices of position k in a block of the given sizes."""
    found: list[sympy.Expr] = []
    stride = 1
    for position, size in reversed(list(enumerate(sizes))):
        outer = k // stride if stride > 1 else k
        found.append(outer % size if position else outer)
        stride *= size
    return found[::-1]


def _loops(shape: Shape) -> tuple[Index, ...]:
    names = ("n", "i1", "i2", "i3", "i4", "i5", "i6", "i7")
    return tuple(gw.index(name, size) for name, size in zip(names, shape, strict=False))


def _along(x: Tensor, axis: int, op: str) -> tuple[tuple[Index, ...], tuple[Index, ...], Index]:
    """Loops over all of x, the same with another index at `axis`, and that index."""
    if not -len(x.shape) <= axis < len(x.shape):
        raise ShapeError(f"{op}() has no axis {axis} in {x!r}", at=_at())
    loops, k = _loops(x.shape), gw.index("k", x.shape[axis])
    at = axis % len(loops)
    return loops, (*loops[:at], k, *loops[at + 1:]), k


def _need(x: Tensor, op: str, dimensions: int, *, exactly: bool = False) -> None:
    if len(x.shape) < dimensions or (exactly and len(x.shape) != dimensions):
        least = "" if exactly else "at least "
        raise ShapeError(
            f"{op}() needs {least}{dimensions} dimensions, got {x!r}", at=_at(), notes=(x.provenance(),)
        )


def _at() -> Origin | None:
    return caller()[0]
