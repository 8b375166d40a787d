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
from codegen.numpy.indexing import clipped, index_value
from codegen.numpy.ops import Lowering
from codegen.numpy.padding import covered
from codegen.numpy.writer import Frame, Operand, Writer, axes_text, frame_of, inside
from ir.affine import linear
from ir.expression import Access
from ir.program import Definition

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
    shape = w.shape(tuple(r.size for r in space))
    with w.block(f"if {truth(w, test)}:"):
        w.known = (*w.known, test)
        found = _reduction(w, d, space, masks, name)
        whole = found.axes == frozenset(r.index for r in space) and not found.literal
        if not whole:
            w.say(f"{name} = np.full({shape}, {found.text}, np.{d.dtype})")
        elif found.text != name:
            w.say(f"{name} = {found.text}")
            w.fresh -= {w.arrays[tensor].text for tensor in d.reads()}
    with w.block("else:"):
        w.say(f"{name} = np.full({shape}, {EMPTY[str(d.reduce)]}, np.{d.dtype})")
    w.fresh.discard(name)
    return Operand(name, frozenset(r.index for r in space))


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
        terms += f".reshape(-1, {', '.join(w.size(r.size) for r in space)})" if space else ""
        positions = [0] if space else list(range(len(d.over)))
    else:
        positions = [i for i, r in enumerate(frame) if r in d.over]
    w.say(f"{name} = np.maximum.reduce({terms}, axis={axes_text(positions)})")
    w.fresh.add(name)
    kept = tuple(r for r in frame if r not in d.over)
    result = Evaluation(w, space).of(w.hold(name, kept, d.dtype))
    return replace(result, temporary=result.text == name)


def _argmax(w: Writer, d: Definition, space: Frame, masks: list[Any], name: str) -> Operand:
    """Over the reduced axes as one; among terms left out and minus infinities the latter win."""
    body = d.body
    if masks:
        body = covered(w, body, masks, space + d.over, fill="-np.inf")[0]
    last = frame_of(body, space, d.over) == space + d.over
    frame = space + d.over if last else d.over + space
    sizes = [w.size(r.size) for r in space]
    sizes = [*sizes, "-1"] if last else ["-1", *sizes]
    shape = f".reshape({', '.join(sizes)})" if len(d.over) > 1 else ""
    terms, axis = _terms(w, body, masks, frame) + shape, -1 if last else 0
    text = f"np.argmax({terms}, axis={axis})"
    if masks:
        mask = Evaluation(w, frame).of(sympy.And(*masks))
        whole = f"np.broadcast_to({mask.text}, {w.shape(tuple(r.size for r in frame))})"
        text = f"{w.helper('masked_argmax')}({terms}, {whole}{shape}, {axis})"
    w.say(f"{name} = {text}.astype(np.{d.dtype})")
    return Operand(name, frozenset(r.index for r in space))


def _terms(w: Writer, body: Any, masks: list[Any], frame: Frame) -> str:
    """All terms over the frame, minus infinity where a mask leaves one out."""
    mask = Evaluation(w, frame).of(sympy.And(*masks)) if masks else Operand("")
    terms = Evaluation(w, frame).of(body)
    text, axes = terms.text, terms.axes | mask.axes
    if masks:
        text = f"np.where({mask.text}, {text}, {w.scalar_type}(-np.inf))"
    if axes != frozenset(r.index for r in frame):
        text = f"np.broadcast_to({text}, {w.shape(tuple(r.size for r in frame))})"
    return text


# ---------------------------------------------------------------- scatter


def _scatter(w: Writer, d: Definition, name: str) -> Operand:
    """`np.add.at(dW, label, dy)`; trailing dimensions that are whole loop variables stay slices."""
    shape = w.shape(d.target_shape)
    w.say(f"{name} = np.zeros({shape}, np.{d.dtype})")
    leading = _leading(d)
    trailing = [linear(e).plain for e in d.target[leading:]]
    outer = tuple(r for r in d.indices if r.index not in trailing)
    inner = tuple(r for axis in trailing for r in d.indices if r.index == axis)
    indices = _places(w, d, leading, outer)
    text = _whole(w, d, outer + inner)
    place = f"({', '.join(indices)})" if len(indices) > 1 else indices[0]
    w.say(f"np.add.at({name}, {place}, {text})")
    w.fresh.add(name)
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


def _places(w: Writer, d: Definition, leading: int, outer: Frame) -> list[str]:
    facts, axes = w.facts(outer), frozenset[sympy.Symbol]()
    found = []
    for target, size in zip(d.target[:leading], d.target_shape, strict=False):
        form = facts.simplified(linear(target))
        index = index_value(w, form, outer)
        axes |= index.axes
        found.append(index.text if inside(facts, form, size) else clipped(w, index, size))
    if axes != frozenset(r.index for r in outer):
        shape = w.shape(tuple(r.size for r in outer))
        found[0] = f"np.broadcast_to({found[0]}, {shape})"
    return found


def _whole(w: Writer, d: Definition, frame: Frame) -> str:
    """The terms of the scatter over every loop variable, zero where a condition leaves one out."""
    mask = Evaluation(w, frame).of(sympy.And(*d.where)).text if d.where else ""
    terms = Evaluation(w, frame, real=d.dtype.startswith("float")).of(d.body)
    return f"np.where({mask}, {terms.text}, np.{d.dtype}(0))" if mask else terms.text
