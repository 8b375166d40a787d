"""Programs for the tests of the targets: one-line definitions by hand, and what they are given.

    for case in CASES:
        module = case.module("float64")         # a kernel for each group, all results outputs
        values = case.values("float64", rows=3)
        interpret(module.forward.program, values, rows=3)

Everything is built without the front end, so that a target can be tested by itself. A definition
here is a `Definition`; `real` stands for the floating type that a test asks for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import sympy
from sympy import Eq, Piecewise, Symbol

from compiler.memory import in_place, plan
from ir.errors import Origin
from ir.expression import (
    Access,
    FloorDiv,
    Random,
    Remainder,
    index_symbol,
    size_symbol,
    tensor_symbol,
)
from ir.kernel import Kernel, Loop, Module, Schedule, Step
from ir.program import Batch, Definition, Initializer, Program, Range, Scan, Tensor

BATCH = size_symbol("batch")
MAXIMUM = 7
n, m, i, j, k, p, q, r, s, t, u, c = map(index_symbol, "nmijkpqrstuc")
HERE = Origin("programs.py", 1)


def T(name: str) -> Callable[..., Access]:
    """`T("x")(n, k)` is x[n, k]; names that start with `label` are integer tensors."""
    kind = "int32" if name.startswith(("label", "am")) else "float64"
    return lambda *where: Access(tensor_symbol(name, kind), *where)


x, y, z, W, b, g, h, v, w = map(T, "xyzWbghvw")
label = T("label")


def over(*pairs: Any) -> tuple[Range, ...]:
    """`over(n, BATCH, k, 4)`: ranges from alternating symbols and sizes."""
    return tuple(Range(a, b) for a, b in zip(pairs[::2], pairs[1::2], strict=True))


def define(name: str, indices: tuple[Range, ...], body: Any, **more: Any) -> Definition:
    dtype = more.pop("dtype", "real")
    return Definition(name, dtype, indices, sympy.sympify(body), origin=HERE, **more)


def total(
    name: str,
    indices: tuple[Range, ...],
    reduced: tuple[Range, ...],
    body: Any,
    *where: Any,
    kind: str = "sum",
    **more: Any,
) -> Definition:
    return define(name, indices, body, reduce=kind, over=reduced, where=where, **more)


def guarded(condition: Any, value: Any, otherwise: Any = 0) -> Any:
    return Piecewise((value, condition), (otherwise, True))


@dataclass(frozen=True)
class Case:
    """Definitions in order; `tensors` are (name, shape), integer ones with their exclusive limit.

    `kernels` groups the names of fused definitions; what no group names is a kernel by itself.
    `keep` names the results, otherwise every definition that is not fused away.
    """

    name: str
    definitions: tuple[Definition, ...]
    tensors: dict[str, tuple[Any, ...]]
    kernels: tuple[tuple[str, ...], ...] = ()
    limits: dict[str, int] = field(default_factory=dict)
    temporaries: tuple[str, ...] = ()

    def program(self, real: str) -> Program:
        """Every definition that is no temporary is an output under its own name."""
        made = [
            Tensor(name, shape, "int32" if name in self.limits else real, "input")
            for name, shape in self.tensors.items()
        ]
        definitions = tuple(
            replace(d, dtype=real) if d.dtype == "real" else d for d in self.definitions
        )
        return Program(
            f"case_{self.name}",
            Batch(BATCH, MAXIMUM),
            inputs=tuple(made),
            definitions=definitions,
            outputs=tuple(
                (f"out_{d.name}", d.name) for d in definitions if d.name not in self.temporaries
            ),
            limits=self.limits,
        )

    def schedule(self, real: str) -> Schedule:
        program = self.program(real)
        return scheduled(program, self.kernels)

    def module(self, real: str, **more: Any) -> Module:
        return Module(
            f"case_{self.name}", self.schedule(real), None, None, "0" * 64, "test", 0, **more
        )

    def values(self, real: str, rows: int, seed: int = 0) -> dict[str, np.ndarray]:
        """Random inputs: reals in (0.1, 1) with random signs, integers below their limit."""
        random = np.random.default_rng(seed)
        found = {}
        for name, shape in self.tensors.items():
            sizes = tuple(rows if a == BATCH else a for a in shape)
            if name in self.limits:
                found[name] = random.integers(0, self.limits[name], sizes).astype("int32")
            else:
                signs = random.choice([-1.0, 1.0], sizes)
                found[name] = np.asarray(random.uniform(0.1, 1.0, sizes) * signs).astype(real)
        return found


def scheduled(program: Program, groups: tuple[tuple[str, ...], ...] = ()) -> Schedule:
    """Kernels in the order of the definitions, recurrences as loops, temporaries placed."""
    grouped = {name: group for group in groups for name in group}
    by_name = program.by_name()
    results = set(program.results())
    steps: list[Step] = []
    done: set[str] = set()
    for d in program.definitions:
        if d.name in done:
            continue
        group = grouped.get(d.name, (d.name,))
        members = tuple(by_name[a] for a in group)
        done |= set(group)
        space = tuple(a for a in members[0].indices if not d.scan or a.index != d.scan.index)
        outside = {a for e in program.definitions if e.name not in group for a in e.reads()}
        itself = {a for e in members if e.scan for a in e.reads()}
        stored = tuple(a for a in group if a in results | outside | itself)
        kernel = Kernel(d.name, space, members, stored)
        _append(steps, kernel, d)
    placed = in_place(program, tuple(steps))
    return Schedule(program, placed, *plan(program, placed))


def _append(steps: list[Step], kernel: Kernel, d: Definition) -> None:
    if d.scan is None:
        steps.append(kernel)
        return
    last = steps[-1] if steps else None
    if isinstance(last, Loop) and last.group == d.scan.group:
        steps[-1] = replace(last, kernels=(*last.kernels, kernel))
        return
    size = d.ranges[d.scan.index]
    steps.append(Loop(d.scan.group, d.scan.index, size, d.scan.downwards, (kernel,)))


def _within(e: Any, size: Any) -> tuple[Any, ...]:
    return (e >= 0, e < size)


def convolution(stride: int, dilation: int, padding: int, channels: int = 2, out: int = 3) -> Case:
    """y[n, o, p, q] and the gradient of its input, sizes that the stride need not divide."""
    size, taps = 7, 3
    count = (size + 2 * padding - dilation * (taps - 1) - 1) // stride + 1
    o = index_symbol("o")
    row, column = p * stride + r * dilation - padding, q * stride + s * dilation - padding
    forward = total(
        "y",
        over(n, BATCH, o, out, p, count, q, count),
        over(c, channels, r, taps, s, taps),
        x(n, c, row, column) * W(o, c, r, s),
        *_within(row, size),
        *_within(column, size),
    )
    a, e = index_symbol("a"), index_symbol("e")
    up, left = a + padding - r * dilation, e + padding - s * dilation
    backward = total(
        "dx",
        over(n, BATCH, c, channels, a, size, e, size),
        over(o, out, r, taps, s, taps),
        g(n, o, FloorDiv(up, stride), FloorDiv(left, stride)) * W(o, c, r, s),
        *(Eq(Remainder(f, stride), 0) for f in (up, left) if stride > 1),
        up >= 0,
        up < count * stride,
        left >= 0,
        left < count * stride,
    )
    weights = total(
        "dW",
        over(o, out, c, channels, r, taps, s, taps),
        over(n, BATCH, p, count, q, count),
        g(n, o, p, q) * x(n, c, row, column),
        *_within(row, size),
        *_within(column, size),
    )
    return Case(
        f"conv_{stride}{dilation}{padding}_{channels}_{out}",
        (forward, backward, weights),
        {
            "x": (BATCH, channels, size, size),
            "W": (out, channels, taps, taps),
            "g": (BATCH, out, count, count),
        },
    )


def _matmul(rows: Any, reduced: int, columns: int) -> Case:
    """Forward with bias and relu fused, both gradients, the bias's, an update."""
    return Case(
        f"matmul_{reduced}_{columns}",
        (
            total("y", over(n, rows, j, columns), over(k, reduced), x(n, k) * W(k, j)),
            define("z", over(n, rows, j, columns), y(n, j) + b(j)),
            define("h", over(n, rows, j, columns), guarded(z(n, j) > 0, z(n, j))),
            define("v", over(n, rows, j, columns), guarded(h(n, j) > 0, g(n, j))),
            total("dW", over(k, reduced, j, columns), over(n, rows), x(n, k) * v(n, j)),
            define("W_next", over(k, reduced, j, columns), W(k, j) - T("lr")() * T("dW")(k, j)),
            total("db", over(j, columns), over(n, rows), v(n, j)),
            total("dx", over(n, rows, k, reduced), over(j, columns), v(n, j) * W(k, j)),
        ),
        {
            "x": (rows, reduced),
            "W": (reduced, columns),
            "b": (columns,),
            "g": (rows, columns),
            "lr": (),
        },
        kernels=(("y", "z", "h"), ("dW", "W_next")),
        temporaries=("y", "z", "h", "v", "dW"),
    )


