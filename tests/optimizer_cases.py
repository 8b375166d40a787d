"""Optimizers with their options: ours, and the plain arithmetic that one parameter goes through.

for t in 1, 2, …: p = plain(p, g, memory, t)        with memory a dict that is empty at first
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import gradwright as gw

Plain = Callable[[np.ndarray, np.ndarray, dict[str, Any], int], np.ndarray]


@dataclass(frozen=True, slots=True)
class Case:
    """`torch` names a class of torch.optim, with keywords `options`; `clip` is done before it."""

    ours: gw.Optimizer
    plain: Plain
    torch: str
    options: dict[str, Any]
    clip: dict[str, float] = field(default_factory=dict)


def sgd(momentum: float = 0.0, dampening: float = 0.0, nesterov: bool = False) -> Plain:
    def plain(p: np.ndarray, g: np.ndarray, memory: dict[str, Any], t: int) -> np.ndarray:
        if not momentum:
            return p - 0.1 * g
        v = momentum * memory["v"] + (1 - dampening) * g if t > 1 else g
        memory["v"] = v
        return p - 0.1 * (g + momentum * v if nesterov else v)

    return plain


def decayed(rule: Plain, rate: float) -> Plain:
    return lambda p, g, memory, t: rule(p, g + rate * p, memory, t)


def climbing(rule: Plain) -> Plain:
    return lambda p, g, memory, t: rule(p, -g, memory, t)


def rmsprop(momentum: float = 0.0, centered: bool = False) -> Plain:
    def plain(p: np.ndarray, g: np.ndarray, memory: dict[str, Any], t: int) -> np.ndarray:
        s = memory["s"] = 0.99 * memory.get("s", 0) + 0.01 * g * g
        m = memory["m"] = 0.99 * memory.get("m", 0) + 0.01 * g
        step = g / (np.sqrt(s - m * m if centered else s) + 1e-8)
        step = memory["v"] = momentum * memory.get("v", 0) + step
        return p - 0.01 * step

    return plain


def adagrad(lr_decay: float = 0.0, start: float = 0.0) -> Plain:
    def plain(p: np.ndarray, g: np.ndarray, memory: dict[str, Any], t: int) -> np.ndarray:
        s = memory["s"] = memory.get("s", start) + g * g
        return p - 0.05 / (1 + (t - 1) * lr_decay) * g / (np.sqrt(s) + 1e-10)

    return plain


def adam(
    lr: float = 1e-3, b1: float = 0.9, b2: float = 0.999, largest: bool = False, apart: float = 0
) -> Plain:
    def plain(p: np.ndarray, g: np.ndarray, memory: dict[str, Any], t: int) -> np.ndarray:
        m = memory["m"] = b1 * memory.get("m", 0) + (1 - b1) * g
        v = memory["v"] = b2 * memory.get("v", 0) + (1 - b2) * g * g
        if largest:
            v = memory["top"] = np.maximum(v, memory.get("top", 0))
        step = m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + 1e-8)
        return p * (1 - lr * apart) - lr * step

    return plain


CASES = {
    "sgd": Case(gw.sgd(0.1), sgd(), "SGD", {"lr": 0.1}),
    "sgd_weight_decay": Case(
        gw.sgd(0.1, weight_decay=0.01),
        decayed(sgd(), 0.01),
        "SGD",
        {"lr": 0.1, "weight_decay": 0.01},
    ),
    "momentum": Case(gw.momentum(0.1), sgd(0.9), "SGD", {"lr": 0.1, "momentum": 0.9}),
    "momentum_dampening": Case(
        gw.sgd(0.1, momentum=0.8, dampening=0.3),
        sgd(0.8, 0.3),
        "SGD",
        {"lr": 0.1, "momentum": 0.8, "dampening": 0.3},
    ),
    "nesterov": Case(
        gw.sgd(0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
        decayed(sgd(0.9, nesterov=True), 0.01),
        "SGD",
        {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
    ),
    "rmsprop": Case(gw.rmsprop(), rmsprop(), "RMSprop", {}),
    "rmsprop_centered": Case(
        gw.rmsprop(centered=True, momentum=0.5),
        rmsprop(0.5, centered=True),
        "RMSprop",
        {"centered": True, "momentum": 0.5},
    ),
    "adagrad": Case(gw.adagrad(0.05), adagrad(), "Adagrad", {"lr": 0.05}),
    "adagrad_options": Case(
        gw.adagrad(0.05, lr_decay=0.1, initial_accumulator_value=0.2, weight_decay=0.01),
        decayed(adagrad(0.1, 0.2), 0.01),
        "Adagrad",
        {"lr": 0.05, "lr_decay": 0.1, "initial_accumulator_value": 0.2, "weight_decay": 0.01},
    ),
    "adam": Case(gw.adam(), adam(), "Adam", {}),
    "adam_options": Case(
        gw.adam(0.01, betas=(0.8, 0.9), weight_decay=0.01, amsgrad=True),
        decayed(adam(0.01, 0.8, 0.9, largest=True), 0.01),
        "Adam",
        {"lr": 0.01, "betas": (0.8, 0.9), "weight_decay": 0.01, "amsgrad": True},
    ),
    "adamw": Case(gw.adamw(0.01), adam(0.01, apart=0.01), "AdamW", {"lr": 0.01}),
    "sgd_maximize": Case(
        gw.sgd(0.1, momentum=0.5, weight_decay=0.01, maximize=True),
        climbing(decayed(sgd(0.5), 0.01)),
        "SGD",
        {"lr": 0.1, "momentum": 0.5, "weight_decay": 0.01, "maximize": True},
    ),
    "rmsprop_maximize": Case(
        gw.rmsprop(maximize=True), climbing(rmsprop()), "RMSprop", {"maximize": True}
    ),
    "adagrad_maximize": Case(
        gw.adagrad(0.05, maximize=True),
        climbing(adagrad()),
        "Adagrad",
        {"lr": 0.05, "maximize": True},
    ),
    "adamw_maximize": Case(
        gw.adamw(0.01, maximize=True),
        climbing(adam(0.01, apart=0.01)),
        "AdamW",
        {"lr": 0.01, "maximize": True},
    ),
    "adam_decoupled": Case(
        gw.adam(0.01, weight_decay=0.1, decoupled_weight_decay=True),
        adam(0.01, apart=0.1),
        "Adam",
        {"lr": 0.01, "weight_decay": 0.1, "decoupled_weight_decay": True},
    ),
    "sgd_clip_norm": Case(
        gw.sgd(0.1, clip_norm=0.3), sgd(), "SGD", {"lr": 0.1}, {"clip_norm": 0.3}
    ),
    "adam_clip_both": Case(
        gw.adam(0.01, clip_norm=0.3, clip_value=0.05),
        adam(0.01),
        "Adam",
        {"lr": 0.01},
        {"clip_norm": 0.3, "clip_value": 0.05},
    ),
    "momentum_clip_value": Case(
        gw.momentum(0.1, clip_value=0.05),
        sgd(0.9),
        "SGD",
        {"lr": 0.1, "momentum": 0.9},
        {"clip_value": 0.05},
    ),
}


def clipped(grads: dict[str, np.ndarray], clip: dict[str, float]) -> dict[str, np.ndarray]:
    """The norm over all gradients first, then each element."""
    norm = np.sqrt(sum(float(np.sum(g * g)) for g in grads.values()))
    scale = min(1.0, clip["clip_norm"] / (norm + 1e-6)) if "clip_norm" in clip else 1.0
    bound = clip.get("clip_value", np.inf)
    return {name: np.clip(scale * g, -bound, bound) for name, g in grads.items()}


@gw.network
def twolayers(x: gw.f64["batch", 4], label: gw.i32["batch"]):
    h = gw.tanh(gw.dense(x, 5, name="fc1"))
    logits = gw.dense(h, 3, name="fc2")
    return gw.outputs(loss=gw.cross_entropy(logits, label), logits=logits)


def numbers(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Six rows with labels, far enough apart that gradients reach the clipping bounds."""
    rng = np.random.default_rng(seed)
    return 2 * rng.normal(size=(6, 4)), rng.integers(0, 3, 6, dtype=np.int32)
