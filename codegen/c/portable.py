"""What the portable build cannot promise, refused on the user's line before anything is written.

    refuse(module)      raises InputError if a definition calls sin, for which libm differs

The portable build has the same bits on every machine: exp, log, tanh, erf and powers are emitted
with the module (math.c.jinja), roots are exact by IEEE 754, and any other function would be that of
the machine's libm. This file knows names of functions only; flags are in assemble.py.
"""

from __future__ import annotations

import sympy

from codegen.c.scalars import FUNCTIONS, PORTABLE
from ir.errors import InputError
from ir.kernel import Module, Schedule
from ir.program import Definition


def refuse(module: Module) -> None:
    """An `InputError` at the first line that needs a function of the machine's libm."""
    for schedule in (module.forward, module.gradient, module.step):
        for definition in _definitions(schedule):
            for name in _functions(definition.body):
                if name in FUNCTIONS and name not in PORTABLE:
                    raise InputError(
                        f"the portable build has no {name}() whose bits are the same everywhere",
                        at=definition.origin,
                        notes=(f"it has {', '.join(sorted(PORTABLE))}",),
                        fix="compile without portable, or write it with those functions",
                    )


def _definitions(schedule: Schedule | None) -> tuple[Definition, ...]:
    return tuple(schedule.program.definitions) if schedule else ()


def _functions(body: sympy.Expr) -> list[str]:
    return sorted(type(node).__name__ for node in sympy.preorder_traversal(body) if node.args)