RECURRENCE = Scan("scan", t)
DOWNWARDS = Scan("down", t, downwards=True)

CASES = (
    Case(
        "scalar", (total("y", (), over(k, 5), x(k) ** 2), define("z", (), y() * 2 + 1)), {"x": (5,)}
    ),
    Case(
        "broadcast",
        (define("y", over(n, BATCH, j, 4), x(n, j) * b(j) + v(n) - 2),),
        {"x": (BATCH, 4), "b": (4,), "v": (BATCH,)},
    ),
    Case(
        "transpose",
        (
            define("y", over(j, 4, n, BATCH), x(n, j)),
            define("z", over(n, BATCH, j, 4), y(j, n) + 1),
        ),
        {"x": (BATCH, 4)},
        temporaries=("y",),
    ),
    Case(
        "diagonal",
        (define("y", over(i, 5), x(i, i)), define("z", over(i, 5, j, 5), guarded(Eq(i, j), b(i)))),
        {"x": (5, 5), "b": (5,)},
    ),
    _matmul(BATCH, 5, 3),
    _matmul(BATCH, 17, 67),
    _matmul(BATCH, 20, 100),
    Case(
        "batched",
        (
            total("y", over(n, BATCH, i, 5, j, 9), over(k, 6), x(n, i, k) * W(n, k, j)),
            total("z", over(n, BATCH, i, 5, j, 9), over(k, 6), x(n, i, k) * g(n, j, k)),
        ),
        {"x": (BATCH, 5, 6), "W": (BATCH, 6, 9), "g": (BATCH, 9, 6)},
    ),
    Case(
        "vector",
        (
            total("y", over(j, 20), over(k, 9), b(k) * W(k, j)),
            total("z", over(j, 9), over(k, 20), v(k) * W(j, k) * 3),
        ),
        {"b": (9,), "v": (20,), "W": (9, 20)},
    ),
    Case(
        "inner_products",
        (
            total(
                "y",
                over(i, 2, s, 3),
                over(n, BATCH, q, 20),
                g(n, i, q) * x(n, q + s - 1) * b(i),
                *_within(q + s - 1, 20),
            ),
            total("z", over(i, 2), over(n, BATCH, q, 20), g(n, i, q) * x(n, q), q < 4 * n),
            total("w", (), over(q, 20), x(0, q) ** 2),
        ),
        {"x": (BATCH, 20), "g": (BATCH, 2, 20), "b": (2,)},
    ),
    Case(
        "long_row",
        (total("y", over(n, BATCH, j, 920), over(k, 2), x(n, k) * W(k, j)),),
        {"x": (BATCH, 2), "W": (2, 920)},
    ),
    Case(
        "long_rows_of_few",
        (total("y", over(n, BATCH, i, 3, j, 3), over(k, 272), x(n, i, k) * g(n, j, k)),),
        {"x": (BATCH, 3, 272), "g": (BATCH, 3, 272)},
    ),
    Case(
        "correlation",
        (
            total(
                "y",
                over(i, 5, r, 3, s, 3),
                over(n, BATCH, p, 4, q, 19),
                g(n, i, p, q) * x(n, p + r - 1, q + s - 1),
                *_within(p + r - 1, 4),
                *_within(q + s - 1, 19),
            ),
        ),
        {"x": (BATCH, 4, 19), "g": (BATCH, 5, 4, 19)},
    ),
    *(
        convolution(*sizes)
        for sizes in ((1, 1, 0), (2, 1, 1), (3, 2, 2), (2, 2, 0), (1, 1, 1, 2, 9), (2, 1, 1, 5, 4))
    ),
    Case(
        "pool",
        (
            total(
                "y",
                over(n, BATCH, p, 4),
                over(r, 3),
                x(n, 2 * p + r - 1),
                *_within(2 * p + r - 1, 8),
                kind="max",
            ),
            total(
                "am",
                over(n, BATCH, p, 4),
                over(r, 3),
                x(n, 2 * p + r - 1),
                *_within(2 * p + r - 1, 8),
                kind="argmax",
                dtype="int32",
            ),
            total(
                "dx",
                over(n, BATCH, u, 8),
                over(p, 4, r, 3),
                g(n, p),
                Eq(u, 2 * p + r - 1),
                Eq(r, T("am")(n, p)),
            ),
        ),
        {"x": (BATCH, 8), "g": (BATCH, 4)},
    ),
    Case(
        "argmax_2d",
        (total("am", over(n, BATCH), over(i, 3, j, 4), x(n, i, j), kind="argmax", dtype="int32"),),
        {"x": (BATCH, 3, 4)},
    ),
    Case(
        "max_columns",
        (total("y", over(n, BATCH, j, 9), over(i, 3), x(n, i, j), kind="max"),),
        {"x": (BATCH, 3, 9)},
    ),
    Case(
        "reshape",
        (
            define("y", over(n, BATCH, k, 12), x(n, FloorDiv(k, 4), Remainder(k, 4))),
            define("z", over(n, BATCH, i, 3, j, 4), y(n, 4 * i + j) * 3),
        ),
        {"x": (BATCH, 3, 4)},
    ),
    Case(
        "concatenate",
        (define("y", over(n, BATCH, j, 9), Piecewise((x(n, j), j < 4), (g(n, j - 4), True))),),
        {"x": (BATCH, 4), "g": (BATCH, 5)},
    ),
    Case(
        "choice_of_numbers",
        (
            define("y", (), guarded(b() > 2, g(), b())),
            define("z", (), guarded(y() < 2, guarded(g() < 2, g()), 3)),
            define("w", over(n, BATCH), x(n) * z()),
        ),
        {"x": (BATCH,), "g": (), "b": ()},
    ),
    Case(
        "causal",
        (
            define("y", over(n, BATCH, i, 6, j, 6), guarded(j <= i, x(n, i, j), -sympy.oo)),
            total("z", over(n, BATCH, i, 6), over(j, 6), x(n, i, j), j <= i),
        ),
        {"x": (BATCH, 6, 6)},
    ),
    Case(
        "gather",
        (
            define("y", over(n, BATCH), x(n, label(n))),
            total("z", over(n, BATCH), over(j, 5), x(n, j), Eq(j, label(n))),
            define("w", over(n, BATCH, j, 5), guarded(Eq(j, label(n)), 1, -1) * x(n, j)),
        ),
        {"x": (BATCH, 5), "label": (BATCH,)},
        limits={"label": 5},
    ),
    Case(
        "scatter",
        (
            define(
                "y",
                over(n, BATCH, j, 3),
                x(n, j),
                reduce="scatter",
                target=(label(n), j),
                target_shape=(4, 3),
            ),
        ),
        {"x": (BATCH, 3), "label": (BATCH,)},
        limits={"label": 4},
    ),
    Case(
        "cumulative",
        (
            define(
                "y", over(n, BATCH, t, 6), x(n, t) + guarded(t > 0, y(n, t - 1)), scan=RECURRENCE
            ),
            define(
                "z", over(n, BATCH, t, 6), x(n, t) * guarded(t < 5, z(n, t + 1), 1), scan=DOWNWARDS
            ),
        ),
        {"x": (BATCH, 6)},
    ),
    Case(
        "two_states",
        (
            define(
                "h",
                over(t, 5, n, BATCH, j, 3),
                sympy.tanh(x(n, t, j) + guarded(t > 0, v(t - 1, n, j))),
                scan=RECURRENCE,
            ),
            total(
                "v", over(t, 5, n, BATCH, j, 3), over(k, 3), W(j, k) * h(t, n, k), scan=RECURRENCE
            ),
        ),
        {"x": (BATCH, 5, 3), "W": (3, 3)},
    ),
    Case(
        "softmax",
        (
            total("m", over(n, BATCH), over(j, 10), x(n, j), kind="max"),
            total("s", over(n, BATCH), over(j, 10), sympy.exp(x(n, j) - T("m")(n))),
            define("lse", over(n, BATCH), sympy.log(T("s")(n)) + T("m")(n)),
            define(
                "y",
                over(n, BATCH, j, 10),
                sympy.exp(x(n, j) - T("lse")(n)) - guarded(Eq(j, label(n)), 1),
            ),
            total("loss", (), over(n, BATCH), (T("lse")(n) - x(n, label(n))) / BATCH),
        ),
        {"x": (BATCH, 10), "label": (BATCH,)},
        kernels=(("m", "s", "lse"),),
        limits={"label": 10},
        temporaries=("m", "s"),
    ),
    Case(
        "functions",
        (
            define(
                "y",
                over(n, BATCH, j, 3),
                sympy.sin(x(n, j))
                + sympy.cos(x(n, j)) * sympy.erf(x(n, j))
                - sympy.sqrt(sympy.Abs(x(n, j)))
                + sympy.sign(x(n, j)) ** 3
                + sympy.atan(x(n, j))
                + sympy.sinh(x(n, j)) / sympy.cosh(x(n, j))
                + x(n, j) ** -2
                + (x(n, j) + 3) ** sympy.Rational(5, 2),
            ),
            define(
                "z",
                over(n, BATCH, j, 3),
                Piecewise(
                    (sympy.log(x(n, j)), (x(n, j) > 0) & (j < 2)),
                    (n + j / 2, (x(n, j) < -0.5) | sympy.Ne(j, 1)),
                    (sympy.exp(-x(n, j)) ** 2 / 3, True),
                ),
            ),
        ),
        {"x": (BATCH, 3)},
    ),
    Case(
        "sums_within_steps",
        (
            total("y", over(t, 5), over(k, 3), x(t, k) * h(t - 1), t > 0, scan=RECURRENCE),
            total("z", over(t, 5, j, 2), over(k, 3), W(k, j) * h(t - 1), t > 1, scan=RECURRENCE),
            define("h", over(t, 5), b(t) + y(t) / 2 + z(t, 1) * z(t, 0), scan=RECURRENCE),
        ),
        {"x": (5, 3), "b": (5,), "W": (3, 2)},
        temporaries=("z",),
    ),
    Case(
        "held_within_steps",
        (
            define("v", over(t, 4, n, BATCH, j, 3), W(t, j) * 2, scan=RECURRENCE),
            define("w", over(t, 4, n, BATCH, j, 3), x(n, t, j), scan=RECURRENCE),
            define(
                "h",
                over(t, 4, n, BATCH, j, 3),
                v(t, n, j) * w(t, n, j) + guarded(t > 0, h(t - 1, n, j) / 2),
                scan=RECURRENCE,
            ),
        ),
        {"x": (BATCH, 4, 3), "W": (4, 3)},
        kernels=(("v", "w", "h"),),
        temporaries=("v", "w"),
    ),
    Case(
        "masked_factors",
        (
            total("y", over(n, BATCH, j, 4), over(k, 5), x(n, k) * W(k, j), b(k) > 0),
            total(
                "z", over(n, BATCH, j, 4), over(k, 5), x(n, k) * W(k, j) * b(k), x(n, k) > 0, k > j
            ),
            total("v", over(n, BATCH, j, 4), over(k, 5), W(k, j) ** 2 * b(k), W(k, j) < 0),
            define("w", over(n, BATCH, j, 4), guarded(g() > 0, y(n, j) * 2, z(n, j) + v(n, j))),
        ),
        {"x": (BATCH, 5), "W": (5, 4), "b": (5,), "g": ()},
    ),
    Case(
        "integers_as_values",
        (
            define("y", over(n, BATCH), x(n, 0) * label(n) + T("label_one")()),
            define("z", over(n, BATCH), W(2 * T("label_one")() + label(n))),
            define("v", over(n, BATCH), W(FloorDiv(T("label_one")() + 1, 2) + label(n))),
            define("w", over(n, BATCH, j, 3), x(n, j) + guarded(Eq(j, label(n)), 2)),
            define("h", over(n, BATCH, j, 3), x(n, j) * 3 + guarded(Eq(2 * j, label(n)), 2)),
            define("g", over(n, BATCH, j, 3), x(n, j) * 3 + guarded(Eq(j, 2 * label(n)), 2)),
            define("u", (), Random(T("label_one")(), sympy.Integer(2), sympy.Integer(3)) + W(0)),
        ),
        {"x": (BATCH, 3), "W": (7,), "label": (BATCH,), "label_one": ()},
        limits={"label": 3, "label_one": 2},
    ),
    Case(
        "digits_around_a_number",
        (
            define("y", over(n, BATCH, k, 12), x(FloorDiv(k, 4), 1, Remainder(k, 4)) + g(n)),
            define("z", over(k, 12), x(Remainder(k, 3), 2, FloorDiv(k, 3)) * k),
        ),
        {"x": (3, 3, 4), "g": (BATCH,)},
    ),
    Case(
        "batch_last",
        (
            define("y", over(j, 3, n, BATCH), x(n, j) / BATCH),
            total("z", over(j, 3), over(n, BATCH), y(j, n) * n),
            total("w", over(i, 3, n, BATCH), over(j, 3), b(i, j) * y(j, n)),
        ),
        {"x": (BATCH, 3), "b": (3, 3)},
    ),
    Case(
        "random",
        (
            define(
                "y", over(n, BATCH, j, 5), Random(label(), T("label_step")(), 3, n, 2 * j) * x(n, j)
            ),
            define("z", over(n, BATCH), guarded(Random(label(), T("label_step")(), 4, n) < 0.5, 1)),
        ),
        {"x": (BATCH, 5), "label": (), "label_step": ()},
        limits={"label": 1000, "label_step": 1000},
    ),
    Case(
        "nan_max",
        (
            total("y", over(n, BATCH), over(k, 4), sympy.log(x(n, k)), kind="max"),
            total(
                "am", over(n, BATCH), over(k, 4), sympy.log(x(n, k)), kind="argmax", dtype="int32"
            ),
        ),
        {"x": (BATCH, 4)},
    ),
)


