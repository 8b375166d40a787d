"""Accesses as views: `x[n, 2*p + r]` becomes an array whose axes are those of the frame.

    every index a variable, shifted or stepped     x[:, 1:9:2], W.T, b[:, None]     a slice
    k // 28 and k % 28 side by side                x.reshape(rows, 784)             a reshape
    28*p + q through the whole dimension           h.reshape(rows, 28, 28)          a reshape
    affine, each in bounds                         _window(x, ...)                  a strided view
    all else (gathers, what a condition guards)    x[np.clip(i, 0, 9), j]           a copy

An index that the ranges do not prove in bounds is clipped: such an element stands in a branch or
term that is not taken there, and is thrown away. Slices and strided views copy nothing.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Any

from sympy import Symbol

from codegen.numpy.writer import ATOM, PRODUCT, SUM, Array, Frame, Operand, Writer, inside
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
    present = frozenset(a for a in axes if any(_depends(f, a) for f in forms))
    if all(_is_affine(w, f, axes) for f in forms) and all(
        inside(facts, f, s) for f, s in zip(forms, array.shape, strict=True)
    ):
        if _is_sliceable(w, forms, axes):
            return Operand(_sliced(w, array, forms, frame), present)
        return Operand(_windowed(w, array, forms, frame), present)
    return Operand(_gathered(w, array, forms, frame), present, computed=bool(present))


def _depends(form: Linear, axis: Symbol) -> bool:
    return any(axis in atom.free_symbols for atom in form.atoms)


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


def subscript(parts: list[str]) -> str:
    """`[:, None]`, without whole trailing slices; nothing if all are whole."""
    while parts and parts[-1] == ":":
        parts = parts[:-1]
    return f"[{', '.join(parts)}]" if parts else ""


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
    if call not in w.memo:
        w.memo[call] = w.name(f"{array.text}_view" if array.text.isidentifier() else "view")
        w.say(f"{w.memo[call]} = {call}")
    return str(w.memo[call]) + subscript(_aligned([(r.index, ":") for r in used], frame))


def _constant(form: Linear, used: list[Any]) -> Linear:
    for r in used:
        form = form.without(r.index)
    return form


# ---------------------------------------------------------------- reshapes


def _flattened(
    w: Writer, array: Array, forms: list[Linear], frame: Frame
) -> tuple[Array, list[Linear]]:
    """Dimensions read as `k // 28, k % 28` are one read as `k`, where need be after a turn."""
    array, forms = _turned(array, forms, frame)
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
            reshaped = Array(f"{array.text}.reshape{w.shape(shape)}", shape, array.dtype)
            return _flattened(w, reshaped, [*forms[:first], joined, *forms[last + 1 :]], frame)
    return array, forms


def _turned(array: Array, forms: list[Linear], frame: Frame) -> tuple[Array, list[Linear]]:
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
    return replace(array, text=text, shape=shape), [forms[d] for d in order]


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
    return replace(array, text=f"{array.text}.reshape{w.shape(tuple(shape))}",
                   shape=tuple(shape)), indices


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


# ---------------------------------------------------------------- gathers


def _gathered(w: Writer, array: Array, forms: list[Linear], frame: Frame) -> str:
    """Indexing by arrays; a dimension that is read whole beside one gathered stays a slice."""
    facts = w.facts(frame)
    alone = _row_gather(w, array, forms, frame)
    if alone is not None:
        return alone
    parts = []
    for form, size in zip(forms, array.shape, strict=True):
        index = index_value(w, form, frame)
        proved = inside(facts, form, size)
        parts.append(index.text if proved else clipped(w, index, size))
    return f"{array.text}[{', '.join(parts)}]"


def _row_gather(w: Writer, array: Array, forms: list[Linear], frame: Frame) -> str | None:
    """`W[label]` for `W[label[n], j]`: one dimension by an array, the others sliced whole."""
    axes = [r.index for r in frame]
    hard = [i for i, f in enumerate(forms) if not _is_plain(w, f, frame, array.shape[i])]
    if len(hard) != 1:
        return None
    form = forms[hard[0]]
    mine = tuple(r for r in frame if _depends(form, r.index))
    others = [f.plain for i, f in enumerate(forms) if i != hard[0]]
    order = [*others[: hard[0]], *(r.index for r in mine), *others[hard[0] :]]
    if not mine or order != [a for a in axes if a in order] or len(set(order)) < len(order):
        return None
    index = index_value(w, form, mine)
    proved = inside(w.facts(frame), form, array.shape[hard[0]])
    text = index.text if proved else clipped(w, index, array.shape[hard[0]])
    parts = [":"] * len(forms)
    parts[hard[0]] = text
    whole = [(a, ":") for a in order]
    return array.text + subscript(parts) + subscript(_aligned(list(whole), frame))


def _is_plain(w: Writer, form: Linear, frame: Frame, size: Size) -> bool:
    axis = form.plain
    return axis is not None and any(r.index == axis and r.size == size for r in frame)


def clipped(w: Writer, index: Operand, size: Size) -> str:
    last = str(size - 1) if isinstance(size, int) else f"{w.size(size)} - 1"
    if index.axes:
        return f"np.clip({index.text}, 0, {last})"
    return f"min(max({index.text}, 0), {last})"


# ---------------------------------------------------------------- index values


def scalar(w: Writer, form: Linear) -> str:
    """The text of an index that Python knows as a number."""
    return index_value(w, form, ()).text


def index_value(w: Writer, form: Linear, frame: Frame) -> Operand:
    """An index expression as integers, aligned to the frame."""
    text, axes = "", frozenset[Symbol]()
    for atom, c in sorted(form.terms, key=lambda t: t[1] < 0):
        operand = _atom(w, atom, frame)
        axes |= operand.axes
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
    tight = operand.tight if lone else SUM
    return Operand(text, axes, tight)


def _atom(w: Writer, atom: Any, frame: Frame) -> Operand:
    if isinstance(atom, Symbol):
        if atom in w.scalars:
            return Operand(w.scalars[atom])
        return Operand(arange(w, atom, frame), frozenset([atom]))
    if isinstance(atom, Access):
        return access(w, atom, frame)
    inner = index_value(w, linear(atom.args[0]), frame)
    sign = "//" if isinstance(atom, FloorDiv) else "%"
    return Operand(f"{inner.within(ATOM)} {sign} {atom.args[1]}", inner.axes, PRODUCT)


def arange(w: Writer, axis: Symbol, frame: Frame, dtype: str = "") -> str:
    """The name of 0, 1, 2, … along an axis of the frame."""
    position = next(i for i, r in enumerate(frame) if r.index == axis)
    after = len(frame) - 1 - position
    size = w.size(frame[position].size)
    key = ("arange", axis, size, after, dtype)
    if key not in w.memo:
        name = w.name(str(axis))
        kind = f", dtype={dtype}" if dtype else ""
        shaped = f"[:{', None' * after}]" if after else ""
        w.say(f"{name} = np.arange({size}{kind}){shaped}")
        w.memo[key] = name
    return str(w.memo[key])
