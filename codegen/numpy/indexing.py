"""Accesses as views: `x[n, 2*p + r]` becomes an array whose axes are those of the frame.

    every index a variable, shifted or stepped     x[:, 1:9:2], W.T, b[:, None]     a slice
    k // 28 and k % 28 side by side                x.reshape(rows, 784)             a reshape
    28*p + q through the whole dimension           h.reshape(rows, 28, 28)          a reshape
    affine, each in bounds                         _window(x, ...)                  a strided view
    x[n, p // 2] beside views                      t.reshape(...)[...] = x[...]     a copy
    all else (gathers, what a condition guards)    np.take(x, at, out=t)            a copy

An index that the ranges do not prove in bounds is clipped: such an element stands in a branch or
term that is not taken there, and is thrown away. Slices and strided views copy nothing; copies lie
in the workspace. Positions that depend on the number of rows alone are made once for it.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Any

from sympy import Symbol

from codegen.numpy.gathers import gathered, reshaped, spread, subscript
from codegen.numpy.index_values import depends, is_steady, scalar
from codegen.numpy.writer import Array, Frame, Operand, Writer, inside
from ir.affine import Linear, floordiv, linear
from ir.expression import Access, FloorDiv, Remainder
from ir.program import Range, Size


def access(w: Writer, node: Access, frame: Frame) -> Operand:
    """The operand of an access, aligned to the frame."""
    array = w.arrays[node.tensor]
    facts = w.facts(frame)
    forms = [facts.simplified(linear(e)) for e in array.present(node.indices)]
    array, forms = _flattened(w, array, forms, frame)
    array, forms = _split(w, array, forms, frame)
    axes = [r.index for r in frame]
    present = frozenset(a for a in axes if any(depends(f, a) for f in forms))
    if all(_is_affine(w, f, axes) for f in forms) and all(
        inside(facts, f, s) for f, s in zip(forms, array.shape, strict=True)
    ):
        write = _sliced if _is_sliceable(w, forms, axes) else _windowed
        strides = w.strides(array)
        steps = tuple(
            (a, sum(f.coefficient(a) * s for f, s in zip(forms, strides, strict=True)))
            for a in axes if a in present
        )
        return Operand(write(w, array, forms, frame), present, strides=steps)
    if not present:
        return Operand(_element(w, array, forms))
    found = spread(w, array, forms, frame)
    text = gathered(w, array, forms, frame, present) if found is None else found
    return Operand(text, present, temporary=True)


def _element(w: Writer, array: Array, forms: list[Linear]) -> str:
    """One element, its position known when the line runs."""
    facts, parts = w.facts(()), []
    for form, size in zip(forms, array.shape, strict=True):
        index = scalar(w, form)
        last = str(size - 1) if isinstance(size, int) else f"{w.size(size)} - 1"
        parts.append(index if inside(facts, form, size) else f"min(max({index}, 0), {last})")
    return f"{array.text}[{', '.join(parts)}]"


def _is_affine(w: Writer, form: Linear, axes: list[Symbol]) -> bool:
    """A sum of multiples of axes and of numbers that Python knows."""
    return all(isinstance(a, Symbol) and (a in axes or a in w.scalars) for a in form.atoms)


def _is_sliceable(w: Writer, forms: list[Linear], axes: list[Symbol]) -> bool:
    """At most one axis in a dimension, each in one dimension only, and none backwards."""
    used = [(a, c) for f in forms for a, c in f.terms if a in axes]
    alone = all(sum(a in axes for a in f.atoms) <= 1 for f in forms)
    return alone and len({a for a, _ in used}) == len(used) and all(c > 0 for _, c in used)


# ---------------------------------------------------------------- slices


def _sliced(w: Writer, array: Array, forms: list[Linear], frame: Frame) -> str:
    """Basic indexing, transposed where the axes stand in another order than the frame's."""
    sizes = {r.index: r.size for r in frame}
    parts: list[tuple[Symbol | None, str]] = []
    for form, size in zip(forms, array.shape, strict=True):
        axis = next((a for a in form.atoms if a in sizes), None)
        parts.append((axis, _slice(w, form, axis, sizes, size)))
    order = [axis for axis, _ in parts if axis is not None]
    wanted = [r.index for r in frame if r.index in order]
    if order == wanted:
        return array.text + subscript(_aligned(parts, frame))
    base = array.text + subscript([text for _, text in parts])
    turned = _transposed(base, [order.index(a) for a in wanted])
    return turned + subscript(_aligned([(a, ":") for a in wanted], frame))


def _slice(
    w: Writer, form: Linear, axis: Symbol | None, sizes: dict[Symbol, Size], size: Size
) -> str:
    if axis is None:
        return scalar(w, form)
    step, start = form.coefficient(axis), form.without(axis)
    stop = start + (linear(sizes[axis]) - 1) * step + 1
    first = "" if start == Linear() else scalar(w, start)
    last = "" if stop == linear(size) else scalar(w, stop)
    return f"{first}:{last}" + (f":{step}" if step != 1 else "")


def _aligned(parts: list[tuple[Symbol | None, str]], frame: Frame) -> list[str]:
    """The subscripts, with None for the frame's axes that are missing after the first."""
    position = {r.index: i for i, r in enumerate(frame)}
    result: list[str] = []
    before: int | None = None
    for axis, text in parts:
        if axis is not None:
            here = position[axis]
            result += ["None"] * (0 if before is None else here - before - 1)
            before = here
        result.append(text)
    return result + ["None"] * (0 if before is None else len(frame) - 1 - before)