def by_name(name: str) -> Case:
    return next(case for case in CASES if case.name == name)


def perceptron(sizes: tuple[int, ...], batch: int, real: str) -> Module:
    """Dense layers with relu, softmax cross-entropy, SGD: all three programs, fused by hand."""
    layers = len(sizes) - 1
    tensors: list[Tensor] = []
    for a in range(1, layers + 1):
        init = Initializer("normal", (0.0, float(np.sqrt(2.0 / sizes[a - 1]))))
        tensors.append(Tensor(f"fc{a}.W", (sizes[a - 1], sizes[a]), real, "parameter", HERE, init))
        tensors.append(
            Tensor(f"fc{a}.b", (sizes[a],), real, "parameter", HERE, Initializer("zeros"))
        )
    base = Program(
        "perceptron",
        Batch(BATCH, batch),
        inputs=(
            Tensor("x", (BATCH, sizes[0]), real, "input"),
            Tensor("label", (BATCH,), "int32", "input"),
        ),
        parameters=tuple(tensors),
        limits={"label": sizes[-1]},
    )
    forward, groups = _forward(sizes, real)
    backward, more, gradients, updates = _backward(sizes, real)
    everything = tuple(forward + backward)
    plain = tuple(d for d in everything if not d.name.endswith("_next"))
    scalars = ((Tensor("lr", (), real, "scalar"), 0.1),)
    ahead = replace(
        base,
        inputs=base.inputs[:1],
        limits={},
        definitions=tuple(forward[: 3 * layers - 1]),
        outputs=(("logits", f"fc{layers}"),),
    )
    grad = replace(base, definitions=plain, loss="loss", gradients=tuple(gradients))
    step = replace(
        base, definitions=everything, loss="loss", updates=tuple(updates), scalars=scalars
    )
    unfused = [tuple(a for a in group if not a.endswith("_next")) for group in more]
    weights = sum(a * b for a, b in zip(sizes, sizes[1:], strict=False))
    flops = 2 * batch * (3 * weights - sizes[0] * sizes[1])
    return Module(
        "perceptron",
        scheduled(ahead, tuple(groups)),
        scheduled(grad, tuple(groups + unfused)),
        _last_read(scheduled(step, tuple(groups + more))),
        "0" * 64,
        "test",
        flops,
    )


