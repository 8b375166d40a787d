"""A scheduled program as the body of one Python function: a commented section for every kernel.

    text = write_function(schedule, real)      # its lines, arguments and results, for the template

Results (outputs, the loss, gradients) are arrays that nobody else holds; updates are written to the
caller's arrays in place. A recurrence is a Python loop, the only one there is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

import sympy

from codegen.numpy.evaluate import Evaluation
from codegen.numpy.indexing import access
from codegen.numpy.members import value
from codegen.numpy.ops import is_relu
from codegen.numpy.workspace import parts
from codegen.numpy.writer import Array, Frame, Operand, Writer, steps_of, without
from codegen.wrapping import narrowed, remark, widened
from ir.expression import Access, symbols_of
from ir.kernel import Kernel, Loop, Schedule
from ir.names import identifier
from ir.program import Definition, DType

WIDTH = 96


@dataclass(frozen=True, slots=True)
class Function:
    """An emitted function: its arrays, its body, and how each result is written.

    `arrays` are lines that run once for each number of rows; `workspace` is what they cut up.
    """

    arrays: tuple[str, ...]
    lines: tuple[str, ...]
    places: dict[str, str]
    helpers: frozenset[str]
    workspace: int


def write_function(schedule: Schedule, real: DType) -> Function:
    """The statements of a program."""
    program = schedule.program
    owned = program.tensors()
    tensors = [*owned, *(d.name for d in program.definitions)]
    names = {"rows", "np", "space", "run", *map(identifier, tensors)}
    relus = (d.name for d in program.definitions if d.reduce is None and is_relu(d.body))
    w = Writer(program, real, names, relus=frozenset(relus), read=access)
    for tensor in owned.values():
        w.add(tensor.name, identifier(tensor.name), tensor.shape, tensor.dtype)
    for step in schedule.steps:
        if isinstance(step, Loop):
            _recurrence(w, step)
        else:
            w.say("", *_comment(step))
            _kernel(w, step)
    places = {name: w.arrays[name].text for name in program.results()}
    arrays, size = parts(w, set(places.values()))
    return Function(
        tuple(short for line in arrays for short in wrapped("    " + line)),
        tuple(short for line in w.lines[1:] for short in wrapped(line)),
        places,
        frozenset(w.used),
        size,
    )


def wrapped(line: str) -> list[str]:
    """A line of Python in lines of at most 100 columns, broken inside brackets, after no colon."""
    return narrowed(_broken(widened(line)))


def _broken(line: str, depth: int = 0, first: bool = True) -> list[str]:
    indent = len(line) - len(line.lstrip())
    if len(line) <= 100 or line.lstrip().startswith("#"):
        return [line]
    breaks: dict[int, int] = {}
    for i, character in enumerate(line[:100]):
        depth += (character in "([{") - (character in ")]}")
        if character == " " and line[i - 1] != ":" and depth and i > indent:
            breaks[i] = depth
    name, equals, value = line.partition(" = ")
    if not breaks and equals:
        return [f"{name} = (", " " * (indent + 4) + value, " " * indent + ")"]
    if not breaks:
        return [line]
    at = min(breaks, key=lambda i: (i < 60, breaks[i], -i))
    more = " " * (indent + 4 * first) + line[at + 1 :]
    return [line[:at], *_broken(more, breaks[at], first=False)]


def _comment(kernel: Kernel) -> list[str]:
    """The equation of every member, what it is for, and the user's line."""
    return [line for m in kernel.members for line in remark(m, "# ", "#     ", WIDTH)]


def _kernel(w: Writer, kernel: Kernel) -> None:
    kernel = replace(kernel, members=_scaled(kernel))
    for position, member in enumerate(kernel.members):
        stored = member.name in kernel.stored
        _member(w, member, kernel.space, stored, _ending(w, kernel, position))


def _scaled(kernel: Kernel) -> tuple[Definition, ...]:
    """`W - lr*d_W` as `W - (lr*d_W)`: the factor inside the sum may meet fewer elements."""
    members = list(kernel.members)
    for i, (total, reader) in enumerate(zip(members, members[1:], strict=False)):
        if total.reduce != "sum" or reader.reduce is not None or total.name in kernel.stored:
            continue
        if any(total.name in m.reads() for m in members if m is not reader):
            continue
        terms = [t for t in sympy.Add.make_args(reader.body) if t.has(total.access())]
        factor = sympy.Integer(1) if len(terms) != 1 else terms[0] / total.access()
        varies = factor.has(total.access()) or symbols_of([factor])
        if factor in (1, -1) or varies or len(sympy.Add.make_args(reader.body)) < 2:
            continue
        sign = -1 if factor.could_extract_minus_sign() else 1
        rest = reader.body - terms[0] + sign * total.access()
        members[i] = replace(total, body=sign * factor * total.body)
        members[i + 1] = replace(reader, body=rest)
    return tuple(members)


