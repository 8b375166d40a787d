"""The arrays of an emitted function: each a part of one workspace, at a place that is free.

    lines, size = parts(w, results)       h = np.ndarray((rows, 100), np.float32, space, 0)

Time is counted in lines of the function. An array lives from the first line that names it to the
last, and as long as any view of it has a name; what a loop names lives through the whole loop. The
arrays of results are new in every call, made where they are first named.
"""

from __future__ import annotations

import re
from math import prod

from codegen.numpy.writer import Place, Writer
from ir.placement import Lifetime, aligned, placed

BYTES = {"float32": 4, "float64": 8, "int32": 4, "int64": 8, "intp": 8, "uint64": 8, "bool": 1}
# A name by itself: no function of `np.`, no method, and no keyword of a call, such as `out=`.
NAME = re.compile(r"(?<![\w.])[A-Za-z_]\w*+(?!=[^=])")
VIEW = re.compile(r"\s*(\w+) = (?!np\.(?!broadcast_to))(.*)")


def parts(w: Writer, results: set[str]) -> tuple[list[str], int]:
    """The lines that cut the workspace, and its size. Lines for results go into `w.lines`."""
    spans, kept = _spans(w, results)
    before = sorted(((_outside(w, spans[name][0]), name) for name in kept), reverse=True)
    for number, name in before:
        place = w.places[name]
        line = f"{name} = np.empty({w.shape(place.shape)}, np.{place.dtype})"
        w.lines.insert(number, "    " * w.depth + line)
    lifetimes = [
        Lifetime(name, aligned(_bytes(w, w.places[name])), *span)
        for name, span in spans.items()
        if name not in kept
    ]
    offsets, size = placed(lifetimes)
    lines = [
        f"{name} = np.ndarray({w.shape(place.shape)}, np.{place.dtype}, space, {offsets[name]})"
        for name, place in w.places.items()
        if name in offsets
    ]
    made = [f"{name} = {text}" for text, name in w.constants.items()]
    return lines + made, size


def _outside(w: Writer, number: int) -> int:
    """The line itself, or the one that opens the block it stands in."""
    inner = "    " * w.depth + " "
    while w.lines[number].startswith(inner) or w.lines[number].lstrip().startswith(("el", "#")):
        number -= 1
    return number


def _bytes(w: Writer, place: Place) -> int:
    sizes = [s if isinstance(s, int) else w.program.largest_batch for s in place.shape]
    return prod(sizes) * BYTES[place.dtype]


def _spans(w: Writer, results: set[str]) -> tuple[dict[str, tuple[int, int]], set[str]]:
    """The first and the last line of each array, and the arrays that a result is part of."""
    roots: dict[str, set[str]] = {name: {name} for name in w.places}
    for text, name in w.constants.items():
        roots[name] = {root for word in NAME.findall(text) for root in roots.get(word, ())}
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    for number, line in enumerate(w.lines):
        code = line.lstrip()
        if not code or code.startswith("#"):
            continue
        named = {root for word in NAME.findall(code) for root in roots.get(word, ())}
        found = VIEW.match(line)
        if found and found[1] not in w.places:
            held = {root for word in NAME.findall(found[2]) for root in roots.get(word, ())}
            roots[found[1]] = roots.get(found[1], set()) | held
        for root in named:
            first.setdefault(root, number)
            last[root] = number
    for start, end in w.loops:
        for name in first:
            if first[name] <= end and last[name] >= start and _named_in(w, name, roots, start, end):
                first[name], last[name] = min(first[name], start), max(last[name], end)
    kept = {root for name in results for root in roots.get(name, ())}
    for text, name in [(t, n) for t, n in w.constants.items() if roots[n] & kept]:
        number = next(i for i, line in enumerate(w.lines) if name in NAME.findall(line))
        number = _outside(w, number)
        w.lines.insert(number, "    " * w.depth + f"{name} = {text}")
        w.loops = [(start + (start >= number), end + (end >= number)) for start, end in w.loops]
        del w.constants[text]
        return _spans(w, results)
    return {name: (first[name], last[name]) for name in first}, kept


def _named_in(w: Writer, name: str, roots: dict[str, set[str]], start: int, end: int) -> bool:
    """Whether some line of a loop names the array or a view of it."""
    words = {word for word, found in roots.items() if name in found}
    return any(words & set(NAME.findall(line)) for line in w.lines[start : end + 1])
