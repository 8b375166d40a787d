"""A program that times an emitted module kernel by kernel: the text of NAME_profile.c.

    profile = emit_profile(module, module.step, loop_nest)
    profile.text                          # NAME_profile.c, which includes NAME.c

It sees the kernels of NAME.c and so runs the calls of a public function in their order, in the same
workspace, with a clock between them: `seconds[i]` is what `profile.kernels[i]` took. NAME.c itself
stays without a clock. One thread.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from codegen.c.assemble import make_view
from codegen.c.views import ModuleView, ProgramView
from codegen.render import render
from ir.errors import VerifyError
from ir.kernel import Kernel, Module, Schedule
from ir.loops import Nest
from ir.program import Program


@dataclass(frozen=True, slots=True)
class LineView:
    """A line of the public function; `call` is its number among the timed ones, or -1."""

    text: str
    call: int


@dataclass(frozen=True, slots=True)
class ProfileView:
    """What profile.c.jinja sees. `kind` is forward, gradient or step."""

    module: ModuleView
    program: ProgramView
    kind: str
    lines: tuple[LineView, ...]


@dataclass(frozen=True, slots=True)
class Profile:
    """The text, the kernels in their order, and how many calls are timed: copies come last."""

    text: str
    kernels: tuple[Kernel, ...]
    calls: int


def emit_profile(
    module: Module, schedule: Schedule, loop_nest: Callable[[Kernel, Program, int], Nest]
) -> Profile:
    """Of one schedule, on one thread. Raises VerifyError if a kernel is not one call of it."""
    module = replace(module, threads=1)
    view = make_view(module, loop_nest)
    kind, program = next(
        (kind, program)
        for kind, program, of in (
            ("forward", view.forward, module.forward),
            ("gradient", view.gradient, module.gradient),
            ("step", view.step, module.step),
        )
        if of is schedule and program is not None
    )
    lines = _numbered(program.statements)
    kernels = tuple(schedule.kernels())
    called = [line.text for line in lines if line.call >= 0]
    if sum(text.lstrip().startswith("compute_") for text in called) != len(kernels):
        raise VerifyError(f"{module.name}: the emitted function is not one call a kernel")
    text = render("c", "profile.c.jinja", ProfileView(view, program, kind, lines))
    return Profile(text, kernels, len(called))


def _numbered(statements: tuple[str, ...]) -> tuple[LineView, ...]:
    """Calls are the lines that end in `);`: loops around them are not timed for themselves."""
    lines: list[LineView] = []
    count = 0
    for text in statements:
        timed = text.endswith(");")
        lines.append(LineView(text, count if timed else -1))
        count += timed
    return tuple(lines)
