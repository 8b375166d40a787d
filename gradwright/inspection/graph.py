"""The network as a picture: a node for every tensor, placed in layers, an edge for every reading.

    view = graph(explain(mnist_mlp))        # flat data; templates/graph.svg.jinja draws it

Time runs down the page: a line stands below all that it reads, a parameter just above the first
line that reads it. A graph of a few known numbers runs from left to right instead, with the value
above and the gradient below each edge, as lectures draw it. Edges that jump layers, and those of a
recurrence, swing out to the side. Nodes never overlap; edges may cross.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from compiler.explain import Explanation
from compiler.known_values import is_scalar_graph
from gradwright.inspection.text import number_text
from ir.text import equation

_CHARACTER, _GAP, _MARGIN = 7.4, 26.0, 24.0
_DOWN, _ACROSS = 66.0, 190.0
_HEIGHT = 40.0
_WIDEST_SWING = 220.0


@dataclass(frozen=True, slots=True)
class NodeView:
    """A tensor: where its box is, what stands in it, and where it leads."""

    name: str
    anchor: str
    kind: str
    sub: str
    title: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class EdgeView:
    """A reading: the curve from a tensor to the line that reads it, and the numbers on it."""

    source: str
    target: str
    path: str
    x: float
    y: float
    value: str
    gradient: str


@dataclass(frozen=True, slots=True)
class GraphView:
    """The whole picture; `width` and `height` are its own, in pixels."""

    width: float
    height: float
    label: str
    nodes: tuple[NodeView, ...]
    edges: tuple[EdgeView, ...]


def anchor(name: str) -> str:
    """The address of a tensor on its page."""
    return f"t-{name}"


def graph(e: Explanation) -> GraphView:
    """The picture of the forward lines of a network."""
    reads = _reads(e)
    across = is_scalar_graph(e.stable.definitions, e.values) and len(reads) <= 24
    layers = _layers(reads, _consumers(reads))
    widths = {name: _width(name, _sub(e, name)) for name in layers}
    spread = dict.fromkeys(layers, _HEIGHT + 14) if across else widths
    centres = _centres(reads, layers, spread)
    low = min((centres[n] - spread[n] / 2 for n in centres), default=0.0)
    placed = {n: _corner(layers[n], centres[n] - low, widths[n], across=across) for n in centres}
    nodes = tuple(_node(e, n, placed[n], widths[n]) for n in placed)
    by_name = {n.name: n for n in nodes}
    edges = tuple(
        _edge(e, by_name[source], by_name[target], layers, across=across)
        for target, sources in reads.items()
        for source in sources
    )
    if across:
        edges += tuple(_stub(e, n) for n in nodes if n.name == e.stable.loss)
    right = max((n.x + n.width for n in nodes), default=0.0)
    swings = [float(p) for edge in edges for p in edge.path.replace("C", "").split()[3:9:2]]
    width = max([right, *swings]) + _MARGIN
    height = max((n.y + n.height for n in nodes), default=0.0) + _MARGIN
    label = f"The network {e.network.name}: {len(nodes)} tensors, {len(edges)} readings"
    return GraphView(width, height, label, nodes, edges)


def _reads(e: Explanation) -> dict[str, list[str]]:
    """What each line reads, by its name; owned tensors that something reads have no entry."""
    return {d.name: list(d.reads()) for d in e.stable.definitions}


def _consumers(reads: Mapping[str, list[str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for name, sources in reads.items():
        for source in sources:
            found[source].append(name)
    return found


def _layers(reads: dict[str, list[str]], consumers: dict[str, list[str]]) -> dict[str, int]:
    """The longest way to each line; what the caller owns stands just above its first reader."""
    found: dict[str, int] = {}
    for name, sources in reads.items():
        found[name] = 1 + max((found[s] for s in sources if s in found), default=0)
    owned = [s for s in consumers if s not in reads]
    for name in owned:
        found[name] = min(found[c] for c in consumers[name]) - 1
    return found


def _width(name: str, sub: str) -> float:
    return max(len(name) * _CHARACTER + 18, len(sub) * _CHARACTER * 0.82 + 18, _HEIGHT)


def _sub(e: Explanation, name: str) -> str:
    sizes = " × ".join(map(str, e.stable.shape_of(name)))
    return sizes or ("" if e.values else "scalar")


def _centres(
    reads: dict[str, list[str]], layers: dict[str, int], widths: dict[str, float]
) -> dict[str, float]:
    """Where each node's middle is across its layer: lines below what they read, the rest beside."""
    rows: dict[int, list[str]] = defaultdict(list)
    for name in layers:
        rows[layers[name]].append(name)
    room = {n: widths[n] + _beside(reads[n], reads, widths) for n in reads}
    found: dict[str, float] = {}
    for layer in sorted(rows):
        lines = [n for n in rows[layer] if n in reads]
        wanted = {n: _mean([found[s] for s in reads[n] if s in found]) for n in lines}
        slots = room if len(lines) > 1 else widths
        found |= _apart(sorted(lines, key=lambda n: wanted[n]), wanted, slots)
    consumers = _consumers(reads)
    for _, names in sorted(rows.items()):
        taken = [(found[n], widths[n]) for n in names if n in reads]
        for name in reversed([n for n in names if n not in reads]):
            target = consumers[name][0]
            wish = found[target] - (widths[target] + widths[name] + _GAP) / 2
            found[name] = _free(wish, widths[name], taken)
            taken.append((found[name], widths[name]))
    return found


