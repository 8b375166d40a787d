"""Presentation MathML of index notation: sums with limits, cases, fractions.

    math(markup(expr))                    <math> x_{n,k}·W_{k,j} </math>
    line(definition)                      <math> y_{n,j} = Σ_{k=0}^{783} x_{n,k}·W_{k,j} </math>

A browser renders MathML by itself: no font, no script and no network is needed. Every name is
escaped here, and nothing else puts text into a page's mathematics. The printer knows what bodies of
the IR are made of; anything else is shown as text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from html import escape
from typing import Any

import sympy
from sympy.printing.precedence import precedence, precedence_traditional
from sympy.printing.printer import Printer

from ir.program import Definition, Range
from ir.text import expression

_MUL = 50
_TOKEN = re.compile(r"<m[in]>[^<]*</m[in]>")
_NAMES = {"Max": "max", "Min": "min", "TensorMax": "max"}
_RELATIONS = {"==": "=", "!=": "≠", "<": "<", "<=": "≤", ">": ">", ">=": "≥"}


def math(markup: str) -> str:
    """The markup as one formula; `page.css` gives its limits and fractions their full size."""
    return f"<math>{markup}</math>"


def displayed(markup: str) -> str:
    """The same where there is no such style sheet."""
    return f'<math displaystyle="true">{markup}</math>'


def listed(markups: Iterable[str]) -> str:
    """Several formulas in one, with commas between them."""
    return f"{_op(',')}<mspace width='.6em'/>".join(markups)


def markup(expr: Any) -> str:
    """An expression, a condition or an index expression as the inside of a formula."""
    text: str = _printer.doprint(expr)
    return text


def line(d: Definition, adds: bool = False, formula: Callable[[str], str] = math) -> str:
    """A whole line: the element, `=` or `+=`, the sum with its limits, the body, its conditions.

    Each condition is a formula of its own, so that a line with many can be broken between them.
    """
    return " ".join(map(formula, [_equation(d, adds), *_conditions(d)]))


def _equation(d: Definition, adds: bool) -> str:
    sign = "+=" if adds or d.reduce == "scatter" else "="
    body = markup(d.body)
    if d.reduce in ("sum", "max", "argmax"):
        bare = isinstance(d.body, sympy.Add)
        body = _reduction(d.reduce, d.over) + (_fenced(body) if bare else body)
    return f"{markup(d.access())}{_op(sign)}{body}"


def partial_markup(of: str, by: Any) -> str:
    """∂of/∂by."""
    below = markup(by) if not isinstance(by, str) else _identifier(by)
    return f"<mfrac><mrow>{_op('∂')}{_identifier(of)}</mrow><mrow>{_op('∂')}{below}</mrow></mfrac>"


def delta_markup(output: Any, index: Any) -> str:
    """δ with an output index and what it equals."""
    return f"<msub><mi>δ</mi><mrow>{markup(output)}{_op(',')}{markup(index)}</mrow></msub>"


def equal_markup(left: Any, right: Any) -> str:
    """left = right."""
    return f"{markup(left)}{_op('=')}{markup(right)}"


def _conditions(d: Definition) -> list[str]:
    said = [markup(c) for c in d.where]
    if d.reduce == "scatter":
        said = [_limit(r) for r in d.indices] + said
    word = "over" if d.reduce == "scatter" else "where"
    first = [f"<mspace width='1em'/><mtext>{word}&nbsp;</mtext>"] + [""] * len(said)
    last = [_op(",")] * (len(said) - 1) + [""]
    return [before + one + after for before, one, after in zip(first, said, last, strict=False)]


def _limit(r: Range) -> str:
    return f"{markup(r.index)}{_op('<')}{markup(sympy.sympify(r.size))}"


def _reduction(kind: str, over: tuple[Range, ...]) -> str:
    """One sign for every index, with its limits; a maximum has them below."""
    if kind == "sum":
        return "".join(_sigma(r.index, 0, sympy.sympify(r.size) - 1) for r in over)
    limits = _op(",").join(_limit(r) for r in over)
    name = "arg max" if kind == "argmax" else "max"
    return f"<munder><mi>{name}</mi><mrow>{limits}</mrow></munder><mspace width='.3em'/>"


def _sigma(index: Any, low: Any, high: Any) -> str:
    below = f"<mrow>{markup(index)}{_op('=')}{markup(sympy.sympify(low))}</mrow>"
    return f"<munderover><mo>∑</mo>{below}{_row(markup(high))}</munderover>"


def _op(sign: str) -> str:
    return f"<mo>{escape(sign)}</mo>"


def _row(inner: str) -> str:
    """The markup as one element: pages have thousands, so what is one already stays as it is."""
    return inner if _TOKEN.fullmatch(inner) else f"<mrow>{inner}</mrow>"


def _identifier(name: str) -> str:
    return f"<mi>{escape(name)}</mi>"


def _fenced(inner: str, left: str = "(", right: str = ")") -> str:
    return f"<mrow><mo>{left}</mo>{inner}<mo>{right}</mo></mrow>"


class _MathPrinter(Printer):  # type: ignore[misc]
    """Each method gives one row of presentation MathML."""

    printmethod = "_mathml_of_indices"

    def emptyPrinter(self, expr: Any) -> str:
        return f"<mtext>{escape(str(expr))}</mtext>"

    def _at_least(self, expr: Any, level: int) -> str:
        """The expression, in parentheses where it binds less tightly than the level."""
        inner = self._print(expr)
        binds = precedence_traditional(expr) if isinstance(expr, sympy.Sum) else precedence(expr)
        negative = expr.is_number and expr.is_negative
        cases = isinstance(expr, sympy.Piecewise)
        return _fenced(inner) if (binds < level or negative) and not cases else inner

    def _print_Symbol(self, expr: Any) -> str:
        name, mark, _ = expr.name.partition("__of")
        plain = _identifier(name)
        return f"<msup>{plain}<mo>′</mo></msup>" if mark else plain

    def _print_Access(self, expr: Any) -> str:
        name = _identifier(expr.tensor)
        if not expr.indices:
            return name
        inner = "<mo>,</mo>".join(self._print(e) for e in expr.indices)
        return f"<msub>{name}{_row(inner)}</msub>"

    def _print_Integer(self, expr: Any) -> str:
        return f"<mn>{int(expr)}</mn>" if expr >= 0 else f"{_op('−')}<mn>{-int(expr)}</mn>"

    def _print_Rational(self, expr: Any) -> str:
        sign = _op("−") if expr.p < 0 else ""
        return f"{sign}<mfrac><mn>{abs(expr.p)}</mn><mn>{expr.q}</mn></mfrac>"

    def _print_Float(self, expr: Any) -> str:
        digits, _, exponent = f"{abs(float(expr)):.12g}".partition("e")
        power = f"<mo>·</mo><msup><mn>10</mn><mn>{int(exponent)}</mn></msup>" if exponent else ""
        return f"{_op('−') if expr < 0 else ''}<mn>{digits}</mn>{power}"

    def _print_Pi(self, expr: Any) -> str:
        return "<mi>π</mi>"

    def _print_BooleanTrue(self, expr: Any) -> str:
        return "<mtext>true</mtext>"

    def _print_BooleanFalse(self, expr: Any) -> str:
        return "<mtext>false</mtext>"

    def _print_Add(self, expr: sympy.Add) -> str:
        terms = sorted(expr.as_ordered_terms(), key=lambda t: t.could_extract_minus_sign())
        text = self._at_least(terms[0], precedence(expr))
        for term in terms[1:]:
            minus = bool(term.could_extract_minus_sign())
            shown = self._at_least(-term if minus else term, precedence(expr) + minus)
            text += _op("−" if minus else "+") + shown
        return text

    def _print_Mul(self, expr: sympy.Mul) -> str:
        if expr.could_extract_minus_sign():
            return _op("−") + self._at_least(-expr, _MUL)
        above, below = [], []
        for factor in expr.as_ordered_factors():
            if isinstance(factor, sympy.Rational) and not isinstance(factor, sympy.Integer):
                above += [sympy.Integer(factor.p)] if factor.p != 1 else []
                below.append(sympy.Integer(factor.q))
            elif isinstance(factor, sympy.Pow) and factor.exp.could_extract_minus_sign():
                below.append(factor.base**-factor.exp)
            else:
                above.append(factor)
        if not below:
            return self._product(above)
        fraction = f"{_row(self._product(above))}{_row(self._product(below))}"
        return f"<mfrac>{fraction}</mfrac>"

    def _product(self, factors: list[Any]) -> str:
        if not factors:
            return "<mn>1</mn>"
        if len(factors) == 1:
            return str(self._print(factors[0]))
        ordered = sorted(factors, key=lambda f: isinstance(f, (sympy.Sum, sympy.Piecewise)))
        return "<mo>⋅</mo>".join(self._at_least(f, _MUL) for f in ordered)

    def _print_Pow(self, expr: sympy.Pow) -> str:
        base, exponent = expr.as_base_exp()
        if expr.exp.could_extract_minus_sign():
            below = self._print(expr.base**-expr.exp)
            return f"<mfrac><mn>1</mn>{_row(below)}</mfrac>"
        if exponent == sympy.S.Half:
            return f"<msqrt>{self._print(base)}</msqrt>"
        shown = self._print(base) if not base.args or _is_access(base) else self._grouped(base)
        return f"<msup>{_row(shown)}{_row(self._print(exponent))}</msup>"

    def _grouped(self, expr: Any) -> str:
        return _fenced(self._print(expr))

    def _print_exp(self, expr: Any) -> str:
        return f"<msup><mi>e</mi>{_row(self._print(expr.args[0]))}</msup>"

    def _print_Abs(self, expr: Any) -> str:
        return _fenced(self._print(expr.args[0]), "|", "|")

    def _print_Function(self, expr: Any) -> str:
        name = _NAMES.get(type(expr).__name__, type(expr).__name__)
        inner = "<mo>,</mo>".join(self._print(a) for a in expr.args)
        return f"{_identifier(name)}<mo>&#x2061;</mo>{_fenced(inner)}"

    _print_Max = _print_Min = _print_LatticeOp = _print_Function

    def _print_Random(self, expr: Any) -> str:
        inner = "<mo>,</mo>".join(self._print(a) for a in expr.args)
        return f"<mi>uniform</mi>{_fenced(inner)}"

    def _print_FloorDiv(self, expr: Any) -> str:
        value, divisor = (_row(self._print(a)) for a in expr.args)
        return _fenced(f"<mfrac>{value}{divisor}</mfrac>", "⌊", "⌋")

    def _print_Remainder(self, expr: Any) -> str:
        value, divisor = (self._at_least(a, _MUL) for a in expr.args)
        return _fenced(f"{value}<mspace width='.3em'/><mi>mod</mi><mspace width='.3em'/>{divisor}")

    def _print_KroneckerDelta(self, expr: Any) -> str:
        inner = "<mo>,</mo>".join(self._print(a) for a in expr.args)
        return f"<msub><mi>δ</mi><mrow>{inner}</mrow></msub>"

    def _print_Sum(self, expr: sympy.Sum) -> str:
        signs = "".join(_sigma(index, low, high) for index, low, high in expr.limits)
        return signs + self._at_least(expr.function, _MUL)

    def _print_Piecewise(self, expr: sympy.Piecewise) -> str:
        rows = ""
        for value, condition in expr.args:
            asked = (
                "<mtext>otherwise</mtext>"
                if condition == sympy.true
                else f"<mtext>if&nbsp;</mtext>{self._print(condition)}"
            )
            rows += f"<mtr><mtd>{self._print(value)}</mtd><mtd>{asked}</mtd></mtr>"
        return f'<mrow><mo>{{</mo><mtable class="cases">{rows}</mtable></mrow>'

    def _print_Relational(self, expr: Any) -> str:
        sign = _RELATIONS[expr.rel_op]
        return f"{self._print(expr.lhs)}{_op(sign)}{self._print(expr.rhs)}"

    def _joined(self, expr: Any, word: str) -> str:
        parts = sorted(expr.args, key=expression)
        return f"<mtext>&nbsp;{word}&nbsp;</mtext>".join(
            self._grouped(p) if isinstance(p, (sympy.And, sympy.Or)) else self._print(p)
            for p in parts
        )

    def _print_And(self, expr: Any) -> str:
        return self._joined(expr, "and")

    def _print_Or(self, expr: Any) -> str:
        return self._joined(expr, "or")

    def _print_Not(self, expr: Any) -> str:
        return f"<mo>¬</mo>{self._grouped(expr.args[0])}"


def _is_access(expr: Any) -> bool:
    return type(expr).__name__ == "Access"


_printer = _MathPrinter()
