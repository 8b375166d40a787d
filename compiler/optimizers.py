"""Optimizers: one line of index notation for each tensor they keep, fused into the gradient's loop.

    gw.sgd(lr=0.1)                          p - lr*g
    gw.momentum(lr=0.1, momentum=0.9)       v = momentum*v + g;  p - lr*v

An optimizer is an `Optimizer`: its hyperparameters, which are passed at run time under their names with
these defaults, the state it keeps for each parameter, and the new values as SymPy expressions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from sympy import Expr

from ir.errors import GradwrightError

Rule: TypeAlias = Callable[[Expr, Expr, Mapping[str, Expr], Mapping[str, Expr]], Mapping[str, Expr]]


@dataclass(frozen=True)
class Optimizer:
    """`rule(p, g, state, hyper)` gives the new value of "p" and of every state, element by element."""

    name: str
    hyper: tuple[tuple[str, float], ...]
    state: tuple[str, ...]
    rule: Rule


def sgd(lr: float) -> Optimizer:
    """Gradient descent: p - lr * g."""
    return Optimizer(
        "SGD", (("lr", _positive("lr", lr)),), (), lambda p, g, s, h: {"p": p - h["lr"] * g}
    )


def momentum(lr: float, momentum: float = 0.9) -> Optimizer:
    """Gradient descent with momentum, as torch.optim.SGD: v = momentum * v + g, then p - lr * v."""

    def rule(p: Expr, g: Expr, s: Mapping[str, Expr], h: Mapping[str, Expr]) -> Mapping[str, Expr]:
        velocity = h["momentum"] * s["velocity"] + g
        return {"velocity": velocity, "p": p - h["lr"] * velocity}

    hyper = (("lr", _positive("lr", lr)), ("momentum", float(momentum)))
    return Optimizer("SGD with momentum", hyper, ("velocity",), rule)


OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {"sgd": sgd, "momentum": momentum}


def optimizer(name: str, **hyper: float) -> Optimizer:
    """An optimizer by name, as the command line takes it: `gw.optimizer("sgd", lr=0.1)`."""
    if name not in OPTIMIZERS:
        raise GradwrightError(
            f"no optimizer {name!r}", notes=(f"there are {', '.join(OPTIMIZERS)}",)
        )
    return OPTIMIZERS[name](**hyper)


def _positive(name: str, value: float) -> float:
    if not float(value) > 0:
        raise GradwrightError(f"{name} must be positive, got {value!r}")
    return float(value)
