"""Parameters that do not train: the backward pass is pruned to what the others need.

    gw.compile(network, freeze=("embedding", "fc1.W"))      # a layer, or one parameter
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from ir.errors import InputError, InvalidNameError
from ir.program import Program


def freeze(program: Program, names: Collection[str]) -> Program:
    """The program with these parameters fixed: they have no gradient, no update and no state.

    Raises InvalidNameError for a name that nothing has, InputError if nothing is left to train.
    """
    given = (names,) if isinstance(names, str) else tuple(names)
    known = [p.name for p in program.parameters]
    for name in given:
        if not any(_covers(name, k) for k in known):
            raise InvalidNameError(
                f"freeze: {program.name} has no parameter or layer {name!r}",
                notes=(f"its parameters: {', '.join(known) or 'none'}",),
            )
    left = tuple(
        replace(p, trainable=p.trainable and not any(_covers(n, p.name) for n in given))
        for p in program.parameters
    )
    if given and not any(p.trainable for p in left):
        raise InputError(f"freeze leaves {program.name} nothing to train")
    return replace(program, parameters=left)


def _covers(name: str, parameter: str) -> bool:
    return parameter == name or parameter.startswith(f"{name}.")
