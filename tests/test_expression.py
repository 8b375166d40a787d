"""What SymPy may do with an access: treat it as one number, and never look behind its name."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import sympy
from sympy import Eq, Expr, Ne, Piecewise

from ir.expression import Access, FloorDiv, Remainder, index_symbol, symbols_of, tensor_symbol

n, k = index_symbol("n"), index_symbol("k")
x = Access(tensor_symbol("x", "float32"), n)
y = Access(tensor_symbol("y", "float32"), n)
label = Access(tensor_symbol("label", "int32"), n)
b = Access(tensor_symbol("b", "float32"))

CHOICES: dict[str, Expr] = {
    "equal": Piecewise((x + 1, Eq(x, 1)), (y, True)),
    "unequal": Piecewise((x + 1, Ne(label, 1)), (y, True)),
    "label": Piecewise((x * y, Eq(label, k)), (y, True)),
    "between": Piecewise((x * y, (x > 0) & (x < 1)), (y, x < 0), (3, True)),
    "chain": Piecewise((x, Eq(x, y)), (y, Eq(x, 2)), (3, True)),
    "scalar": Piecewise((x, Eq(b, 0)), (y, b < 1), (3, True)),
    "digits": Piecewise((x, Eq(Remainder(k, 3), 0)), (y, FloorDiv(k, 3) > 1), (3, True)),
}


@pytest.mark.parametrize("choice", CHOICES.values(), ids=CHOICES.keys())
@pytest.mark.parametrize("what", [sympy.simplify, sympy.piecewise_fold, lambda e: e.doit()])
def test_sympy_can_work_on_a_choice_about_an_element(
    choice: Expr, what: Callable[[Expr], Expr]
) -> None:
    made = what(choice)
    for at in (-1, 0, 1, 2, 7):
        values = {x: at, y: 5, label: at, b: at, k: abs(at)}
        assert _value(made, values) == _value(choice, values)


def _value(expr: Expr, values: dict[Expr, int]) -> Expr:
    def digits(e: Expr) -> Expr:
        e = e.replace(FloorDiv, lambda a, d: sympy.Integer(int(a) // int(d)))
        return e.replace(Remainder, lambda a, d: sympy.Integer(int(a) % int(d)))

    return digits(expr.xreplace(values))


def test_nothing_is_put_in_place_of_a_tensors_name() -> None:
    name = x.args[0]
    assert x.subs(name, 1) == x
    assert x.subs(sympy.Symbol("x", real=True), 1) == x
    assert (x * y).subs(n, 3) == x.subs(n, 3) * y.subs(n, 3) != x * y
    assert (x + y).subs(x, 3) == y + 3


def test_an_access_is_one_number_to_sympy() -> None:
    assert sympy.solve(x - 1, x) == [1]
    assert (sympy.sin(x) ** 2 + sympy.cos(x) ** 2).equals(1)
    assert x.free_symbols >= {x, n}
    assert symbols_of([x]) == {n}, "the compiler asks for indices only"


def test_a_body_can_be_copied() -> None:
    body = sympy.exp(x) * y + Piecewise((b, Eq(label, k)), (0, True))
    assert copy.deepcopy(body) == body


def test_equal_accesses_are_one_object() -> None:
    assert Access(tensor_symbol("x", "float32"), n) is x
    assert Access(sympy.Symbol("x", real=True), n) is x
    assert Access(tensor_symbol("x", "int32"), n) != x, "an integer tensor is another"
    assert label.is_integer
    assert not x.is_integer
