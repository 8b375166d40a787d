"""Elements that no view reaches, as copies in the workspace.

    x[n, p // 2]          t.reshape(rows, 14, 2)[...] = x[:, :, None]        each said again
    W[label[n], j]        np.take(W, at, axis=0, out=t, mode="clip")         gathered

Positions count through the leading dimensions as one; what depends on the number of rows alone in
them is made once for it. An index that may leave its dimension is clipped.
"""

from __future__ import annotations

import re
from dataclasses import replace

from sympy import Symbol

from codegen.numpy.index_values import depends, index_value, is_steady, steady_text
from codegen.numpy.writer import Array, Frame, Writer, inside
from ir.affine import Linear
from ir.expression import Access, FloorDiv
from ir.program import Shape, Size

RESHAPED = re.compile(r"\.reshape\([^()]*\)$")


def reshaped(w: Writer, array: Array, shape: Shape) -> Array:
    """The array in another shape; a view that does not lie row by row is copied first."""
    if array.strides is not None:
        array = contiguous(w, array)
    text = RESHAPED.sub("", array.text)
    return replace(array, text=f"{text}.reshape{w.shape(shape)}", shape=shape)


def contiguous(w: Writer, array: Array) -> Array:
    """A copy in the workspace."""
    name = w.place(w.name("t"), array.shape, array.dtype)
    w.say(f"np.copyto({name}, {array.text})")
    return replace(array, text=name, strides=None)


def subscript(parts: list[str]) -> str:
    """`[:, None]`, without whole trailing slices; nothing if all are whole."""
    while parts and parts[-1] == ":":
        parts = parts[:-1]
    return f"[{', '.join(parts)}]" if parts else ""


def spread(w: Writer, array: Array, forms: list[Linear], frame: Frame) -> str | None:
    """Elements said again, `x[n, p // 2]`: a copy by broadcasting, if all indices are like that.

    None too where the copy would read past the end: such an element is clipped instead.
    """
    sizes = {r.index: r.size for r in frame}
    times = [_times(form, sizes) for form in forms]
    axes = [t[0] for t in times if t is not None]
    if len(axes) < len(forms) or axes != [r.index for r in frame if r.index in axes]:
        return None
    split: list[str] = []
    parts: list[str] = []
    repeat = dict(t for t in times if t is not None)
    shape = w.spread(frozenset(axes), frame)
    for r in frame[len(frame) - len(shape) :]:
        count = repeat.get(r.index, 1)
        taken = r.size if count == 1 else int(r.size) // count
        size = array.shape[axes.index(r.index)] if r.index in repeat else taken
        if _is_beyond(taken, size):
            return None
        whole = r.index in repeat and size == taken
        parts.append("None" if r.index not in repeat else ":" if whole else f":{w.size(taken)}")
        split.append(w.size(taken) if r.index in repeat else "1")
        if count > 1:
            parts.append("None")
            split.append(str(count))
    name = w.place(w.name("t"), shape, array.dtype)
    w.say(f"np.copyto({name}.reshape({', '.join(split)}), {array.text}{subscript(parts)})")
    return name


def _is_beyond(taken: Size, size: Size) -> bool:
    """Whether that many elements may be more than the dimension has."""
    if isinstance(taken, int) and isinstance(size, int):
        return taken > size
    return taken != size


def _times(form: Linear, sizes: dict[Symbol, Size]) -> tuple[Symbol, int] | None:
    """The axis whose positions are read in turn, each so many times."""
    if form.plain is not None:
        return (form.plain, 1) if form.plain in sizes else None
    if form.const or len(form.terms) != 1 or form.terms[0][1] != 1:
        return None
    atom = form.terms[0][0]
    if not isinstance(atom, FloorDiv) or atom.args[0] not in sizes:
        return None
    size, count = sizes[atom.args[0]], int(atom.args[1])
    whole = isinstance(size, int) and size % count == 0
    return (atom.args[0], count) if whole else None


