"""A module as the templates' flat data: kernels printed, programs as calls, arrays as strings.

Read `make_view` first. A buffer is spelled once for each program: an input is an argument, a
parameter is `params->name`, a temporary a pointer into the workspace, a result where it goes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Any

from codegen.c.arrays import (
    ALIGNMENT,
    BYTES,
    aligned,
    array_view,
    count_text,
    identifier,
    inputs_of,
    settings_of,
    shape_text,
    start_of,
)
from codegen.c.calls import calls
from codegen.c.rotation import rotation_view
from codegen.c.scalars import C_TYPES, ScalarPrinter
from codegen.c.statements import Function, print_nest
from codegen.c.tiles import kinds, tiles, tiles_along
from codegen.c.views import (
    ArrayView,
    KernelView,
    ModuleView,
    ProgramView,
    RotationView,
    TemporaryView,
)
from codegen.wrapping import remark
from ir.errors import VerifyError
from ir.kernel import Kernel, Loop, Module, Schedule, surroundings
from ir.loops import FEW_ROWS, Nest, Rotation
from ir.names import fresh
from ir.program import Program

IN_STEP = "in_step"
COMMENT = 95  # columns of an equation in a comment
SCRATCH = (
    "gw_left_copy", "gw_right_copy", "gw_left_panel", "gw_right_panel", "gw_sums",
)  # fmt: skip
OF_PROGRAMS = frozenset(
    ("params", "state", "grads", "loss", "rows", "workspace", "base", *SCRATCH)
)
FAST_FLAGS = "-O3 -march=native -ffp-contract=fast -fno-math-errno -fno-trapping-math"
THREAD_FLAGS = " -fopenmp"
WORTH_A_TEAM = 4_000_000  # operations: below, threads wait longer for one another than they save
PORTABLE_FLAGS = "-O3 -ffp-contract=off -fno-math-errno -fno-trapping-math -DGW_NO_VECTORS"


def make_view(
    module: Module,
    loop_nest: Callable[[Kernel, Program, int], Nest],
    rotation: Rotation | None = None,
) -> ModuleView:
    """All three programs of the module, and what describes it."""
    whole = _schedules(module)[-1].program
    real = real_type(module)
    kernels = Kernels(loop_nest, real, module.threads)
    forward = _program(module.forward, kernels, "in_forward") if module.forward else None
    gradient = _program(module.gradient, kernels, "in_gradient") if module.gradient else None
    step = _program(module.step, kernels, IN_STEP) if module.step else None
    turned = None
    if module.step and step and rotation:
        turned = _rotated(module.step, step, rotation, kernels)
    workspace = max(v.workspace_bytes for v in (forward, gradient, step) if v)
    inputs, gather_end = inputs_of(whole, workspace if module.step else 0)
    printer = ScalarPrinter(str, {}, real)
    owned = (*whole.parameters, *whole.state)
    drawn = any(t.init and t.init.kind in ("uniform", "normal") for t in owned)
    drawing = {"gw_mix"} if drawn else set()
    return ModuleView(
        name=module.name,
        upper=module.name.upper(),
        version=module.version,
        content_hash=module.content_hash,
        real=C_TYPES[real],
        suffix="f" if real == "float32" else "",
        max_batch=whole.largest_batch,
        batch_name=str(whole.batch.symbol) if whole.batch else "batch",
        workspace_bytes=max(workspace, gather_end) + ALIGNMENT,
        gather_offset=workspace,
        flops=module.flops_per_step,
        portable=module.portable,
        threads=module.threads,
        least_rows=_least_rows(module.flops_per_step, whole),
        parameters=tuple(array_view(p.name, p.shape, p.dtype) for p in whole.parameters),
        state=tuple(array_view(p.name, p.shape, p.dtype) for p in whole.state),
        others=tuple(array_view(t.name, t.shape, t.dtype) for t in owned if t.dtype != real),
        inputs=inputs,
        outputs=forward.outputs if forward else (),
        hyperparameters=settings_of(module.step.program, printer) if module.step else (),
        limits=tuple((a.name, a.limit) for a in inputs if a.limit),
        loss=whole.loss or "",
        starts=tuple(start_of(i, p, printer) for i, p in enumerate(whole.parameters)),
        state_starts=tuple(start_of(i, p, printer) for i, p in enumerate(whole.state)),
        kernels=tuple(kernels.views),
        helpers=tuple(sorted(kernels.helpers | drawing | _waits(forward, gradient, step))),
        vectors=(("",) if kernels.helpers & {"gw_tiles", "gw_along"} else ())
        + (("8",) if "gw_dots" in kernels.helpers else ())
        + (("4",) if "gw_transpose" in kernels.helpers else ()),
        kinds=kinds(kernels.views),
        tiles=tiles(kernels.views, whole.largest_batch, real),
        tiles_along=tiles_along(kernels.views, whole.largest_batch),
        runs=any(p.runs.entries and not p.along for k in kernels.views for p in k.planes),
        runs_along=any(p.runs.entries and p.along for k in kernels.views for p in k.planes),
        one_run=_one_run(kernels.views),
        more=any(p.more for k in kernels.views for p in k.planes),
        onto=any(p.onto for k in kernels.views for p in k.planes),
        flat=any(p.flat for k in kernels.views for p in k.planes),
        few_rows=FEW_ROWS,
        uses_workspace=bool(step)
        or any(v and (v.temporaries or v.scratch) for v in (forward, gradient)),
        dots="gw_dots" in kernels.helpers,
        forward=forward,
        gradient=gradient,
        step=step,
        flags=(PORTABLE_FLAGS if module.portable else FAST_FLAGS)
        + (THREAD_FLAGS if module.threads > 1 else ""),
        gradient_names=_gradient_names(module),
        rotation=turned,
    )


def _one_run(kernels: Iterable[KernelView]) -> bool:
    """Whether tiles for runs are given terms that are one."""
    planes = [p for k in kernels for p in k.planes]
    kinds = ([p for p in planes if bool(p.along) == along] for along in (False, True))
    return any(len({bool(p.runs.entries) for p in some}) == 2 for some in kinds)


def _waits(*programs: ProgramView | None) -> set[str]:
    """What the programs call where threads wait."""
    said = "\n".join(line for p in programs if p for line in p.statements)
    return set(re.findall(r"\bGW_WAIT\w*", said))


def _least_rows(flops: int, program: Program) -> int:
    """The rows from which several threads are worth their while.

    Few rows are for one thread where kernels treat them apart: where there can be more.
    """
    largest = program.largest_batch
    least = FEW_ROWS if largest >= FEW_ROWS else 1
    return max(least, -(-WORTH_A_TEAM * largest // max(flops, 1))) if program.batch else 1


def _schedules(module: Module) -> list[Schedule]:
    """The programs that there are, the largest last."""
    return [s for s in (module.forward, module.gradient, module.step) if s]


def _gradient_names(module: Module) -> tuple[str, ...]:
    """The parameters that have a gradient, as they were declared."""
    if module.gradient is None:
        return ()
    program = module.gradient.program
    found = {name for name, _ in program.gradients}
    return tuple(p.name for p in program.parameters if p.name in found)


def real_type(module: Module) -> str:
    """The floating type of the module; there is one."""
    program = _schedules(module)[-1].program
    kinds = [t.dtype for t in program.tensors().values()] + [d.dtype for d in program.definitions]
    return next((k for k in kinds if k.startswith("float")), "float32")


# ---------------------------------------------------------------- kernels


class Kernels:
    """The static functions so far; asking for one that says the same gives it again.

    A kernel whose name an earlier program's has says which program it was made for.
    """

    def __init__(
        self, loop_nest: Callable[[Kernel, Program, int], Nest], real: str, threads: int
    ) -> None:
        self._loop_nest = loop_nest
        self.real = real
        self.threads = threads
        self._names: dict[tuple[str, ...], str] = {}
        self._functions: dict[Any, Function] = {}
        self._taken: set[str] = set()
        self.views: list[KernelView] = []
        self.helpers: set[str] = set()
        self.scratch: dict[str, int] = {}

    def of(self, kernel: Kernel, program: Program, where: str) -> Function:
        """The function of a kernel, under the name it has in this file."""
        function = self._printed(kernel, program)
        for scratch, elements in function.scratch:
            self.scratch[scratch] = max(elements, self.scratch.get(scratch, 0))
        said = (*function.parameters, *function.body, repr(function.planes))
        known = said in self._names
        name = self._names[said] if known else self._fresh(function.name, where)
        self._names[said] = name
        named = replace(function, name=name)
        if not known:
            view = KernelView(name, _comment(kernel), named.head, named.body, named.planes)
            self.views.append(view)
            self.helpers |= function.helpers
        return named

    def of_both(self, nest: Nest, last: Kernel, first: Kernel) -> Function:
        """The function of a nest that is two kernels, one behind the other."""
        function = print_nest(nest, self.real, self.threads)
        named = replace(function, name=self._fresh(function.name, IN_STEP))
        comment = (*_comment(last), "then, of the next step:", *_comment(first))
        self.views.append(KernelView(named.name, comment, named.head, named.body, named.planes))
        self.helpers |= function.helpers
        return named

    def _printed(self, kernel: Kernel, program: Program) -> Function:
        """Laid out and printed once, however many programs run it."""
        seen = surroundings(kernel, program)
        if seen not in self._functions:
            nest = self._loop_nest(kernel, program, self.threads)
            self._functions[seen] = print_nest(nest, self.real, self.threads)
        return self._functions[seen]

    def _fresh(self, name: str, where: str) -> str:
        base = f"compute_{identifier(name)}"
        base += f"_{where}" if base in self._taken else ""
        candidate, count = base, 1
        while candidate in self._taken:
            count += 1
            candidate = f"{base}_{count}"
        self._taken.add(candidate)
        return candidate


def _comment(kernel: Kernel) -> tuple[str, ...]:
    """The equation of every member, what it is for, and the user's line."""
    said = (
        line
        for number, member in enumerate(kernel.members)
        for line in remark(member, "then " if number else "", "    ", COMMENT)
    )
    return tuple(line.replace("*/", "* /") for line in said)