def _ending(w: Writer, kernel: Kernel, position: int) -> frozenset[str]:
    """The arrays of earlier members that nobody reads after this one: it may overwrite them."""
    later = {name for m in kernel.members[position + 1 :] for name in m.reads()}
    done = kernel.members[:position]
    over = {m.name for m in done if m.name not in kernel.stored and m.name not in later}
    kept = {w.arrays[m.name].text for m in done if m.name not in over}
    texts = {w.arrays[name].text for name in over}
    return frozenset(t for t in texts if t in w.fresh and t not in kept)


def _member(
    w: Writer, member: Definition, space: Frame, stored: bool, ending: frozenset[str]
) -> None:
    home = _update_home(w, member) if stored else None
    if home is not None:
        _replace(w, member, space, home, ending)
        return
    name = identifier(member.name)
    found = value(w, member, space, name, ending)
    _settle(w, member, found, name, keep=stored)


def _update_home(w: Writer, member: Definition) -> str | None:
    """The caller's array that this definition's value replaces."""
    return next((w.arrays[t].text for t, d in w.program.updates if d == member.name), None)


def _replace(
    w: Writer, member: Definition, space: Frame, home: str, ending: frozenset[str]
) -> None:
    """Writes an update where the old value was."""
    real = member.dtype.startswith("float")
    if member.reduce is None:
        Evaluation(w, space, identifier(member.name), ending, real).into(member.body, home)
    else:
        w.say(f"np.copyto({home}, {value(w, member, space, identifier(member.name)).text})")
    w.add(member.name, home, member.shape, member.dtype)
    w.memo = {key: kept for key, kept in w.memo.items() if key[:2] != ("padded", home)}


def _settle(w: Writer, member: Definition, found: Operand, name: str, keep: bool) -> None:
    """Gives the value its name, its whole shape, and an array of its own where it needs one."""
    scatter = member.reduce == "scatter"
    whole = scatter or found.axes == frozenset(r.index for r in member.indices)
    result = keep and member.name in w.program.results()
    steps, text = None, name
    if not member.shape:
        _number(w, member, found, name)
    elif not whole or found.literal or _is_copy(w, member, found, result):
        text = _copied(w, member, found, name)
    elif found.text != name and found.temporary:
        text = _renamed(w, found.text, name)
    elif found.text != name:
        w.fresh -= {w.arrays[read].text for read in member.reads()}
        text = w.name(name) if _is_taken(w, name) else name
        w.say(f"{text} = {found.text}")
        steps = steps_of(found, member.indices)
    w.add(member.name, text, member.shape, member.dtype, steps)


def _number(w: Writer, member: Definition, found: Operand, name: str) -> None:
    """A number, not the caller's array of no dimensions, which the caller may change."""
    if found.text != name:
        owners = {t for t in w.program.tensors() if t in w.arrays}
        chosen = {a.tensor for a in _chosen(member.body) if not a.indices}
        owned = found.text in {w.arrays[t].text for t in owners} or chosen & owners
        typed = found.literal or owned or member.dtype.startswith("int")
        w.say(f"{name} = np.{member.dtype}({found.text})" if typed else f"{name} = {found.text}")


def _chosen(body: Any) -> list[Access]:
    """The accesses that a body may be as they are: itself, or a branch of a choice."""
    if isinstance(body, sympy.Piecewise):
        return [a for value, _ in body.args for a in _chosen(value)]
    return [body] if isinstance(body, Access) else []


def _is_copy(w: Writer, member: Definition, found: Operand, result: bool) -> bool:
    """Whether the value must be copied: of another type, or what others may change."""
    place = w.places.get(found.text)
    if member.dtype.startswith("int") and (place is None or place.dtype != member.dtype):
        return True
    shared = not found.temporary and found.text not in w.fresh
    return shared and (result or _may_change(w, member))