def gathered(
    w: Writer, array: Array, forms: list[Linear], frame: Frame, present: frozenset[Symbol]
) -> str:
    """`np.take` at positions counted through the leading dimensions, the others whole."""
    array = array if array.strides is None else contiguous(w, array)
    leading = _leading(array.shape, forms, frame, present)
    whole = [str(w.size(s)) for s in array.shape[leading:]]
    trailing = {f.plain for f in forms[leading:]}
    outer = tuple(r for r in frame if r.index in present and r.index not in trailing)
    at = positions(w, forms[:leading], array.shape[:leading], outer)
    name = w.place(w.name("t"), w.spread(present, frame), array.dtype)
    sizes = [*(w.size(r.size) for r in outer), *whole]
    out = name if w.places[name].shape == tuple(r.size for r in frame if r.index in present) else (
        f"{name}.reshape({', '.join(sizes)})"
    )
    source = array.text
    if leading > 1:
        source = RESHAPED.sub("", source)
        source = f"{source}.reshape(-1, {', '.join(whole)})" if whole else w.flat(source)
    axis = "axis=0, " if whole else ""
    w.say(f'np.take({source}, {at}, {axis}out={out}, mode="clip")')
    return name


def _leading(
    shape: Shape, forms: list[Linear], frame: Frame, present: frozenset[Symbol]
) -> int:
    """How many dimensions are gathered: not those at the end that are read whole, in order."""
    order = [r for r in frame if r.index in present]
    count = len(forms)
    while count > 1 and order:
        last = forms[count - 1]
        if last.plain != order[-1].index or order[-1].size != shape[count - 1]:
            break
        if any(depends(f, order[-1].index) for f in forms[: count - 1]):
            break
        order.pop()
        count -= 1
    return count


def positions(
    w: Writer, forms: list[Linear], shape: Shape, frame: Frame, clip: bool = False
) -> str:
    """The places of elements in an array of that shape, clipped where they may leave it.

    One dimension alone is left to `np.take`, unless `clip` says so.
    """
    key = ("at", tuple(forms), shape, frame, clip)
    inputs = {t.name for t in w.program.inputs}
    if key not in w.memo:
        w.memo[key] = _positions(w, forms, shape, frame, clip)
    read = {a.tensor for f in forms for atom in f.atoms for a in atom.atoms(Access)}
    found = w.memo[key]
    if not read <= inputs:
        del w.memo[key]
    return str(found)


def _positions(w: Writer, forms: list[Linear], shape: Shape, frame: Frame, clip: bool) -> str:
    facts = w.facts(frame)
    fixed, varying = [], []
    for i, (form, size) in enumerate(zip(forms, shape, strict=True)):
        step = w.count_text(shape[i + 1 :])
        proved = inside(facts, form, size)
        if is_steady(w, form, frame):
            text = steady_text(w, form, frame)
            text = text if proved else f"np.clip({text}, 0, {w.last(size)})"
            alone = step == "1" or text.isidentifier() or not proved
            text = text if alone else f"({text})"
            fixed.append(text if step == "1" else f"{text}*{step}")
        else:
            often = not proved and (clip or len(forms) > 1)
            varying.append((form, w.last(size) if often else "", step))
    base = " + ".join(fixed)
    if not varying:
        return w.constant("at", f"np.broadcast_to({base}, {w.shape(tuple(r.size for r in frame))})"
                          ".astype(np.intp)")
    at = w.place(w.name("at"), tuple(r.size for r in frame), "intp")
    base = w.constant("base", base) if base and not base.isidentifier() else base
    for number, (form, last, step) in enumerate(varying):
        index = index_value(w, form, frame).text
        to = at if number == 0 else w.place(w.name("t"), w.places[at].shape, "intp")
        if last:
            w.say(f"np.maximum({index}, 0, out={to})", f"np.minimum({to}, {last}, out={to})")
            index = to
        if step != "1":
            w.say(f"np.multiply({index}, {step}, out={to})")
        elif number == 0 and base:
            w.say(f"np.add({base}, {index}, out={at})")
            continue
        elif index != to:
            w.say(f"np.copyto({to}, {index})")
        if number == 0 and base:
            w.say(f"np.add({at}, {base}, out={at})")
        elif number:
            w.say(f"np.add({at}, {to}, out={at})")
    return at
