"""Random programs of the index language, as the text that a user would write.

    program = draw(random.Random(7).randrange)       # or of hypothesis: given(programs())
    print(text([program]))                           # a file with one network
    network = load([program], folder)                # that file, imported

Everything that is chosen is `pick(n)`, a number below n, and 0 is always the simplest choice: so
hypothesis shrinks a program by shrinking numbers. The writer knows an interval for every value, and
keeps each function inside its domain and every number moderate; what it cannot know is whether two
values meet in a kink. Several programs make one network, their losses added, each with names of its
own: compiling them together is cheap, and fusion sees strangers beside each other.
"""

from __future__ import annotations

import importlib.util
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

from hypothesis import strategies as st

import gradwright as gw
from tests.random_programs_values import Value, binary, number, scaled, unary

Pick = Callable[[int], int]
Size = int | str
Env = tuple[tuple[str, Size], ...]
BATCH = "batch"
SIZES = (3, 2, 4, 1, 5, 6, 8, 9, 17)
REDUCED = ("r", "s", "t", "u", "v", "w", "p", "q")


@dataclass(frozen=True, slots=True)
class Array:
    """A tensor of the program; `limit` makes it one of integers below it."""

    name: str
    shape: tuple[Size, ...]
    low: float = -1.0
    high: float = 1.0
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class RandomProgram:
    """Inputs, parameters, and lines of Python; `@` stands before every name of the program."""

    inputs: tuple[Array, ...]
    parameters: tuple[Array, ...]
    lines: tuple[str, ...]
    outputs: tuple[str, ...]

    @property
    def batched(self) -> bool:
        return any(BATCH in a.shape for a in self.inputs)

    def __repr__(self) -> str:
        return text([self])