# ---------------------------------------------------------------- programs


def _program(schedule: Schedule, kernels: Kernels, where: str) -> ProgramView:
    """One public function: its arguments, its pointers into the workspace, its calls."""
    program = schedule.program
    if program.outputs and program.loss:
        raise VerifyError("the gradient and step programs have no outputs but the loss")
    outputs = _outputs(program)
    spelled, copies = _spelled(schedule, outputs)
    temporaries = _temporaries(schedule, spelled)
    kernels.scratch.clear()
    functions = partial(kernels.of, program=program, where=where)
    statements = calls(schedule, functions, spelled, copies, kernels.threads)
    text = "\n".join(statements)
    scratch, end = _scratch(kernels, aligned(schedule.workspace_bytes))
    saved = schedule.temporaries_bytes - schedule.workspace_bytes
    return ProgramView(
        inputs=inputs_of(program, 0)[0],
        outputs=outputs,
        temporaries=temporaries if kernels.threads > 1 else temporaries + scratch,
        scratch=scratch if kernels.threads > 1 else (),
        workspace_bytes=end,
        statements=tuple(statements),
        saving=f"{schedule.workspace_bytes} bytes, {saved} saved by reuse",
        needs_params="params->" in text,
        counters=()
        if program.updates
        else settings_of(program, ScalarPrinter(str, {}, kernels.real)),
    )


