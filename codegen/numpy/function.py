"""A scheduled program as the body of one Python function: a commented section for every kernel.

    text = write_function(schedule, real)      # its lines, arguments and results, for the template

Results (outputs, the loss, gradients) are arrays that nobody else holds; updates are written to the
caller's arrays in place. A recurrence is a Python loop, the only one there is.
"""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from functools import lru_cache

from codegen.numpy.evaluate import Evaluation
from codegen.numpy.members import value
from codegen.numpy.writer import Array, Frame, Operand, Writer, without
from codegen.wrapping import narrowed, widened
from ir.kernel import Kernel, Loop, Schedule
from ir.names import identifier
from ir.program import Definition, DType
from ir.text import equation

WIDTH = 96


@dataclass(frozen=True, slots=True)
class Function:
    """The body of an emitted function; `places` says how each result is written."""

    lines: tuple[str, ...]
    places: dict[str, str]
    helpers: frozenset[str]


def write_function(schedule: Schedule, real: DType) -> Function:
    """The statements of a program."""
    program = schedule.program
    owned = program.tensors()
    tensors = [*owned, *(d.name for d in program.definitions)]
    names = {"rows", "np", *map(identifier, tensors)}
    w = Writer(program, real, names)
    for tensor in owned.values():
        w.add(tensor.name, identifier(tensor.name), tensor.shape, tensor.dtype)
    for step in schedule.steps:
        if isinstance(step, Loop):
            _recurrence(w, step)
        else:
            w.say("", *_comment(step))
            _kernel(w, step)
    places = {name: w.arrays[name].text for name in program.results()}
    lines = [short for line in w.lines[1:] for short in wrapped(line)]
    return Function(tuple(lines), places, frozenset(w.used))


def wrapped(line: str) -> list[str]:
    """A line of Python in lines of at most 100 columns, broken only inside brackets."""
    return narrowed(_broken(widened(line)))


def _broken(line: str, depth: int = 0, first: bool = True) -> list[str]:
    indent = len(line) - len(line.lstrip())
    if len(line) <= 100 or line.lstrip().startswith("#"):
        return [line]
    breaks: dict[int, int] = {}
    for i, character in enumerate(line[:100]):
        depth += (character in "([{") - (character in ")]}")
        if character == " " and depth and i > indent:
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
    return [line for member in kernel.members for line in _remark(member)]


@lru_cache(maxsize=4096)
def _remark(member: Definition) -> tuple[str, ...]:
    where = member.origin.short if member.origin else ""
    note = f"{member.note} ({where})" if member.note and where else member.note or where
    said = widened(equation(member))
    text = said + (f"    {note}" if note else "")
    if len(text) > WIDTH:
        text = said + (f"  [{note}]" if note else "")
    lines = textwrap.wrap(
        text, WIDTH, initial_indent="# ", subsequent_indent="#     ",
        break_long_words=False, break_on_hyphens=False,
    )
    return tuple(narrowed(lines))


def _kernel(w: Writer, kernel: Kernel) -> None:
    for position, member in enumerate(kernel.members):
        stored = member.name in kernel.stored
        _member(w, member, kernel.space, stored, _ending(w, kernel, position))


def _ending(w: Writer, kernel: Kernel, position: int) -> frozenset[str]:
    """The arrays of earlier members that nobody reads after this one: it may overwrite them."""
    later = {name for m in kernel.members[position + 1 :] for name in m.reads()}
    local = [m.name for m in kernel.members[:position] if m.name not in kernel.stored]
    texts = {w.arrays[name].text for name in local if name not in later}
    return frozenset(t for t in texts if t in w.fresh)


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
        w.say(f"{home}[...] = {value(w, member, space, identifier(member.name)).text}")
    w.add(member.name, home, member.shape, member.dtype)
    w.memo = {key: kept for key, kept in w.memo.items() if key[:2] != ("padded", home)}


def _settle(w: Writer, member: Definition, found: Operand, name: str, keep: bool) -> None:
    """Gives the value its name, its whole shape, and an array of its own where it needs one."""
    shape = w.shape(member.shape)
    text = found.text
    scatter = member.reduce == "scatter"
    whole = scatter or found.axes == frozenset(r.index for r in member.indices)
    result = keep and member.name in w.program.results()
    shared = not found.temporary and not found.computed
    if text == name and whole:
        if result and shared and not scatter and member.reduce != "argmax":
            w.say(f"{name} = {name}.copy()")
    else:
        if found.literal or not whole:
            text = f"np.full({shape}, {text}, np.{member.dtype})"
        elif member.dtype.startswith("int"):
            text = f"np.asarray({text}).astype(np.{member.dtype})"
        elif shared and (result or _may_change(w, member)):
            text = f"{found.within(100)}.copy()"
        elif shared:
            w.fresh -= {w.arrays[name].text for name in member.reads()}
        if found.temporary and text == found.text:
            _rename(w, text, name)
        else:
            w.say(f"{name} = {text}")
        if found.temporary or text != found.text or found.computed:
            w.fresh.add(name)
    w.add(member.name, name, member.shape, member.dtype)


def _rename(w: Writer, old: str, new: str) -> None:
    """Gives a temporary that was only ever overwritten to become this value its name at once."""
    start = max(i for i, line in enumerate(w.lines) if not line)
    code = [i for i in range(start, len(w.lines)) if not w.lines[i].lstrip().startswith("#")]
    mentions = [i for i in code if _word(old).search(w.lines[i])]
    writes = re.compile(rf"{old} |.*out={old}\)$")
    taken = any(_word(new).search(w.lines[i]) for i in code)
    if taken or not all(writes.match(w.lines[i].lstrip()) for i in mentions):
        w.say(f"{new} = {old}")
        return
    for i in mentions:
        parts = w.lines[i].split('"')
        parts[::2] = [_word(old).sub(new, part) for part in parts[::2]]
        w.lines[i] = '"'.join(parts)


def _word(name: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w.]){name}(?!\w)")


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
        w.say(f"{name} = np.empty({w.shape(member.shape)}, np.{member.dtype})")
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
    if found.text != name:
        w.say(f"{name} = {_held(w, found, held)}")
    w.arrays[member.name] = held


def _held(w: Writer, found: Operand, array: Array) -> str:
    if not array.shape or not (found.literal or found.axes == frozenset()):
        full = len(found.axes) == len(array.shape)
        return found.text if full else f"np.broadcast_to({found.text}, {w.shape(array.shape)})"
    return f"np.full({w.shape(array.shape)}, {found.text}, np.{array.dtype})"
