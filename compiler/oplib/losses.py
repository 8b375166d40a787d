"""Losses: forward lines only, with PyTorch's names, arguments and defaults.

    loss = gw.cross_entropy(logits, label, label_smoothing=0.1)

`reduction` is "mean" over all elements, "sum", or "none": the loss of each element. A target has
the shape of x; weights are broadcast to it. Labels of classes: see classification.py.
"""

from __future__ import annotations

from collections.abc import Callable

import sympy
from sympy import Expr

from compiler import notation as gw
from compiler.notation import Tensor, define_as
from compiler.oplib.common import broadcast, loops_of, need, part, position, refuse, repeated
from compiler.oplib.options import choice, number
from ir.expression import Index

# torch.nn.CosineEmbeddingLoss adds it to both squared lengths.
_COSINE_EPSILON = sympy.Float(1e-12)


def mse(
    x: Tensor,
    target: Tensor,
    reduction: str = "mean",
    weight: Tensor | None = None,
    *,
    name: str | None = None,
) -> Tensor:
    """(x - target)**2; the mean is over all elements, as torch.nn.MSELoss, or over the weights."""
    return _weighted("mse", lambda u, y: (u - y) ** 2, x, target, reduction, weight, name)


def rmse(x: Tensor, target: Tensor, *, name: str | None = None) -> Tensor:
    """The square root of `mse`. Where x equals target everywhere, it has no gradient: NaN."""
    _same_shape("rmse", x, target)
    loops = loops_of(x.shape)
    squared = (x[loops] - target[loops]) ** 2
    mean = gw.mean(squared, over=loops) if loops else squared
    return define_as("rmse", (), sympy.sqrt(mean), name=name)


def l1_loss(
    x: Tensor,
    target: Tensor,
    reduction: str = "mean",
    weight: Tensor | None = None,
    *,
    name: str | None = None,
) -> Tensor:
    """|x - target|; the mean is over all elements, or over the weights."""
    return _weighted("l1_loss", lambda u, y: sympy.Abs(u - y), x, target, reduction, weight, name)


def smooth_l1_loss(
    x: Tensor,
    target: Tensor,
    reduction: str = "mean",
    beta: float = 1.0,
    *,
    name: str | None = None,
) -> Tensor:
    """With d = |x - target|: d**2 / (2 beta) where d < beta, else d - beta/2; beta 0: `l1_loss`."""
    b = number(beta, "beta")

    def line(u: Expr, y: Expr) -> Expr:
        d = sympy.Abs(u - y)
        return sympy.Piecewise(((u - y) ** 2 / (2 * b), d < b), (d - b / 2, True)) if b else d

    return _pairs("smooth_l1_loss", line, x, target, reduction, name)


def huber_loss(
    x: Tensor,
    target: Tensor,
    reduction: str = "mean",
    delta: float = 1.0,
    weight: Tensor | float = 1,
    *,
    name: str | None = None,
) -> Tensor:
    """With d = |x - target|: d**2 / 2 where d < delta, else delta * (d - delta/2).

    Weighted, the mean still is over the number of elements, as torch's.
    """
    b = number(delta, "delta", not_zero=True)

    def line(u: Expr, y: Expr, w: Expr) -> Expr:
        d = sympy.Abs(u - y)
        return w * sympy.Piecewise(((u - y) ** 2 / 2, d < b), (b * (d - b / 2), True))

    return _pairs("huber_loss", line, x, target, reduction, name, weight)


def hinge_loss(
    x: Tensor,
    target: Tensor,
    reduction: str = "mean",
    margin: float = 1.0,
    *,
    name: str | None = None,
) -> Tensor:
    """max(0, margin - target * x), with targets of 1 and -1, as in a support vector machine."""
    m = number(margin, "margin")
    return _pairs("hinge_loss", lambda u, y: sympy.Max(m - y * u, 0), x, target, reduction, name)


def hinge_embedding_loss(
    x: Tensor,
    target: Tensor,
    reduction: str = "mean",
    margin: float = 1.0,
    *,
    name: str | None = None,
) -> Tensor:
    """x where target is 1, max(0, margin - x) where it is -1."""
    m = number(margin, "margin")

    def line(u: Expr, y: Expr) -> Expr:
        return sympy.Piecewise((u, y > 0), (sympy.Max(m - u, 0), True))

    return _pairs("hinge_embedding_loss", line, x, target, reduction, name)


def bce(
    x: Tensor,
    target: Tensor,
    weight: Tensor | float = 1,
    reduction: str = "mean",
    *,
    name: str | None = None,
) -> Tensor:
    """-target log(x) - (1 - target) log(1 - x), each logarithm at least -100: x is a probability.

    As torch.nn.BCELoss; from logits, `bce_with_logits` keeps more digits.
    """

    def line(u: Expr, y: Expr, w: Expr) -> Expr:
        certain = sympy.Max(sympy.log(u), -100), sympy.Max(sympy.log(1 - u), -100)
        return -w * (y * certain[0] + (1 - y) * certain[1])

    return _pairs("bce", line, x, target, reduction, name, weight)


def bce_with_logits(
    x: Tensor,
    target: Tensor,
    weight: Tensor | float = 1,
    reduction: str = "mean",
    pos_weight: Tensor | float = 1,
    *,
    name: str | None = None,
) -> Tensor:
    """-pos_weight target log(s) - (1 - target) log(1 - s), with s = sigmoid(x), safe for any x.

    As torch.nn.BCEWithLogitsLoss; both weights are broadcast.
    """

    def line(u: Expr, y: Expr, w: Expr, p: Expr) -> Expr:
        return w * ((1 - y) * u + (1 + (p - 1) * y) * sympy.log(1 + sympy.exp(-u)))

    return _pairs("bce_with_logits", line, x, target, reduction, name, weight, pos_weight)


