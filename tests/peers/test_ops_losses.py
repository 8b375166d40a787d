"""Activations and losses, with their options, against torch: outputs and gradients, both targets.

The cases are those of tests/op_cases.py. An error is the largest deviation over the largest number.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import gradwright as gw
from compiler import oplib
from tests.op_cases import (
    ACTIVATIONS,
    FAR,
    LOSSES,
    ROWS,
    Case,
    arrays,
    bundle,
    cotangent,
    parameters,
    within,
)

TOLERANCE = 1e-9
Tabulate = Callable[[str, str, str, float], None]

TORCH: dict[str, Callable[[Any], torch.Tensor]] = {
    "relu": lambda t: F.relu(t.h),
    "relu6": lambda t: F.relu6(4 * t.h),
    "leaky_relu": lambda t: F.leaky_relu(t.h),
    "leaky_relu_03": lambda t: F.leaky_relu(t.h, 0.3),
    "prelu": lambda t: F.prelu(t.h, torch.tensor([0.25], dtype=t.h.dtype)),
    "prelu_of_channels": lambda t: F.prelu(t.h, torch.full((5,), 0.1, dtype=t.h.dtype)),
    "elu": lambda t: F.elu(t.h),
    "elu_half": lambda t: F.elu(t.h, 0.5),
    "selu": lambda t: F.selu(t.h),
    "celu": lambda t: F.celu(t.h),
    "celu_2": lambda t: F.celu(t.h, 2.0),
    "gelu": lambda t: F.gelu(t.h),
    "gelu_tanh": lambda t: F.gelu(t.h, approximate="tanh"),
    "silu": lambda t: F.silu(t.h),
    "mish": lambda t: F.mish(t.h),
    "sigmoid": lambda t: torch.sigmoid(t.h),
    "log_sigmoid": lambda t: F.logsigmoid(t.h),
    # F.hardsigmoid's gradient takes 1/6 in float32: 3e-8 off in float64.
    "hardsigmoid": lambda t: F.relu6(2 * t.h + 3) / 6,
    "hardswish": lambda t: F.hardswish(2 * t.h),
    "tanh": lambda t: torch.tanh(t.h),
    "softplus": lambda t: F.softplus(t.h),
    "softplus_options": lambda t: F.softplus(t.h, beta=2.0, threshold=1.5),
    "softsign": lambda t: F.softsign(t.h),
    "softmax": lambda t: F.softmax(t.h, dim=-1),
    "softmax_of_axis_1": lambda t: F.softmax(t.h, dim=1),
    "softmax_of_the_batch": lambda t: F.softmax(t.h, dim=0),
    "log_softmax": lambda t: F.log_softmax(t.h, dim=1),
    "logsumexp": lambda t: torch.logsumexp(t.h, -1),
    "logsumexp_of_two_axes": lambda t: torch.logsumexp(t.h, (1, -1)),
    "logsumexp_of_two_axes_kept": lambda t: torch.logsumexp(t.h, (1, -1), keepdim=True),
    "logsumexp_kept": lambda t: torch.logsumexp(t.h, 1, keepdim=True),
    "mse": lambda t: F.mse_loss(t.h, t.y),
    "mse_sum": lambda t: F.mse_loss(t.h, t.y, reduction="sum"),
    "mse_none": lambda t: F.mse_loss(t.h, t.y, reduction="none"),
    "mse_weighted": lambda t: F.mse_loss(t.h, t.y, weight=t.u),
    "mse_weighted_sum": lambda t: F.mse_loss(t.h, t.y, reduction="sum", weight=t.u),
    "rmse": lambda t: torch.sqrt(F.mse_loss(t.h, t.y)),
    "l1_loss": lambda t: F.l1_loss(t.h, t.y),
    "l1_loss_weighted": lambda t: F.l1_loss(t.h, t.y, weight=t.u),
    "l1_loss_weighted_none": lambda t: F.l1_loss(t.h, t.y, reduction="none", weight=t.u),
    "smooth_l1_loss": lambda t: F.smooth_l1_loss(t.h, t.y),
    "smooth_l1_loss_half": lambda t: F.smooth_l1_loss(t.h, t.y, reduction="sum", beta=0.5),
    "smooth_l1_loss_0": lambda t: F.smooth_l1_loss(t.h, t.y, beta=0.0),
    "huber_loss": lambda t: F.huber_loss(t.h, t.y),
    "huber_loss_2": lambda t: F.huber_loss(t.h, t.y, reduction="none", delta=2.0),
    "huber_loss_weighted": lambda t: F.huber_loss(t.h, t.y, weight=t.u),
    "hinge_loss": lambda t: torch.clamp(1 - t.sign * t.h, min=0).mean(),
    "hinge_embedding_loss": lambda t: F.hinge_embedding_loss(t.h, t.sign, margin=2.0),
    "bce": lambda t: -(t.y * torch.log(t.h) + (1 - t.y) * torch.log(1 - t.h)).mean(),
    "bce_weighted": lambda t: F.binary_cross_entropy(
        t.h, t.u, t.w.expand_as(t.h), reduction="sum"
    ),
    "bce_with_logits": lambda t: F.binary_cross_entropy_with_logits(t.h, t.u),
    "bce_with_logits_weighted": lambda t: F.binary_cross_entropy_with_logits(
        t.h, t.u, torch.tensor(0.5), reduction="none", pos_weight=t.w
    ),
    "kl_div": lambda t: F.kl_div(t.h, t.u),
    "kl_div_batchmean": lambda t: F.kl_div(t.h, t.u, reduction="batchmean"),
    "kl_div_log_target": lambda t: F.kl_div(t.h, t.y, reduction="sum", log_target=True),
    "cosine_similarity": lambda t: F.cosine_similarity(t.h, t.y),
    "cosine_similarity_last": lambda t: F.cosine_similarity(t.h, t.z, dim=-1),
    "cosine_similarity_broadcast": lambda t: F.cosine_similarity(t.h, t.w, dim=-1),
    "cosine_embedding_loss_of_vectors": lambda t: F.cosine_embedding_loss(
        t.h.mean(0), t.w, torch.tensor(-1.0), -0.5
    ),
    "cosine_embedding_loss": lambda t: F.cosine_embedding_loss(t.h, t.x, t.row_sign, margin=0.1),
    "nll_loss": lambda t: F.nll_loss(t.h, t.label),
    "nll_loss_weighted": lambda t: F.nll_loss(t.h, t.far_label, t.w, ignore_index=FAR),
    "cross_entropy": lambda t: F.cross_entropy(t.h, t.label),
    "cross_entropy_sum": lambda t: F.cross_entropy(t.h, t.label, reduction="sum"),
    "cross_entropy_weighted": lambda t: F.cross_entropy(t.h, t.label, t.w),
    "cross_entropy_smoothed": lambda t: F.cross_entropy(t.h, t.label, label_smoothing=0.1),
    "cross_entropy_ignoring": lambda t: F.cross_entropy(t.h, t.far_label, ignore_index=FAR),
    "cross_entropy_ignoring_class_0": lambda t: F.cross_entropy(
        t.h, t.label, ignore_index=0, reduction="none"
    ),
    "cross_entropy_everything": lambda t: F.cross_entropy(
        t.h, t.far_label, t.w, ignore_index=FAR, label_smoothing=0.2
    ),
    "cross_entropy_of_places": lambda t: F.cross_entropy(t.h, t.labels, label_smoothing=0.1),
    "cross_entropy_of_probabilities": lambda t: F.cross_entropy(
        t.h, t.u, t.w, label_smoothing=0.1
    ),
}  # fmt: skip

TABLES = {"activations": ACTIVATIONS, "losses": LOSSES}
EXTRA = {"activations": {"one.a": np.array([0.25]), "many.a": np.full((5, 1), 0.1)}, "losses": {}}
CASES = [(table, name) for table, cases in TABLES.items() for name in cases]


def test_every_case_has_a_twin() -> None:
    assert list(TORCH) == [name for _, name in CASES]


@pytest.fixture(scope="module", params=["numpy", "c"])
def ours(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Outputs and gradients of both tables, by one target."""
    found = {}
    for table, cases in TABLES.items():
        model = gw.compile(
            bundle(cases, table),
            target=request.param,
            batch=ROWS,
            dtype="float64",
            out=tmp_path_factory.mktemp(f"{table}_{request.param}"),
        )
        params = {**parameters(cases), **EXTRA[table]}
        params = {name: params[name] for name in model.PARAM_SHAPES}
        given = arrays()
        needed = [given[n] for n in model.INPUTS if n in _forward_inputs(model)]
        _, grads = model.value_and_grad(params, *(given[n] for n in model.INPUTS))
        found[table] = model.forward(params, *needed), grads
    return request.param, found


