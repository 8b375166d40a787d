"""Activations and losses with their options: one table, read by gradwright, by NumPy and by torch.

    network = bundle(ACTIVATIONS)       # one network with an output, a parameter and a term a case

A case reads `t.h`, an operand times the case's own parameter, and what it needs of INPUTS. Each
output is multiplied by fixed numbers and summed, so that no two elements have the same cotangent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import sympy

import gradwright as gw

ROWS, CLASSES, PLACES = 4, 5, 3
FAR = -100


@dataclass(frozen=True, slots=True)
class Case:
    """An op as we say it, the same in NumPy, and which input it is applied to."""

    ours: Callable[[Any], gw.Tensor]
    plain: Callable[[Any], Any]
    operand: str = "x"


INPUTS = {
    "x": gw.f64["batch", CLASSES],
    "y": gw.f64["batch", CLASSES],
    "u": gw.f64["batch", CLASSES],
    "sign": gw.f64["batch", CLASSES],
    "row_sign": gw.f64["batch"],
    "label": gw.i32["batch"],
    "far_label": gw.i32["batch"],
    "z": gw.f64["batch", CLASSES, PLACES],
    "labels": gw.i32["batch", PLACES],
    "w": gw.f64[CLASSES],
}


def arrays(seed: int = 0) -> dict[str, np.ndarray]:
    """Numbers for INPUTS; one of the far labels is FAR, and no label is missing."""
    rng = np.random.default_rng(seed)
    far = rng.integers(0, CLASSES, ROWS, dtype=np.int32)
    far[1] = FAR
    return {
        "x": 2 * rng.normal(size=(ROWS, CLASSES)),
        "y": rng.normal(size=(ROWS, CLASSES)),
        "u": rng.normal(size=(ROWS, CLASSES)),
        "sign": rng.normal(size=(ROWS, CLASSES)),
        "row_sign": np.array([0.3, -2.0, -1.0, 1.0]),
        "label": np.array([3, 0, 2, 0], np.int32),
        "far_label": far,
        "z": 2 * rng.normal(size=(ROWS, CLASSES, PLACES)),
        "labels": rng.integers(0, CLASSES, (ROWS, PLACES), dtype=np.int32),
        "w": rng.normal(size=CLASSES),
    }


def parameters(cases: Mapping[str, Case], seed: int = 1) -> dict[str, np.ndarray]:
    """One parameter a case, between 0.5 and 1: times a probability it is a probability."""
    rng = np.random.default_rng(seed)
    given = arrays()
    return {name: rng.uniform(0.5, 1.0, given[c.operand].shape[1:]) for name, c in cases.items()}


def cotangent(shape: tuple[int, ...]) -> np.ndarray:
    """cos(1 + position), row-major."""
    return np.cos(1.0 + np.arange(math.prod(shape))).reshape(shape)


def bundle(cases: Mapping[str, Case], name: str) -> gw.Network:
    """All cases as one network: `name` is an output, and its parameter."""

    def body(*given: gw.Tensor) -> Any:
        t = _within(SimpleNamespace(**dict(zip(INPUTS, given, strict=True))))
        made, total = {}, sympy.S.Zero
        own = {n: getattr(t, case.operand) for n, case in cases.items()}
        params = {n: gw.param(n, x.shape[1:], gw.uniform(0.5, 1.0)) for n, x in own.items()}
        for case_name, case in cases.items():
            t.h = gw.mul(own[case_name], params[case_name])
            made[f"{case_name}_out"] = out = case.ours(t)
            total += _weighted(out)
        loss = gw.define((), total, name="total")
        return gw.outputs(loss=loss, **made)

    body.__name__ = name
    body.__annotations__ = dict(INPUTS)
    body.__signature__ = _signature()  # type: ignore[attr-defined]
    return gw.network(body)


def _within(t: Any) -> Any:
    """Whatever numbers are given: probabilities, positive weights, and signs of 1 and -1."""
    t.u = gw.sigmoid(t.u, name="probability")
    t.w = gw.softplus(t.w, name="class_weight")
    for name in ("sign", "row_sign"):
        raw = getattr(t, name)
        at = tuple(gw.index(f"a{d}", size) for d, size in enumerate(raw.shape))
        chosen = sympy.Piecewise((1, raw[at] > 0), (-1, True))
        setattr(t, name, gw.define(at, chosen, name=f"{name}_of_1"))
    return t


def _signature() -> Any:
    import inspect

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    return inspect.Signature([inspect.Parameter(name, kind) for name in INPUTS])


def _weighted(out: gw.Tensor) -> Any:
    """sum of out * cotangent, row-major; with a symbolic batch, too."""
    loops = [gw.index(f"a{d}", size) for d, size in enumerate(out.shape)]
    position = sympy.S.Zero
    for loop, size in zip(loops, out.shape, strict=True):
        position = position * size + loop
    term = out[tuple(loops)] * sympy.cos(1 + position)
    return gw.sum(term, over=loops) if loops else term


def within(given: Mapping[str, Any], xp: Any = np) -> dict[str, Any]:
    """The same numbers as a case reads them, in NumPy or in torch."""
    return {
        **given,
        "u": 1 / (1 + xp.exp(-given["u"])),
        "w": xp.log1p(xp.exp(given["w"])),
        "sign": xp.sign(given["sign"]),
        "row_sign": xp.sign(given["row_sign"]),
    }


def expected(cases: Mapping[str, Case], name: str) -> Any:
    """A case's output in NumPy, for `arrays()` and `parameters(cases)`."""
    given = within(arrays())
    case = cases[name]
    h = given[case.operand] * parameters(cases)[name]
    return case.plain(SimpleNamespace(**given, h=h))