def _transposed(text: str, order: list[int]) -> str:
    if order == sorted(order):
        return text
    if order == sorted(order, reverse=True):
        return f"{text}.T"
    return f"{text}.transpose({', '.join(map(str, order))})"


# ---------------------------------------------------------------- strided views


def _windowed(w: Writer, array: Array, forms: list[Linear], frame: Frame) -> str:
    """`_window(a, start, shape, steps)`: a row of steps for each axis, a column a dimension."""
    used = [r for r in frame if any(f.coefficient(r.index) for f in forms)]
    start = [scalar(w, _constant(f, used)) for f in forms]
    steps = [tuple(f.coefficient(r.index) for f in forms) for r in used]
    shape = w.shape(tuple(r.size for r in used))
    first = f"({', '.join(start)}{',' if len(start) == 1 else ''})"
    call = f"{w.helper('window')}({array.text}, {first}, {shape}, {tuple(steps)})"
    base = f"{array.text}_view" if array.text.isidentifier() else "view"
    if array.text in w.places and all(is_steady(w, f, frame) for f in forms):
        view = w.constant(base, call)
    else:
        if call not in w.memo:
            w.memo[call] = w.name(base)
            w.say(f"{w.memo[call]} = {call}")
        view = str(w.memo[call])
    return view + subscript(_aligned([(r.index, ":") for r in used], frame))


def _constant(form: Linear, used: list[Any]) -> Linear:
    for r in used:
        form = form.without(r.index)
    return form


# ---------------------------------------------------------------- reshapes


def _flattened(
    w: Writer, array: Array, forms: list[Linear], frame: Frame
) -> tuple[Array, list[Linear]]:
    """Dimensions read as `k // 28, k % 28` are one read as `k`, where need be after a turn."""
    array, forms = _turned(w, array, forms, frame)
    for first in range(len(forms)):
        for last in range(first + 1, len(forms)):
            sizes, group = array.shape[first : last + 1], forms[first : last + 1]
            divided = any(isinstance(a, FloorDiv) for f in group for a in f.atoms)
            if not divided or any(isinstance(s, Symbol) for s in sizes):
                continue
            joined = _joined(group, [int(s) for s in sizes[1:]])
            if joined is None:
                continue
            size = prod(int(s) for s in sizes)
            shape = (*array.shape[:first], size, *array.shape[last + 1 :])
            made = reshaped(w, array, shape)
            return _flattened(w, made, [*forms[:first], joined, *forms[last + 1 :]], frame)
    return array, forms


def _turned(
    w: Writer, array: Array, forms: list[Linear], frame: Frame
) -> tuple[Array, list[Linear]]:
    """Where `k // 28` and `k % 28` stand apart: the dimensions in the order of the frame."""
    quotients = [a for f in forms for a in f.atoms if isinstance(a, FloorDiv)]
    rests = [Linear(((Remainder(*a.args), 1),)) for a in quotients]
    if not any(rest in forms for rest in rests):
        return array, forms
    position = {r.index: i for i, r in enumerate(frame)}
    found = [[position[s] for a in f.atoms for s in a.free_symbols if s in position] for f in forms]
    if not all(found):
        return array, forms
    order = sorted(range(len(forms)), key=lambda d: (min(found[d]), forms[d] in rests))
    if order == sorted(order):
        return array, forms
    text = f"{array.text}.transpose({', '.join(map(str, order))})"
    shape = tuple(array.shape[d] for d in order)
    steps = w.strides(array)
    strides = tuple(steps[d] for d in order)
    return replace(array, text=text, shape=shape, strides=strides), [forms[d] for d in order]


def _joined(group: list[Linear], inner: list[int]) -> Linear | None:
    """The flat position, if `v % d = v - d*(v // d)` makes the divisions cancel."""
    total = Linear()
    for i, form in enumerate(group):
        total = total + _divisions(form) * prod(inner[i:])
    divided = any(isinstance(a, (FloorDiv, Remainder)) for a in total.atoms)
    return None if divided else total


def _divisions(form: Linear) -> Linear:
    """The form with its remainders written as floor divisions."""
    result = Linear((), form.const)
    for atom, c in form.terms:
        plain = Linear(((atom, 1),))
        if isinstance(atom, Remainder):
            value, divisor = linear(atom.args[0]), int(atom.args[1])
            plain = _divisions(value) - _divisions(floordiv(value, divisor)) * divisor
        result = result + plain * c
    return result


def _split(
    w: Writer, array: Array, forms: list[Linear], frame: Frame
) -> tuple[Array, list[Linear]]:
    """A dimension read whole as `28*p + q` is two dimensions, read as `p` and `q`."""
    shape: list[Size] = []
    indices: list[Linear] = []
    for form, size in zip(forms, array.shape, strict=True):
        digits = _digits(form, size, frame)
        shape += [r.size for r in digits] if digits else [size]
        indices += [linear(r.index) for r in digits] if digits else [form]
    if len(shape) == len(array.shape):
        return array, forms
    return reshaped(w, array, tuple(shape)), indices


def _digits(form: Linear, size: Size, frame: Frame) -> list[Range]:
    """The axes that count through the whole dimension, the slowest first; none if they do not."""
    ranges = {r.index: r for r in frame}
    terms = sorted(form.terms, key=lambda term: -term[1])
    if form.const or len(terms) < 2 or any(a not in ranges for a, _ in terms):
        return []
    digits = [ranges[a] for a, _ in terms]
    expected: Size = 1
    for r, (_, step) in zip(reversed(digits), reversed(terms), strict=True):
        if step != expected or not isinstance(r.size, int):
            return []
        expected = step * r.size
    return digits if expected == size else []
