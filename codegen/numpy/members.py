"""One definition as statements: its value, by whichever form its reduction has.

    map       element by element, see evaluate.py
    sum       a matrix product or another contraction, see contraction.py
    max       np.maximum.reduce          argmax    np.argmax over the reduced axes as one
    scatter   np.add.at, in row-major order of the loop variables

`value` returns the value as an operand over the kernel's space: often the name of the array that
the statements made. Terms left out of a maximum are minus infinity.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import sympy

from codegen.numpy.contraction import write_sum
from codegen.numpy.evaluate import Evaluation, truth
from codegen.numpy.gathers import positions
from codegen.numpy.ops import Lowering
from codegen.numpy.padding import covered
from codegen.numpy.reductions import across, write_reduction
from codegen.numpy.writer import Frame, Operand, Writer, frame_of
from ir.affine import linear
from ir.expression import Access
from ir.program import Definition, Shape

EMPTY = {"sum": "0", "max": "-np.inf", "argmax": "0"}


def value(
    w: Writer, d: Definition, space: Frame, name: str, owned: frozenset[str] = frozenset()
) -> Operand:
    """Writes the statements of a definition; `name` is reserved for its array."""
    if d.reduce is None:
        return _body(w, d, space, name, owned)
    if d.reduce == "scatter":
        return _scatter(w, d, name)
    lowering = Lowering(frozenset(r.index for r in space + d.over))
    fixed = [c for c in d.where if lowering.is_fixed(c)]
    masks = [c for c in d.where if c not in fixed]
    if not fixed:
        return _reduction(w, d, space, masks, name, owned)
    return _guarded(w, d, space, sympy.And(*fixed), masks, name)


def _body(
    w: Writer, d: Definition, space: Frame, name: str, owned: frozenset[str]
) -> Operand:
    real = d.dtype.startswith("float")
    return Evaluation(w, space, name, owned, real).of(d.body)


def _guarded(
    w: Writer, d: Definition, space: Frame, test: Any, masks: list[Any], name: str
) -> Operand:
    """A reduction whose terms all stand or fall with a condition that Python knows."""
    shape = tuple(r.size for r in space)
    with w.block(f"if {truth(w, test)}:"):
        w.known = (*w.known, test)
        found = _reduction(w, d, space, masks, name)
        whole = found.axes == frozenset(r.index for r in space) and not found.literal
        if not space:
            w.say(f"{name} = {found.text}" if found.text != name else "pass")
        elif not whole or found.text != name:
            _fill(w, name, shape, d.dtype, found.text)
    with w.block("else:"):
        if space:
            _fill(w, name, shape, d.dtype, EMPTY[str(d.reduce)])
        else:
            w.say(f"{name} = np.{d.dtype}({EMPTY[str(d.reduce)]})")
    return Operand(name, frozenset(r.index for r in space))


def _fill(w: Writer, name: str, shape: Shape, dtype: str, text: str) -> None:
    """Writes one number, or what broadcasts, to an array that this may be the first to write."""
    if name not in w.places:
        w.place(name, shape, dtype)
    w.say(f"np.copyto({name}, {text}, casting=\"unsafe\")" if dtype.startswith("int")
          else f"np.copyto({name}, {text})")


def _reduction(
    w: Writer, d: Definition, space: Frame, masks: list[Any], name: str,
    owned: frozenset[str] = frozenset(),
) -> Operand:
    if d.reduce == "sum":
        return _sum(w, d, space, masks, name, owned)
    if d.reduce == "max":
        return _max(w, d, space, masks, name)
    return _argmax(w, d, space, masks, name)


def _sum(
    w: Writer, d: Definition, space: Frame, masks: list[Any], name: str, owned: frozenset[str]
) -> Operand:
    """The sum, then the factors that it does not touch: only the sum's own arrays end there."""
    before = frozenset(w.fresh)
    result = write_sum(w, d, space, masks, name)
    taken = any(a.tensor == name for a in result.atoms(Access))
    owned |= w.fresh - before
    real = d.dtype.startswith("float")
    return Evaluation(w, space, "" if taken else name, owned, real).of(result)


def _max(w: Writer, d: Definition, space: Frame, masks: list[Any], name: str) -> Operand:
    body = d.body
    if isinstance(body, Access):
        body, masks = covered(w, body, masks, space + d.over, fill="-np.inf")
    frame = frame_of(body, space, d.over)
    terms = _terms(w, body, masks, frame)
    if frame == d.over + space and len(d.over) > 1:
        terms = _joined(w, terms, frame, ["-1", *(w.size(r.size) for r in space)])
        positions = [0]
    else:
        positions = [i for i, r in enumerate(frame) if r in d.over]
    if positions == [1] and len(frame) == 2:
        terms, positions = across(w, terms, frame)
    kept = tuple(r for r in frame if r.index not in {o.index for o in d.over})
    write_reduction(w, "maximum", terms.text, positions, name, kept, d.dtype)
    result = Evaluation(w, space).of(w.hold(name, kept, d.dtype))
    return replace(result, temporary=bool(space) and result.text == name)