# ---------------------------------------------------------------- activations


def normal_cdf(x: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def np_sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def np_elu(x: np.ndarray, scale: float = 1.0, width: float = 1.0) -> np.ndarray:
    return np.where(x > 0, x, scale * np.expm1(x / width))


def np_lse(x: np.ndarray, axis: int, keepdims: bool = False) -> np.ndarray:
    return np.log(np.exp(x).sum(axis=axis, keepdims=keepdims))


def np_gelu_tanh(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


ALPHA, SCALE = 1.6732632423543772, 1.0507009873554805

ACTIVATIONS = {
    "relu": Case(lambda t: gw.relu(t.h), lambda a: np.maximum(a.h, 0)),
    "relu6": Case(lambda t: gw.relu6(gw.mul(t.h, 4)), lambda a: np.clip(4 * a.h, 0, 6)),
    "leaky_relu": Case(
        lambda t: gw.leaky_relu(t.h), lambda a: np.where(a.h > 0, a.h, 0.01 * a.h)
    ),
    "leaky_relu_03": Case(
        lambda t: gw.leaky_relu(t.h, 0.3), lambda a: np.where(a.h > 0, a.h, 0.3 * a.h)
    ),
    "prelu": Case(
        lambda t: gw.prelu(t.h, name="one"), lambda a: np.where(a.h > 0, a.h, 0.25 * a.h)
    ),
    "prelu_of_channels": Case(
        lambda t: gw.prelu(t.h, CLASSES, init=0.1, name="many"),
        lambda a: np.where(a.h > 0, a.h, 0.1 * a.h),
        "z",
    ),
    "elu": Case(lambda t: gw.elu(t.h), lambda a: np_elu(a.h)),
    "elu_half": Case(lambda t: gw.elu(t.h, 0.5), lambda a: np_elu(a.h, 0.5)),
    "selu": Case(lambda t: gw.selu(t.h), lambda a: SCALE * np_elu(a.h, ALPHA)),
    "celu": Case(lambda t: gw.celu(t.h), lambda a: np_elu(a.h)),
    "celu_2": Case(lambda t: gw.celu(t.h, 2.0), lambda a: np_elu(a.h, 2.0, 2.0)),
    "gelu": Case(lambda t: gw.gelu(t.h), lambda a: a.h * normal_cdf(a.h)),
    "gelu_tanh": Case(
        lambda t: gw.gelu(t.h, approximate="tanh"), lambda a: np_gelu_tanh(a.h)
    ),
    "silu": Case(lambda t: gw.silu(t.h), lambda a: a.h * np_sigmoid(a.h)),
    "mish": Case(lambda t: gw.mish(t.h), lambda a: a.h * np.tanh(np.log1p(np.exp(a.h)))),
    "sigmoid": Case(lambda t: gw.sigmoid(t.h), lambda a: np_sigmoid(a.h)),
    "log_sigmoid": Case(lambda t: gw.log_sigmoid(t.h), lambda a: np.log(np_sigmoid(a.h))),
    "hardsigmoid": Case(
        lambda t: gw.hardsigmoid(gw.mul(t.h, 2)), lambda a: np.clip(2 * a.h + 3, 0, 6) / 6
    ),
    "hardswish": Case(
        lambda t: gw.hardswish(gw.mul(t.h, 2)),
        lambda a: 2 * a.h * np.clip(2 * a.h + 3, 0, 6) / 6,
    ),
    "tanh": Case(lambda t: gw.tanh(t.h), lambda a: np.tanh(a.h)),
    "softplus": Case(lambda t: gw.softplus(t.h), lambda a: np.log1p(np.exp(a.h))),
    "softplus_options": Case(
        lambda t: gw.softplus(t.h, beta=2.0, threshold=1.5),
        lambda a: np.where(2 * a.h > 1.5, a.h, np.log1p(np.exp(2 * a.h)) / 2),
    ),
    "softsign": Case(lambda t: gw.softsign(t.h), lambda a: a.h / (1 + np.abs(a.h))),
    "softmax": Case(
        lambda t: gw.softmax(t.h), lambda a: np.exp(a.h - np_lse(a.h, -1, keepdims=True))
    ),
    "softmax_of_axis_1": Case(
        lambda t: gw.softmax(t.h, axis=1),
        lambda a: np.exp(a.h - np_lse(a.h, 1, keepdims=True)),
        "z",
    ),
    "softmax_of_the_batch": Case(
        lambda t: gw.softmax(t.h, axis=0), lambda a: np.exp(a.h - np_lse(a.h, 0, keepdims=True))
    ),
    "log_softmax": Case(
        lambda t: gw.log_softmax(t.h, axis=1), lambda a: a.h - np_lse(a.h, 1, keepdims=True), "z"
    ),
    "logsumexp": Case(lambda t: gw.logsumexp(t.h), lambda a: np_lse(a.h, -1), "z"),
    "logsumexp_of_two_axes": Case(
        lambda t: gw.logsumexp(t.h, axis=(1, -1)),
        lambda a: np.log(np.exp(a.h).sum(axis=(1, 2))),
        "z",
    ),
    "logsumexp_of_two_axes_kept": Case(
        lambda t: gw.logsumexp(t.h, axis=(1, -1), keepdim=True),
        lambda a: np.log(np.exp(a.h).sum(axis=(1, 2), keepdims=True)),
        "z",
    ),
    "logsumexp_kept": Case(
        lambda t: gw.logsumexp(t.h, axis=1, keepdim=True),
        lambda a: np_lse(a.h, 1, keepdims=True),
        "z",
    ),
}  # fmt: skip


# ---------------------------------------------------------------- losses


def np_log_softmax(x: np.ndarray, axis: int = 1) -> np.ndarray:
    return x - np_lse(x, axis, keepdims=True)


def picked(log_p: np.ndarray, label: np.ndarray, weight: Any, s: float = 0.0) -> Any:
    """Each row's loss and weight; labels FAR count nothing."""
    kept = label != FAR
    at = np.where(kept, label, 0)
    w = np.ones(CLASSES) if weight is None else weight
    chosen = np.take_along_axis(log_p, at[:, None], 1)[:, 0] * w[at]
    spread = (log_p * w.reshape(-1, *(1,) * (log_p.ndim - 2))).sum(axis=1) / CLASSES
    return -np.where(kept, (1 - s) * chosen + s * spread, 0), np.where(kept, w[at], 0)


def np_nll(log_p: Any, label: Any, weight: Any = None, s: float = 0.0, how: str = "mean") -> Any:
    row, weights = picked(log_p, label, weight, s)
    return {"none": row, "sum": row.sum(), "mean": row.sum() / weights.sum()}[how]


def np_smooth(d: np.ndarray, beta: float) -> np.ndarray:
    return np.where(np.abs(d) < beta, d * d / (2 * beta), np.abs(d) - beta / 2)


def np_softplus(x: np.ndarray) -> np.ndarray:
    return np.logaddexp(0, x)


def np_cosine(a: np.ndarray, b: np.ndarray, axis: int = 1, least: float = 0.0) -> np.ndarray:
    return (a * b).sum(axis) / np.sqrt(((a * a).sum(axis) + least) * ((b * b).sum(axis) + least))


def columns(x: gw.Tensor) -> gw.Tensor:
    """The mean of each column."""
    n, j = (gw.index(name, size) for name, size in zip("nj", x.shape, strict=True))
    return gw.define((j,), gw.mean(x[n, j], over=n))


def np_bce(u: np.ndarray, y: np.ndarray) -> np.ndarray:
    return -(y * np.log(u) + (1 - y) * np.log(1 - u))


LOSSES = {
    "mse": Case(lambda t: gw.mse(t.h, t.y), lambda a: np.mean((a.h - a.y) ** 2)),
    "mse_sum": Case(
        lambda t: gw.mse(t.h, t.y, reduction="sum"), lambda a: np.sum((a.h - a.y) ** 2)
    ),
    "mse_none": Case(lambda t: gw.mse(t.h, t.y, "none"), lambda a: (a.h - a.y) ** 2),
    "mse_weighted": Case(
        lambda t: gw.mse(t.h, t.y, weight=t.u),
        lambda a: np.sum(a.u * (a.h - a.y) ** 2) / np.sum(a.u),
    ),
    "mse_weighted_sum": Case(
        lambda t: gw.mse(t.h, t.y, "sum", t.u), lambda a: np.sum(a.u * (a.h - a.y) ** 2)
    ),
    "rmse": Case(lambda t: gw.rmse(t.h, t.y), lambda a: np.sqrt(np.mean((a.h - a.y) ** 2))),
    "l1_loss": Case(lambda t: gw.l1_loss(t.h, t.y), lambda a: np.mean(np.abs(a.h - a.y))),
    "l1_loss_weighted": Case(
        lambda t: gw.l1_loss(t.h, t.y, weight=t.u),
        lambda a: np.sum(a.u * np.abs(a.h - a.y)) / np.sum(a.u),
    ),
    "l1_loss_weighted_none": Case(
        lambda t: gw.l1_loss(t.h, t.y, "none", t.u), lambda a: a.u * np.abs(a.h - a.y)
    ),
    "smooth_l1_loss": Case(
        lambda t: gw.smooth_l1_loss(t.h, t.y), lambda a: np.mean(np_smooth(a.h - a.y, 1.0))
    ),
    "smooth_l1_loss_half": Case(
        lambda t: gw.smooth_l1_loss(t.h, t.y, "sum", 0.5),
        lambda a: np.sum(np_smooth(a.h - a.y, 0.5)),
    ),
    "smooth_l1_loss_0": Case(
        lambda t: gw.smooth_l1_loss(t.h, t.y, beta=0), lambda a: np.mean(np.abs(a.h - a.y))
    ),
    "huber_loss": Case(
        lambda t: gw.huber_loss(t.h, t.y), lambda a: np.mean(np_smooth(a.h - a.y, 1.0))
    ),
    "huber_loss_2": Case(
        lambda t: gw.huber_loss(t.h, t.y, "none", 2.0), lambda a: 2 * np_smooth(a.h - a.y, 2.0)
    ),
    "huber_loss_weighted": Case(
        lambda t: gw.huber_loss(t.h, t.y, weight=t.u),
        lambda a: np.mean(a.u * np_smooth(a.h - a.y, 1.0)),
    ),
    "hinge_loss": Case(
        lambda t: gw.hinge_loss(t.h, t.sign), lambda a: np.mean(np.maximum(1 - a.sign * a.h, 0))
    ),
    "hinge_embedding_loss": Case(
        lambda t: gw.hinge_embedding_loss(t.h, t.sign, margin=2.0),
        lambda a: np.mean(np.where(a.sign > 0, a.h, np.maximum(2 - a.h, 0))),
    ),
    "bce": Case(lambda t: gw.bce(t.h, t.y), lambda a: np.mean(np_bce(a.h, a.y)), "u"),
    "bce_weighted": Case(
        lambda t: gw.bce(t.h, t.u, t.w, "sum"), lambda a: np.sum(a.w * np_bce(a.h, a.u)), "u"
    ),
    "bce_with_logits": Case(
        lambda t: gw.bce_with_logits(t.h, t.u),
        lambda a: np.mean(np_bce(np_sigmoid(a.h), a.u)),
    ),
    "bce_with_logits_weighted": Case(
        lambda t: gw.bce_with_logits(t.h, t.u, 0.5, "none", pos_weight=t.w),
        lambda a: 0.5 * (a.w * a.u * np_softplus(-a.h) + (1 - a.u) * np_softplus(a.h)),
    ),
    "kl_div": Case(
        lambda t: gw.kl_div(t.h, t.u), lambda a: np.mean(a.u * (np.log(a.u) - a.h))
    ),
    "kl_div_batchmean": Case(
        lambda t: gw.kl_div(t.h, t.u, "batchmean"),
        lambda a: np.sum(a.u * (np.log(a.u) - a.h)) / ROWS,
    ),
    "kl_div_log_target": Case(
        lambda t: gw.kl_div(t.h, t.y, "sum", log_target=True),
        lambda a: np.sum(np.exp(a.y) * (a.y - a.h)),
    ),
    "cosine_similarity": Case(
        lambda t: gw.cosine_similarity(t.h, t.y), lambda a: np_cosine(a.h, a.y)
    ),
    "cosine_similarity_last": Case(
        lambda t: gw.cosine_similarity(t.h, t.z, axis=-1), lambda a: np_cosine(a.h, a.z, 2), "z"
    ),
    "cosine_similarity_broadcast": Case(
        lambda t: gw.cosine_similarity(t.h, t.w, axis=-1),
        lambda a: np_cosine(a.h, np.broadcast_to(a.w, a.h.shape)),
    ),
    "cosine_embedding_loss_of_vectors": Case(
        lambda t: gw.cosine_embedding_loss(columns(t.h), t.w, gw.define((), -1), -0.5),
        lambda a: max(np_cosine(a.h.mean(0), a.w, 0, least=1e-12) + 0.5, 0),
    ),
    "cosine_embedding_loss": Case(
        lambda t: gw.cosine_embedding_loss(t.h, t.x, t.row_sign, margin=0.1),
        lambda a: np.mean(
            np.where(
                a.row_sign > 0,
                1 - np_cosine(a.h, a.x),
                np.maximum(np_cosine(a.h, a.x) - 0.1, 0),
            )
        ),
    ),
    "nll_loss": Case(
        lambda t: gw.nll_loss(t.h, t.label), lambda a: np_nll(a.h, a.label)
    ),
    "nll_loss_weighted": Case(
        lambda t: gw.nll_loss(t.h, t.far_label, t.w, ignore_index=FAR),
        lambda a: np_nll(a.h, a.far_label, a.w),
    ),
    "cross_entropy": Case(
        lambda t: gw.cross_entropy(t.h, t.label),
        lambda a: np_nll(np_log_softmax(a.h), a.label),
    ),
    "cross_entropy_sum": Case(
        lambda t: gw.cross_entropy(t.h, t.label, reduction="sum"),
        lambda a: np_nll(np_log_softmax(a.h), a.label, how="sum"),
    ),
    "cross_entropy_weighted": Case(
        lambda t: gw.cross_entropy(t.h, t.label, weight=t.w),
        lambda a: np_nll(np_log_softmax(a.h), a.label, a.w),
    ),
    "cross_entropy_smoothed": Case(
        lambda t: gw.cross_entropy(t.h, t.label, label_smoothing=0.1),
        lambda a: np_nll(np_log_softmax(a.h), a.label, s=0.1),
    ),
    "cross_entropy_ignoring": Case(
        lambda t: gw.cross_entropy(t.h, t.far_label, ignore_index=FAR),
        lambda a: np_nll(np_log_softmax(a.h), a.far_label),
    ),
    "cross_entropy_ignoring_class_0": Case(
        lambda t: gw.cross_entropy(t.h, t.label, ignore_index=0, reduction="none"),
        lambda a: np_nll(
            np_log_softmax(a.h), np.where(a.label == 0, FAR, a.label), how="none"
        ),
    ),
    "cross_entropy_everything": Case(
        lambda t: gw.cross_entropy(t.h, t.far_label, t.w, FAR, "mean", 0.2),
        lambda a: np_nll(np_log_softmax(a.h), a.far_label, a.w, 0.2),
    ),
    "cross_entropy_of_places": Case(
        lambda t: gw.cross_entropy(t.h, t.labels, label_smoothing=0.1),
        lambda a: np_nll(np_log_softmax(a.h), a.labels, s=0.1),
        "z",
    ),
    "cross_entropy_of_probabilities": Case(
        lambda t: gw.cross_entropy(t.h, t.u, t.w, label_smoothing=0.1),
        lambda a: -np.sum(a.w * (0.9 * a.u + 0.02) * np_log_softmax(a.h)) / ROWS,
    ),
}  # fmt: skip
