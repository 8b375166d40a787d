"""What is claimed about index expressions, against every point of small boxes.

A fact that does not hold lets an access leave its array, so each claim (a bound, a simplification,
"never negative") is compared with the values that the expression takes.
"""

from itertools import product
from math import prod

import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

from ir.affine import Linear, floordiv, linear, remainder
from ir.expression import FloorDiv, Remainder, index_symbol
from ir.facts import Facts

P, Q = index_symbol("p"), index_symbol("q")
OPERATIONS = {
    sympy.Add: lambda *terms: sum(terms),
    sympy.Mul: lambda *factors: prod(factors),
    FloorDiv: lambda a, b: a // b,
    Remainder: lambda a, b: a % b,
}
RELATIONS = (sympy.Ge, sympy.Gt, sympy.Le, sympy.Lt, sympy.Eq, sympy.Ne)


@st.composite
def forms(draw: st.DrawFn) -> Linear:
    """a·p + b·q + c, with a quotient or a rest of another such sum in it or without."""
    plain = _affine(draw)
    kind = draw(st.sampled_from(["plain", "quotient", "rest", "both"]))
    if kind == "plain":
        return plain
    inner, divisor = _affine(draw), draw(st.integers(2, 5))
    quotient, rest = floordiv(inner, divisor), remainder(inner, divisor)
    if kind == "both":
        return quotient * divisor + rest + plain
    return (quotient if kind == "quotient" else rest) * draw(st.sampled_from([1, -1, 2])) + plain


def _affine(draw: st.DrawFn) -> Linear:
    return Linear.make({v: draw(st.integers(-3, 4)) for v in (P, Q)}, draw(st.integers(-4, 6)))


boxes = st.tuples(st.integers(1, 6), st.integers(1, 4))


def values(form: Linear, box: tuple[int, int]) -> list[int]:
    """The value at every point of the box."""
    points = product(range(box[0]), range(box[1]))
    return [value_at(form.expr(), {P: p, Q: q}) for p, q in points]


def value_at(expr: sympy.Expr, place: dict[sympy.Symbol, int]) -> int:
    """By Python's own // and %."""
    if expr.is_Integer:
        return int(expr)
    if expr in place:
        return place[expr]
    return OPERATIONS[expr.func](*(value_at(a, place) for a in expr.args))


@settings(max_examples=150)
@given(forms(), boxes)
def test_bounds_and_simplifications_hold_at_every_point(form: Linear, box: tuple[int, int]) -> None:
    facts, taken = Facts({P: box[0], Q: box[1]}), values(form, box)
    low, high = facts.bounds(form)
    assert low is not None
    assert high is not None
    assert low <= min(taken)
    assert high >= max(taken)
    assert values(facts.simplified(form), box) == taken
    assert not facts.nonnegative(form) or min(taken) >= 0
    assert not facts.within(form, 5) or (min(taken) >= 0 and max(taken) < 5)


@settings(max_examples=150)
@given(forms(), forms(), st.sampled_from(RELATIONS), boxes)
def test_what_a_condition_proves_is_true_where_it_holds(
    form: Linear, asked: Linear, relation: type[sympy.Rel], box: tuple[int, int]
) -> None:
    condition = relation(asked.expr(), 0)
    facts = Facts({P: box[0], Q: box[1]}).assuming([condition])
    if facts.nonnegative(form):
        held = zip(values(form, box), values(asked, box), strict=True)
        assert all(v >= 0 for v, a in held if relation(a, 0) == sympy.true)


@settings(max_examples=150)
@given(forms(), st.integers(2, 5), boxes)
def test_quotients_and_rests_are_those_of_python(
    form: Linear, divisor: int, box: tuple[int, int]
) -> None:
    whole = values(form, box)
    assert values(floordiv(form, divisor), box) == [v // divisor for v in whole]
    assert values(remainder(form, divisor), box) == [v % divisor for v in whole]
    assert values(linear(form.expr()), box) == whole


def test_a_rest_whose_quotient_is_one_number_keeps_its_ends() -> None:
    facts = Facts({P: 3, Q: 9})
    assert facts.bounds(remainder(linear(P) + 5, 4)) == (1, 3)
    assert facts.bounds(remainder(linear(Q), 4)) == (0, 3)


def test_half_of_three_is_one() -> None:
    facts = Facts({P: 9}).assuming([sympy.Ge(P, 3)])
    half = floordiv(linear(P), 2)
    assert facts.nonnegative(half - 1)
    assert not facts.nonnegative(half - 2)
    assert facts.nonnegative(-half * 2 + 4 + linear(P) - 3)
    assert not facts.nonnegative(half * 2 - linear(P))


def test_a_quotient_that_is_known_bounds_what_it_is_the_quotient_of() -> None:
    """As of the adjoint of x[2*s - 2]: its s is i//2 + 1, and that is below 3."""
    facts = Facts({P: 17, Q: 4}).assuming((FloorDiv(P, 2) + 1 < 3, FloorDiv(P + Q, 3) >= 2))
    assert facts.within(linear(P) + 2, 6)
    assert not facts.within(linear(P) + 2, 5)
    assert facts.nonnegative(linear(P) + linear(Q) - 6)
    assert not facts.nonnegative(linear(P) + linear(Q) - 7)


def test_an_even_number_whose_half_is_known_ends_with_it() -> None:
    """As of the adjoint of x[2*s]: i//2 is below 3 and i is even, so i is 4 at most."""
    facts = Facts({P: 17}).assuming((FloorDiv(P, 2) < 3, sympy.Eq(Remainder(P, 2), 0)))
    assert facts.within(linear(P), 5)
    assert not facts.within(linear(P), 4)
    odd = Facts({P: 17}).assuming((FloorDiv(P, 2) >= 3, sympy.Eq(Remainder(P, 2), 1)))
    assert odd.nonnegative(linear(P) - 7)
    assert not odd.nonnegative(linear(P) - 8)


def test_digits_make_the_number_again() -> None:
    facts = Facts({P: 17, Q: 4})
    sixes = linear(6 * FloorDiv(P, 6) + Remainder(P, 6))
    assert facts.simplified(sixes) == linear(P)
    halves = linear(3 * FloorDiv(P, 6) + Remainder(FloorDiv(P, 2), 3))
    assert facts.simplified(halves * 2 + linear(Q)) == linear(2 * FloorDiv(P, 2) + Q)
    assert facts.within(halves, 9)
    assert not facts.within(halves, 8)
    other = linear(5 * FloorDiv(P, 6) + Remainder(P, 6))
    assert facts.simplified(other) == other
