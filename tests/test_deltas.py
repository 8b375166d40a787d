"""The index algebra against brute force: every point that the deltas allow, exactly once."""

import operator
from itertools import product

import pytest
import sympy
from hypothesis import given
from hypothesis import strategies as st

from compiler.deltas import Delta, Solution, solve
from ir.affine import Linear, floordiv, linear, remainder
from ir.expression import index_symbol
from tests.test_affine import value_at

P, Q, R = (index_symbol(n) for n in "pqr")
A, B, C = (index_symbol(n) for n in "abc")

RELATIONS = {
    sympy.Eq: operator.eq,
    sympy.Ne: operator.ne,
    sympy.Ge: operator.ge,
    sympy.Gt: operator.gt,
    sympy.Le: operator.le,
    sympy.Lt: operator.lt,
}
CASES = {
    "strided window": ([2 * P + R - 1], {P: 4, R: 3}, "p = (a - r + 1)//2"),
    "windows that do not overlap": ([2 * P + R], {P: 4, R: 2}, "p = a//2, r = a%2"),
    "three digits": ([12 * P + 4 * Q + R], {P: 3, Q: 3, R: 4}, "p = a//12, q = (a//4)%3, r = a%4"),
    "reshape": (
        [floordiv(linear(P), 4).expr(), remainder(linear(P), 4).expr()],
        {P: 12},
        "p = 4*a + b",
    ),
    "diagonal": ([P, P], {P: 5}, "p = a"),
    "constant": ([sympy.Integer(3)], {P: 4}, ""),
    "reversal": ([6 - P], {P: 7}, "p = 6 - a"),
    "a rest that is all there is": ([2 * P + remainder(linear(Q), 2).expr()], {P: 3, Q: 2},
                                    "p = a//2, q = a%2"),
    "a quotient that is zero": ([2 * P + floordiv(linear(Q), 3).expr(), Q], {P: 4, Q: 3},
                                "p = a//2, q = b"),
}


def points(solution: Solution, outputs: dict, at: tuple[int, ...], variables: list) -> list[tuple]:
    """The forward points that a solution gives for one output point."""
    if solution.impossible:
        return []
    found = []
    place = dict(zip(outputs, at, strict=True))
    values = {v: solution.values[v].expr() for v in variables if v in solution.values}
    for rest in product(*(range(int(s)) for s in solution.remaining.values())):
        here = {**place, **dict(zip(solution.remaining, rest, strict=True))}
        if all(_holds(c, here) for c in solution.conditions):
            found.append(
                tuple(here[v] if v in here else value_at(values[v], here) for v in variables)
            )
    return found


def _holds(condition: sympy.Basic, place: dict) -> bool:
    left, right = (value_at(side, place) for side in condition.args)
    return RELATIONS[condition.func](left, right)


def check(indices: list, sizes: dict) -> Solution:
    """Solve, and compare with all points of the box."""
    variables = list(sizes)
    boxes = list(product(*(range(s) for s in sizes.values())))
    exprs = [sympy.sympify(e) for e in indices]
    places = [dict(zip(variables, x, strict=True)) for x in boxes]
    images = [tuple(value_at(e, place) for e in exprs) for place in places]
    outputs = {o: max(i[d] for i in images) + 2 for d, o in enumerate((A, B, C)[: len(indices)])}
    if any(n < 0 for i in images for n in i):
        outputs = {o: max(1, s) for o, s in outputs.items()}
    deltas = [Delta(o, linear(e).expr()) for o, e in zip(outputs, indices, strict=True)]
    solution = solve(deltas, outputs, sizes, {})
    for at in product(*(range(s) for s in outputs.values())):
        expected = sorted(x for x, i in zip(boxes, images, strict=True) if i == at)
        assert sorted(points(solution, outputs, at, variables)) == expected
    return solution


@pytest.mark.parametrize("name", CASES)
def test_known_solutions(name: str) -> None:
    indices, sizes, text = CASES[name]
    solution = check(indices, sizes)
    shown = {str(s): str(v.expr()) for s, v in solution.values.items() if "__" not in str(s)}
    assert ", ".join(f"{s} = {shown[s]}" for s in sorted(shown)).replace("-r + a", "a - r") == text


@st.composite
def affine(draw: st.DrawFn, variables: list) -> Linear:
    terms = {v: draw(st.integers(-3, 4)) for v in variables}
    return Linear.make(terms, draw(st.integers(-2, 4)))


@st.composite
def index(draw: st.DrawFn, variables: list) -> sympy.Expr:
    form = draw(affine(variables))
    kind = draw(st.sampled_from(["affine", "affine", "quotient", "rest", "both"]))
    divisor = draw(st.integers(2, 5))
    if kind == "quotient":
        form = floordiv(form, divisor) + draw(st.integers(0, 1))
    elif kind == "rest":
        form = remainder(form, divisor)
    elif kind == "both":
        form = floordiv(form, divisor) * 2 + remainder(form, divisor)
    return form.expr()


@st.composite
def systems(draw: st.DrawFn) -> tuple[list, dict]:
    variables = [P, Q, R][: draw(st.integers(1, 3))]
    sizes = {v: draw(st.integers(1, 6)) for v in variables}
    return draw(st.lists(index(variables), min_size=1, max_size=3)), sizes


@given(systems())
def test_any_system_of_deltas(system: tuple[list, dict]) -> None:
    check(*system)