def _joined(w: Writer, terms: Operand, frame: Frame, sizes: list[str]) -> Operand:
    """The terms in one piece, the reduced axes as one."""
    text = terms.text
    if not terms.temporary:
        text = w.place(w.name("terms"), tuple(r.size for r in frame), w.real)
        w.say(f"np.copyto({text}, {terms.text})")
    return replace(terms, text=f"{text}.reshape({', '.join(sizes)})")


def _argmax(w: Writer, d: Definition, space: Frame, masks: list[Any], name: str) -> Operand:
    """Over the reduced axes as one; among terms left out and minus infinities the latter win."""
    body = d.body
    if masks:
        body = covered(w, body, masks, space + d.over, fill="-np.inf")[0]
    frame = space + d.over
    sizes = [*(w.size(r.size) for r in space), "-1"]
    terms = _terms(w, body, masks, frame)
    if len(d.over) > 1 or not terms.temporary:
        terms = _joined(w, terms, frame, sizes)
    at = f"np.argmax({terms.text}, axis=-1"
    axes = frozenset(r.index for r in space)
    if masks:
        mask = Evaluation(w, frame).of(sympy.And(*masks))
        whole = f"np.broadcast_to({mask.text}, {w.shape(tuple(r.size for r in frame))})"
        whole += f".reshape({', '.join(sizes)})" if len(d.over) > 1 else ""
        text = f"{w.helper('masked_argmax')}({terms.text}, {whole}, -1)"
        if not space:
            w.say(f"{name} = {text}.astype(np.{d.dtype})")
            return Operand(name, axes)
    elif not space:
        w.say(f"{name} = {at}).astype(np.{d.dtype})")
        return Operand(name, axes)
    else:
        text = w.place(w.name("at"), tuple(r.size for r in space), "intp")
        w.say(f"{at}, out={text})")
    w.place(name, tuple(r.size for r in space), d.dtype)
    w.say(f'np.copyto({name}, {text}, casting="same_kind")')
    return Operand(name, axes, temporary=True)


def _terms(w: Writer, body: Any, masks: list[Any], frame: Frame) -> Operand:
    """All terms over the frame, minus infinity where a mask leaves one out."""
    axes = frozenset(r.index for r in frame)
    if masks:
        body = sympy.Piecewise((body, sympy.And(*masks)), (-sympy.oo, True))
    terms = Evaluation(w, frame).of(body)
    if terms.axes == axes:
        return terms
    place = w.place(w.name("t"), tuple(r.size for r in frame), w.real)
    w.say(f"np.copyto({place}, {terms.text})")
    return Operand(place, axes, temporary=True)


# ---------------------------------------------------------------- scatter


def _scatter(w: Writer, d: Definition, name: str) -> Operand:
    """`np.add.at(dW, label, dy)`; trailing dimensions that are whole loop variables stay whole."""
    w.place(name, d.target_shape, d.dtype)
    w.say(f"{name}.fill(0)")
    leading = _leading(d)
    trailing = [linear(e).plain for e in d.target[leading:]]
    outer = tuple(r for r in d.indices if r.index not in trailing)
    inner = tuple(r for axis in trailing for r in d.indices if r.index == axis)
    facts = w.facts(outer)
    forms = [facts.simplified(linear(e)) for e in d.target[:leading]]
    at = positions(w, forms, d.target_shape[:leading], outer, clip=True)
    whole = [w.size(s) for s in d.target_shape[leading:]]
    sizes = ", ".join(["-1", *map(str, whole)])
    text = _whole(w, d, outer + inner)
    target = name if leading == 1 else f"{name}.reshape({sizes})"
    if len(outer) != 1:
        at, text = f"{at}.reshape(-1)", f"{text}.reshape({sizes})"
    w.say(f"np.add.at({target}, {at}, {text})")
    return Operand(name)


def _leading(d: Definition) -> int:
    """How many leading dimensions the scatter indexes by arrays: at least one."""
    ranges, count, seen = d.ranges, len(d.target), set()
    while count > 1:
        axis = linear(d.target[count - 1]).plain
        others = [e for i, e in enumerate(d.target) if i != count - 1]
        whole = axis in ranges and ranges[axis] == d.target_shape[count - 1]
        if not whole or axis in seen or any(axis in e.free_symbols for e in others):
            break
        seen.add(axis)
        count -= 1
    return count


def _whole(w: Writer, d: Definition, frame: Frame) -> str:
    """The terms of the scatter over every loop variable, zero where a condition leaves one out."""
    body, axes = d.body, frozenset(r.index for r in frame)
    if d.where:
        body = sympy.Piecewise((body, sympy.And(*d.where)), (0, True))
    terms = Evaluation(w, frame, real=d.dtype.startswith("float")).of(body)
    if terms.axes == axes and terms.temporary:
        return terms.text
    place = w.place(w.name("t"), tuple(r.size for r in frame), d.dtype)
    w.say(f"np.copyto({place}, {terms.text})")
    return place