def _spelled(
    schedule: Schedule, outputs: tuple[ArrayView, ...]
) -> tuple[dict[str, str], list[str]]:
    """How everything is spelled that a kernel takes, and copies of results with two places."""
    taken = [a.identifier for a in outputs]
    spelled, copies = _buffers(schedule.program, taken)
    spelled |= _homes(schedule, {*spelled.values(), *taken})
    spelled |= _counters(schedule, set(spelled.values()))
    return spelled | {name: name for name in SCRATCH}, copies


def _rotated(
    schedule: Schedule, step: ProgramView, rotation: Rotation, kernels: Kernels
) -> RotationView | None:
    """An epoch whose steps run into one another, if its inputs and results allow it."""
    spelled, copies = _spelled(schedule, ())
    first = schedule.steps[0]
    rows_first = all(a.outer == 1 if a.inner else not a.limit for a in step.inputs)
    if copies or not rows_first or isinstance(first, Loop):
        return None
    functions = partial(kernels.of, program=schedule.program, where=IN_STEP)
    both = kernels.of_both(rotation.nest, rotation.last, first)
    return rotation_view(schedule, step, rotation, spelled, functions, both)


def _homes(schedule: Schedule, taken: set[str]) -> dict[str, str]:
    """A name for every temporary: its own, unless an argument of the function has that."""
    taken = taken | OF_PROGRAMS
    return {name: fresh(identifier(name), taken) for name in schedule.offsets}


