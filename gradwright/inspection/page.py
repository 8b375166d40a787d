"""One self-contained HTML page: a network, its gradient step by step, its kernels, its compilation.

    Path("mnist_mlp.html").write_text(network_page(mnist_mlp))       # every parameter
    Path("fc1_W.html").write_text(gw.derive(mnist_mlp, wrt="fc1.W").html())      # one chain

The page needs no network and no font of its own; without scripts everything is there, and links
work. This file decides what the page says, as the flat data of `views.py`; `templates/` decides
how it looks. Every string is escaped by the templates, except the mathematics, which `mathml.py`
escapes. Long C kernels are shown up to a number of lines, with the place where they go on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from textwrap import dedent
from typing import TYPE_CHECKING

from markupsafe import Markup
from sympy import Expr

from compiler.explain import Explanation, Step, explain, why_stable, written
from compiler.network import Network
from compiler.optimizers import Optimizer
from compiler.report import Report, report
from gradwright.inspection import mathml
from gradwright.inspection.emitted import Emitted, EmittedKernel, Place, emitted
from gradwright.inspection.graph import anchor, graph
from gradwright.inspection.memory_picture import memory_picture
from gradwright.inspection.rendering import render
from gradwright.inspection.report_text import HEADINGS, report_rows, saving_text
from gradwright.inspection.text import count, number_text
from gradwright.inspection.views import (
    CodeView,
    KernelView,
    PageView,
    ReportView,
    StepView,
    TensorView,
)
from ir.program import Definition
from ir.text import shape

if TYPE_CHECKING:
    from compiler.derive import Derived

_LONGEST_CODE = 40


def network_page(network: Network, *, batch: int = 128, optimizer: Optimizer | None = None) -> str:
    """The page of a whole network: the chain of every parameter that trains."""
    e = explain(network, batch=batch)
    of = f"the gradient of {e.final.loss}" if e.links else "forward lines"
    title = f"{network.name}: {of}"
    return render("page.html.jinja", _view(e, title, _order(e), (), (), batch, optimizer))


def derivation_page(d: Derived) -> str:
    """The page of one derivation: the chain from the loss to one tensor."""
    e = d.explanation
    title = f"∂{d.loss}/∂{d.wrt}"
    if e is None:
        result = (_math(mathml.markup(d.expr)),)
        empty = PageView(title, "", True, result, (), None, (), (), None, _json({}))
        return render("page.html.jinja", empty)
    on_chain = {s.of for s in d.steps} | {s.consumer.name for s in d.steps} | {d.loss}
    order = [n for n in _order(e) if n in on_chain]
    return render("page.html.jinja", _view(e, title, order, _result(d), _factors(d), e.batch, None))


def report_page(r: Report) -> str:
    """The page of what the compiler did: the passes in figures, and the memory plan."""
    title = f"{r.network}: what the compiler did"
    summary = f"one step of {count(r.batch, 'row')}"
    view = PageView(title, summary, True, (), (), None, (), (), _report_view(r), _json({}))
    return render("page.html.jinja", view)


def network_picture(e: Explanation) -> str:
    """The network as an SVG file."""
    return render("picture.svg.jinja", {"graph": graph(e)})


def memory_plan_picture(r: Report) -> str:
    """The memory plan as an SVG file."""
    return render("picture.svg.jinja", {"graph": None, "memory": memory_picture(r.memory)})


def fragment(d: Derived) -> str:
    """The derivation for a notebook: the adjoint, and a line a step. No script, no addresses."""
    shown = mathml.displayed
    lines = _result_lines(d, shown) if d.explanation else [shown(mathml.markup(d.expr))]
    rows = [(s.origin, mathml.line(s.receives, bool(s.total), shown)) for s in d.steps]
    view = {
        "title": f"∂{d.loss}/∂{d.wrt}",
        "result": [Markup(line) for line in lines],
        "rows": [(origin, Markup(line)) for origin, line in rows],
    }
    return render("fragment.html.jinja", view)


def _result(d: Derived) -> tuple[Markup, ...]:
    return tuple(map(Markup, _result_lines(d, mathml.math)))


def _result_lines(d: Derived, formula: Callable[[str], str]) -> list[str]:
    lines = [mathml.line(x, formula=formula) for x in d.lines]
    if d.is_written_out:
        lines.append(formula(_equals(f"<mi>d_{Markup.escape(d.wrt)}</mi>", d.expr)))
    return lines


def _factors(d: Derived) -> tuple[tuple[Markup, str], ...]:
    rows = [
        (_math(_equals(mathml.partial_markup(f.of, f.by), f.local)), f"{f.value:.8f}")
        for f in d.factors
        if f.local != 1 or "[" not in f.by
    ]
    return (*rows, (Markup("product"), f"{d.value:.8f}")) if rows else ()


def _equals(left: str, right: Expr) -> str:
    return f"{left}<mo>=</mo>{mathml.markup(right)}"


def _view(
    e: Explanation,
    title: str,
    order: list[str],
    result: tuple[Markup, ...],
    factors: tuple[tuple[Markup, str], ...],
    batch: int,
    optimizer: Optimizer | None,
) -> PageView:
    found = emitted(e.network, batch=batch, optimizer=optimizer)
    picture = graph(e)
    tensors = tuple(_tensor(e, name, found) for name in order)
    shown = {link for t in tensors for _, link, _ in t.kernels}
    kernels = [k for k in found.kernels if _kernel_anchor(k) in shown] if found else []
    return PageView(
        title=title,
        summary=_summary(e, found),
        across=picture.width > 1.6 * picture.height,
        result=result,
        factors=factors,
        graph=picture,
        tensors=tensors,
        kernels=tuple(map(_kernel, kernels)),
        report=_report_view(report(e.network, batch=batch, optimizer=optimizer)),
        chain=_json(_consumers(e)),
    )


def _summary(e: Explanation, found: Emitted | None) -> str:
    parts = [
        count(len(e.stable.definitions), "forward line"),
        count(len(e.steps), "step") + " of the chain rule",
    ]
    parts += [count(len(found.kernels), "kernel")] if found else []
    rows = f", {e.batch} rows" if e.stable.batch else ""
    return f"{e.network.name}{rows}: {', '.join(parts)}"


def _order(e: Explanation) -> list[str]:
    """Every tensor from the loss back: each line, then what of its reading is the caller's."""
    found: dict[str, None] = {}
    for d in reversed(e.stable.definitions):
        found.setdefault(d.name)
        found.update(dict.fromkeys(n for n in d.reads() if n in e.stable.tensors()))
    return list(found)


