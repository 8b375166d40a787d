"""Parameter updates as definitions, so that they are scheduled and fused with everything else.

    fc1.W_next[k, j] = fc1.W[k, j] - lr[]*d_fc1.W[k, j]

What a step computes once stands in a scalar of its own: the norm of all gradients, Adam's rate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import sympy
from sympy import Expr

from compiler.optimizers import CLIP_NORM, CLIP_VALUE, Optimizer
from ir.expression import Access, index_symbol, tensor_symbol
from ir.names import fresh
from ir.program import Definition, Program, Range, Tensor

# As torch.nn.utils.clip_grad_norm_ has it.
_NORM_EPSILON = sympy.Float(1e-6)


@dataclass(frozen=True, slots=True)
class _Gradient:
    """A parameter with the loops and the element of its gradient."""

    parameter: Tensor
    ranges: tuple[Range, ...]
    element: Expr


def update(program: Program, optimizer: Optimizer) -> Program:
    """The program with an update of every parameter that has a gradient, and the state it keeps."""
    real = program.parameters[0].dtype
    names = set(program.tensors()) | set(program.by_name())
    scalars = tuple((Tensor(fresh(n, names), (), real, "scalar"), v) for n, v in optimizer.hyper)
    hyper = {n: t[()] for (n, _), (t, _) in zip(optimizer.hyper, scalars, strict=True)}
    program = replace(program, scalars=program.scalars + scalars)
    gradients = [_gradient(program, *pair) for pair in program.gradients]
    if optimizer.per_step is not None:
        program, step = _with_counter(program, names)
        program = _per_step(program, optimizer.per_step(hyper, step + 1), hyper, names)
    if CLIP_NORM in hyper:
        program = _norm(program, gradients, hyper, names)
    for gradient in gradients:
        program = _updated(program, optimizer, gradient, hyper, names)
    return _counted(program, names)


def _gradient(program: Program, parameter: str, gradient: str) -> _Gradient:
    p, g = program.tensors()[parameter], program.definition(gradient)
    scattered = tuple(Range(index_symbol(f"i{d}"), s) for d, s in enumerate(p.shape))
    ranges = scattered if g.reduce == "scatter" else g.indices
    access = Access(tensor_symbol(g.name, g.dtype), *(r.index for r in ranges))
    return _Gradient(p, ranges, access)


def _counter(program: Program) -> Tensor | None:
    """The step counter: the integer state that is not a seed."""
    return next((t for t in program.state if t.dtype == "int64" and t.name != "seed"), None)


def _with_counter(program: Program, names: set[str]) -> tuple[Program, Expr]:
    """The program with a step counter in its state, and the steps taken so far."""
    step = _counter(program)
    if step is None:
        step = Tensor(fresh("step", names), (), "int64", "state")
        program = replace(program, state=(*program.state, step))
    return program, step[()]


def _counted(program: Program, names: set[str]) -> Program:
    """The step counter, where there is one, goes up by one."""
    step = _counter(program)
    if step is None:
        return program
    name = fresh(f"{step.name}_next", names)
    made = Definition(name, "int64", (), step[()] + 1, note="steps taken")
    return replace(
        program,
        definitions=(*program.definitions, made),
        updates=(*program.updates, (step.name, made.name)),
    )


def _scalar(program: Program, made: Definition, hyper: dict[str, Expr], key: str) -> Program:
    """The program with one more scalar, which rules find under `key`."""
    hyper[key] = made.access()
    return replace(program, definitions=(*program.definitions, made))


def _per_step(
    program: Program, values: Mapping[str, Expr], hyper: dict[str, Expr], names: set[str]
) -> Program:
    """The program with these scalars, first of all: every update reads them, and none shall wait.

    A kernel runs no later than it must, so what its gradient reads is given back early.
    """
    real, made = program.parameters[0].dtype, []
    for key, body in values.items():
        made.append(Definition(fresh(key, names), real, (), body, note="once a step"))
        hyper[key] = made[-1].access()
    return replace(program, definitions=(*made, *program.definitions))


def _norm(
    program: Program, gradients: list[_Gradient], hyper: dict[str, Expr], names: set[str]
) -> Program:
    """The norm over all gradients, and the factor that brings it to `clip_norm` at most."""
    real, squares = program.parameters[0].dtype, []
    for g in gradients:
        name = fresh(f"{g.parameter.name}_square", names)
        made = Definition(name, real, (), g.element**2, note="for the norm")
        if g.ranges:
            made = replace(made, reduce="sum", over=g.ranges)
        program = replace(program, definitions=(*program.definitions, made))
        squares.append(made.access())
    root, name = sympy.sqrt(sympy.Add(*squares)), fresh("gradient_norm", names)
    norm = Definition(name, real, (), root, note="over all gradients")
    program = _scalar(program, norm, hyper, "gradient_norm")
    factor = hyper[CLIP_NORM] / (norm.access() + _NORM_EPSILON)
    bounded = sympy.Piecewise((factor, factor < 1), (1, True))
    scale = Definition(fresh("gradient_scale", names), real, (), bounded, note="clips the norm")
    return _scalar(program, scale, hyper, "gradient_scale")


@dataclass
class _Lines:
    """The lines of one parameter's update, as its optimizer's rule writes them."""

    gradient: _Gradient
    names: set[str]
    note: str
    made: list[Definition] = field(default_factory=list)
    state: dict[str, Tensor] = field(default_factory=dict)
    updates: list[tuple[str, str]] = field(default_factory=list)

    def once(self, name: str, value: Expr) -> Expr:
        p = self.gradient.parameter
        return self._line(fresh(f"d_{p.name}_{name}", self.names), value)

    def old(self, name: str) -> Expr:
        if name not in self.state:
            p = self.gradient.parameter
            full = fresh(f"{p.name}.{name}", self.names)
            self.state[name] = Tensor(full, p.shape, p.dtype, "state")
        return self.state[name][tuple(r.index for r in self.gradient.ranges)]

    def new(self, name: str, value: Expr) -> Expr:
        return self.replaced(self.state[name].name, value)

    def replaced(self, owner: str, value: Expr) -> Expr:
        """The line whose value takes the place of the owner's at the end of the step."""
        name = fresh(f"{owner}_next", self.names)
        self.updates.append((owner, name))
        return self._line(name, value)

    def _line(self, name: str, body: Expr) -> Expr:
        p = self.gradient.parameter
        made = Definition(
            name, p.dtype, self.gradient.ranges, body, origin=p.origin, note=self.note
        )
        self.made.append(made)
        return made.access()


def _clipped(lines: _Lines, hyper: Mapping[str, Expr]) -> Expr:
    """The gradient's element within its bounds."""
    element = lines.gradient.element
    if "gradient_scale" not in hyper and CLIP_VALUE not in hyper:
        return element
    body = element * hyper.get("gradient_scale", sympy.S.One)
    if CLIP_VALUE in hyper:
        bound = hyper[CLIP_VALUE]
        body = sympy.Piecewise((bound, body > bound), (-bound, body < -bound), (body, True))
    return lines.once("clipped", body)


def _updated(
    program: Program,
    optimizer: Optimizer,
    gradient: _Gradient,
    hyper: Mapping[str, Expr],
    names: set[str],
) -> Program:
    """One parameter's update, in the index names of its gradient."""
    lines = _Lines(gradient, names, f"{optimizer.name} update")
    p = gradient.parameter
    before = p[tuple(r.index for r in gradient.ranges)]
    lines.replaced(p.name, optimizer.rule(before, _clipped(lines, hyper), lines, hyper))
    return replace(
        program,
        definitions=(*program.definitions, *lines.made),
        state=(*program.state, *lines.state.values()),
        updates=(*program.updates, *lines.updates),
    )
