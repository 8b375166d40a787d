"""The forms of a derivation: terminal text, LaTeX, and one self-contained page.

Every name in a program has passed the allow-list of ir/names.py; pages are escaped all the same.
"""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

import numpy as np
import sympy

from ir.program import Definition
from ir.text import expression

if TYPE_CHECKING:
    from compiler.derive import Derivation, Step


def text_lines(d: Derivation) -> list[str]:
    """A step a paragraph, then the adjoint as it is emitted, then its closed form."""
    if not d.steps:
        return [f"∂/∂{d.wrt} of {d.loss}", f"  = {expression(d.expr)}"]
    lines = [
        f"∂{d.loss}/∂{d.wrt}   in {d.network}, by the chain rule from {d.loss} back to {d.wrt}",
        "",
    ]
    for number, step in enumerate(d.steps, 1):
        lines += [*_step_lines(number, step), ""]
    lines.append("simplified, as it is emitted")
    lines += [f"    {line}" for line in d.final]
    lines += ["written out", f"    d_{d.wrt} = {expression(d.expr)}"]
    return lines


def _step_lines(number: int, step: Step) -> list[str]:
    name = step.forward.split(" = ", 1)[0].split("[", 1)[0]
    local = f"∂{name}/∂{expression(step.access)} = {expression(step.local)}"
    if step.local_value is not None:
        local += f" = {step.local_value:.6g}"
    lines = [
        f"{number}. {step.forward}" + (f"     {step.origin}" if step.origin else ""),
        f"   {local}",
    ]
    if step.deltas:
        solved = ", ".join(step.solved) or "nothing to eliminate"
        lines.append(f"   {' '.join(step.deltas)}   gives   {solved}")
    if step.conditions:
        lines.append(f"   where {' and '.join(step.conditions)}")
    lines.append(f"   {step.adjoint}")
    known = [
        f"{label} {_number(v)}"
        for label, v in (("value", step.value), ("gradient", step.gradient))
        if v is not None
    ]
    return lines + ([f"   {step.of}: {', '.join(known)}"] if known else [])


def _number(value: Any) -> str:
    return np.array2string(np.asarray(value), precision=6, separator=", ").replace("\n", " ")


def latex_lines(d: Derivation) -> list[str]:
    """One aligned equation a step."""
    lines = []
    for step in d.steps:
        name = step.forward.split(" = ", 1)[0].split("[", 1)[0]
        slope = rf"\frac{{\partial {_name(name)}}}{{\partial {sympy.latex(step.access)}}}"
        lines += [r"\begin{align*}", rf"{slope} &= {sympy.latex(step.local)} \\"]
        if step.definition is not None:
            lines.append(rf"{_equation(step.definition)} \\")
        lines.append(r"\end{align*}")
    return [
        *lines,
        r"\begin{align*}",
        rf"{_name('d_' + d.wrt)} &= {sympy.latex(d.expr)}",
        r"\end{align*}",
    ]


def _name(name: str) -> str:
    escaped = name.replace("_", r"\_")
    return rf"\mathrm{{{escaped}}}"


def _equation(d: Definition) -> str:
    sums = "".join(
        rf"\sum_{{{r.index}=0}}^{{{sympy.latex(sympy.sympify(r.size) - 1)}}}" for r in d.over
    )
    return rf"{sympy.latex(d.access())} &= {sums} {sympy.latex(d.body)}"


def html_page(d: Derivation) -> str:
    """A page without scripts or outside resources."""
    title = html.escape(f"∂{d.loss}/∂{d.wrt}")
    sections = "\n".join(
        f"<section><h2>{html.escape(step.forward)}</h2><pre>"
        + html.escape("\n".join(_step_lines(number, step)[1:]))
        + "</pre></section>"
        for number, step in enumerate(d.steps, 1)
    )
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        "<style>body{font:16px/1.5 system-ui;max-width:60rem;margin:2rem auto;padding:0 1rem}"
        "pre{overflow-x:auto;padding:.75rem;background:#8881}"
        "h2{font:600 1rem/1.4 ui-monospace,monospace}"
        ":root{color-scheme:light dark}</style></head><body>"
        f"<h1>{title}</h1>\n{sections}\n<section><h2>in the end</h2><pre>"
        + html.escape("\n".join([*d.final, "", f"= {expression(d.expr)}"]))
        + "</pre></section></body></html>\n"
    )