def _consumers(e: Explanation) -> dict[str, list[str]]:
    chain: dict[str, list[str]] = {}
    for link in e.links:
        readers = chain.setdefault(link.of, [])
        readers += [link.consumer.name] if link.consumer.name not in readers else []
    return chain


def _json(value: object) -> Markup:
    return Markup(json.dumps(value, separators=(",", ":")).replace("<", "\\u003c"))


def _math(markup: str) -> Markup:
    return Markup(mathml.math(markup))


def _line(d: Definition, adds: bool = False) -> Markup:
    return Markup(mathml.line(d, adds))


def _list(markups: list[str]) -> Markup:
    return _math(mathml.listed(markups)) if markups else Markup("")


def _tensor(e: Explanation, name: str, found: Emitted | None) -> TensorView:
    line, tensor = e.stable.by_name().get(name), e.stable.tensors().get(name)
    steps = [(n, s) for n, s in enumerate(e.steps, 1) if s.of == name]
    first = steps[0][1] if steps else None
    backward = e.emitted(name)
    origin = line.origin if line else tensor.origin if tensor else None
    return TensorView(
        anchor=anchor(name),
        name=name,
        role=tensor.role if tensor else "loss" if name == e.stable.loss else "line",
        shape=f"{e.stable.dtype_of(name)}{shape(e.stable.shape_of(name))}",
        origin=origin.short if origin else "",
        source=origin.text if origin else "",
        forward=_line(line) if line else Markup(""),
        forward_cost=count(e.flops([line]), "operation") if line else "",
        written=written(line, e) if line else "",
        why=why_stable(line, e) if line else "",
        backward=tuple(_line(d) for d in backward),
        backward_cost=count(e.flops(backward), "operation") if backward else "",
        instead=_instead(e, name, first),
        total=_line(first.total) if first and first.total else Markup(""),
        value=number_text(e.values[name]) if name in e.values else "",
        gradient=_gradient(e, name),
        steps=tuple(_step(n, s) for n, s in steps),
        kernels=tuple(_links(line, backward, found)),
        search=" ".join([name, *(d.name for d in backward), origin.text if origin else ""]).lower(),
    )


