"""Recurrent layers over a sequence: forward lines only. The loop over time stays a loop.

    states, (h, c) = gw.lstm(x, 64, name="lstm")         # x[rows, time, features]
    states, h = gw.gru(x, 64, num_layers=2, bidirectional=True)

Tensors are batch first; options, gates and the shapes of states are PyTorch's. Parameters are
`name.W_ih` (in, gates * hidden), `name.W_hh` (hidden, gates * hidden), `name.b_ih`, `name.b_hh`;
those of layer 1 are `name.l1.W_ih`, …, of the direction backwards in time `name.reverse.W_ih`, ….
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

import sympy
from sympy import Expr

from compiler import notation as gw
from compiler.initializers import Init, uniform
from compiler.notation import Tensor
from compiler.oplib.common import each, fixed, here, loops_of, need, part, refuse
from compiler.oplib.layers import dropout as drop
from compiler.oplib.shape import concat, select, stack, unsqueeze
from ir.errors import InputError
from ir.expression import Index

Run: TypeAlias = Callable[[Tensor, "_Layer"], tuple[Tensor, ...]]


def lstm(
    x: Tensor,
    hidden_size: int,
    num_layers: int = 1,
    *,
    bias: bool = True,
    dropout: float = 0.0,
    bidirectional: bool = False,
    proj_size: int = 0,
    state: tuple[Tensor, Tensor] | None = None,
    name: str | None = None,
    init: Init | None = None,
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Long short-term memory over x[rows, time, in]: all states h, and the last h and c.

        i, f, g, o = four parts of  x[t] W_ih + b_ih + h[t - 1] W_hh + b_hh
        c[t] = sigmoid(f) c[t - 1] + sigmoid(i) tanh(g),    h[t] = sigmoid(o) tanh(c[t])

    All states are the last layer's, [rows, time, directions * hidden]. The last h and c, and the
    `state` before the first step (zeros unless given), are [layers * directions, rows, hidden].
    With a `proj_size`, h[t] = (sigmoid(o) tanh(c[t])) W_hr has that size instead. A single
    sequence [time, in] gives all of these without their rows.
    """
    name = name or gw.suggest("lstm")
    shared = _Layer(name, hidden_size, bias, init, starts=state or (), projected=proj_size)
    states, (h, c) = _stacked(x, _lstm, shared, num_layers, dropout, bidirectional)
    return states, (h, c)


def gru(
    x: Tensor,
    hidden_size: int,
    num_layers: int = 1,
    *,
    bias: bool = True,
    dropout: float = 0.0,
    bidirectional: bool = False,
    state: Tensor | None = None,
    name: str | None = None,
    init: Init | None = None,
) -> tuple[Tensor, Tensor]:
    """Gated recurrent units over x[rows, time, in]: all states h, and the last.

        r, z, n = three parts of  x[t] W_ih + b_ih;    r', z', n' = those of  h[t - 1] W_hh + b_hh
        u = sigmoid(z + z'),    h[t] = (1 - u) tanh(n + sigmoid(r + r') n') + u h[t - 1]

    Shapes as for `lstm`, of which `proj_size` is the only option that is missing here.
    """
    name = name or gw.suggest("gru")
    shared = _Layer(name, hidden_size, bias, init, starts=() if state is None else (state,))
    states, (h,) = _stacked(x, _gru, shared, num_layers, dropout, bidirectional)
    return states, h


@dataclass(frozen=True, slots=True)
class _Layer:
    """One layer in one direction. `starts[…][place]` are its states before the first step."""

    name: str
    hidden: int
    bias: bool
    init: Init | None
    starts: tuple[Tensor, ...] = ()
    place: int = 0
    backwards: bool = False
    projected: int = 0

    @property
    def sizes(self) -> tuple[int, ...]:
        """Of one row of h and, if there is one, of c."""
        return self.projected or self.hidden, self.hidden

    @property
    def start(self) -> Init:
        """How its parameters start: torch's default unless given."""
        return self.init or uniform(-(self.hidden**-0.5), self.hidden**-0.5)

    def gates(self, x: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor | None]:
        """x W_ih + b_ih for all steps at once, W_hh and b_hh."""
        init, wide = self.start, count * self.hidden
        (n, t), g, k = loops_of(x.shape[:2]), gw.index("g", wide), gw.index("k", x.shape[2])
        weight = gw.param(f"{self.name}.W_ih", (int(str(x.shape[2])), wide), init)
        body = gw.sum(x[n, t, k] * weight[k, g], over=k)
        recurrent = gw.param(f"{self.name}.W_hh", (self.sizes[0], wide), init)
        if not self.bias:
            return gw.define((n, t, g), body, name=part(self.name, "inputs")), recurrent, None
        body += gw.param(f"{self.name}.b_ih", wide, init)[g]
        inputs = gw.define((n, t, g), body, name=part(self.name, "inputs"))
        return inputs, recurrent, gw.param(f"{self.name}.b_hh", wide, init)

    def before(self, state: Tensor, which: int, n: Index, t: Index, j: Index) -> Expr:
        """The state one step earlier; before the first step what the caller gave, or 0."""
        first = sympy.Eq(t, int(str(t.extent)) - 1 if self.backwards else 0)
        start = self.starts[which][self.place, n, j] if self.starts else sympy.S.Zero
        return sympy.Piecewise(
            (start, first), (state[n, t + 1 if self.backwards else t - 1, j], True)
        )