@dataclass
class _Writer:
    """A program being written."""

    pick: Pick
    arrays: list[Array] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    read: set[str] = field(default_factory=set)
    reduced: list[str] = field(default_factory=list)
    masked: bool = False

    def one_of(self, options: Sequence[object]) -> object:
        return options[self.pick(len(options))]

    def rarely(self, one_in: int) -> bool:
        return self.pick(one_in) == one_in - 1

    def size(self) -> int:
        """A size that some dimension has, so that indices meet, or any other."""
        known = [s for a in self.arrays for s in a.shape if isinstance(s, int)]
        if known and not self.rarely(3):
            return known[self.pick(len(known))]
        return SIZES[self.pick(len(SIZES))]

    # ------------------------------------------------------------ indices

    def index(self, size: Size, env: Env, loose: Env = ()) -> str | None:
        """An index expression within `size`; with `loose` indices, perhaps one that leaves it."""
        plain = [v for v, s in env if s == size]
        if size == BATCH:
            return plain[0] if plain else None
        if plain and not self.rarely(3):
            return plain[self.pick(len(plain))]
        assert isinstance(size, int)
        if loose and self.rarely(3):
            return self.window(size, env, loose)
        options = [f"{self.pick(size)}"]
        for v, s in env:
            if isinstance(s, int):
                options += self.of_one(size, v, s)
        options += self.of_two(size, env)
        tables = [a for a in self.arrays if a.limit is not None and a.limit <= size]
        chosen = self.pick(len(options) + 2 * len(tables))
        if chosen >= len(options):
            return self.gathered(tables[(chosen - len(options)) // 2], env)
        return options[chosen]

    def of_one(self, size: int, v: str, s: int) -> list[str]:
        found = [f"({v} + {self.pick(4)}) % {size}"]
        if s <= size:
            shift = self.pick(size - s + 1)
            found += [f"{v} + {shift}", f"{size - 1 - shift} - {v}"]
        if s > 1 and 2 * (s - 1) < size:
            stride = 2 + self.pick((size - 1) // (s - 1) - 1)
            found.append(f"{stride}*{v} + {self.pick(size - stride * (s - 1))}")
        divisor = -(-s // size)
        if divisor > 1 or self.rarely(2):
            found.append(f"{v} // {max(divisor, 2)}")
        return found

    def of_two(self, size: int, env: Env) -> list[str]:
        found = []
        for (v, s), (w, t) in product(env, env):
            if v == w or not isinstance(s, int) or not isinstance(t, int):
                continue
            if s * t <= size:
                found.append(f"{t}*{v} + {w}")
            if s + t - 1 <= size:
                found.append(f"{v} + {w} + {self.pick(size - s - t + 2)}")
            if s <= size and s + t - 1 > size:
                found.append(f"({v} + {w}) % {size}")
        return found

    def gathered(self, table: Array, env: Env) -> str:
        """An element of an integer tensor as an index."""
        where = []
        for size in table.shape:
            able = [v for v, s in env if s == size or isinstance(s, int) and s <= _least(size)]
            where.append(able[self.pick(len(able))] if able else "0")
        self.read.add(table.name)
        return f"@{table.name}[{', '.join(where) or '()'}]"

    def window(self, size: int, env: Env, loose: Env) -> str:
        """stride*p + dilation*r - padding, in bounds for one r at least, whatever p."""
        r, taps = loose[self.pick(len(loose))]
        outer = [(v, s) for v, s in env if v != r and isinstance(s, int)]
        assert isinstance(taps, int)
        p, count = outer[self.pick(len(outer))] if outer else ("0", 1)
        stride, dilation, padding = 1 + self.pick(3), 1 + self.pick(2), self.pick(3)
        for place in range(int(count)):
            reached = (stride * place + dilation * tap - padding for tap in range(taps))
            if not any(0 <= at < size for at in reached):
                return f"{r} % {size}"
        self.masked = True
        return f"{stride}*{p} + {dilation}*{r} - {padding}"

    # ------------------------------------------------------------ values

    def access(self, env: Env, loose: Env = ()) -> Value:
        """An element of a tensor that these indices can reach."""
        sizes = {s for _, s in env}
        real = [a for a in self.arrays if a.limit is None]
        able = [a for a in real if BATCH not in a.shape or BATCH in sizes]
        if not able:
            return number(self.pick(4))
        fresh = [a for a in able if a.name not in self.read]
        able = fresh if fresh and self.pick(3) < 2 else able
        a = able[-1 - self.pick(len(able))]
        once, where = loose, []
        for s in a.shape:
            before = self.masked
            where.append(str(self.index(s, env, once)))
            once = once if self.masked == before else ()
        self.read.add(a.name)
        return Value(f"@{a.name}[{', '.join(where) or '()'}]", a.low, a.high)

    def value(self, env: Env, depth: int, loose: Env = ()) -> Value:
        """An expression of at most this depth."""
        kind = self.pick(12) if depth > 0 else self.pick(2) * 11
        if kind <= 3:
            return self.access(env, loose)
        if kind <= 5:
            inner = self.value(env, depth - 1, loose)
            return unary(self.pick, inner, branching=not self.masked)
        if kind <= 7:
            first, second = self.value(env, depth - 1, loose), self.value(env, depth - 1)
            return binary(self.pick, first, second)
        if kind == 8:
            return self.reduction(env, depth - 1)
        if kind == 9:
            return self.choice(env, depth - 1)
        if kind == 10:
            return self.share(env) or self.access(env, loose)
        return self.leaf(env, loose)

    def leaf(self, env: Env, loose: Env) -> Value:
        fixed = [(v, s) for v, s in env if isinstance(s, int)]
        if fixed and self.rarely(4):
            v, s = fixed[self.pick(len(fixed))]
            return Value(f"({v} - 1)", -1, s - 2)
        return number(self.pick(8)) if self.rarely(3) else self.access(env, loose)

    def choice(self, env: Env, depth: int) -> Value:
        """A condition on indices or on values, or the larger or smaller of two."""
        a, b = self.value(env, depth), self.value(env, depth)
        low, high = min(a.low, b.low), max(a.high, b.high)
        kind = self.pick(5)
        if kind == 0:
            return Value(f"sympy.Max({a.text}, 0)", max(a.low, 0.0), max(a.high, 0.0))
        if kind == 1:
            name = "Max" if self.pick(2) == 0 else "Min"
            return Value(f"sympy.{name}({a.text}, {b.text})", low, high)
        if kind == 2:
            before = set(self.read)
            c = self.access(env)
            self.read = before  # a condition alone gives no derivative
            return Value(f"Piecewise(({a.text}, {c.text} > 0.125), ({b.text}, True))", low, high)
        fixed = [(v, s) for v, s in env if isinstance(s, int)]
        if not fixed:
            return a
        v, s = fixed[self.pick(len(fixed))]
        w, t = fixed[self.pick(len(fixed))]
        conditions = [f"{v} < {s // 2 + 1}", f"{v} <= {w}", f"Eq({v}, {w})", f"Eq({v} + {w}, {t})"]
        return Value(
            f"Piecewise(({a.text}, {conditions[self.pick(4)]}), ({b.text}, True))", low, high
        )

    def reduction(self, env: Env, depth: int) -> Value:
        """A sum, mean or maximum over one or two new indices, of a product more often than not."""
        kind = ("sum", "sum", "sum", "max", "mean")[self.pick(5)]
        over = self.new_indices(env)
        if not over:
            return self.access(env)
        loose = tuple((v, s) for v, s in over if isinstance(s, int))
        within, outside = env + over, self.masked
        self.masked = False
        if self.pick(3) < 2:
            first = self.access(within, loose)
            second = self.access(within, () if kind == "max" and self.masked else loose)
            body = binary(lambda n: 2 % n, first, second)
        else:
            body = self.value(within, depth, loose if kind != "max" else ())
        low, high = (
            (min(body.low, 0.0), max(body.high, 0.0)) if self.masked else (body.low, body.high)
        )
        self.masked = outside
        terms = math.prod(s if isinstance(s, int) else 4 for _, s in over)
        names = ", ".join(v for v, _ in over)
        found = Value(f"gw.{kind}({body.text}, over=({names},))", low, high)
        if kind == "sum":
            found = Value(found.text, min(low, low * terms), max(high, high * terms))
        return scaled(found, 4.0)

    def new_indices(self, env: Env) -> Env:
        """Indices to reduce over, declared before the line."""
        names = {v for v, _ in env}
        free = [v for v in REDUCED if v not in names and v not in {n for n, _ in self.declared}]
        count = min(1 + self.pick(2), len(free))
        batched = any(BATCH in a.shape for a in self.arrays)
        made: Env = ()
        for v in free[:count]:
            taken = made or BATCH in {s for _, s in env}  # a maximum wants it first
            made += ((v, BATCH if batched and not taken and self.rarely(4) else self.size()),)
        self.declared += made
        return made

    def share(self, env: Env) -> Value | None:
        """A softmax, or the logarithm of a sum of exponentials, as users write them."""
        able = [a for a in self.arrays if a.limit is None and a.shape and a.shape[-1] != BATCH]
        free = [v for v in REDUCED if v not in {n for n, _ in (*env, *self.declared)}]
        if not able or not free:
            return None
        a = able[-1 - self.pick(len(able))]
        first = [self.index(s, env) for s in a.shape]
        if None in first:
            return None
        self.read.add(a.name)
        self.declared += ((free[0], a.shape[-1]),)
        one = f"@{a.name}[{', '.join(map(str, first))}]"
        each = f"@{a.name}[{', '.join(map(str, [*first[:-1], free[0]]))}]"
        total = f"gw.sum(sympy.exp({each}), over={free[0]})"
        if self.pick(2) == 0:
            return Value(f"sympy.exp({one})/{total}", 0.0, 1.0)
        grows = math.log(int(a.shape[-1]))
        return Value(f"sympy.log({total})", a.low + grows, a.high + grows)

    # ------------------------------------------------------------ lines

    def define(self, name: str, env: Env, body: Value | None = None) -> None:
        """One line, after the line that declares its indices."""
        self.declared: Env = ()
        body = scaled(body or self.value(env, 1 + self.pick(3)), 6.0)
        self.enter(name, env, body.text)
        self.arrays.append(Array(name, tuple(s for _, s in env), body.low, body.high))

    def enter(self, name: str, env: Env, body: str) -> None:
        every = env + self.declared
        if every:
            made = ", ".join(f'gw.index("{v}", {s!r})' for v, s in every)
            self.lines.append(f"{', '.join(v for v, _ in every)} = {made}")
        own = "".join(f"{v}, " for v, _ in env)
        self.lines.append(f"@{name} = gw.define(({own.rstrip() if env else own}), {body})")

    def outer(self) -> Env:
        """Output indices: at most three, the batch first if there is one."""
        batched = any(BATCH in a.shape for a in self.arrays)
        env: Env = (("n", BATCH),) if batched and self.pick(2) == 1 else ()
        for v in "ijk"[: self.pick(4)]:
            env += ((v, self.size()),)
        return env

    def contraction(self, name: str) -> None:
        """A sum of a product, each operand with indices of its own: what tiles are for."""
        env = self.outer()
        self.declared = ()
        self.define_with(name, env, self.reduction)

    def define_with(self, name: str, env: Env, make: Callable[[Env, int], Value]) -> None:
        body = make(env, 1)
        self.enter(name, env, body.text)
        self.arrays.append(Array(name, tuple(s for _, s in env), body.low, body.high))

    def recurrence(self, name: str) -> None:
        """c[t] from c[t - 1], or from the other end."""
        self.declared = ()
        size = self.size()
        env = (("t", size), *self.outer()[:1])
        start, step = scaled(self.access(env), 1.0), scaled(self.access(env), 0.5)
        down = self.pick(2)
        rest = "".join(f", {v}" for v, _ in env[1:])
        edge, before = (f"{size - 1}", "t + 1") if down else ("0", "t - 1")
        again = (f"c[{before}{rest}]*({step.text})", f"0.5*sympy.sin(c[{before}{rest}])")[
            self.pick(2)
        ]
        body = f"Piecewise(({start.text}, Eq(t, {edge})), ({again} + {start.text}, True))"
        self.enter(name, env, f"lambda c: {body}")
        self.arrays.append(Array(name, tuple(s for _, s in env), -2.0, 2.0))

    def argmax(self, name: str) -> None:
        """The position of the largest element: an integer tensor for later lines to gather with."""
        self.declared = ()
        env = self.outer()
        size = self.size()
        self.declared = (("r", size),)
        before = set(self.read)
        body = self.access((*env, ("r", size)))
        self.read = before
        self.enter(name, env, f"gw.argmax({body.text}, over=r)")
        self.arrays.append(Array(name, tuple(s for _, s in env), limit=size))

    def loss(self) -> None:
        """The sum of what nothing reads, weighted so that no two elements count alike."""
        parts, self.declared = [], ()
        own = [a for a in self.arrays if a.limit is None and not a.name.startswith("x")]
        anchored = self.rarely(3)
        for a in own:
            if a.name in self.read and not (anchored and a.name.startswith("a")):
                continue
            names = [f"{v}{len(parts)}" for v in "ijkl"[: len(a.shape)]]
            weight = "+".join(["0.5", *(f"{d + 2}*{v}" for d, v in enumerate(names))])
            element = f"@{a.name}[{', '.join(names) or '()'}]"
            term = f"{element}{('', '**2')[self.pick(2)]}*sympy.cos({weight})"
            self.declared += tuple(zip(names, a.shape, strict=True))
            over = ", ".join(names)
            kind = ("sum", "mean")[self.pick(2)]
            parts.append(f"gw.{kind}({term}, over=({over},))" if names else term)
        self.enter(
            "loss",
            (),
            " + ".join(parts) or f"@{own[0].name}[{', '.join('0' for _ in own[0].shape) or '()'}]",
        )


@dataclass
class Tape:
    """Choices as they are made, so that they can be made again, and made simpler.

    Beyond the end of what is given choices are random, or the simplest if there is no generator.
    """

    given: tuple[int, ...] = ()
    rng: random.Random | None = None
    made: list[int] = field(default_factory=list)

    def __call__(self, n: int) -> int:
        at = len(self.made)
        if at < len(self.given):
            chosen = min(self.given[at], n - 1)
        else:
            chosen = self.rng.randrange(n) if self.rng else 0
        self.made.append(chosen)
        return chosen


def shrunk(
    choices: tuple[int, ...], fails: Callable[[RandomProgram], bool], tries: int = 200
) -> RandomProgram:
    """A simpler program that fails too: choices left out, or made the simplest."""
    for length in (64, 32, 16, 8, 4, 2, 1):
        at = 0
        while at < len(choices) and tries > 0:
            head, tail = choices[:at], choices[at + length :]
            for simpler in ((*head, *tail), (*head, *(0,) * length, *tail)):
                tries -= 1
                if simpler != choices and fails(draw(Tape(simpler))):
                    choices = simpler
                    break
            else:
                at += length
    return draw(Tape(choices))


def draw(pick: Pick, lines: int = 4) -> RandomProgram:
    """A program of at most so many lines before its loss, from choices."""
    w = _Writer(pick)
    batched = pick(2) == 1
    parameters = tuple(_parameter(w, f"a{i}") for i in range(1 + pick(3)))
    inputs = tuple(_input(w, f"x{i}", batched) for i in range(int(batched) + pick(2)))
    if pick(3) == 2:
        shape = (BATCH,) if batched and pick(2) else (w.size(),)
        inputs += (Array("label", shape, limit=w.size()),)
        w.arrays.append(inputs[-1])
    outputs: list[str] = []
    for number_ in range(1 + pick(lines)):
        name = f"h{number_}"
        kind = pick(8)
        if kind in (1, 2, 3):
            w.contraction(name)
        elif kind == 5:
            w.recurrence(name)
        elif kind == 6:
            w.argmax(name)
            continue
        else:
            w.define(name, w.outer())
        outputs.append(name)
    w.loss()
    return RandomProgram(inputs, parameters, tuple(w.lines), tuple(outputs))


def _least(size: Size) -> int:
    """At least so many values: a batch has one row or more."""
    return size if isinstance(size, int) else 1


def _parameter(w: _Writer, name: str) -> Array:
    shape = tuple(w.size() for _ in range((2, 1, 3, 0)[w.pick(4)]))
    low = (-1.0, 0.25)[w.pick(2)]
    w.arrays.append(Array(name, shape, low, 1.5))
    return w.arrays[-1]


def _input(w: _Writer, name: str, batched: bool) -> Array:
    shape: tuple[Size, ...] = tuple(w.size() for _ in range(w.pick(3)))
    w.arrays.append(Array(name, (BATCH, *shape) if batched and w.pick(4) < 3 else shape, -1.5, 1.5))
    return w.arrays[-1]


@st.composite
def programs(draw_: st.DrawFn) -> RandomProgram:
    """The same, for hypothesis."""
    return draw(lambda n: draw_(st.integers(0, n - 1)))


# ---------------------------------------------------------------- as a file

HEAD = "import sympy\nfrom sympy import Eq, Piecewise\n\nimport gradwright as gw\n\n\n@gw.network\n"


def prefix(number_: int, of: int) -> str:
    """What stands before the names of a program among others."""
    return "" if of == 1 else f"p{number_}_"


def text(bundle: Sequence[RandomProgram], name: str = "sample") -> str:
    """One network of these programs, as a file."""
    given, lines, results = [], [], []
    for number_, program in enumerate(bundle):
        before = prefix(number_, len(bundle))
        for a in program.inputs:
            kind = "i32" if a.limit is not None else "f64"
            sizes = ", ".join(f'"{s}"' if isinstance(s, str) else str(s) for s in a.shape)
            given.append(f"{before}{a.name}: gw.{kind}[{sizes or '()'}]")
        for a in program.parameters:
            made = f'gw.param("{before}{a.name}", {a.shape}, gw.uniform({a.low}, {a.high}))'
            lines.append(f"{before}{a.name} = {made}")
        lines += [line.replace("@", before) for line in program.lines]
        results += [f"{before}{out}={before}{out}" for out in program.outputs]
    loss = f"{prefix(0, len(bundle))}loss"
    if len(bundle) > 1:
        every = [f"p{i}_loss" for i in range(len(bundle))]
        results += [f"{one}={one}" for one in every]
        lines.append(f"loss = gw.define((), {' + '.join(f'{one}[()]' for one in every)})")
        loss = "loss"
    body = "".join(f"    {line}\n" for line in lines)
    returned = ", ".join([f"loss={loss}", *results])
    return f"{HEAD}def {name}({', '.join(given)}):\n{body}    return gw.outputs({returned})\n"


def load(bundle: Sequence[RandomProgram], folder: Path, name: str = "sample") -> gw.Network:
    """The network of these programs, from a file in the folder."""
    path = folder / f"{name}.py"
    path.write_text(text(bundle, name), encoding="utf-8")
    return imported(path, name)


def imported(path: Path, name: str) -> gw.Network:
    """The network of this name in a file."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    network: gw.Network = getattr(module, name)
    return network