def _beside(sources: list[str], reads: dict[str, list[str]], widths: dict[str, float]) -> float:
    """The room that the widest parameter of a line needs beside it, where lines share a layer."""
    return max((widths[s] + _GAP for s in sources if s not in reads), default=0.0)


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _apart(
    ordered: list[str], wanted: dict[str, float], widths: dict[str, float]
) -> dict[str, float]:
    """The wished places, moved apart until no two boxes meet, around the same middle."""
    found: dict[str, float] = {}
    edge = float("-inf")
    for name in ordered:
        found[name] = max(wanted[name], edge + widths[name] / 2)
        edge = found[name] + widths[name] / 2 + _GAP
    shift = _mean([wanted[n] - found[n] for n in ordered])
    return {n: place + shift for n, place in found.items()}


def _free(wish: float, width: float, taken: list[tuple[float, float]]) -> float:
    """The place nearest to the wish where the box meets none of the others."""
    beside = [(centre, (width + other + _GAP) / 2) for centre, other in taken]
    choices = [wish, *(c + sign * far for c, far in beside for sign in (-1, 1))]
    free = [x for x in choices if all(abs(x - c) >= far - 1e-6 for c, far in beside)]
    return min(free, key=lambda x: abs(x - wish))


def _corner(layer: int, centre: float, width: float, *, across: bool) -> tuple[float, float]:
    if across:
        return _MARGIN + layer * _ACROSS, _MARGIN + centre - _HEIGHT / 2
    return _MARGIN + centre - width / 2, _MARGIN + layer * _DOWN


def _node(e: Explanation, name: str, at: tuple[float, float], width: float) -> NodeView:
    tensor, line = e.stable.tensors().get(name), e.stable.by_name().get(name)
    kind = tensor.role if tensor else "loss" if name == e.stable.loss else "line"
    title = equation(line) if line else f"{kind} {name}"
    return NodeView(name, anchor(name), kind, _sub(e, name), title, *at, width, _HEIGHT)


def _edge(
    e: Explanation, a: NodeView, b: NodeView, layers: dict[str, int], *, across: bool
) -> EdgeView:
    span = layers[b.name] - layers[a.name]
    if across:
        start, end = (a.x + a.width, a.y + a.height / 2), (b.x, b.y + b.height / 2)
        bend = max(40.0, (end[0] - start[0]) / 2)
        path = _curve(start, (start[0] + bend, start[1]), (end[0] - bend, end[1]), end)
        return EdgeView(a.name, b.name, path, start[0] + 34, start[1], *_numbers(e, a.name))
    if span == 1:
        start, end = (a.x + a.width / 2, a.y + a.height), (b.x + b.width / 2, b.y)
        path = _curve(start, (start[0], start[1] + 22), (end[0], end[1] - 22), end)
    else:
        start, end = (a.x + a.width, a.y + a.height / 2), (b.x + b.width, b.y + b.height / 2)
        swing = max(start[0], end[0]) + min(_WIDEST_SWING, 30 + 9 * abs(span))
        path = _curve(start, (swing, start[1]), (swing, end[1]), end)
    return EdgeView(a.name, b.name, path, 0, 0, "", "")


def _stub(e: Explanation, a: NodeView) -> EdgeView:
    """The way out of the loss, with its value and its gradient, which is 1."""
    start, y = a.x + a.width, a.y + a.height / 2
    path = _curve((start, y), (start + 30, y), (start + 50, y), (start + 80, y))
    return EdgeView(a.name, "", path, start + 40, y, *_numbers(e, a.name))


def _numbers(e: Explanation, name: str) -> tuple[str, str]:
    adjoint = e.adjoint_of(name)
    gradient = e.values.get(adjoint.name if adjoint else f"d_{name}")
    return number_text(e.values[name]), "" if gradient is None else number_text(gradient)


def _curve(*points: tuple[float, float]) -> str:
    (x, y), *rest = points
    return f"M{x:.0f} {y:.0f}C" + " ".join(f"{a:.0f} {b:.0f}" for a, b in rest)