def _lstm(x: Tensor, layer: _Layer) -> tuple[Tensor, ...]:
    """h and c of one layer in one direction."""
    inputs, weight, bias = layer.gates(x, 4)
    n, t, j = loops_of((*x.shape[:2], layer.hidden))
    g, k = gw.index("g", 4 * layer.hidden), gw.index("k", layer.sizes[0])

    def step(z: Tensor, c: Tensor, h: Tensor) -> tuple[Expr, ...]:
        recurrent = gw.sum(layer.before(h, 0, n, t, k) * weight[k, g], over=k)
        i, f, a, o = (z[n, t, j + m * layer.hidden] for m in range(4))
        return (
            inputs[n, t, g] + recurrent + (bias[g] if bias is not None else 0),
            _sigmoid(f) * layer.before(c, 1, n, t, j) + _sigmoid(i) * sympy.tanh(a),
            _sigmoid(o) * sympy.tanh(c[n, t, j]),
        )

    loops, names = [(n, t, g), (n, t, j), (n, t, j)], ["gates", "c", "h"]
    if not layer.projected:
        _, c, h = gw.recurrence(loops, step, names=[part(layer.name, of) for of in names])
        return h, c
    weight_hr = gw.param(f"{layer.name}.W_hr", (layer.hidden, layer.projected), layer.start)
    q = gw.index("q", layer.projected)

    def projected(z: Tensor, c: Tensor, m: Tensor, h: Tensor) -> tuple[Expr, ...]:
        return *step(z, c, h), gw.sum(m[n, t, j] * weight_hr[j, q], over=j)

    names = [part(layer.name, of) for of in ("gates", "c", "wide", "h")]
    _, c, _, h = gw.recurrence([*loops, (n, t, q)], projected, names=names)
    return h, c


def _gru(x: Tensor, layer: _Layer) -> tuple[Tensor, ...]:
    """h of one layer in one direction."""
    inputs, weight, bias = layer.gates(x, 3)
    n, t, j = loops_of((*x.shape[:2], layer.hidden))
    g, k = gw.index("g", 3 * layer.hidden), gw.index("k", layer.hidden)

    def step(v: Tensor, h: Tensor) -> tuple[Expr, ...]:
        recurrent = gw.sum(layer.before(h, 0, n, t, k) * weight[k, g], over=k)
        places = [(n, t, j + m * layer.hidden) for m in range(3)]
        (r, z, a), (r_h, z_h, a_h) = [inputs[p] for p in places], [v[p] for p in places]
        update, new = _sigmoid(z + z_h), sympy.tanh(a + _sigmoid(r + r_h) * a_h)
        return (
            recurrent + (bias[g] if bias is not None else 0),
            (1 - update) * new + update * layer.before(h, 0, n, t, j),
        )

    names = [part(layer.name, of) for of in ("gates", "h")]
    return gw.recurrence([(n, t, g), (n, t, j)], step, names=names)[1:]


def _stacked(
    x: Tensor, run: Run, shared: _Layer, num_layers: int, dropout: float, bidirectional: bool
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Layers on top of one another: the last one's states, and the last states of each."""
    if len(x.shape) == 2:
        return _of_one_row(x, run, shared, num_layers, dropout, bidirectional)
    directions = 1 + bidirectional
    _check(x, shared, num_layers * directions)
    last: list[tuple[Tensor, ...]] = []
    for number in range(num_layers):
        if number:
            x = drop(x, dropout, name=part(shared.name, "kept"))
        name = f"{shared.name}.l{number}" if number else shared.name
        forwards = replace(shared, name=name, place=number * directions)
        layers = [
            forwards,
            replace(forwards, name=f"{name}.reverse", place=forwards.place + 1, backwards=True),
        ]
        made = [run(x, layer) for layer in layers[:directions]]
        ends = zip(made, (-1, 0), strict=False)
        last += [
            tuple(select(s, 1, end, name=part(s.name, "last")) for s in all_) for all_, end in ends
        ]
        x = (
            made[0][0]
            if directions == 1
            else concat([m[0] for m in made], 2, name=part(name, "both"))
        )
    return x, tuple(
        stack(list(of), name=part(shared.name, "last")) for of in zip(*last, strict=True)
    )


def _of_one_row(
    x: Tensor, run: Run, shared: _Layer, num_layers: int, dropout: float, bidirectional: bool
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """`_stacked` of a sequence without rows."""
    starts = tuple(unsqueeze(s, 1, name=part(shared.name, "start")) for s in shared.starts)
    row = unsqueeze(x, 0, name=part(shared.name, "row"))
    shared = replace(shared, starts=starts)
    states, last = _stacked(row, run, shared, num_layers, dropout, bidirectional)
    name = part(shared.name, "states")
    return select(states, 0, 0, name=name), tuple(
        select(of, 1, 0, name=part(shared.name, "last")) for of in last
    )


def _check(x: Tensor, layer: _Layer, places: int) -> None:
    need(x, "a recurrent layer", 3, exactly=True)
    fixed(x, (1, 2), "a recurrent layer")
    each(layer.hidden, 1, "hidden_size", 1)
    each(places, 1, "num_layers", 1)
    each(layer.projected, 1, "proj_size", 0)
    if layer.projected >= layer.hidden:
        raise InputError(
            f"proj_size must be below hidden_size, {layer.hidden}, got {layer.projected}", at=here()
        )
    for start, size in zip(layer.starts, layer.sizes, strict=False):
        if start.shape != (places, x.shape[0], size):
            refuse(f"a state must be [{places}, {x.shape[0]}, {size}], got {start!r}", start)


def _sigmoid(v: Expr) -> Expr:
    return 1 / (1 + sympy.exp(-v))