def _copied(w: Writer, member: Definition, found: Operand, name: str) -> str:
    to = w.place(w.name(name) if _is_taken(w, name) else name, member.shape, member.dtype)
    cast = ', casting="unsafe"' if member.dtype.startswith("int") else ""
    w.say(f"np.copyto({to}, {found.text}{cast})")
    return to


def _is_taken(w: Writer, name: str) -> bool:
    """Whether a name stands for something already: an array of the workspace, or a value."""
    return name in w.places or name in w.words


def _renamed(w: Writer, old: str, new: str) -> str:
    """Gives the temporary that became this value its name from the start; its name, then."""
    start = max(i for i, line in enumerate(w.lines) if not line)
    code = [i for i in range(start, len(w.lines)) if not w.lines[i].lstrip().startswith("#")]
    mentions = [i for i in code if _word(old).search(w.lines[i])]
    if old not in w.places or w.births[old] < start or _is_taken(w, new):
        return old
    w.place(new, w.places[old].shape, w.places.pop(old).dtype)
    w.constants = {_word(old).sub(new, text): name for text, name in w.constants.items()}
    w.words.add(new)
    for tensor, array in w.arrays.items():
        if old in array.text:
            w.arrays[tensor] = replace(array, text=_word(old).sub(new, array.text))
    for i in mentions:
        pieces = w.lines[i].split('"')
        pieces[::2] = [_word(old).sub(new, piece) for piece in pieces[::2]]
        w.lines[i] = '"'.join(pieces)
    return new


def _word(name: str) -> re.Pattern[str]:
    """The array of that name; `out=` is the keyword of a call, whatever arrays are called."""
    return re.compile(rf"(?<![\w.]){name}(?!\w|=[^=])")


def _may_change(w: Writer, member: Definition) -> bool:
    """Whether the value may be a view of an array that the function updates."""
    updated = {t for t, _ in w.program.updates} | {d for _, d in w.program.updates}
    return any(name in updated for name in member.reads())


# ---------------------------------------------------------------- recurrences


def _recurrence(w: Writer, loop: Loop) -> None:
    """Arrays for what is stored, then a loop that fills them step by step."""
    w.say("", *(line for k in loop.kernels for line in _comment(k)))
    for kernel in loop.kernels:
        for member in kernel.members:
            if member.name in kernel.stored:
                _reserve(w, member)
    name, size = w.name(str(loop.index)), w.size(loop.size)
    w.scalars[loop.index], w.sizes[loop.index] = name, loop.size
    steps = f"range({size} - 1, -1, -1)" if loop.downwards else f"range({size})"
    with w.block(f"for {name} in {steps}:"):
        for kernel in loop.kernels:
            for member in kernel.members:
                _step(w, member, kernel, loop)
    del w.scalars[loop.index], w.sizes[loop.index]


def _reserve(w: Writer, member: Definition) -> None:
    name = _update_home(w, member) or identifier(member.name)
    if name == identifier(member.name):
        w.place(name, member.shape, member.dtype)
    w.add(member.name, name, member.shape, member.dtype)


def _step(w: Writer, member: Definition, kernel: Kernel, loop: Loop) -> None:
    """One step of one member: stored in its place, or held until the step ends."""
    stored = member.name in kernel.stored
    name = w.name(f"{member.name}_step") if stored else identifier(member.name)
    found = value(w, member, kernel.space, name)
    if stored:
        index = [w.scalars[r.index] if r.index == loop.index else ":" for r in member.indices]
        while index[-1] == ":":
            index.pop()
        w.say(f"{w.arrays[member.name].text}[{', '.join(index)}] = {found.text}")
        return
    absent = frozenset(i for i, r in enumerate(member.indices) if r.index == loop.index)
    held = without(Array(name, member.shape, member.dtype), absent)
    if found.text != name or len(found.axes) < len(held.shape):
        held = _held(w, found, held)
    w.arrays[member.name] = held


def _held(w: Writer, found: Operand, array: Array) -> Array:
    """The value of one step under its name: a number, an array, or a view of one."""
    name, whole = array.text, len(found.axes) == len(array.shape) and not found.literal
    if whole and array.dtype == w.real or not array.shape:
        w.say(f"{name} = {found.text}")
        steps = None if found.strides is None else tuple(step for _, step in found.strides)
        return replace(array, strides=steps)
    place = w.place(w.name(name), array.shape, array.dtype)
    w.say(f"np.copyto({place}, {found.text}, casting=\"unsafe\")", f"{name} = {place}")
    return array