def _forward(sizes: tuple[int, ...], real: str) -> tuple[list[Definition], list[tuple[str, ...]]]:
    found, groups, source = [], [], "x"
    layers = len(sizes) - 1
    for a in range(1, layers + 1):
        where = over(n, BATCH, j, sizes[a])
        found.append(
            total(
                f"fc{a}_sum",
                where,
                over(k, sizes[a - 1]),
                T(source)(n, k) * T(f"fc{a}.W")(k, j),
                dtype=real,
            )
        )
        found.append(define(f"fc{a}", where, T(f"fc{a}_sum")(n, j) + T(f"fc{a}.b")(j), dtype=real))
        groups.append((f"fc{a}_sum", f"fc{a}"))
        if a < layers:
            value = T(f"fc{a}")(n, j)
            relu = Piecewise((0, value <= 0), (value, True))
            found.append(define(f"h{a}", where, relu, dtype=real))
            groups[-1] += (f"h{a}",)
            source = f"h{a}"
    logits, classes = T(f"fc{layers}"), sizes[-1]
    row, cell = over(n, BATCH), over(n, BATCH, j, classes)
    found += [
        total("top", row, over(j, classes), logits(n, j), kind="max", dtype=real),
        total("mass", row, over(j, classes), sympy.exp(logits(n, j) - T("top")(n)), dtype=real),
        define("lse", row, sympy.log(T("mass")(n)) + T("top")(n), dtype=real),
        total("loss", (), row, (T("lse")(n) - logits(n, label(n))) / BATCH, dtype=real),
        define(
            f"d_fc{layers}",
            cell,
            (sympy.exp(logits(n, j) - T("lse")(n)) - guarded(Eq(j, label(n)), 1)) / BATCH,
            dtype=real,
        ),
    ]
    groups.append(("top", "mass", "lse"))
    return found, groups


