"""`gw.compile` as an editor should know it: the module it returns is a `CompiledModel`.

A module has no class, so the compiler can only promise a `ModuleType`. That every generated module
has the names of the protocol is what the targets' tests check. Nothing is wrapped: it is the same
function.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, ParamSpec, cast

from compiler import driver

if TYPE_CHECKING:
    from gradwright.training.model import CompiledModel

P = ParamSpec("P")


def _of_a_model(function: Callable[P, ModuleType]) -> Callable[P, CompiledModel]:
    return cast("Callable[P, CompiledModel]", function)


compile = _of_a_model(driver.compile)
