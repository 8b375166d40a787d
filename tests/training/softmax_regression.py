"""A network with the public functions of a generated module, written by hand for these tests.

Softmax regression from 64 pixels to 10 classes with momentum, so that there is optimizer state.
"""

from __future__ import annotations

from collections import namedtuple

import numpy as np

NAME, TARGET, DTYPE, MODEL_HASH, MAX_BATCH = "softmax", "numpy", "float64", "5eed", 32
PARAM_SHAPES = {"fc.W": (64, 10), "fc.b": (10,)}
INPUTS = {"x": (("batch", 64), "float64"), "label": (("batch",), "int32")}
OUTPUTS = {"logits": (("batch", 10), "float64")}
LOSS = "loss"
STATE_SHAPES = {"fc.W.velocity": (64, 10), "fc.b.velocity": (10,)}
HYPERPARAMETERS = {"lr": 0.05, "momentum": 0.9}
INDEX_LIMITS = {"label": 10}
WORKSPACE_BYTES, FLOPS_PER_STEP = 0, 4 * 32 * 64 * 10

Outputs = namedtuple("Outputs", ["logits"])


def init_params(seed=0):
    draw = np.random.default_rng(seed)
    return {name: draw.normal(0, 0.1, shape) for name, shape in PARAM_SHAPES.items()}


def init_state(params):
    return {name: np.zeros(shape) for name, shape in STATE_SHAPES.items()}


def forward(params, x):
    return Outputs(x @ params["fc.W"] + params["fc.b"])


def value_and_grad(params, x, label):
    logits = forward(params, x).logits
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    rows = np.arange(len(x))
    d = np.exp(log_p)
    d[rows, label] -= 1
    d /= len(x)
    return float(-log_p[rows, label].mean()), {"fc.W": x.T @ d, "fc.b": d.sum(axis=0)}


def train_step(params, state, x, label, lr=0.05, momentum=0.9):
    loss, grads = value_and_grad(params, x, label)
    for name, gradient in grads.items():
        velocity = state[f"{name}.velocity"]
        velocity *= momentum
        velocity += gradient
        params[name] -= lr * velocity
    return loss


def train_epoch(params, state, x, label, order, batch=None, lr=0.05, momentum=0.9):
    batch = batch or MAX_BATCH
    rows = [order[start : start + batch] for start in range(0, len(order), batch)]
    return np.array([train_step(params, state, x[r], label[r], lr, momentum) for r in rows])