def _backward(
    sizes: tuple[int, ...], real: str
) -> tuple[list[Definition], list[tuple[str, ...]], list[tuple[str, str]], list[tuple[str, str]]]:
    found, groups, gradients, updates = [], [], [], []
    layers = len(sizes) - 1
    lr = T("lr")()
    for a in range(layers, 0, -1):
        source, above = T("x" if a == 1 else f"h{a - 1}"), T(f"d_fc{a}")
        matrix, vector = over(k, sizes[a - 1], j, sizes[a]), over(j, sizes[a])
        if a > 1:
            below = over(n, BATCH, k, sizes[a - 1])
            found.append(
                total(
                    f"d_h{a - 1}",
                    below,
                    over(j, sizes[a]),
                    above(n, j) * T(f"fc{a}.W")(k, j),
                    dtype=real,
                )
            )
            found.append(
                define(
                    f"d_fc{a - 1}",
                    below,
                    guarded(source(n, k) > 0, T(f"d_h{a - 1}")(n, k)),
                    dtype=real,
                )
            )
            groups.append((f"d_h{a - 1}", f"d_fc{a - 1}"))
        for letter, ranges, body in (
            ("W", matrix, source(n, k) * above(n, j)),
            ("b", vector, above(n, j)),
        ):
            name, gradient = f"fc{a}.{letter}", f"d_fc{a}_{letter}"
            where = tuple(e.index for e in ranges)
            found.append(
                total(gradient, ranges, over(n, BATCH), body, dtype=real, note=f"adjoint of fc{a}")
            )
            found.append(
                define(
                    f"{name}_next",
                    ranges,
                    T(name)(*where) - lr * T(gradient)(*where),
                    dtype=real,
                    note="fused SGD update",
                )
            )
            groups.append((gradient, f"{name}_next"))
            gradients.append((name, gradient))
            updates.append((name, f"{name}_next"))
    return found, groups, gradients, updates


def _last_read(schedule: Schedule) -> Schedule:
    """As fusion orders it: an update comes after every read of the value that it replaces."""
    updated = {d for _, d in schedule.program.updates}

    def updates(step: Step) -> bool:
        return isinstance(step, Kernel) and any(a.name in updated for a in step.members)

    steps = [s for s in schedule.steps if not updates(s)] + [
        s for s in schedule.steps if updates(s)
    ]
    placed = in_place(schedule.program, tuple(steps))
    return Schedule(schedule.program, placed, *plan(schedule.program, placed))


__all__ = ["BATCH", "CASES", "MAXIMUM", "Case", "Symbol", "by_name", "perceptron", "scheduled"]
