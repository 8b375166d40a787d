"""VGG16 and the small GPT of examples/, whole, against the same networks in torch.

The GPT is compared over a hundred AdamW steps, VGG16 by the gradients of its first and last layers
for one image, which takes 5 GB. Both are in float64 and start from the emitted module's parameters.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import gradwright as gw

EXAMPLES = Path(__file__).resolve().parent.parent.parent / "examples"
Record = Callable[[str, float], None]
Weights = dict[str, torch.Tensor]

BLOCKS, WIDTH, HEADS, CONTEXT, ROWS, STEPS = 4, 128, 4, 64, 2, 100
RATE, DECAY = 1e-3, 0.1


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def leaves(params: dict[str, np.ndarray]) -> Weights:
    return {name: torch.tensor(value, requires_grad=True) for name, value in params.items()}


def linear(x: torch.Tensor, w: Weights, name: str) -> torch.Tensor:
    y = x @ w[f"{name}.W"]
    return y + w[f"{name}.b"] if f"{name}.b" in w else y


def norm(x: torch.Tensor, w: Weights, name: str) -> torch.Tensor:
    return F.layer_norm(x, x.shape[-1:], w[f"{name}.W"], w[f"{name}.b"])


def attention(x: torch.Tensor, w: Weights, name: str) -> torch.Tensor:
    def heads(of: str) -> torch.Tensor:
        y = linear(x, w, f"{name}.{of}")
        return y.unflatten(-1, (HEADS, -1)).transpose(1, 2)

    mixed = F.scaled_dot_product_attention(heads("q"), heads("k"), heads("v"), is_causal=True)
    return linear(mixed.transpose(1, 2).flatten(2), w, f"{name}.out")


def gpt_loss(w: Weights, tokens: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    x = w["token.W"][tokens.long()] + w["position"]
    for number in range(1, BLOCKS + 1):
        name = f"block{number}"
        x = x + attention(norm(x, w, f"{name}.norm1"), w, f"{name}.attention")
        h = F.gelu(linear(norm(x, w, f"{name}.norm2"), w, f"{name}.up"))
        x = x + linear(h, w, f"{name}.down")
    logits = linear(norm(x, w, "norm"), w, "head")
    return F.cross_entropy(logits.transpose(1, 2), targets.long())


@pytest.mark.parametrize("target", ["numpy", "c"])
def test_small_gpt_learns_as_in_torch(target: str, tmp_path: Path, record: Record) -> None:
    example = load("small_gpt")
    network = example.gpt(BLOCKS, WIDTH, HEADS, CONTEXT)
    optimizer = gw.adamw(lr=RATE, weight_decay=DECAY)
    model: Any = gw.compile(
        network, target=target, batch=ROWS, dtype="float64", optimizer=optimizer, out=str(tmp_path)
    )
    params = model.init_params(seed=0)
    state = model.init_state(params)
    theirs = leaves(params)
    descent = torch.optim.AdamW(theirs.values(), lr=RATE, weight_decay=DECAY)
    source, rng = example.text(), np.random.default_rng(0)
    apart = 0.0
    for _ in range(STEPS):
        drawn = example.passages(source, rng.integers(0, len(source) - CONTEXT, ROWS), CONTEXT)
        loss = model.train_step(params, state, *drawn)
        expected = gpt_loss(theirs, *map(torch.tensor, drawn))
        descent.zero_grad()
        expected.backward()
        descent.step()
        apart = max(apart, abs(loss - expected.item()) / expected.item())
    record(f"small GPT, {STEPS} losses against torch, {target}", apart)
    assert expected.item() < 4
    assert apart <= 1e-7


def vgg_loss(w: Weights, x: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    convolutions = [name[:-2] for name in w if name.startswith("conv") and name.endswith(".W")]
    for name, following in zip(convolutions, [*convolutions[1:], ""], strict=True):
        x = F.relu(F.conv2d(x, w[f"{name}.W"], w[f"{name}.b"], padding=1))
        if name.split("_")[0] != following.split("_")[0]:
            x = F.max_pool2d(x, 2)
    x = F.relu(linear(x.flatten(1), w, "fc1"))
    x = F.relu(linear(x, w, "fc2"))
    return F.cross_entropy(linear(x, w, "fc3"), label.long())


@pytest.mark.parametrize("name", ["small_vgg", "vgg16"])
def test_vgg_has_the_gradients_of_torch(name: str, tmp_path: Path, record: Record) -> None:
    network = getattr(load("vgg16"), name)
    model: Any = gw.compile(network, target="c", batch=1, dtype="float64", out=str(tmp_path))
    size = model.INPUTS["x"][0][1:]
    x = np.random.default_rng(0).random((1, *size))
    label = np.array([7], dtype=np.int32)
    params = model.init_params(seed=0)
    loss, grads = model.value_and_grad(params, x, label)
    theirs = leaves(params)
    expected = vgg_loss(theirs, torch.tensor(x), torch.tensor(label))
    expected.backward()
    assert loss == pytest.approx(expected.item(), rel=1e-12)
    for parameter in ("conv1_1.W", "conv1_1.b", "fc3.W", "fc3.b"):
        gradient = theirs[parameter].grad
        assert gradient is not None
        largest = gradient.abs().max().item()
        assert largest > 0
        error = abs(grads[parameter] - gradient.numpy()).max() / largest
        record(f"{name}, {parameter} against torch", float(error))
        assert error <= 1e-9
