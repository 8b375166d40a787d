"""300 steps of the MNIST perceptron next to torch: same start, same batches, float64.

Where MNIST cannot be had the digits inside the package, enlarged to 28 x 28, take its place.
"""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import gradwright as gw
from gradwright.training.batches import fit
from gradwright.training.datasets import Dataset
from gradwright.training.sources import choose

EXAMPLE = Path(__file__).resolve().parent.parent.parent / "examples" / "mnist_mlp.py"
STEPS, BATCH, RATE = 300, 128, 0.1
Record = Callable[[str, float], None]


class Perceptron:
    """784-100-200-10 in torch, trained by its own SGD."""

    def __init__(self, params: dict[str, np.ndarray]) -> None:
        self.weights = [torch.tensor(value, requires_grad=True) for value in params.values()]
        self.optimizer = torch.optim.SGD(self.weights, lr=RATE)

    def step(self, x: np.ndarray, label: np.ndarray) -> float:
        w1, b1, w2, b2, w3, b3 = self.weights
        hidden = torch.relu(torch.relu(torch.tensor(x) @ w1 + b1) @ w2 + b2)
        loss = torch.nn.functional.cross_entropy(hidden @ w3 + b3, torch.tensor(label).long())
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return choose("auto", None, print, lambda *_: None)


@pytest.mark.parametrize("target", ["numpy", "c"])
def test_300_steps(target: str, dataset: Dataset, tmp_path: Path, record: Record) -> None:
    network = runpy.run_path(str(EXAMPLE))["mnist_mlp"]
    model = gw.compile(network, target=target, batch=BATCH, dtype="float64", out=str(tmp_path))
    x, label = fit(model, dataset)[0].inputs()
    params = model.init_params(seed=0)
    state, twin = model.init_state(params), Perceptron(params)
    order = np.random.default_rng(0).permutation(len(x))[: STEPS * BATCH]
    order = np.resize(order, STEPS * BATCH)

    losses = []
    for batch in order.reshape(STEPS, BATCH):
        theirs = twin.step(x[batch], label[batch])
        losses.append((model.train_step(params, state, x[batch], label[batch], lr=RATE), theirs))
    ours, theirs = np.array(losses).T
    assert np.mean(ours[-20:]) < 0.5 * ours[0], "nothing was learned"
    error = abs(ours - theirs).max()
    record(f"loss over {STEPS} steps of {dataset.name}, {target} target against torch", error)
    assert error <= 1e-8
