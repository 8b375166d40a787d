"""The models for the other frameworks, once for all of them: `ops` is what a framework offers.

    logits = forward("lenet5", torch_ops, weights, x)

`weights` are named as gradwright names them. `ops` has dense, conv, relu, gelu, pool, flatten,
embed, norm and attention, each the framework's own best: peers/torch_ops.py and its like.
"""

from __future__ import annotations

from itertools import groupby
from typing import Any

HEADS, BLOCKS = 4, 4
MEAN, DEVIATION = 0.1307, 0.3081  # of the MNIST training images


def forward(model: str, ops: Any, w: dict[str, Any], x: Any) -> Any:
    """The scores of a batch."""
    return MODELS[model](ops, w, x)


def _perceptron(ops: Any, w: dict[str, Any], x: Any) -> Any:
    h = ops.relu(_dense(ops, w, "fc1", x))
    h = ops.relu(_dense(ops, w, "fc2", h))
    return _dense(ops, w, "fc3", h)


def _lenet5(ops: Any, w: dict[str, Any], x: Any) -> Any:
    h = (x - MEAN) / DEVIATION
    h = ops.pool(ops.relu(ops.conv(h, w["conv1.W"], w["conv1.b"], 2)))
    h = ops.pool(ops.relu(ops.conv(h, w["conv2.W"], w["conv2.b"], 0)))
    return _perceptron(ops, w, ops.flatten(h))


def _two_convolutions(ops: Any, w: dict[str, Any], x: Any) -> Any:
    h = ops.relu(ops.conv(x, w["conv1.W"], w["conv1.b"], 0))
    h = ops.pool(ops.relu(ops.conv(h, w["conv2.W"], w["conv2.b"], 0)))
    h = ops.relu(_dense(ops, w, "fc1", ops.flatten(h)))
    return _dense(ops, w, "fc2", h)


def _vgg16(ops: Any, w: dict[str, Any], x: Any) -> Any:
    names = [name[:-2] for name in w if name.startswith("conv") and name.endswith(".W")]
    for _, block in groupby(names, key=lambda name: name.split("_")[0]):
        for name in block:
            x = ops.relu(ops.conv(x, w[f"{name}.W"], w[f"{name}.b"], 1))
        x = ops.pool(x)
    return _perceptron(ops, w, ops.flatten(x))


def _small_gpt(ops: Any, w: dict[str, Any], tokens: Any) -> Any:
    x = ops.embed(w["token.W"], tokens) + w["position"]
    for number in range(1, BLOCKS + 1):
        x = _block(ops, w, f"block{number}", x)
    return _dense(ops, w, "head", _norm(ops, w, "norm", x))


def _block(ops: Any, w: dict[str, Any], name: str, x: Any) -> Any:
    h = _norm(ops, w, f"{name}.norm1", x)
    q, k, v = (_dense(ops, w, f"{name}.attention.{part}", h) for part in "qkv")
    x = x + _dense(ops, w, f"{name}.attention.out", ops.attention(q, k, v, HEADS))
    h = _norm(ops, w, f"{name}.norm2", x)
    return x + _dense(ops, w, f"{name}.down", ops.gelu(_dense(ops, w, f"{name}.up", h)))


def _dense(ops: Any, w: dict[str, Any], name: str, x: Any) -> Any:
    return ops.dense(x, w[f"{name}.W"], w.get(f"{name}.b"))


def _norm(ops: Any, w: dict[str, Any], name: str, x: Any) -> Any:
    return ops.norm(x, w[f"{name}.W"], w[f"{name}.b"])


MODELS = {
    "perceptron": _perceptron,
    "lenet5": _lenet5,
    "two_convolutions": _two_convolutions,
    "small_gpt": _small_gpt,
    "vgg16": _vgg16,
}
