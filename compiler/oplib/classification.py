"""Losses of class scores against labels: forward lines only, with PyTorch's arguments and defaults.

    loss = gw.cross_entropy(logits, label)              # [rows, classes] and integers [rows]
    loss = gw.cross_entropy(scores, token, axis=-1)     # [batch, context, tokens], [batch, context]

`weight` has one number a class: a tensor, or numbers, which become a buffer `name.weight`. The mean
is over the weights of the rows. A row whose label is `ignore_index` counts nothing; if that is no
class, neither does any other row whose label is no class. It is None where torch has -100: then a
label that is no class is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import sympy
from sympy import Expr

from compiler import notation as gw
from compiler.initializers import constant
from compiler.notation import Tensor, define_as
from compiler.oplib.common import along, axis_of, here, part, refuse
from compiler.oplib.options import choice, number
from ir.errors import ShapeError
from ir.expression import Index
from ir.program import Shape

Weight = Tensor | Sequence[float] | None


def cross_entropy(
    logits: Tensor,
    label: Tensor,
    weight: Weight = None,
    ignore_index: int | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    *,
    axis: int = 1,
    name: str | None = None,
) -> Tensor:
    """-log softmax(logits)[label]; a real `label` of the logits' shape holds probabilities.

    With smoothing s, the label's probability is 1 - s, and s is shared among all classes.
    Raises ShapeError, InputError.
    """
    s = number(label_smoothing, "label_smoothing")
    x = _scores("cross_entropy", logits, axis, weight, name)
    total = sympy.log(gw.sum(sympy.exp(x.at(x.k)), over=x.k))
    likely = label.dtype.startswith("float")
    if s or likely:
        lse = part(name or "cross_entropy", "logsumexp")
        total = define_as("logsumexp", x.rows, total, name=lse)[x.rows]
    if likely and ignore_index is not None:
        refuse("probabilities know no ignore_index", label, fix="give integer labels")
    if likely:
        return _of_probabilities(x, label, total, s, reduction, name)
    labels = _labels("cross_entropy", x, label, ignore_index)
    row = labels.pick(lambda c: x.weight(c) * (total - x.at(c)))
    if s:
        shared = gw.sum(x.weight(x.k) * (total - x.at(x.k)), over=x.k) / x.classes
        row = (1 - s) * row + s * labels.kept(shared)
    return _of_labels("cross_entropy", labels, row, reduction, name)


def nll_loss(
    x: Tensor,
    label: Tensor,
    weight: Weight = None,
    ignore_index: int | None = None,
    reduction: str = "mean",
    *,
    axis: int = 1,
    name: str | None = None,
) -> Tensor:
    """-x[label], with x logarithms of probabilities: after log_softmax, it is the cross-entropy."""
    scores = _scores("nll_loss", x, axis, weight, name)
    labels = _labels("nll_loss", scores, label, ignore_index)
    row = labels.pick(lambda c: -scores.weight(c) * scores.at(c))
    return _of_labels("nll_loss", labels, row, reduction, name)


@dataclass(frozen=True, slots=True)
class _Scores:
    """The scores, the loops over their rows, and the index of a class."""

    tensor: Tensor
    rows: tuple[Index, ...]
    k: Index
    axis: int
    weights: Tensor | None

    @property
    def classes(self) -> int:
        return int(self.tensor.shape[self.axis])

    @property
    def shape(self) -> Shape:
        """That of the labels."""
        shape = self.tensor.shape
        return (*shape[: self.axis], *shape[self.axis + 1 :])

    def at(self, c: Expr) -> Expr:
        return self.tensor[(*self.rows[: self.axis], c, *self.rows[self.axis :])]

    def weight(self, c: Expr) -> Expr:
        return sympy.S.One if self.weights is None else self.weights[c]


@dataclass(frozen=True, slots=True)
class _Labels:
    """One label a row. Rows labelled `ignored` count nothing; outside, that is no class."""

    scores: _Scores
    label: Expr
    ignored: int | None

    @property
    def outside(self) -> bool:
        return self.ignored is not None and not 0 <= self.ignored < self.scores.classes

    def pick(self, value: Callable[[Any], Expr]) -> Expr:
        """The value at the label. One that may be no class is compared, never used as an index."""
        if self.outside:
            k = self.scores.k
            return gw.sum(sympy.Piecewise((value(k), sympy.Eq(k, self.label)), (0, True)), over=k)
        return self.kept(value(self.label))

    def kept(self, row: Expr) -> Expr:
        """The row's value, or 0 where the row counts nothing."""
        if self.ignored is None:
            return row
        if self.outside:
            there = sympy.And(self.label >= 0, self.label < self.scores.classes)
        else:
            there = sympy.Ne(self.label, self.ignored)
        return sympy.Piecewise((row, there), (0, True))


