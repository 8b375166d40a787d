"""What a network function builds while it is traced: inputs, parameters, definitions, names.

The functions of `compiler/notation.py` write into the trace that is open; outside a network there
is none, and they say so.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from sympy import Symbol

from ir.errors import GradwrightError, InvalidNameError, Origin
from ir.expression import size_symbol
from ir.names import check_name, fresh, identifier
from ir.program import Definition, DType, Tensor


@dataclass
class Trace:
    """The network under construction. `real` is the floating type of every real tensor in it.

    `training` tells whether the loss is being traced, or the outputs as they are evaluated;
    `depends_on_mode` becomes true when somebody asks. `updates` replace buffers at the end of a
    step.
    """

    name: str
    real: DType = "float32"
    batch: Symbol | None = None
    tensors: dict[str, Tensor] = field(default_factory=dict)
    definitions: dict[str, Definition] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)
    limits: dict[str, int] = field(default_factory=dict)
    updates: dict[str, str] = field(default_factory=dict)
    training: bool = False
    depends_on_mode: bool = False
    streams: int = 0

    def claim(self, name: str, what: str, at: Origin | None) -> str:
        """A name that the user gave: checked, and not taken."""
        check_name(name, what, at)
        if what == "input" and name in (f"{self.name}_params", f"{self.name}_state"):
            raise InvalidNameError(
                f"the name {name!r} is what emitted C calls a type of {self.name}",
                at=at,
                fix="give the input another name",
            )
        taken = {identifier(n): n for n in self.names}
        if identifier(name) in taken:
            raise InvalidNameError(
                f"the name {name!r} is taken by {taken[identifier(name)]!r}",
                at=at,
                fix="give one of them another name",
            )
        self.names.add(name)
        return name

    def fresh(self, base: str) -> str:
        """A name of our own making, numbered when it is taken."""
        return fresh(base, self.names)

    def unclaimed(self, base: str) -> str:
        """A name that `claim` will take: `base`, numbered when it is taken."""
        return fresh(base, set(self.names))

    def size(self, name: str, at: Origin | None) -> Symbol:
        """The symbolic batch size; a network has one."""
        check_name(name, "size", at)
        if self.batch is None:
            self.batch = size_symbol(name)
        if self.batch.name != name:
            raise InvalidNameError(
                f"two symbolic sizes, {self.batch.name!r} and {name!r}",
                at=at,
                notes=("a network has one symbolic size, its batch; the others are integers",),
                fix=f"use {self.batch.name!r}, or an integer",
            )
        return self.batch


_open: ContextVar[Trace | None] = ContextVar("trace", default=None)


def current() -> Trace:
    """The trace that is open."""
    trace = _open.get()
    if trace is None:
        raise GradwrightError(
            "this is only possible while a network is traced",
            fix="call it inside a function decorated with @gw.network",
        )
    return trace


@contextmanager
def tracing(trace: Trace) -> Iterator[Trace]:
    """Open a trace for the time of a `with` block."""
    token = _open.set(trace)
    try:
        yield trace
    finally:
        _open.reset(token)
