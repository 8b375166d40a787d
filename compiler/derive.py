"""The derivation of a gradient, step by step, from the loss to any tensor of a network.

    d = derive(mnist_mlp, wrt="fc1.W")
    d.steps                  # forward line, local derivative, deltas, their solution, adjoint
    d.expr                   # the adjoint as a SymPy expression over accesses
    derive(w[p, q] * x[q]**2, wrt=x[k]).expr

This is the derivation as data; its forms (text, LaTeX, a page) are in `gradwright/inspection`.
A network's `wrt` is the name of a parameter, an input or an intermediate, or one element of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sympy import Expr

from compiler.closed_form import as_expression, closed_form
from compiler.derivative import derivative
from compiler.explain import Explanation, Step, checked_name, explain
from compiler.known_values import Factor, element_value, single_path
from compiler.network import Network
from compiler.tensor import expression as given
from ir.program import Definition
from ir.text import equation, expression


@dataclass(frozen=True, slots=True)
class Derived:
    """The chain of steps from the loss to `wrt`; `expr` is the adjoint at the end.

    `expr` is in terms of inputs and parameters alone where that stays short, else in terms of the
    stored tensors and adjoints that the emitted code uses. `lines` are the last adjoint as it is
    emitted, `final` the same as text. Where the network's values are known, `value` is the
    gradient's (of the element, if `wrt` names one), and `factors` are those of the one path to it.
    """

    network: str
    loss: str
    wrt: str
    steps: tuple[Step, ...]
    lines: tuple[Definition, ...]
    final: tuple[str, ...]
    expr: Expr
    value: Any = None
    factors: tuple[Factor, ...] = ()
    explanation: Explanation | None = None

    @property
    def is_written_out(self) -> bool:
        """Whether `expr` says more than the emitted lines do."""
        return not self.lines or self.expr not in (
            self.lines[-1].body,
            as_expression(self.lines[-1]),
        )


def derived(
    what: Network | Expr,
    wrt: Any,
    *,
    batch: int = 128,
    values: Mapping[str, Any] | None = None,
) -> Derived:
    """Derive a network's loss by a tensor's name, or a bare expression by a symbol or an access.

        derived(mnist_mlp, wrt="fc1.W").steps
        derived(gw.sum(x[i] * x[i], over=i), wrt=x[k]).expr          # 2*x[k]

    Raises DifferentiationError if there is no such tensor or the loss does not depend on it.
    """
    if isinstance(what, Network):
        return _of_network(what, wrt, batch, values)
    body = given(what, "derive")  # a string is refused: SymPy would run it
    found = derivative(body, wrt)
    return Derived("", expression(body), expression(wrt), (), (), (expression(found),), found)


def _of_network(
    network: Network, wrt: str, batch: int, values: Mapping[str, Any] | None
) -> Derived:
    name, element = checked_name(network, wrt)
    e = explain(network, (name,), batch=batch, values=values)
    adjoint = dict(e.final.gradients)[name]
    found = e.final.by_name()
    lines = tuple(found[n] for n in (f"{adjoint}_sum", adjoint) if n in found)
    whole = not element and bool(e.stable.shape_of(name))
    return Derived(
        network=network.name,
        loss=e.final.loss or "",
        wrt=str(wrt).strip(),
        steps=tuple(e.steps[position] for position in e.chain(name)),
        lines=lines,
        final=tuple(equation(d) for d in lines),
        expr=closed_form(e.final, found[adjoint]),
        value=e.values.get(adjoint) if whole else element_value(e.values, adjoint, element),
        factors=() if whole else single_path(e, name, element),
        explanation=e,
    )