def kl_div(
    x: Tensor,
    target: Tensor,
    reduction: str = "mean",
    log_target: bool = False,
    *,
    name: str | None = None,
) -> Tensor:
    """target * (log(target) - x), with x a logarithm of probabilities; 0 where target is 0.

    "batchmean" divides the sum by the first size: that is the divergence, "mean" is not.
    """

    def line(u: Expr, y: Expr) -> Expr:
        if log_target:
            return sympy.exp(y) * (y - u)
        return sympy.Piecewise((y * sympy.log(y), y > 0), (0, True)) - y * u

    if reduction != "batchmean" or not x.shape:
        return _pairs("kl_div", line, x, target, reduction, name)
    _same_shape("kl_div", x, target)
    loops = loops_of(x.shape)
    total = gw.sum(line(x[loops], target[loops]), over=loops)
    return define_as("kl_div", (), total / x.shape[0], name=name)


def cosine_similarity(
    x1: Tensor, x2: Tensor, *, axis: int = 1, eps: float = 1e-8, name: str | None = None
) -> Tensor:
    """x1·x2 / (max(|x1|, eps) max(|x2|, eps)) along an axis, which goes; shapes are broadcast."""
    shape = broadcast("cosine_similarity", x1, x2)
    at = position(axis, len(shape), "cosine_similarity")
    loops, least = loops_of(shape), number(eps, "eps") ** 2
    u, v = (x[repeated(x.shape, loops)] for x in (x1, x2))
    dot, first, second = (gw.sum(term, over=loops[at]) for term in (u * v, u * u, v * v))
    body = dot / sympy.sqrt(sympy.Max(first, least)) / sympy.sqrt(sympy.Max(second, least))
    return define_as("cosine_similarity", (*loops[:at], *loops[at + 1 :]), body, name=name)


def cosine_embedding_loss(
    x1: Tensor,
    x2: Tensor,
    target: Tensor,
    margin: float = 0.0,
    reduction: str = "mean",
    *,
    name: str | None = None,
) -> Tensor:
    """With c the cosine of two rows: 1 - c where target is 1, max(0, c - margin) where it is -1."""
    _same_shape("cosine_embedding_loss", x1, x2)
    need(x1, "cosine_embedding_loss", 1)
    *n, k = loops_of(x1.shape)
    u, v = x1[(*n, k)], x2[(*n, k)]
    dot, first, second = (gw.sum(term, over=k) for term in (u * v, u * u, v * v))
    cosine = dot / sympy.sqrt((first + _COSINE_EPSILON) * (second + _COSINE_EPSILON))
    rows = part(name or "cosine_embedding_loss", "cosine")
    c = define_as("cosine", tuple(n), cosine, name=rows)
    m = number(margin, "margin")

    def line(c: Expr, y: Expr) -> Expr:
        return sympy.Piecewise((1 - c, y > 0), (sympy.Max(c - m, 0), True))

    return _pairs("cosine_embedding_loss", line, c, target, reduction, name)


def _pairs(
    op: str,
    line: Callable[..., Expr],
    x: Tensor,
    target: Tensor,
    reduction: str,
    name: str | None,
    *weights: Tensor | float,
) -> Tensor:
    """A loss of pairs of elements, with weights that are broadcast, reduced."""
    _same_shape(op, x, target)
    loops = loops_of(x.shape)
    body = line(*(_element(operand, loops, op) for operand in (x, target, *weights)))
    return _reduced(op, loops, body, reduction, name)


def _weighted(
    op: str,
    line: Callable[..., Expr],
    x: Tensor,
    target: Tensor,
    reduction: str,
    weight: Tensor | None,
    name: str | None,
) -> Tensor:
    """A loss of pairs whose weights, if there are any, are also what its mean is over."""
    if weight is None:
        return _pairs(op, line, x, target, reduction, name)
    if reduction != "mean":
        return _pairs(op, lambda u, y, w: w * line(u, y), x, target, reduction, name, weight)
    _same_shape(op, x, target)
    loops = loops_of(x.shape)
    w = _element(weight, loops, op)
    total = gw.sum(w * line(x[loops], target[loops]), over=loops)
    return define_as(op, (), total / gw.sum(w, over=loops), name=name)


def _reduced(
    op: str, loops: tuple[Index, ...], body: Expr, reduction: str, name: str | None
) -> Tensor:
    choice(reduction, "reduction", ("mean", "sum", "none"))
    if reduction == "none" or not loops:
        return define_as(op, loops, body, name=name)
    reduce = gw.mean if reduction == "mean" else gw.sum
    return define_as(op, (), reduce(body, over=loops), name=name)


def _element(operand: Tensor | float, loops: tuple[Index, ...], op: str) -> Expr:
    """One element of an operand whose shape is broadcast to the loops."""
    if not isinstance(operand, Tensor):
        return number(operand, "weight")
    sizes = [i.extent for i in loops]
    mine = sizes[max(0, len(sizes) - len(operand.shape)) :]
    if len(operand.shape) > len(sizes) or any(
        s not in (1, size) for s, size in zip(operand.shape, mine, strict=True)
    ):
        refuse(f"{op}() cannot broadcast {operand!r} to {sizes}", operand)
    return operand[repeated(operand.shape, loops)]


def _same_shape(op: str, x: Tensor, target: Tensor) -> None:
    if x.shape != target.shape:
        refuse(f"{op}() needs two tensors of one shape, got {x!r} and {target!r}", x, target)