def _scores(op: str, x: Tensor, axis: int, weight: Weight, name: str | None) -> _Scores:
    at = axis_of(x, axis if len(x.shape) > 1 else 0, op)
    if not isinstance(x.shape[at], int):
        refuse(f"{op}() needs a fixed number of classes at axis {at}, got {x!r}", x)
    loops, _, k = along(x, at, op)
    weights = _weights(op, weight, int(x.shape[at]), name)
    return _Scores(x, (*loops[:at], *loops[at + 1 :]), k, at, weights)


def _weights(op: str, weight: Weight, classes: int, name: str | None) -> Tensor | None:
    if weight is None:
        return None
    shape = weight.shape if isinstance(weight, Tensor) else (len(weight),)
    if shape != (classes,):
        found = list(shape) if isinstance(weight, Tensor) else len(shape) and shape[0]
        raise ShapeError(f"{op}() needs {classes} weights, one a class, got {found}", at=here())
    if isinstance(weight, Tensor):
        return weight
    return gw.buffer(f"{name or gw.suggest(op)}.weight", classes, constant(weight))


def _labels(op: str, x: _Scores, label: Tensor, ignore_index: int | None) -> _Labels:
    if label.shape != x.shape or not label.dtype.startswith("int"):
        refuse(f"{op}() needs an integer label a row, got {label!r} for scores {x.tensor!r}", label)
    return _Labels(x, label[x.rows], ignore_index)


def _of_probabilities(
    x: _Scores, target: Tensor, total: Expr, s: Expr, reduction: str, name: str | None
) -> Tensor:
    if target.shape != x.tensor.shape:
        refuse(f"cross_entropy() of {x.tensor!r} needs probabilities alike, got {target!r}", target)
    p = target[(*x.rows[: x.axis], x.k, *x.rows[x.axis :])]
    smoothed = (1 - s) * p + s / x.classes if s else p
    row = gw.sum(x.weight(x.k) * smoothed * (total - x.at(x.k)), over=x.k)
    return _reduced("cross_entropy", x.rows, row, None, reduction, name)


def _of_labels(op: str, labels: _Labels, row: Expr, reduction: str, name: str | None) -> Tensor:
    """The mean of labelled rows is over their weights; those that count nothing weigh nothing."""
    plain = labels.scores.weights is None and labels.ignored is None
    counted = None if plain else labels.pick(labels.scores.weight)
    return _reduced(op, labels.scores.rows, row, counted, reduction, name)


def _reduced(
    op: str,
    rows: tuple[Index, ...],
    row: Expr,
    counted: Expr | None,
    reduction: str,
    name: str | None,
) -> Tensor:
    choice(reduction, "reduction", ("mean", "sum", "none"))
    if reduction == "none":
        return define_as(op, rows, row, name=name)
    if reduction == "sum" or not rows:
        return define_as(op, (), gw.sum(row, over=rows) if rows else row, name=name)
    if counted is None:
        return define_as(op, (), gw.mean(row, over=rows), name=name)
    return define_as(op, (), gw.sum(row, over=rows) / gw.sum(counted, over=rows), name=name)
