"""A derivation for a terminal of 100 columns: a line a step, or everything about each step.

    print(derivation_text(gw.derive(graph, wrt="x"), full=True))

Equations are written as emitted comments write them. Where a network's values are known, the graph
is drawn as a tree, and the one path to an element as a product of numbers. A line that is longer
than the terminal is broken at an operator; in the short form it ends in an ellipsis.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from compiler.explain import Explanation, Step, unmarked
from compiler.known_values import is_scalar_graph
from gradwright.inspection.emitted import Emitted, emitted
from ir.errors import GradwrightError
from ir.text import equation, expression

if TYPE_CHECKING:
    from compiler.derive import Derived

COLUMNS = 100
_LABEL = 12
_INDENT = " " * 4


def derivation_text(d: Derived, full: bool = False) -> str:
    """The derivation as text; `full` says everything about each step."""
    e = d.explanation
    if e is None:
        lines = [f"∂/∂{d.wrt} of {d.loss}", f"  = {expression(d.expr)}"]
        return "\n".join(part for line in lines for part in _wrapped(line, "    "))
    lines = [*_title(d, e), ""]
    if is_scalar_graph(e.stable.definitions, e.values):
        lines += [*_tree(e), ""]
    lines += [*(_full(d, e) if full else _short(d)), *_end(d)]
    return "\n".join(lines)


def _title(d: Derived, e: Explanation) -> Iterator[str]:
    steps = f"{len(d.steps)} step{'s' if len(d.steps) != 1 else ''}"
    batch = f", operations for {e.batch} rows" if e.final.batch else ""
    yield _between(f"∂{d.loss}/∂{d.wrt}", f"{d.network}, {steps}{batch}")
    yield f"by the chain rule, from {d.loss} back to {d.wrt}"


def _between(left: str, right: str) -> str:
    """Two texts at the two ends of a line; the second is left out where both do not fit."""
    room = COLUMNS - len(left) - len(right)
    return f"{left}{' ' * room}{right}" if room >= 2 and right else left


# ---------------------------------------------------------------- the short form


def _short(d: Derived) -> Iterator[str]:
    for number, step in enumerate(d.steps, 1):
        room = COLUMNS - 6 - len(step.origin)
        says = " += " if step.total else " = "
        line = step.adjoint.replace(" = ", says, 1)
        line = line if len(line) <= room else f"{line[: room - 1]}…"
        yield _between(f"{number:>3} {line}", step.origin)
    yield ""


# ---------------------------------------------------------------- the full form


def _full(d: Derived, e: Explanation) -> Iterator[str]:
    found = emission(e)
    for number, step in enumerate(d.steps, 1):
        title = f"{number:>3} from {step.consumer.name} to {step.of}"
        yield _between(title, step.origin)
        for label, text in _parts(step, e, found):
            yield from _labelled(label, text)
        yield ""


def emission(e: Explanation) -> Emitted | None:
    """The emitted source; None where the network cannot be emitted."""
    try:
        return emitted(e.network, batch=e.batch)
    except GradwrightError:
        return None


def _parts(step: Step, e: Explanation, found: Emitted | None) -> Iterator[tuple[str, str]]:
    """What there is to say of a step, each with its label, in the order of the chain rule."""
    if step.source:
        yield "line", step.source
    if step.written:
        yield "written", step.written
    yield "forward", step.forward
    yield "", costs(str(shape_text(step, e)), step.forward_flops)
    if step.why:
        yield "why", step.why
    yield from _local_parts(step)
    yield from _delta_parts(step)
    yield "receives", _receives(step)
    if step.total is not None:
        yield "sum", equation(step.total)
    yield from _emitted_parts(step, found)
    if step.value is not None:
        yield "value", number_text(step.value)
    if step.gradient is not None:
        yield "gradient", number_text(step.gradient)


def _receives(step: Step) -> str:
    return step.adjoint.replace(" = ", " += ", 1) if step.total is not None else step.adjoint


def shape_text(step: Step, e: Explanation) -> str:
    """`[batch, 10]` or `a number`: what the line of a step makes."""
    sizes = ", ".join(map(str, e.stable.shape_of(step.consumer.name)))
    return f"[{sizes}]" if sizes else "a number"


def costs(shape: str, flops: int) -> str:
    """`[batch, 10], 8,960 operations`."""
    return f"{shape}, {count(flops, 'operation')}"


def count(number: int, what: str) -> str:
    """`3,840 operations`, `1 operation`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _local_parts(step: Step) -> Iterator[tuple[str, str]]:
    left = f"∂{step.consumer.name}/∂{expression(step.access)}"
    value = "" if step.local_value is None else f" = {step.local_value:.6g}"
    if expression(step.local) == value.removeprefix(" = "):
        value = ""
    if not step.because:
        yield "local", f"{left} = {expression(step.local)}{value}"
        return
    yield "local", f"{left} = {expression(step.raw)}"
    yield "stable", f"{expression(step.local)}{value}"
    yield "because", step.because


