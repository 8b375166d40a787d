"""Optimizers against torch.optim: twenty steps in float64, both targets.

The error is the largest deviation of a parameter over its largest element. The gradients of our
steps are our own, so rounding adds up over the steps.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import gradwright as gw
from tests.optimizer_cases import CASES, Case, numbers, twolayers

STEPS, TOLERANCE = 20, 1e-12
Record = Callable[[str, float], None]


def in_torch(case: Case, params: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    own = {name: torch.tensor(value, requires_grad=True) for name, value in params.items()}
    rule = getattr(torch.optim, case.torch)(own.values(), **case.options)
    x, label = (torch.tensor(a) for a in numbers())
    for _ in range(STEPS):
        rule.zero_grad()
        h = torch.tanh(x @ own["fc1.W"] + own["fc1.b"])
        logits = h @ own["fc2.W"] + own["fc2.b"]
        torch.nn.functional.cross_entropy(logits, label.long()).backward()
        _clip(own.values(), case.clip)
        rule.step()
    return {name: value.detach().numpy() for name, value in own.items()}


def _clip(parameters: Any, clip: dict[str, float]) -> None:
    if "clip_norm" in clip:
        torch.nn.utils.clip_grad_norm_(parameters, clip["clip_norm"])
    if "clip_value" in clip:
        torch.nn.utils.clip_grad_value_(parameters, clip["clip_value"])


@pytest.mark.parametrize("target", ["numpy", "c"])
@pytest.mark.parametrize("name", CASES)
def test_optimizer(name: str, target: str, tmp_path: Path, record: Record) -> None:
    case = CASES[name]
    model = gw.compile(
        twolayers, target=target, batch=6, dtype="float64", optimizer=case.ours, out=tmp_path
    )
    params = model.init_params(1)
    expected = in_torch(case, params)
    state = model.init_state(params)
    for _ in range(STEPS):
        model.train_step(params, state, *numbers())
    worst = max(float(abs(params[k] - v).max() / abs(v).max()) for k, v in expected.items())
    record(f"{name}, {target}", worst)
    assert worst <= TOLERANCE
