"""A network's backward pass with everything that led to it, step by step.

    e = explain(mnist_mlp)                       # or explain(network, ("fc1.W", "x"))
    e.steps[4].forward, e.steps[4].local, e.steps[4].emitted

A step is one link of the chain rule, as `compiler/chain.py` made it: nothing here derives anything.
`lowered`, `stable`, `open` and `final` are the program as the user wrote it, made safe, with
its adjoints while they are long, and simplified as it is emitted. It knows nothing of kernels:
`gradwright/inspection/emitted.py` does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import sympy
from sympy import Expr, Symbol

from compiler.chain import Link
from compiler.count import flops
from compiler.known_values import known_values, local_value
from compiler.local_derivative import real_slope
from compiler.network import Network
from compiler.pipeline import stages
from ir.errors import DifferentiationError
from ir.expression import Access, accesses, value_accesses
from ir.program import Definition, Program
from ir.text import equation, expression, shape


@dataclass(frozen=True, slots=True)
class Step:
    """One link: the adjoint of `of` receives from the line `consumer`.

    `forward` and `written` are the line as it is differentiated and as the user wrote it, `why`
    says why they differ. `raw` is SymPy's derivative of the line by `access`, `local` what is used,
    `because` why that differs. `deltas` are the Kronecker deltas, `solved` what each index came to,
    `conditions` what is kept (an output index is marked: see `unmarked`). `receives` is the
    contribution, `total` the sum of all contributions where there are several, `emitted` the
    simplified adjoint, `instead` what is read where that is nothing. `value`, `gradient` and
    `local_value` are known only where the network's values are.
    """

    of: str
    consumer: Definition
    forward: str
    written: str
    why: str
    origin: str
    source: str
    access: Access
    raw: Expr
    local: Expr
    because: str
    deltas: tuple[tuple[Symbol, Expr], ...]
    solved: tuple[tuple[Symbol, Expr], ...]
    conditions: tuple[Any, ...]
    receives: Definition
    total: Definition | None
    emitted: tuple[Definition, ...]
    instead: str
    shape: str
    forward_flops: int
    adjoint_flops: int
    value: Any = None
    gradient: Any = None
    local_value: float | None = None

    @property
    def adjoint(self) -> str:
        """The contribution as one line of index notation."""
        return equation(self.receives)


@dataclass(frozen=True, slots=True)
class Explanation:
    """The programs of a network on their way, the links of the chain, and a step for each."""

    network: Network
    batch: int
    lowered: Program
    stable: Program
    open: Program
    final: Program
    links: tuple[Link, ...]
    steps: tuple[Step, ...]
    values: Mapping[str, Any]

    def chain(self, wrt: str) -> list[int]:
        """The positions of the steps on a path from the loss to the tensor, in their order."""
        wanted, kept = {wrt}, []
        for position in reversed(range(len(self.links))):
            if self.links[position].of in wanted:
                kept.append(position)
                wanted.add(self.links[position].consumer.name)
        return kept[::-1]

    def adjoint_of(self, name: str) -> Definition | None:
        """The adjoint of a tensor while it is long; None where nothing needs it."""
        found = _adjoint_name(name, self.stable, self.open)
        return self.open.by_name().get(found) if found else None

    def emitted(self, name: str) -> tuple[Definition, ...]:
        """The simplified adjoint of a tensor, and the sums taken out of it."""
        adjoint = self.adjoint_of(name)
        return _emitted(adjoint, self.final) if adjoint else ()

    def flops(self, definitions: Iterable[Definition]) -> int:
        """Operations of some definitions, at the largest batch."""
        return sum(flops(d, self.final) for d in definitions)


def explain(
    network: Network,
    wrt: tuple[str, ...] | None = None,
    *,
    batch: int = 128,
    values: Mapping[str, Any] | None = None,
) -> Explanation:
    """Explain the gradient by each tensor of `wrt`; by default, by each parameter that trains.

    `values` gives inputs and parameters by name; where they are known (or constant), every step
    carries the numbers. Raises DifferentiationError as `compiler/differentiate.py` does.
    """
    program = network.trace(batch=batch)
    by_pass = {s.after: s for s in stages(program, wrt=wrt)}
    lowered, stable = by_pass["lower"].program, by_pass["stabilise"].program
    differentiated, final = by_pass["differentiate"], by_pass["update"].program
    known = known_values(network, wrt, values or {})
    made = Explanation(
        network,
        batch,
        lowered,
        stable,
        differentiated.program,
        final,
        differentiated.links,
        (),
        known,
    )
    return replace(made, steps=tuple(_step(link, made) for link in made.links))


def _step(link: Link, e: Explanation) -> Step:
    d, solution = link.consumer, link.solution
    solved = () if solution is None else solution.values.items()
    adjoint, of_adjoint = e.adjoint_of(link.of), _adjoint_name(link.of, e.stable, e.open)
    emitted = e.emitted(link.of)
    raw = _raw(link)
    return Step(
        of=link.of,
        consumer=d,
        forward=equation(d),
        written=written(d, e),
        why=why_stable(d, e),
        origin=d.origin.short if d.origin else "",
        source=d.origin.text if d.origin else "",
        access=link.access,
        raw=raw,
        local=link.local,
        because=_because(link, raw),
        deltas=tuple((x.output, x.index) for x in link.deltas),
        solved=tuple((s, v.expr()) for s, v in solved if "__" not in str(s)),
        conditions=() if solution is None else tuple(solution.conditions),
        receives=_receives(link, adjoint, of_adjoint or f"d_{link.of}"),
        total=adjoint if _links_of(link.of, e.links) > 1 else None,
        emitted=emitted,
        instead="" if emitted else _instead(adjoint),
        shape=shape(e.stable.shape_of(link.of)),
        forward_flops=e.flops([d]),
        adjoint_flops=e.flops(emitted),
        value=e.values.get(link.of),
        gradient=e.values.get(of_adjoint) if of_adjoint else None,
        local_value=local_value(link, e.values),
    )


def _links_of(name: str, links: tuple[Link, ...]) -> int:
    return sum(link.of == name for link in links)


def _raw(link: Link) -> Expr:
    """SymPy's derivative of the line by the access, before anything is made of it."""
    read = [a for a in value_accesses(link.consumer.body) if not a.is_integer]
    stand_in = {a: sympy.Dummy(real=True) for a in read}
    if link.access not in stand_in:
        return link.local
    plain = link.consumer.body.xreplace(stand_in)
    slope = real_slope(plain, stand_in[link.access])
    return slope.xreplace({symbol: access for access, symbol in stand_in.items()})


