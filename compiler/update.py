"""Parameter updates as definitions, so that they are scheduled and fused with everything else.

fc1.W_next[k, j] = fc1.W[k, j] - lr[]*d_fc1.W[k, j]
"""

from __future__ import annotations

from dataclasses import replace

from sympy import Expr

from compiler.optimizers import Optimizer
from ir.expression import index_symbol
from ir.names import fresh
from ir.program import Definition, Program, Range, Tensor


def update(program: Program, optimizer: Optimizer) -> Program:
    """The program with an update of every parameter that has a gradient, and the state that this keeps."""
    real = program.parameters[0].dtype
    names = set(program.tensors()) | set(program.by_name())
    scalars = tuple((Tensor(fresh(n, names), (), real, "scalar"), v) for n, v in optimizer.hyper)
    hyper = {n: t[()] for (n, _), (t, _) in zip(optimizer.hyper, scalars, strict=True)}
    program = replace(program, scalars=program.scalars + scalars)
    for parameter, gradient in program.gradients:
        program = _updated(program, optimizer, parameter, gradient, hyper, names)
    return _counted(program, names)


def _counted(program: Program, names: set[str]) -> Program:
    """The step counter, where there is one, goes up by one."""
    step = next((t for t in program.state if t.name == "step"), None)
    if step is None:
        return program
    made = Definition(fresh("step_next", names), "int64", (), step[()] + 1, note="steps taken")
    return replace(
        program,
        definitions=(*program.definitions, made),
        updates=(*program.updates, ("step", made.name)),
    )


def _updated(
    program: Program,
    optimizer: Optimizer,
    parameter: str,
    gradient: str,
    hyper: dict[str, Expr],
    names: set[str],
) -> Program:
    """One parameter's update, in the index names of its gradient."""
    p, g = program.tensors()[parameter], program.definition(gradient)
    ranges = (
        g.indices
        if g.reduce != "scatter"
        else tuple(Range(index_symbol(f"i{d}"), s) for d, s in enumerate(p.shape))
    )
    at = tuple(r.index for r in ranges)
    state = {
        s: Tensor(fresh(f"{parameter}.{s}", names), p.shape, p.dtype, "state")
        for s in optimizer.state
    }
    element = replace(g, indices=ranges, reduce=None, target=()).access()
    values = optimizer.rule(p[at], element, {s: t[at] for s, t in state.items()}, hyper)
    made, updates = [], []
    owners = {"p": parameter, **{s: t.name for s, t in state.items()}}
    for key, body in values.items():
        name = fresh(f"{owners[key]}_next", names)
        made.append(
            Definition(
                name, p.dtype, ranges, body, origin=p.origin, note=f"{optimizer.name} update"
            )
        )
        updates.append((owners[key], name))
    return replace(
        program,
        definitions=(*program.definitions, *made),
        state=(*program.state, *state.values()),
        updates=(*program.updates, *updates),
    )
