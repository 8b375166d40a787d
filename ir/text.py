"""The text form of the IR: stable, and pleasant to read.

    fc1[n, j] = fc1_sum[n, j] + fc1.b[j]                                     # mnist_mlp.py:12
    fc1_sum[n, j] = sum over k < 784 of x[n, k]*fc1.W[k, j]

`equation` is one definition, as emitted comments quote it; `show` is a whole program.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import sympy
from sympy.printing.precedence import PRECEDENCE
from sympy.printing.str import StrPrinter

from ir.program import Definition, Program, Range, Shape


class PlainPrinter(StrPrinter):  # type: ignore[misc]
    """SymPy's text form; the order of a sum's terms is worked out once, however often it is met."""

    def _as_ordered_terms(self, expr: sympy.Add, order: str | None = None) -> list[Any]:
        if order or self.order:
            return list(super()._as_ordered_terms(expr, order))
        return list(_terms(expr))


@lru_cache(maxsize=65536)
def _terms(expr: sympy.Add) -> tuple[Any, ...]:
    return tuple(expr.as_ordered_terms())


class _Printer(PlainPrinter):
    """SymPy's text form, with choices written as `a if c else b` and exact short numbers."""

    def _print_Piecewise(self, expr: sympy.Piecewise) -> str:
        *first, (last, _) = expr.args
        cases = [f"{self._print(value)} if {self._print(c)} else " for value, c in first]
        return f"({''.join(cases)}{self._print(last)})"

    def _print_Add(self, expr: sympy.Add, order: str | None = None) -> str:
        """Terms as SymPy orders them, those without a minus sign first: `W - lr*d_W`."""
        terms = self._as_ordered_terms(expr, order=order)
        terms.sort(key=lambda t: bool(t.could_extract_minus_sign()))
        text = str(self.parenthesize(terms[0], PRECEDENCE["Add"]))
        for term in terms[1:]:
            if term.could_extract_minus_sign():
                text += f" - {self.parenthesize(-term, PRECEDENCE['Mul'], strict=True)}"
            else:
                text += f" + {self.parenthesize(term, PRECEDENCE['Add'])}"
        return text

    def _print_Float(self, expr: sympy.Float) -> str:
        return repr(float(expr))

    def _print_Relational(self, expr: Any) -> str:
        operator = {"Equality": "==", "Unequality": "!="}.get(type(expr).__name__, expr.rel_op)
        return f"{self._print(expr.lhs)} {operator} {self._print(expr.rhs)}"

    def _print_And(self, expr: sympy.And) -> str:
        return " and ".join(sorted(self._nested(a) for a in expr.args))

    def _print_Or(self, expr: sympy.Or) -> str:
        return " or ".join(sorted(self._nested(a) for a in expr.args))

    def _nested(self, part: Any) -> str:
        text = self._print(part)
        return f"({text})" if isinstance(part, (sympy.And, sympy.Or)) else text


_printer = _Printer()


@lru_cache(maxsize=65536)
def expression(expr: Any) -> str:
    """A body, a condition or an index expression as text."""
    text: str = _printer.doprint(expr)
    return text


def _ranges(ranges: tuple[Range, ...]) -> str:
    return ", ".join(f"{r.index} < {r.size}" for r in ranges)


def equation(definition: Definition) -> str:
    """`y[n, j] = sum over k < 784 of x[n, k]*W[k, j]`: one definition on one line."""
    left = expression(definition.access())
    body = expression(definition.body)
    where = " and ".join(expression(c) for c in definition.where)
    where = f" where {where}" if where else ""
    if definition.reduce == "scatter":
        return f"{left} += {body} over {_ranges(definition.indices)}{where}"
    if definition.reduce is None:
        return f"{left} = {body}"
    return f"{left} = {definition.reduce} over {_ranges(definition.over)}{where} of {body}"


def shape(sizes: Shape) -> str:
    """`[batch, 784]`."""
    return f"[{', '.join(str(s) for s in sizes)}]"


def show(program: Program) -> str:
    """The whole program: what it owns, its definitions with their ranges, what it returns."""
    lines = [f"program {program.name}"]
    for tensor in (*program.inputs, *program.parameters, *program.state):
        lines.append(f"  {tensor.role:<9} {tensor.name}: {tensor.dtype}{shape(tensor.shape)}")
    lines += [f"  scalar    {t.name} = {value!r}" for t, value in program.scalars]
    lines.append("")
    for definition in program.definitions:
        lines.extend(_definition_lines(definition))
    lines.append("")
    lines += [f"  output    {public} = {name}" for public, name in program.outputs]
    if program.loss:
        lines.append(f"  loss      {program.loss}")
    lines += [f"  gradient  {of} = {name}" for of, name in program.gradients]
    lines += [f"  update    {of} = {name}" for of, name in program.updates]
    return "\n".join(lines) + "\n"


def _definition_lines(definition: Definition) -> list[str]:
    ranges = f"for {_ranges(definition.indices)}" if definition.indices else ""
    notes = [ranges, definition.note, definition.origin.short if definition.origin else ""]
    if definition.scan:
        way = "downwards" if definition.scan.downwards else "upwards"
        notes.insert(1, f"recurrence {definition.scan.group} along {definition.scan.index}, {way}")
    if definition.detached:
        notes.insert(1, "constant under differentiation")
    comment = "; ".join(n for n in notes if n)
    return [f"  {equation(definition)}", f"      # {comment}" if comment else "      #"]
