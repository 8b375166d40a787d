r"""A derivation as a LaTeX document that compiles by itself, and formulas for notebooks.

    Path("fc1_W.tex").write_text(gw.derive(mnist_mlp, wrt="fc1.W").latex())     # pdflatex fc1_W.tex

The document needs amsmath and graphicx alone. A formula wider than the page is scaled down to it:
long sums are not broken. Text is ASCII: what a user's line has beyond it becomes a question mark.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import sympy
from sympy.printing.latex import LatexPrinter

from compiler.explain import Explanation, Step
from gradwright.inspection.emitted import Emitted
from gradwright.inspection.text import (
    adjoint_costs,
    costs,
    count,
    emission,
    kernel_text,
    number_text,
    shape_text,
)
from ir.program import Definition

if TYPE_CHECKING:
    from compiler.derive import Derived

_HEAD = r"""\documentclass[10pt,a4paper]{article}
\usepackage{amsmath,graphicx}
\usepackage[margin=2cm]{geometry}
\setlength{\parindent}{0pt}
\newsavebox{\formula}
% A formula that is wider than the page is scaled to it.
\newcommand{\fitted}[1]{\par\smallskip\sbox{\formula}{$\displaystyle #1$}%
  \hspace*{1.5em}\ifdim\wd\formula>0.94\linewidth\resizebox{0.94\linewidth}{!}{\usebox{\formula}}%
  \else\usebox{\formula}\fi\par}
\begin{document}
"""
_ESCAPES = {
    **{c: f"\\{c}" for c in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
}


class _IndexPrinter(LatexPrinter):  # type: ignore[misc]
    """SymPy's LaTeX, with tensors upright, primes for open indices, and cases in words."""

    def _print_Symbol(self, expr: Any, style: str = "plain") -> str:
        name, mark, _ = expr.name.partition("__of")
        numbered = re.fullmatch(r"([a-z])_?(\d+)", name)
        shown = name if len(name) == 1 else rf"\mathit{{{escaped(name)}}}"
        shown = f"{numbered[1]}_{{{numbered[2]}}}" if numbered else shown
        return f"{shown}'" if mark else shown

    def _print_Access(self, expr: Any) -> str:
        inner = ",\\, ".join(self._print(e) for e in expr.indices)
        name = named(expr.tensor)
        return f"{name}_{{{inner}}}" if inner else name

    def _print_FloorDiv(self, expr: Any) -> str:
        value, divisor = map(self._print, expr.args)
        return rf"\left\lfloor \frac{{{value}}}{{{divisor}}} \right\rfloor"

    def _print_Remainder(self, expr: Any) -> str:
        value, divisor = map(self._print, expr.args)
        return rf"\left({value} \bmod {divisor}\right)"

    def _print_Random(self, expr: Any) -> str:
        inner = ",\\, ".join(map(self._print, expr.args))
        return rf"\mathrm{{uniform}}\left({inner}\right)"

    def _print_Float(self, expr: Any) -> str:
        digits, _, exponent = f"{float(expr):.12g}".partition("e")
        return rf"{digits} \cdot 10^{{{int(exponent)}}}" if exponent else digits


_printer = _IndexPrinter({"mul_symbol": "dot"})


def latex(expr: Any) -> str:
    """An expression in index notation, for math mode."""
    text: str = _printer.doprint(expr)
    return text


def named(name: str) -> str:
    """A tensor's name in math mode."""
    return rf"\mathrm{{{escaped(name)}}}"


def escaped(text: str) -> str:
    """Plain text for LaTeX: every special character escaped, ASCII alone."""
    plain = text.encode("ascii", "replace").decode()
    return "".join(_ESCAPES.get(c, c) for c in plain)


def line(d: Definition, adds: bool = False) -> str:
    """A definition as one formula."""
    sign = r"\mathrel{+}=" if adds or d.reduce == "scatter" else "="
    body = latex(d.body)
    if d.reduce in ("sum", "max", "argmax"):
        body = _reduction(d) + (
            rf"\left({body}\right)" if isinstance(d.body, sympy.Add) else f" {body}"
        )
    where = r",\; ".join(map(latex, d.where))
    return f"{latex(d.access())} {sign} {body}" + (
        rf"\qquad \text{{where }} {where}" if where else ""
    )


def _reduction(d: Definition) -> str:
    if d.reduce == "sum":
        return "".join(
            rf"\sum_{{{latex(r.index)}=0}}^{{{latex(sympy.sympify(r.size) - 1)}}}" for r in d.over
        )
    sign = r"\operatorname*{arg\,max}" if d.reduce == "argmax" else r"\max"
    limits = r",\, ".join(f"{latex(r.index)} < {latex(r.size)}" for r in d.over)
    return f"{sign}_{{{limits}}}"


def display(d: Derived) -> str:
    """The adjoint alone, as a notebook shows it."""
    left = f"{named('d_' + d.wrt)} = " if d.explanation is not None else ""
    return rf"$\displaystyle {left}{latex(d.expr)}$"


def document(d: Derived) -> str:
    """The derivation as a whole document."""
    return "\n".join([_HEAD.rstrip("\n"), *_body(d), r"\end{document}", ""])


def _body(d: Derived) -> Iterator[str]:
    if d.explanation is None:
        yield rf"\fitted{{{latex(d.expr)}}}"
        return
    yield rf"\section*{{$\partial\,{named(d.loss)} / \partial\,{named(d.wrt)}$}}"
    yield rf"The network {_code(d.network)}, by the chain rule from {_code(d.loss)} back to"
    yield rf"{_code(d.wrt)}, in {count(len(d.steps), 'step')}."
    found = emission(d.explanation)
    for number, step in enumerate(d.steps, 1):
        yield from _step(number, step, d.explanation)
        yield from _emitted(step, found)
    yield r"\subsection*{As it is emitted}"
    yield from (_fitted(line(x)) for x in d.lines)
    if d.is_written_out:
        yield r"\subsection*{Written out}"
        yield _fitted(f"{named('d_' + d.wrt)} = {latex(d.expr)}")
    if d.factors:
        yield r"\subsection*{As a product}"
        yield from (_factor(f.of, f.by, f.local, f.value) for f in d.factors)
        yield _fitted(rf"\text{{product}} = {d.value:.8f}")


def _factor(of: str, by: str, local: Any, value: float) -> str:
    slope = rf"\frac{{\partial\,{named(of)}}}{{\partial\,{named(by)}}}"
    return _fitted(f"{slope} = {latex(local)} = {value:.8f}")


def _code(text: str) -> str:
    return rf"\texttt{{{escaped(text)}}}"


def _fitted(formula: str) -> str:
    return rf"\fitted{{{formula}}}"


def _step(number: int, step: Step, e: Explanation) -> Iterator[str]:
    """One step: the line, its derivative, the deltas and what they came to, the adjoint."""
    yield rf"\subsection*{{{number}.\ {_code(step.consumer.name)} to {_code(step.of)}}}"
    if step.origin:
        yield rf"{{\small\raggedright {_code(step.origin)}\quad {_code(step.source)}\par}}"
    yield _fitted(line(step.consumer))
    yield _small(costs(shape_text(step, e), step.forward_flops))
    if step.why:
        yield _said(step.why)
    slope = rf"\frac{{\partial\,{named(step.consumer.name)}}}{{\partial\,{latex(step.access)}}}"
    yield _fitted(f"{slope} = {latex(step.raw)}")
    if step.because:
        yield _fitted(rf"\phantom{{{slope}}} = {latex(step.local)}")
        yield _said(step.because)
    if step.deltas:
        yield _fitted(_solution(step))
    yield _fitted(line(step.receives, adds=step.total is not None))
    if step.value is not None and step.gradient is not None:
        value, gradient = escaped(number_text(step.value)), escaped(number_text(step.gradient))
        yield rf"{{\small value {value}, gradient {gradient}}}"


def _emitted(step: Step, found: Emitted | None) -> Iterator[str]:
    """What the step came to: the sum of all steps to its tensor as it is emitted, and where."""
    if not step.emitted:
        yield _small(f"emitted: {step.instead}")
        return
    yield from (_fitted(line(d)) for d in step.emitted)
    yield _small(f"emitted: {adjoint_costs(step)}")
    if kernel := kernel_text(step, found):
        yield _small(f"kernel {kernel}")


def _small(text: str) -> str:
    return rf"{{\small {escaped(text)}\par}}"


def _said(text: str) -> str:
    return rf"{{\small\itshape {escaped(text)}\par}}"


def _solution(step: Step) -> str:
    """δ_{k',k} δ_{j',j}  ⇒  k = k',  j = j',  where what is kept holds."""
    deltas = r"\,".join(rf"\delta_{{{latex(a)},\,{latex(b)}}}" for a, b in step.deltas)
    solved = (
        r",\quad ".join(f"{latex(a)} = {latex(b)}" for a, b in step.solved) or r"\text{nothing}"
    )
    kept = r",\quad ".join(map(latex, step.conditions))
    where = rf"\qquad \text{{where }} {kept}" if kept else ""
    return rf"{deltas} \;\Rightarrow\; {solved}{where}"