def _because(link: Link, raw: Expr) -> str:
    """Why the local derivative is not written as SymPy gives it."""
    if raw == link.local:
        return ""
    if any(a.tensor == link.consumer.name for a in accesses(link.local)):
        return f"through {link.consumer.name}, which is stored already: nothing is computed twice"
    return "the same value, written so that no factor overflows"


def written(d: Definition, e: Explanation) -> str:
    """The line as the user wrote it, where it was made safe since."""
    before = e.lowered.by_name().get(d.name)
    return equation(before) if before is not None and before.body != d.body else ""


def why_stable(d: Definition, e: Explanation) -> str:
    """Why a line is not as the user wrote it, or where a line that nobody wrote comes from."""
    before = e.lowered.by_name().get(d.name)
    if before is None:
        return d.note
    if before.body == d.body:
        return ""
    if d.note and d.note != before.note:
        return f"{d.note}: the largest exponent is taken out, so that no exponential overflows"
    return "the same value, written so that nothing overflows and nothing cancels"


def _receives(link: Link, adjoint: Definition | None, name: str) -> Definition:
    """The contribution as a definition: the link's own, or its term at the adjoint's indices."""
    if link.definition is not None:
        return link.definition
    home = adjoint or link.consumer
    return Definition(name, link.consumer.dtype, home.indices, link.term, origin=home.origin)


def _adjoint_name(name: str, stable: Program, whole: Program) -> str | None:
    """The name of a tensor's adjoint: `d_NAME`, with a number where the user took that name."""
    old, new = stable.by_name(), whole.by_name()
    if f"d_{name}" in new and f"d_{name}" not in old:
        return f"d_{name}"
    numbered = re.compile(rf"d_{re.escape(name)}_\d+")
    return next((n for n in new if n not in old and numbered.fullmatch(n)), None)


def _emitted(adjoint: Definition, final: Program) -> tuple[Definition, ...]:
    """What became of an adjoint: itself simplified, or what its readers read in its place."""
    found = final.by_name()
    if adjoint.name in found:
        sums = (f"{adjoint.name}_sum",) if f"{adjoint.name}_sum" in found else ()
        return tuple(found[n] for n in (*sums, adjoint.name))
    return ()


def _instead(adjoint: Definition | None) -> str:
    """Why an adjoint is not emitted: it only copies, or what reads it took it in."""
    if adjoint is not None and (isinstance(adjoint.body, Access) or adjoint.body.is_number):
        return f"nothing: a copy, its readers read {expression(adjoint.body)}"
    return "nothing of its own: another line says the same"


def unmarked(text: Any) -> str:
    """An output index is written k' until the deltas are solved."""
    shown = text if isinstance(text, str) else expression(text)
    return shown.replace("__of", "'")


def checked_name(network: Network, wrt: object) -> tuple[str, tuple[int, ...]]:
    """`fc1.W` or `fc1.W[0, 3]` as a name and an element; DifferentiationError for anything else."""
    program = network.trace()
    every = [*program.tensors(), *program.by_name()]
    told = (f"it has {', '.join(every)}",)
    found = re.fullmatch(r"([^\[\]]+)(?:\[\s*(\d+(?:\s*,\s*\d+)*)\s*\])?", str(wrt).strip())
    if not isinstance(wrt, str) or found is None:
        raise DifferentiationError(
            f"wrt must be the name of a tensor of {network.name}, got {wrt!r}",
            at=network.origin,
            notes=told,
        )
    name, element = found[1].strip(), tuple(int(i) for i in (found[2] or "").split(",") if i)
    if name not in every:
        raise DifferentiationError(
            f"{network.name} has no tensor {name!r}", at=network.origin, notes=told
        )
    if program.dtype_of(name).startswith("int"):
        raise DifferentiationError(
            f"{name} holds integers: nothing is differentiated by them", at=network.origin
        )
    sizes = program.shape_of(name)
    fits = len(element) == len(sizes) and all(
        not isinstance(s, int) or i < s for i, s in zip(element, sizes, strict=True)
    )
    if element and not fits:
        raise DifferentiationError(
            f"{name} has no element {list(element)}: its shape is {shape(sizes)}",
            at=network.origin,
        )
    return name, element
