"""A derivation as users hold it: its steps as data, and the forms to look at.

    d = gw.derive(mnist_mlp, wrt="fc1.W")
    print(d.text())                  # a line a step; d.text(full=True) for everything
    Path("fc1_W.html").write_text(d.html())

What a form needs is imported when it is asked for, so that `import gradwright` stays quick.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, overload

from sympy import Expr

from compiler.derive import Derived, derived
from compiler.network import Network


@dataclass(frozen=True, slots=True)
class Derivation(Derived):
    """The chain of steps from a loss to one of its tensors: `steps`, `expr`, and their forms.

        d = gw.derive(mnist_mlp, wrt="fc1.W")
        d.steps[0].local, d.expr, d.text(full=True), d.latex(), d.html()

    In a notebook it shows itself as mathematics.
    """

    def text(self, full: bool = False) -> str:
        """The derivation for a terminal of 100 columns: a line a step, or everything."""
        from gradwright.inspection.text import derivation_text

        return derivation_text(self, full)

    def latex(self) -> str:
        """The derivation as a LaTeX document that compiles by itself."""
        from gradwright.inspection.latex import document

        return document(self)

    def html(self) -> str:
        """The derivation as one self-contained page, which needs no network."""
        from gradwright.inspection.page import derivation_page

        return derivation_page(self)

    def _repr_latex_(self) -> str:
        from gradwright.inspection.latex import display

        return display(self)

    def _repr_html_(self) -> str:
        from gradwright.inspection.page import fragment

        return fragment(self)

    def __str__(self) -> str:
        return self.text()


@overload
def derive(
    what: Network, wrt: str, *, batch: int = ..., values: Mapping[str, Any] | None = ...
) -> Derivation: ...
@overload
def derive(what: Expr, wrt: Expr) -> Derivation: ...
def derive(
    what: Network | Expr,
    wrt: Any,
    *,
    batch: int = 128,
    values: Mapping[str, Any] | None = None,
) -> Derivation:
    """Derive a network's loss by one of its tensors, or a bare expression by a symbol or an access.

        gw.derive(mnist_mlp, wrt="fc1.W").text()
        gw.derive(neuron, wrt="hidden.W[0, 0]", values={"x": x, "y": y, **params}).text()
        gw.derive(gw.sum(x[i] * x[i], over=i), wrt=x[k]).expr          # 2*x[k]

    `wrt` names a parameter, an input or an intermediate, or one element of it. With `values` (of
    every input and parameter, by name), numbers ride along. `batch` is what operations are counted
    for. Raises DifferentiationError if there is no such tensor or the loss does not depend on it.
    """
    found = derived(what, wrt, batch=batch, values=values)
    return Derivation(**{f.name: getattr(found, f.name) for f in fields(Derived)})
