"""Sums of products under a condition, once more where a term that it hides has come through.

    np.matmul(x_where_positive, W, out=y)           zero times an infinite W is NaN
    if np.isnan(np.add.reduce(y, axis=None)):
        np.copyto(y, _held_sum(x > 0, (rows, 4, 5), 1, x, W))

A matrix product has its condition on one operand only: the other is multiplied by zero where a term
is left out. That is the sum, unless the other is infinite or NaN there, and then the sum is NaN:
so a result without NaN is right, and one with it is made again, term by term. The zeros of a padded
border are not looked at: see padding.py.
"""

from __future__ import annotations

from typing import Any

import sympy
from sympy import Expr

from codegen.numpy.evaluate import Evaluation
from codegen.numpy.writer import Frame, Operand, Writer, axes_text, sizes_of
from ir.expression import Access
from ir.program import DType


def held(
    w: Writer, value: Expr, space: Frame, over: Frame, body: Expr, masks: list[Any], dtype: DType
) -> Access:
    """The value of a sum in an array of its own, without what the masks hide."""
    place = _placed(w, Evaluation(w, space).of(value), space, dtype)
    frame = space + over
    sums = f"np.add.reduce({place}, axis=None)" if space else place
    with w.block(f"if np.isnan({sums}):"):
        mask = Evaluation(w, frame).of(sympy.And(*masks)).text
        factors = [Evaluation(w, frame).of(f).text for f in sympy.Mul.make_args(body)]
        axes = axes_text([len(space) + i for i in range(len(over))])
        whole = f"{mask}, {w.shape(sizes_of(frame))}, {axes}, {', '.join(factors)}"
        again = f"{w.helper('held_sum')}({whole})"
        w.say(f"np.copyto({place}, {again})" if space else f"{place} = {again}")
    return w.hold(place, space, dtype)


def _placed(w: Writer, found: Operand, space: Frame, dtype: DType) -> str:
    """The array of a value, over the whole space and nobody else's."""
    if found.temporary and found.text in w.places and len(found.axes) == len(space):
        return found.text
    name = w.name("t")
    if not space:
        w.say(f"{name} = {found.text}")
        return name
    w.say(f"np.copyto({w.place(name, sizes_of(space), dtype)}, {found.text})")
    return name
