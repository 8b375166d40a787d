"""The NumPy target: a scheduled module in, the text of NAME_numpy.py out.

    files = emit(module)                     # {"mnist_mlp_numpy.py": ...}

One file that imports only numpy. Nothing here reads a clock, a path or an order of hashing. The
whole-array statements are made in function.py and below; this file says what stands around them.
"""

from __future__ import annotations

import re

from codegen.numpy.function import Function, wrapped, write_function
from codegen.numpy.views import ArrayView, ModuleView, ProgramView, SettingView, StartView
from codegen.render import render
from ir.kernel import Module, Schedule
from ir.names import identifier
from ir.program import DType, Program, Shape, Tensor

# Functions and quotients (but for those by the rows) that may be no number where none is needed.
_FUNCTIONS = "log|sqrt|power|exp|tan|sinh|cosh|arcsin|arccos|square"
_PARTIAL = re.compile(rf" / (?!np\.float..\(rows\)|\d)|np\.({_FUNCTIONS})\b")


def emit(module: Module) -> dict[str, str]:
    """The file of a module, by name."""
    return {f"{module.name}_numpy.py": render("numpy", "module.py.jinja", make_view(module))}


def make_view(module: Module) -> ModuleView:
    """All three programs of the module, and what describes it."""
    schedules = [s for s in (module.forward, module.gradient, module.step) if s]
    whole = schedules[-1].program
    real = real_type(whole)
    functions = [write_function(s, real) for s in schedules]
    named = {id(module.forward): "_forward", id(module.gradient): "_gradient"}
    by_kind = {
        id(s): _program(named.get(id(s), "_step"), s, f)
        for s, f in zip(schedules, functions, strict=True)
    }
    gradients = {of for of, _ in module.gradient.program.gradients} if module.gradient else set()
    starts = [_start(i, p) for i, p in enumerate(whole.parameters)]
    state_starts = [_start(i, p) for i, p in enumerate(whole.state)]
    return ModuleView(
        name=module.name,
        version=module.version,
        content_hash=module.content_hash,
        real=real,
        max_batch=whole.largest_batch,
        workspace_bytes=max(f.workspace for f in functions),
        flops=module.flops_per_step,
        parameters=tuple(_array(p) for p in whole.parameters),
        state=tuple(_array(p) for p in whole.state),
        inputs=tuple(_array(p) for p in whole.inputs),
        outputs=_outputs(module.forward.program) if module.forward else (),
        others=tuple((t.name, t.dtype) for t in whole.state if t.dtype != real),
        settings=tuple(
            SettingView(t.name, identifier(t.name), repr(float(v))) for t, v in whole.scalars
        ),
        limits=_limits(whole),
        loss=whole.loss or "",
        gradient_names=tuple(p.name for p in whole.parameters if p.name in gradients),
        starts=tuple(starts),
        state_starts=tuple(state_starts),
        words=_has_words(module),
        draws=frozenset(t.init.kind for t in whole.parameters + whole.state if t.init),
        helpers=frozenset().union(*(f.helpers for f in functions)),
        forward=by_kind.get(id(module.forward)),
        gradient=by_kind.get(id(module.gradient)),
        step=by_kind.get(id(module.step)),
    )


def _has_words(module: Module) -> bool:
    """Whether a caller's seed or count of steps goes into a program or the state."""
    state = module.step.program.state if module.step else ()
    scalars = [t for t, _ in module.gradient.program.scalars] if module.gradient else []
    return any(_is_count(t) for t in (*state, *scalars))


def real_type(program: Program) -> DType:
    """The floating type of the module; there is one."""
    kinds = [t.dtype for t in program.tensors().values()] + [d.dtype for d in program.definitions]
    return next((k for k in kinds if k.startswith("float")), "float32")


