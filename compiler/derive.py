"""The derivation of a gradient, step by step, from the loss to a parameter.

    d = gw.derive(mnist_mlp, wrt="fc1.W")
    print(d.text())          # forward line, local derivative, deltas, their solution, adjoint
    d.expr                   # the adjoint as a SymPy expression over accesses
    gw.derive(w[p, q] * x[q]**2, wrt=x[k]).expr

Each step is one link of the chain rule, as `compiler/chain.py` made it: nothing here derives
anything. Where a network has no inputs, its values are known, and ride along.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, overload

import numpy as np
import sympy
from sympy import Expr, Symbol

from compiler.chain import Link
from compiler.closed_form import closed_form
from compiler.derivation_text import html_page, latex_lines, text_lines
from compiler.derivative import derivative
from compiler.evaluate import evaluate
from compiler.network import Network
from compiler.pipeline import stages
from ir.errors import DifferentiationError
from ir.program import Definition
from ir.text import equation, expression


@dataclass(frozen=True, slots=True)
class Step:
    """One link: the adjoint of `of` receives from the line `forward`.

    `local` is SymPy's derivative of the line by `access`; `deltas` are the Kronecker deltas as
    text, `solved` what each index came to, `conditions` what is kept, `adjoint` the contribution's
    equation. `value` and `gradient` are those of `of`, where they are known.
    """

    of: str
    forward: str
    origin: str
    access: Expr
    local: Expr
    deltas: tuple[str, ...]
    solved: tuple[str, ...]
    conditions: tuple[str, ...]
    adjoint: str
    definition: Definition | None
    value: Any = None
    gradient: Any = None
    local_value: Any = None


@dataclass(frozen=True, slots=True)
class Derivation:
    """The chain of steps from the loss to `wrt`; `expr` is the adjoint at the end.

    `expr` is in terms of inputs and parameters alone where that stays short, else in terms of the
    stored tensors and adjoints that the emitted code uses.
    """

    network: str
    loss: str
    wrt: str
    steps: tuple[Step, ...]
    final: tuple[str, ...]
    expr: Expr

    def text(self) -> str:
        """The derivation for a terminal."""
        return "\n".join(text_lines(self))

    def latex(self) -> str:
        r"""The derivation as the body of a LaTeX document (needs amsmath)."""
        return "\n".join(latex_lines(self))

    def html(self) -> str:
        """The derivation as one self-contained page."""
        return html_page(self)

    def _repr_latex_(self) -> str:
        return f"$\\displaystyle {sympy.latex(self.expr)}$"

    def __str__(self) -> str:
        return self.text()


@overload
def derive(what: Network, wrt: str) -> Derivation: ...
@overload
def derive(what: Expr, wrt: Expr) -> Derivation: ...
def derive(what: Network | Expr, wrt: Any) -> Derivation:
    """Derive a network's loss by a tensor's name, or a bare expression by a symbol or an access.

        gw.derive(mnist_mlp, wrt="fc1.W").text()
        gw.derive(gw.sum(x[i] * x[i], over=i), wrt=x[k]).expr          # 2*x[k]

    Raises DifferentiationError if there is no such tensor or the loss does not depend on it.
    """
    if isinstance(what, Network):
        return _of_network(what, wrt)
    found = derivative(sympy.sympify(what), wrt)
    return Derivation("", expression(what), expression(wrt), (), (expression(found),), found)


def _of_network(network: Network, wrt: str) -> Derivation:
    program = network.trace()
    if not isinstance(wrt, str):
        raise DifferentiationError(
            f"wrt must be the name of a tensor of {network.name}, got {wrt!r}",
            at=network.origin,
            notes=(f"it has {', '.join([*program.tensors(), *program.by_name()])}",),
        )
    *_, final = stages(program, wrt=(wrt,))
    adjoint = dict(final.program.gradients)[wrt]
    values = _values(network, wrt)
    steps = tuple(_step(link, values) for link in _chain(final.links, wrt))
    home = final.program.definition(adjoint)
    lines = tuple(
        equation(d) for d in final.program.definitions if d.name in (adjoint, f"{adjoint}_sum")
    )
    return Derivation(
        network.name, program.loss or "", wrt, steps, lines, closed_form(final.program, home)
    )


def _chain(links: tuple[Link, ...], wrt: str) -> list[Link]:
    """The links on a path from the loss to the tensor, in the order of the walk."""
    wanted = {wrt}
    kept: list[Link] = []
    for link in reversed(links):
        if link.of in wanted:
            kept.append(link)
            wanted.add(link.consumer.name)
    return kept[::-1]


def _values(network: Network, wrt: str) -> dict[str, Any]:
    """Every value and adjoint of a network without inputs, whose parameters are constants."""
    program = network.trace(dtype="float64")
    constant = all(
        p.init is not None and p.init.kind in ("constant", "zeros") for p in program.parameters
    )
    if program.inputs or not constant:
        return {}
    owned = {
        p.name: _constant(p.init.values if p.init else (), p.shape) for p in program.parameters
    }
    differentiated = next(
        s for s in stages(program, wrt=(wrt,)) if s.after == "differentiate"
    ).program
    return {**owned, **evaluate(differentiated, owned)}


def _constant(values: tuple[float, ...], shape: Any) -> Any:
    sizes = [int(s) for s in shape]
    flat = np.asarray(values or (0.0,), dtype=np.float64)
    return np.broadcast_to(
        flat.reshape(sizes) if flat.size == int(np.prod(sizes)) else flat[0], sizes
    )


def _step(link: Link, values: dict[str, Any]) -> Step:
    solution = link.solution
    solved = (
        ()
        if solution is None
        else tuple(
            f"{_plain(s)} = {expression(v.expr())}"
            for s, v in solution.values.items()
            if "__" not in str(s)
        )
    )
    conditions = () if solution is None else tuple(expression(c) for c in solution.conditions)
    adjoint = (
        equation(link.definition)
        if link.definition
        else f"d_{link.of} receives {expression(link.term)}"
    )
    return Step(
        of=link.of,
        forward=equation(link.consumer),
        origin=link.consumer.origin.short if link.consumer.origin else "",
        access=link.access,
        local=link.local,
        deltas=tuple(f"δ({_plain(d.output)}, {expression(d.index)})" for d in link.deltas),
        solved=tuple(_unmarked(s) for s in solved),
        conditions=tuple(_unmarked(c) for c in conditions),
        adjoint=_unmarked(adjoint),
        definition=link.definition,
        value=values.get(link.of),
        gradient=values.get(f"d_{link.of}"),
        local_value=_local_value(link, values),
    )


def _local_value(link: Link, values: dict[str, Any]) -> Any:
    """The number that a local derivative is, where every tensor in it is a known scalar."""
    accesses = link.local.atoms(type(link.access))
    if not values or any(np.ndim(values.get(a.tensor, [0])) for a in accesses):
        return None
    return float(link.local.xreplace({a: sympy.Float(float(values[a.tensor])) for a in accesses}))


def _plain(symbol: Symbol) -> str:
    return _unmarked(str(symbol))


def _unmarked(text: str) -> str:
    """An output index is written k' until the deltas are solved."""
    return text.replace("__of", "'")
