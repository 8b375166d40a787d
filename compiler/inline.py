"""Put one network's program into the trace of another: what happens when a network is called.

Parameters keep their names and are shared; definitions get fresh names where theirs are taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from compiler.notation import Tensor
from compiler.trace import Trace
from ir.errors import Origin, ShapeError
from ir.expression import Access, tensor_symbol
from ir.program import Definition, Program
from ir.program import Tensor as Declared


def inlined(
    program: Program, arguments: Sequence[Tensor], trace: Trace, at: Origin | None
) -> SimpleNamespace:
    """The program's outputs (and loss) as tensors of the open trace."""
    names = _inputs(program, arguments, at)
    if program.batch is not None:
        trace.size(program.batch.symbol.name, at)
    for parameter in program.parameters:
        _share(parameter, trace, at)
        names[parameter.name] = parameter.name
    groups: dict[str, str] = {}
    for d in program.definitions:
        names[d.name] = trace.fresh(d.name)
        if d.scan is not None:
            groups.setdefault(d.scan.group, names[d.name])
    for d in program.definitions:
        made = _renamed(d, names, groups, program)
        trace.definitions[made.name] = made
        if d.name in program.limits:
            trace.limits[made.name] = program.limits[d.name]
    for inner, limit in program.limits.items():
        name = names.get(inner, inner)
        trace.limits[name] = min(limit, trace.limits.get(name, limit))
    outputs = {public: _handle(trace, names[n]) for public, n in program.outputs}
    if program.loss is not None:
        outputs["loss"] = _handle(trace, names[program.loss])
    return SimpleNamespace(**outputs)


def _inputs(program: Program, arguments: Sequence[Tensor], at: Origin | None) -> dict[str, str]:
    if len(arguments) != len(program.inputs):
        raise ShapeError(
            f"{program.name} takes {len(program.inputs)} inputs, got {len(arguments)}", at=at
        )
    for declared, given in zip(program.inputs, arguments, strict=True):
        if declared.shape != given.shape or declared.dtype != given.dtype:
            raise ShapeError(
                f"{program.name} needs {declared.name} of "
                f"{declared.dtype}{list(declared.shape)}, got {given!r}",
                at=at,
            )
    return {d.name: g.name for d, g in zip(program.inputs, arguments, strict=True)}


def _share(parameter: Declared, trace: Trace, at: Origin | None) -> None:
    known = trace.tensors.get(parameter.name)
    if known is None:
        trace.claim(parameter.name, "parameter", at)
        trace.tensors[parameter.name] = parameter
    elif known.shape != parameter.shape or known.role != "parameter":
        raise ShapeError(
            f"parameter {parameter.name} is {known.shape} here and {parameter.shape} there", at=at
        )


def _renamed(
    d: Definition, names: dict[str, str], groups: dict[str, str], program: Program
) -> Definition:
    def replaced(node: Any) -> Any:
        if isinstance(node, Access):
            symbol = tensor_symbol(names[node.tensor], program.dtype_of(node.tensor))
            return Access(symbol, *(replaced(e) for e in node.indices))
        if not node.args:
            return node
        return node.func(*(replaced(a) for a in node.args))

    return replace(
        d,
        name=names[d.name],
        body=replaced(d.body),
        where=tuple(replaced(c) for c in d.where),
        target=tuple(replaced(e) for e in d.target),
        scan=d.scan and replace(d.scan, group=groups[d.scan.group]),
    )


def _handle(trace: Trace, name: str) -> Tensor:
    made = trace.definitions[name]
    return Tensor(name, made.shape, made.dtype)