def _instead(e: Explanation, name: str, first: Step | None) -> str:
    """What there is to say where a tensor has no adjoint of its own."""
    if e.emitted(name):
        return ""
    if name == e.stable.loss:
        return "1, where the chain begins" if e.links else "no parameter trains"
    if first is not None:
        return first.instead
    if e.stable.dtype_of(name).startswith("int"):
        return "integers: nothing is differentiated by them"
    line = e.stable.by_name().get(name)
    if line is not None and line.detached:
        return "constant under differentiation: the result does not depend on it"
    return "no gradient is asked for here"


def _gradient(e: Explanation, name: str) -> str:
    adjoint = e.adjoint_of(name)
    value = e.values.get(adjoint.name if adjoint else f"d_{name}")
    return "" if value is None else number_text(value)


def _links(
    line: Definition | None, backward: Iterable[Definition], found: Emitted | None
) -> Iterator[tuple[str, str, str]]:
    """(direction, address, where) of the kernels that compute a line and its adjoint."""
    said = [("forward", line.name)] if line else []
    said += [("backward", d.name) for d in backward]
    seen: set[tuple[str, str]] = set()
    for way, name in said if found else ():
        kernel = found.kernel_of(name) if found else None
        if kernel is not None and (way, kernel.name) not in seen:
            seen.add((way, kernel.name))
            places = ", ".join(f"{p.file}:{p.first}" for p in kernel.places())
            yield (
                way,
                _kernel_anchor(kernel),
                f"{kernel.name} ({places})" if places else kernel.name,
            )


def _kernel_anchor(kernel: EmittedKernel) -> str:
    return f"k-{kernel.name}"


def _step(number: int, s: Step) -> StepView:
    slope = mathml.partial_markup(s.consumer.name, s.access)
    return StepView(
        anchor=f"s-{number}",
        number=number,
        consumer=s.consumer.name,
        consumer_anchor=anchor(s.consumer.name),
        origin=s.origin,
        source=s.source,
        forward=_line(s.consumer),
        raw=_math(_equals(slope, s.raw)),
        local=_math(mathml.markup(s.local)) if s.because else Markup(""),
        because=s.because,
        local_value="" if s.local_value is None else number_text(s.local_value),
        deltas=_list([mathml.delta_markup(a, b) for a, b in s.deltas]),
        solved=_list([mathml.equal_markup(a, b) for a, b in s.solved]),
        conditions=tuple(_math(mathml.markup(c)) for c in s.conditions),
        receives=_line(s.receives, adds=s.total is not None),
    )


def _kernel(k: EmittedKernel) -> KernelView:
    code = [_code("NumPy", k.numpy)] if k.numpy else []
    code += [_code("C", k.c)] if k.c else []
    return KernelView(
        _kernel_anchor(k),
        k.name,
        tuple(_line(m) for m in k.members),
        tuple(code),
        " ".join([k.name, *(m.name for m in k.members)]).lower(),
    )


def _code(language: str, place: Place) -> CodeView:
    lines = place.code.split("\n")
    left = len(lines) - _LONGEST_CODE
    more = f"{left} more lines in {place.file}, from line {place.first + _LONGEST_CODE}"
    return CodeView(
        language,
        place.file,
        place.first,
        dedent("\n".join(lines[:_LONGEST_CODE])),
        more if left > 0 else "",
    )


def _report_view(r: Report) -> ReportView:
    return ReportView(HEADINGS, tuple(report_rows(r)), saving_text(r), memory_picture(r.memory))
