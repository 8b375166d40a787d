"""What the templates of the pages see: flat data, every decision already made.

    render("page.html.jinja", PageView(title="mnist_mlp", ...))

`page.py` fills these in. A `Markup` is mathematics, escaped where it was made; every other string
is escaped by the templates.
"""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from gradwright.inspection.graph import GraphView
from gradwright.inspection.memory_picture import MemoryView


@dataclass(frozen=True, slots=True)
class StepView:
    """One link of the chain rule, as formulas."""

    anchor: str
    number: int
    consumer: str
    consumer_anchor: str
    origin: str
    source: str
    forward: Markup
    raw: Markup
    local: Markup
    because: str
    local_value: str
    deltas: Markup
    solved: Markup
    conditions: tuple[Markup, ...]
    receives: Markup


@dataclass(frozen=True, slots=True)
class TensorView:
    """A tensor: its line beside its adjoint, the steps that lead to it, and its kernels."""

    anchor: str
    name: str
    role: str
    shape: str
    origin: str
    source: str
    forward: Markup
    forward_cost: str
    written: str
    why: str
    backward: tuple[Markup, ...]
    backward_cost: str
    instead: str
    total: Markup
    value: str
    gradient: str
    steps: tuple[StepView, ...]
    kernels: tuple[tuple[str, str, str], ...]
    search: str


@dataclass(frozen=True, slots=True)
class CodeView:
    """A kernel's lines in one of the emitted files."""

    language: str
    file: str
    first: int
    code: str
    more: str


@dataclass(frozen=True, slots=True)
class KernelView:
    """An emitted kernel beside its equations."""

    anchor: str
    name: str
    equations: tuple[Markup, ...]
    code: tuple[CodeView, ...]
    search: str


@dataclass(frozen=True, slots=True)
class ReportView:
    """What the compiler did: a table of figures, and the memory plan."""

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    saving: str
    memory: MemoryView


@dataclass(frozen=True, slots=True)
class PageView:
    """The whole page."""

    title: str
    summary: str
    across: bool
    result: tuple[Markup, ...]
    factors: tuple[tuple[Markup, str], ...]
    graph: GraphView | None
    tensors: tuple[TensorView, ...]
    kernels: tuple[KernelView, ...]
    report: ReportView | None
    chain: Markup
