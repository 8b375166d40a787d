"""Random programs made invalid on purpose: one bad line among good ones, and the line's number.

    bad = spoil(random.Random(7).randrange, "out of bounds")
    bad.text, bad.line          # a file with one network; the line that is wrong

A valid program of tests/random_programs.py comes first and stays as it is; the bad line reads a
parameter of random shape that is declared before it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from tests.random_programs import Array, Pick, draw, text


@dataclass(frozen=True, slots=True)
class Bad:
    """A file with one network, the number of its bad line, and what is wrong with it."""

    text: str
    line: int
    kind: str


@dataclass(frozen=True, slots=True)
class Spoiler:
    """The parameter that bad lines read, its indices, and choices."""

    pick: Pick
    shape: tuple[int, ...]

    @property
    def names(self) -> list[str]:
        return list("ijk"[: len(self.shape)])

    @property
    def own(self) -> str:
        return f"({', '.join(self.names)},)"

    def read(self, **changed: str) -> str:
        return f"@b[{', '.join(changed.get(v, v) for v in self.names)}]"

    def one(self) -> int:
        return self.pick(len(self.shape))


def _out_of_bounds(s: Spoiler) -> str:
    at = s.one()
    v, size = s.names[at], s.shape[at]
    beyond = [f"{v} + {1 + s.pick(9)}", f"{v} - {1 + s.pick(3)}", f"{size + s.pick(3)}"]
    beyond += [f"{size - 1 - s.pick(2)} - 2*{v}", f"{2 + s.pick(3)}*{v} + 1", f"-1 - {v}"]
    return f"@bad = gw.define({s.own}, {s.read(**{v: beyond[s.pick(len(beyond))]})})"


def _unknown_index(s: Spoiler) -> str:
    gone = s.names[s.one()]
    left = [v for v in s.names if v != gone]
    return f"@bad = gw.define(({''.join(f'{v}, ' for v in left).strip()}), {s.read()})"


def _wrong_rank(s: Spoiler) -> str:
    more = ", ".join([*s.names, "0"]) if s.pick(2) else ", ".join(s.names[1:]) or "()"
    return f"@bad = gw.define({s.own}, @b[{more}])"


def _not_affine(s: Spoiler) -> str:
    v = s.names[s.one()]
    w = s.names[s.one()]
    odd = [f"{v}*{w}", f"{v}**2", f"sympy.Abs({v} - 1)", f"{v}/2", f"2**{v}", f"{v} // ({w} + 1)"]
    return f"@bad = gw.define({s.own}, {s.read(**{v: odd[s.pick(len(odd))]})})"


def _unknown_range(s: Spoiler) -> str:
    return f'@bad = gw.define(({", ".join(s.names)}, gw.indices("q")), {s.read()})'


def _two_sizes(s: Spoiler) -> str:
    at = s.one()
    where = ", ".join(f'gw.indices("{v}")' for v in s.names)
    other = f'gw.param("@c", ({s.shape[at] + 1 + s.pick(3)},))'
    return f"@bad = gw.define(({where},), @b[{where}]*{other}[gw.indices('{s.names[at]}')])"


def _name_taken(s: Spoiler) -> str:
    return f'@bad = gw.param("@b", ({1 + s.pick(4)},))'


def _no_gradient(s: Spoiler) -> str:
    return f'@bad = gw.param("@bad", ({1 + s.pick(4)},))'


def _real_index(s: Spoiler) -> str:
    v = s.names[s.one()]
    return f"@bad = gw.define({s.own}, {s.read(**{v: s.read()})})"


def _reads_itself(s: Spoiler) -> str:
    v = s.names[s.one()]
    odd = [
        s.read(),
        s.read(**{v: f"2*{v}"}),
        f"{s.read(**{v: f'{v} - 1'})}*{s.read(**{v: f'{v} + 1'})}",
    ]
    return f"@bad = gw.define({s.own}, lambda c: {odd[s.pick(3)].replace('@b', 'c')} + 1)"


def _no_function(s: Spoiler) -> str:
    odd = [
        "sympy.gamma({})",
        "sympy.besselj(0, {})",
        "sympy.ceiling({})",
        "sympy.I*{}",
        "{} + sympy.Symbol('y')",
    ]
    return f"@bad = gw.define({s.own}, {odd[s.pick(len(odd))].format(s.read())})"


def _slice(s: Spoiler) -> str:
    v = s.names[s.one()]
    odd = ["0:1", "None", "...", "'0'", "1.5", "True"]
    return f"@bad = gw.define({s.own}, {s.read(**{v: odd[s.pick(len(odd))]})})"


def _shapes_differ(s: Spoiler) -> str:
    other = tuple(n + 1 + s.pick(3) for n in s.shape)
    wide = tuple(n if n > 1 else 1 for n in other)
    return f'@bad = gw.add(@b, gw.param("@c", {wide}))' if min(s.shape) > 1 else _wrong_rank(s)


def _reduced_index_outside(s: Spoiler) -> str:
    return f"@bad = gw.define((), gw.sum({s.read()}, over={s.own}) + {s.read()})"


def _index_twice(s: Spoiler) -> str:
    return f"@bad = gw.define(({', '.join(s.names)}, {s.names[0]}), {s.read()})"


def _no_expression(s: Spoiler) -> str:
    odd = ["'text'", "None", "[1, 2]", "@b", "object()"]
    return f"@bad = gw.define({s.own}, {odd[s.pick(len(odd))]})"


def _bad_name(s: Spoiler) -> str:
    odd = ["for", "a b", "x;y", "", "gw_x", "*/", "é", "a" * 64]
    return f"@bad = gw.define({s.own}, {s.read()}, name={odd[s.pick(len(odd))]!r})"


KINDS: dict[str, Callable[[Spoiler], str]] = {
    "out of bounds": _out_of_bounds,
    "unknown index": _unknown_index,
    "wrong rank": _wrong_rank,
    "index not affine": _not_affine,
    "unknown range": _unknown_range,
    "index of two sizes": _two_sizes,
    "name taken": _name_taken,
    "no gradient": _no_gradient,
    "index not an integer": _real_index,
    "reads itself": _reads_itself,
    "function not in the language": _no_function,
    "no index": _slice,
    "shapes do not broadcast": _shapes_differ,
    "reduced index outside its sum": _reduced_index_outside,
    "output index twice": _index_twice,
    "not an expression": _no_expression,
    "name not allowed": _bad_name,
}


def spoil(pick: Pick, kind: str) -> Bad:
    """A program with one bad line of this kind, as a file."""
    good = draw(pick, lines=2)
    s = Spoiler(pick, tuple(1 + pick(8) for _ in range(1 + pick(3))))
    declared = ", ".join(f'gw.index("{v}", {n})' for v, n in zip(s.names, s.shape, strict=True))
    bad = KINDS[kind](s)
    lines = (
        *good.lines[:-2],
        f"{', '.join(s.names)}{',' * (len(s.names) == 1)} = {declared},",
        bad,
        *good.lines[-2:],
    )
    more = (*good.parameters, Array("b", s.shape))
    made = text([replace(good, parameters=more, lines=_using_b(lines, s))])
    number = next(
        i for i, line in enumerate(made.split("\n"), 1) if line.strip() == bad.replace("@", "")
    )
    return Bad(made, number, kind)


def _using_b(lines: tuple[str, ...], s: Spoiler) -> tuple[str, ...]:
    """The loss reads the parameter, so that it is not refused for that."""
    corner = ", ".join("0" for _ in s.shape)
    return (*lines[:-1], f"{lines[-1][:-1]} + @b[{corner}])")
