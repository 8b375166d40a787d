"""Optimizers: one line of index notation for each tensor they keep, fused into the gradient's loop.

    gw.sgd(lr=0.1)                          p - lr*g
    gw.momentum(lr=0.1)                     v = momentum*v + g;  p - lr*v
    gw.adamw(lr=3e-4, clip_norm=1.0)        with the norm over all gradients brought to at most 1

Names, defaults and formulas are those of torch.optim. Every number is passed at run time under its
name, with what is given here as its default; an option that is left at 0 is not compiled in at all.
`clip_norm` and `clip_value` bound the gradients before anything else, the norm first. With
`maximize` the loss is climbed instead of descended.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import sympy
from sympy import Expr

from ir.errors import InputError

Values: TypeAlias = Mapping[str, Expr]


class State(Protocol):
    """What an optimizer keeps of one parameter: its elements before the step, and after it."""

    def old(self, name: str) -> Expr: ...
    def new(self, name: str, value: Expr) -> Expr:
        """Keep a value for the next step; what is returned reads it."""

    def once(self, name: str, value: Expr) -> Expr:
        """Compute a value once that the rule reads more often."""


Rule: TypeAlias = Callable[[Expr, Expr, State, Values], Expr]
PerStep: TypeAlias = Callable[[Values, Expr], Values]

CLIP_NORM, CLIP_VALUE = "clip_norm", "clip_value"


@dataclass(frozen=True)
class Optimizer:
    """`rule(p, g, state, hyper)` keeps the new state and gives the new p, element by element.

    `per_step(hyper, t)` gives scalars that a step computes once, with t = 1, 2, … its number; the
    rule finds them among its hyperparameters. Without it, steps are not counted.
    """

    name: str
    hyper: tuple[tuple[str, float], ...]
    rule: Rule
    per_step: PerStep | None = None


def sgd(
    lr: float,
    momentum: float = 0.0,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    nesterov: bool = False,
    *,
    maximize: bool = False,
    clip_value: float = 0.0,
    clip_norm: float = 0.0,
) -> Optimizer:
    """Gradient descent: p - lr g; with momentum v = momentum v + (1 - dampening) g, then p - lr v.

    Nesterov's takes the step g + momentum v instead. The first v is g. Raises InputError.
    """
    if nesterov and (not momentum or dampening):
        raise InputError("Nesterov's step needs a momentum and no dampening")
    hyper = _numbers(
        lr=lr, momentum=momentum, dampening=dampening if momentum else 0.0,
        weight_decay=weight_decay, clip_norm=clip_norm, clip_value=clip_value,
    )  # fmt: skip

    def rule(p: Expr, g: Expr, s: State, h: Values) -> Expr:
        g = _decayed(p, g, s, h)
        if "momentum" not in h:
            return p - h["lr"] * g
        v = h["momentum"] * s.old("velocity") + h.get("share", sympy.S.One) * g
        v = s.new("velocity", v)
        return p - h["lr"] * (g + h["momentum"] * v if nesterov else v)

    def per_step(h: Values, t: Expr) -> Values:
        return {"share": sympy.Piecewise((1, t <= 1), (1 - h["dampening"], True))}

    name = "SGD" + (" with Nesterov momentum" if nesterov else " with momentum" * bool(momentum))
    counted = per_step if "dampening" in dict(hyper) else None
    return Optimizer(name, hyper, _upwards(rule, maximize), counted)


def momentum(lr: float, momentum: float = 0.9, **options: float) -> Optimizer:
    """Gradient descent with momentum: `sgd` with its option, and with its other options."""
    return sgd(lr, _positive("momentum", momentum), **options)  # type: ignore[arg-type]


def rmsprop(
    lr: float = 0.01,
    alpha: float = 0.99,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    momentum: float = 0.0,
    centered: bool = False,
    *,
    maximize: bool = False,
    clip_value: float = 0.0,
    clip_norm: float = 0.0,
) -> Optimizer:
    """s = alpha s + (1 - alpha) g**2, then p - lr g / (sqrt(s) + eps); centered: minus mean**2."""
    hyper = _numbers(
        {"alpha", "eps"}, lr=lr, alpha=alpha, eps=eps, weight_decay=weight_decay,
        momentum=momentum, clip_norm=clip_norm, clip_value=clip_value,
    )  # fmt: skip

    def rule(p: Expr, g: Expr, s: State, h: Values) -> Expr:
        g = _decayed(p, g, s, h)
        alpha = h["alpha"]
        spread = s.new("square", alpha * s.old("square") + (1 - alpha) * g**2)
        if centered:
            spread -= s.new("mean", alpha * s.old("mean") + (1 - alpha) * g) ** 2
        step = g / (sympy.sqrt(spread) + h["eps"])
        if "momentum" in h:
            step = s.new("velocity", h["momentum"] * s.old("velocity") + step)
        return p - h["lr"] * step

    name = "centered RMSProp" if centered else "RMSProp"
    return Optimizer(name, hyper, _upwards(rule, maximize))


def adagrad(
    lr: float = 0.01,
    lr_decay: float = 0.0,
    weight_decay: float = 0.0,
    initial_accumulator_value: float = 0.0,
    eps: float = 1e-10,
    *,
    maximize: bool = False,
    clip_value: float = 0.0,
    clip_norm: float = 0.0,
) -> Optimizer:
    """s = s + g**2, then p - lr g / (sqrt(s) + eps), with lr divided by 1 + (t - 1) lr_decay.

    The state starts at 0; what it should start at is added where it is read.
    """
    hyper = _numbers(
        {"eps"}, lr=lr, lr_decay=lr_decay, weight_decay=weight_decay,
        initial_accumulator_value=initial_accumulator_value, eps=eps,
        clip_norm=clip_norm, clip_value=clip_value,
    )  # fmt: skip

    def rule(p: Expr, g: Expr, s: State, h: Values) -> Expr:
        g = _decayed(p, g, s, h)
        start = h.get("initial_accumulator_value", sympy.S.Zero)
        total = s.new("total", s.old("total") + g**2) + start
        return p - h.get("rate", h["lr"]) * g / (sympy.sqrt(total) + h["eps"])

    def per_step(h: Values, t: Expr) -> Values:
        return {"rate": h["lr"] / (1 + (t - 1) * h["lr_decay"])}

    return Optimizer("Adagrad", hyper, _upwards(rule, maximize), per_step if lr_decay else None)


def adam(
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    amsgrad: bool = False,
    *,
    maximize: bool = False,
    decoupled_weight_decay: bool = False,
    clip_value: float = 0.0,
    clip_norm: float = 0.0,
) -> Optimizer:
    """m, v: moving means of g and g**2; then p - lr m' / (sqrt(v') + eps), m' and v' unbiased.

    Kingma and Ba, 2015, algorithm 1. `weight_decay` adds to the gradient, or decoupled stands apart
    as in `adamw`; `amsgrad` takes the largest v so far.
    """
    apart = decoupled_weight_decay
    return _adam(lr, betas, eps, weight_decay, amsgrad, apart, maximize, clip_value, clip_norm)


def adamw(
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 1e-2,
    amsgrad: bool = False,
    *,
    maximize: bool = False,
    clip_value: float = 0.0,
    clip_norm: float = 0.0,
) -> Optimizer:
    """Adam whose weight decay stands apart: p (1 - lr weight_decay), then Adam's step.

    Loshchilov and Hutter, 2019, algorithm 2.
    """
    return _adam(lr, betas, eps, weight_decay, amsgrad, True, maximize, clip_value, clip_norm)


def _adam(
    lr: float,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
    amsgrad: bool,
    apart: bool,
    maximize: bool,
    clip_value: float,
    clip_norm: float,
) -> Optimizer:
    first, second = betas
    hyper = _numbers(
        {"beta1", "beta2", "eps"}, lr=lr, beta1=first, beta2=second, eps=eps,
        weight_decay=weight_decay, clip_norm=clip_norm, clip_value=clip_value,
    )  # fmt: skip

    def per_step(h: Values, t: Expr) -> Values:
        unbiased = sympy.sqrt(1 - h["beta2"] ** t)
        return {"step_size": h["lr"] / (1 - h["beta1"] ** t), "unbiased": unbiased}

    def rule(p: Expr, g: Expr, s: State, h: Values) -> Expr:
        if apart and "weight_decay" in h:
            p = p * (1 - h["lr"] * h["weight_decay"])
        elif not apart:
            g = _decayed(p, g, s, h)
        m = s.new("m", h["beta1"] * s.old("m") + (1 - h["beta1"]) * g)
        v = s.new("v", h["beta2"] * s.old("v") + (1 - h["beta2"]) * g**2)
        if amsgrad:
            before = s.old("largest")
            v = s.new("largest", sympy.Piecewise((v, v > before), (before, True)))
        return p - h["step_size"] * m / (sympy.sqrt(v) / h["unbiased"] + h["eps"])

    name = ("AdamW" if apart else "Adam") + (" with the largest v" if amsgrad else "")
    return Optimizer(name, hyper, _upwards(rule, maximize), per_step)


OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "sgd": sgd,
    "momentum": momentum,
    "rmsprop": rmsprop,
    "adagrad": adagrad,
    "adam": adam,
    "adamw": adamw,
}


def optimizer(name: str, **hyper: float) -> Optimizer:
    """An optimizer by name, as the command line takes it: `gw.optimizer("sgd", lr=0.1)`."""
    if not isinstance(name, str) or name not in OPTIMIZERS:
        raise InputError(f"no optimizer {name!r}", notes=(f"there are {', '.join(OPTIMIZERS)}",))
    return OPTIMIZERS[name](**hyper)


def _upwards(rule: Rule, maximize: bool) -> Rule:
    """The same rule for -g, which climbs."""
    return (lambda p, g, s, h: rule(p, -g, s, h)) if maximize else rule


def _decayed(p: Expr, g: Expr, s: State, h: Values) -> Expr:
    return s.once("decayed", g + h["weight_decay"] * p) if "weight_decay" in h else g


def _numbers(
    always: frozenset[str] | set[str] = frozenset(), **given: float
) -> tuple[tuple[str, float], ...]:
    """The hyperparameters by name, those that are 0 left out. Raises InputError for a bad one."""
    _positive("lr", given["lr"])
    for name, value in given.items():
        if not (isinstance(value, (int, float)) and math.isfinite(value) and value >= 0):
            raise InputError(f"{name} must be a number of at least 0, got {value!r}")
        if name in ("alpha", "beta1", "beta2") and value >= 1:
            raise InputError(f"{name} must be below 1, got {value!r}")
    return tuple((n, float(v)) for n, v in given.items() if v or n in always)


def _positive(name: str, value: float) -> float:
    if not float(value) > 0:
        raise InputError(f"{name} must be positive, got {value!r}")
    return float(value)