def _forward_inputs(model: Any) -> list[str]:
    import inspect

    return list(inspect.signature(model.forward).parameters)


def twin(cases: dict[str, Case], name: str) -> tuple[np.ndarray, np.ndarray]:
    """The output, and the parameter's gradient, in torch."""
    raw = {
        key: torch.tensor(value if value.dtype == np.float64 else value.astype(np.int64))
        for key, value in arrays().items()
    }
    given = within(raw, torch)
    p = torch.tensor(parameters(cases)[name], requires_grad=True)
    out = TORCH[name](SimpleNamespace(**given, h=given[cases[name].operand] * p))
    (out * torch.tensor(cotangent(tuple(out.shape)))).sum().backward()
    return out.detach().numpy(), p.grad.numpy()


@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides the total loss")
@pytest.mark.parametrize(("table", "name"), CASES, ids=[name for _, name in CASES])
def test_op(table: str, name: str, ours: Any, tabulate: Tabulate) -> None:
    target, found = ours
    outputs, grads = found[table]
    out, gradient = twin(TABLES[table], name)
    assert np.any(gradient)
    pairs = (getattr(outputs, f"{name}_out"), out), (grads[name], gradient)
    worst = max(float(abs(a - b).max() / abs(b).max()) for a, b in pairs)
    op = max((n for n in oplib.__all__ if f"{name}_".startswith(f"{n}_")), key=len)
    tabulate(op, name, target, worst)
    assert worst <= TOLERANCE
