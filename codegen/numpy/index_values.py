"""Index expressions as integers: numbers that Python knows, or arrays along the axes of a frame.

    28*p + q          i = 28*p + q, made once, from p = np.arange(14)[:, None] and q = np.arange(14)
    label[n] // 2     np.floor_divide(label, 2, out=i)

What depends on its axes and the number of rows alone is made once for it. What reads integers of
the caller, or the step of a loop, is made by statements on arrays of the workspace.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from sympy import Symbol

from codegen.numpy.writer import ATOM, PRODUCT, SUM, Frame, Operand, Writer
from ir.affine import Linear, linear
from ir.expression import Access, FloorDiv


def depends(form: Linear, axis: Symbol) -> bool:
    return any(axis in atom.free_symbols for atom in form.atoms)


def scalar(w: Writer, form: Linear) -> str:
    """The text of an index that Python knows as a number."""
    return index_value(w, form, ()).text


def is_steady(w: Writer, form: Linear, frame: Frame) -> bool:
    """Whether an index depends on its axes and the number of rows alone."""
    known = {r.index for r in frame} | ({w.program.batch.symbol} if w.program.batch else set())
    return all(not a.has(Access) and a.free_symbols <= known for a in form.atoms)


def index_value(w: Writer, form: Linear, frame: Frame) -> Operand:
    """An index expression as integers, aligned to the frame: a number, or the name of an array."""
    axes = frozenset(r.index for r in frame if depends(form, r.index))
    if not axes:
        return _number(w, form)
    if is_steady(w, form, frame):
        text = steady_text(w, form, frame)
        return Operand(text if text.isidentifier() else w.constant("i", text), axes, constant=True)
    return _integers(w, form, frame, axes)


def _number(w: Writer, form: Linear) -> Operand:
    return _written(w, form, lambda atom: _scalar_atom(w, atom))


def _scalar_atom(w: Writer, atom: Any) -> Operand:
    if isinstance(atom, Symbol):
        return Operand(w.scalars[atom])
    if isinstance(atom, Access):
        return w.read(w, atom, ())
    return _divided(atom, _number(w, linear(atom.args[0])))


def steady_text(w: Writer, form: Linear, frame: Frame) -> str:
    return _written(w, form, lambda atom: _steady_atom(w, atom, frame)).text


def _steady_atom(w: Writer, atom: Any, frame: Frame) -> Operand:
    if isinstance(atom, Symbol):
        return Operand(w.scalars[atom] if atom in w.scalars else arange(w, atom, frame))
    form = linear(atom.args[0])
    return _divided(atom, _written(w, form, lambda inner: _steady_atom(w, inner, frame)))


def _divided(atom: Any, inner: Operand) -> Operand:
    sign = "//" if isinstance(atom, FloorDiv) else "%"
    return Operand(f"{inner.within(ATOM)} {sign} {atom.args[1]}", inner.axes, PRODUCT)


def _written(w: Writer, form: Linear, said: Callable[[Any], Operand]) -> Operand:
    """A linear form as Python text."""
    text = ""
    for atom, c in sorted(form.terms, key=lambda t: t[1] < 0):
        operand = said(atom)
        factor = "" if abs(c) == 1 else f"{abs(c)}*"
        if text:
            text += " - " if c < 0 else " + "
        elif c < 0:
            factor = "-" + factor
        text += factor + (operand.within(ATOM) if factor else operand.text)
    if not text:
        return Operand(str(form.const), literal=True)
    if form.const:
        text += f" {'-' if form.const < 0 else '+'} {abs(form.const)}"
    lone = len(form.terms) == 1 and not form.const and form.terms[0][1] == 1
    return Operand(text, tight=operand.tight if lone else SUM)


def _integers(w: Writer, form: Linear, frame: Frame, axes: frozenset[Symbol]) -> Operand:
    """An index that reads integers, or the step of a loop: statements on arrays of integers."""
    if form.plain is not None or (not form.const and form.terms[0][1] == 1 == len(form.terms)):
        return _integer_atom(w, form.terms[0][0], frame)
    shape = w.spread(axes, frame)
    name = w.place(w.name("i"), shape, "int64")
    w.say(f"{name}.fill({form.const})")
    for atom, c in form.terms:
        operand = _integer_atom(w, atom, frame)
        term = operand.text
        if abs(c) != 1 and operand.axes:
            term = w.place(w.name("i"), shape, "int64")
            w.say(f"np.multiply({operand.text}, {abs(c)}, out={term})")
        elif abs(c) != 1:
            term = f"{abs(c)}*{operand.within(ATOM)}"
        w.say(f"np.{'add' if c > 0 else 'subtract'}({name}, {term}, out={name})")
    return Operand(name, axes)


def _integer_atom(w: Writer, atom: Any, frame: Frame) -> Operand:
    if isinstance(atom, Access):
        return replace(w.read(w, atom, frame), temporary=False)
    if isinstance(atom, Symbol):
        return index_value(w, linear(atom), frame)
    inner = index_value(w, linear(atom.args[0]), frame)
    if not inner.axes:
        return _divided(atom, inner)
    name = w.place(w.name("i"), w.spread(inner.axes, frame), "int64")
    function = "floor_divide" if isinstance(atom, FloorDiv) else "remainder"
    w.say(f"np.{function}({inner.text}, {atom.args[1]}, out={name})")
    return Operand(name, inner.axes)


def arange(w: Writer, axis: Symbol, frame: Frame, dtype: str = "") -> str:
    """The name of 0, 1, 2, … along an axis of the frame."""
    position = next(i for i, r in enumerate(frame) if r.index == axis)
    after = len(frame) - 1 - position
    kind = f", dtype={dtype}" if dtype else ""
    shaped = f"[:{', None' * after}]" if after else ""
    return w.constant(str(axis), f"np.arange({w.size(frame[position].size)}{kind}){shaped}")