def _scratch(kernels: Kernels, start: int) -> tuple[tuple[TemporaryView, ...], int]:
    """Memory that kernels take turns in, behind the temporaries; each thread has its own."""
    views = []
    for name, elements in kernels.scratch.items():
        size = aligned(elements * BYTES[kernels.real])
        views.append(TemporaryView(C_TYPES[kernels.real], name, start, f"[{elements}]", size))
        start += size * kernels.threads
    return tuple(views), start


def _outputs(program: Program) -> tuple[ArrayView, ...]:
    """The outputs; one that is called like an input has another name among the arguments."""
    taken = {identifier(t.name) for t in (*program.inputs, *(t for t, _ in program.scalars))}
    found = []
    for public, definition in program.outputs:
        array = array_view(public, program.shape_of(definition), program.dtype_of(definition))
        found.append(replace(array, identifier=fresh(array.identifier, taken)))
    return tuple(found)


def _counters(schedule: Schedule, taken: set[str]) -> dict[str, str]:
    """The variable of every recurrence's loop, by what its kernels call that argument."""
    taken = taken | OF_PROGRAMS
    loops = {str(s.index.name) for s in schedule.steps if isinstance(s, Loop)}
    return {f"[{name}]": fresh(identifier(name), taken) for name in sorted(loops)}


def _buffers(program: Program, outputs: list[str]) -> tuple[dict[str, str], list[str]]:
    """How each buffer of the caller is spelled, and copies for results that have two places."""
    spelled = {t.name: identifier(t.name) for t in program.inputs}
    spelled |= {t.name: identifier(t.name) for t, _ in program.scalars}
    spelled |= {t.name: f"params->{identifier(t.name)}" for t in program.parameters}
    spelled |= {t.name: f"state->{identifier(t.name)}" for t in program.state}
    places = [(d, spelled[tensor]) for tensor, d in program.updates]
    places += [(d, name) for (_, d), name in zip(program.outputs, outputs, strict=True)]
    places += [(program.loss, "loss")] if program.loss else []
    places += [(d, f"grads->{identifier(p)}") for p, d in program.gradients]
    copies = []
    for definition, place in places:
        if definition in spelled:
            size = f"sizeof *{place} * (size_t)({count_text(program.shape_of(definition))})"
            copies.append(f"memcpy({place}, {spelled[definition]}, {size});")
        else:
            spelled[definition] = place
    return spelled, copies


def _temporaries(schedule: Schedule, spelled: dict[str, str]) -> tuple[TemporaryView, ...]:
    """A pointer for each, with its shape, and what it overwrites in the kernel that reads that."""
    program = schedule.program
    replaced = dict(pair for kernel in schedule.kernels() for pair in kernel.replaces)
    views = []
    for name, offset in schedule.offsets.items():
        said = shape_text(program.shape_of(name))
        if name in replaced:
            said += f", in the place of {spelled[replaced[name]]}"
        views.append(TemporaryView(C_TYPES[program.dtype_of(name)], spelled[name], offset, said))
    return tuple(views)