def _delta_parts(step: Step) -> Iterator[tuple[str, str]]:
    if step.deltas:
        yield "deltas", " ".join(f"δ({unmarked(a)}, {unmarked(b)})" for a, b in step.deltas)
        solved = (f"{unmarked(a)} = {unmarked(b)}" for a, b in step.solved)
        yield "solved", ", ".join(solved) or "nothing to eliminate"
    if step.conditions:
        yield "where", " and ".join(map(unmarked, step.conditions))


def _emitted_parts(step: Step, found: Emitted | None) -> Iterator[tuple[str, str]]:
    for d in step.emitted:
        yield "emitted", equation(d)
    if not step.emitted:
        yield "emitted", step.instead
        return
    yield "", adjoint_costs(step)
    if kernel := kernel_text(step, found):
        yield "kernel", kernel


def adjoint_costs(step: Step) -> str:
    """The shape and the operations of what is emitted for a step."""
    return costs(step.shape if step.shape != "[]" else "a number", step.adjoint_flops)


def kernel_text(step: Step, found: Emitted | None) -> str:
    """The kernel that a step ended in, and where it opens in both targets; empty if in none."""
    kernel = found.kernel_of(step.emitted[-1].name) if found and step.emitted else None
    if kernel is None:
        return ""
    return "   ".join([kernel.name, "  ".join(f"{p.file}:{p.first}" for p in kernel.places())])


def _labelled(label: str, text: str) -> Iterator[str]:
    head = f"{_INDENT}{label:<{_LABEL - 3}}"
    yield from _wrapped(head + text, " " * (len(head) + 2))


_BREAKS = re.compile(r"(?<=[ *])(?![^\[]*\])")


def _wrapped(line: str, indent: str) -> Iterator[str]:
    """The line in parts that fit, broken after spaces and products, never inside brackets."""
    while len(line) > COLUMNS:
        start = len(line) - len(line.lstrip()) + _LABEL
        places = [m.start() for m in _BREAKS.finditer(line) if start < m.start() <= COLUMNS]
        at = places[-1] if places else COLUMNS
        yield line[:at].rstrip()
        line = indent + line[at:].lstrip()
    yield line


# ---------------------------------------------------------------- the end, and numbers


def _end(d: Derived) -> Iterator[str]:
    yield "as it is emitted"
    for line in d.final:
        yield from _wrapped(f"{_INDENT}{line}", _INDENT * 2)
    written = f"d_{d.wrt} = {expression(d.expr)}"
    if d.is_written_out:
        yield "written out"
        yield from _wrapped(f"{_INDENT}{written}", _INDENT * 2)
    if d.factors:
        yield from _factors(d)
    elif d.value is not None:
        yield from _wrapped(f"{_INDENT}d_{d.wrt} = {number_text(d.value)}", _INDENT * 2)


def _factors(d: Derived) -> Iterator[str]:
    """The one path to an element: a factor a line, those between arrays that are 1 left out."""
    rows = [
        (f"∂{f.of}/∂{f.by}", expression(f.local), f"{f.value:.8f}")
        for f in d.factors
        if f.local != 1 or "[" not in f.by
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    yield "as a product, each factor with its value"
    for name, local, value in rows:
        yield f"{_INDENT}{name:<{widths[0]}}  = {local:<{widths[1]}}  = {value:>{widths[2]}}"
    product = f"{d.value:.8f}"
    yield f"{_INDENT}{'product':<{widths[0]}}    {'':<{widths[1]}}  = {product:>{widths[2]}}"


def number_text(value: Any) -> str:
    """A number as lectures write it, or a small array on one line."""
    array = np.asarray(value)
    if array.ndim == 0:
        return f"{float(array):.6g}"
    return re.sub(r"\s+", " ", np.array2string(array, precision=6, separator=", ", threshold=24))


def _tree(e: Explanation) -> list[str]:
    """The graph of a few numbers as a tree: each node with its value and its gradient."""
    rows = list(_nodes(e, e.stable.loss or "", "", "", set()))
    width = max(len(left) for left, _, _ in rows) + 3
    head = f"{'':<{width}}{'value':>12}{'gradient':>12}"
    return [head, *(f"{left:<{width}}{v:>12}{g:>12}" for left, v, g in rows)]


def _nodes(
    e: Explanation, name: str, lead: str, below: str, seen: set[str]
) -> Iterator[tuple[str, str, str]]:
    """(drawing, value, gradient) of a node and of what it reads; a node met again is not opened."""
    d = e.stable.by_name().get(name)
    yield (lead + (equation(d) if d else name), *_pair(e, name, e.values))
    if d is None or name in seen:
        return
    seen.add(name)
    read = d.reads()
    for position, inner in enumerate(read):
        last = position == len(read) - 1
        bar = below + ("   " if last else "│  ")
        yield from _nodes(e, inner, below + ("└─ " if last else "├─ "), bar, seen)


def _pair(e: Explanation, name: str, values: Mapping[str, Any]) -> tuple[str, str]:
    adjoint = e.adjoint_of(name)
    gradient = values.get(adjoint.name if adjoint else f"d_{name}")
    return number_text(values[name]), "" if gradient is None else number_text(gradient)