def _program(name: str, schedule: Schedule, function: Function) -> ProgramView:
    program = schedule.program
    read = {name for d in program.definitions for name in d.reads()}
    fixed = () if program.updates else [(t, v) for t, v in program.scalars if t.name in read]
    owned = (*program.inputs, *program.parameters, *program.state)
    scalars = [t for t, _ in (program.scalars if program.updates else fixed)]
    names = [identifier(t.name) for t in (*owned, *scalars)]
    return ProgramView(
        inputs=tuple(_array(t) for t in program.inputs),
        counts=tuple(t.name for t, _ in fixed if program.gradients and _is_count(t)),
        fixed=tuple(
            f"_word({t.name})" if program.gradients and _is_count(t) else _literal(t, v)
            for t, v in fixed
        ),
        name=name,
        arrays=function.arrays,
        quiet=any(_PARTIAL.search(line) for line in function.arrays),
        head=tuple(wrapped(f"    def run({', '.join(names)}):")),
        statements=function.lines,
        results=tuple(wrapped(f"        return {_results(program, function.places)}")),
    )


def _is_count(tensor: Tensor) -> bool:
    """Whether the tensor is the seed or a count of steps, which a caller may want to choose."""
    return tensor.dtype == "int64" and tensor.name.isidentifier()


def _literal(tensor: Tensor, value: float) -> str:
    """A scalar that no caller gives, as it is without a training step."""
    whole = tensor.dtype.startswith("int")
    return f"np.{tensor.dtype}({int(value) if whole else float(value)!r})"


def _results(program: Program, places: dict[str, str]) -> str:
    """What a private function returns: its outputs, its loss, its gradients by name."""
    returned = [places[d] for _, d in program.outputs]
    returned += [places[program.loss]] if program.loss else []
    if program.gradients:
        found = {of: places[d] for of, d in program.gradients}
        order = [p.name for p in program.parameters if p.name in found]
        listed = ", ".join(f'"{of}": {found[of]}' for of in order)
        returned.append(f"{{{listed}}}")
    return f"({', '.join(returned)},)" if program.outputs else ", ".join(returned)


def _outputs(program: Program) -> tuple[ArrayView, ...]:
    return tuple(
        ArrayView(public, identifier(public), _shape(program.shape_of(d)), program.dtype_of(d))
        for public, d in program.outputs
    )


def _limits(program: Program) -> tuple[tuple[str, int], ...]:
    """The exclusive upper bounds of the integer inputs."""
    names = [t.name for t in program.inputs if t.name in program.limits]
    return tuple((name, program.limits[name]) for name in names)


def _array(tensor: Tensor) -> ArrayView:
    rows = next((i for i, size in enumerate(tensor.shape) if not isinstance(size, int)), None)
    name = identifier(tensor.name)
    return ArrayView(tensor.name, name, _shape(tensor.shape), tensor.dtype, rows)


def _shape(shape: Shape) -> str:
    """`("batch", 784)`."""
    sizes = [str(s) if isinstance(s, int) else f'"{s}"' for s in shape]
    return f"({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"


def _start(stream: int, tensor: Tensor) -> StartView:
    """The initial value of an array; its stream is its position in the declaration."""
    shape, init = _shape(tensor.shape), tensor.init
    if tensor.role == "state" and tensor.name == "seed" and _is_count(tensor):
        return StartView(tensor.name, "np.array(_word(seed))")
    if init is None or init.kind == "zeros":
        dtype = "DTYPE" if tensor.dtype.startswith("float") else f"np.{tensor.dtype}"
        return StartView(tensor.name, f"np.zeros({shape}, {dtype})")
    if init.kind == "constant" and len(init.values) == 1:
        return StartView(tensor.name, f"np.full({shape}, {init.values[0]!r}, DTYPE)")
    if init.kind == "constant":
        values = ", ".join(repr(float(v)) for v in init.values)
        return StartView(tensor.name, f"np.array(({values},), DTYPE).reshape({shape})")
    first, second = (repr(float(v)) for v in init.values)
    return StartView(tensor.name, f"_{init.kind}(seed, {stream}, {shape}, {first}, {second})")
