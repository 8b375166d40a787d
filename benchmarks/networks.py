"""The networks as gradwright declares them: those of examples/, under the names of the cases.

The two convolutions are measured without their dropout, because every framework draws its own
random numbers and no result could be checked against another's.
"""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import gradwright as gw

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
FILES = {"perceptron": "mnist_mlp", "lenet5": "lenet5", "small_gpt": "small_gpt", "vgg16": "vgg16"}


@gw.network
def two_convolutions(x: gw.f32["batch", 1, 28, 28], label: gw.i32["batch"]):
    h = gw.relu(gw.conv2d(x, 32, 3, name="conv1"))
    h = gw.max_pool2d(gw.relu(gw.conv2d(h, 64, 3, name="conv2")), 2)
    h = gw.relu(gw.dense(gw.flatten(h), 128, name="fc1"))
    logits = gw.dense(h, 10, name="fc2")
    return gw.outputs(loss=gw.cross_entropy(logits, label), logits=logits)


def network(model: str) -> Any:
    """The network of a case."""
    if model == "two_convolutions":
        return two_convolutions
    name = FILES[model]
    return runpy.run_path(str(EXAMPLES / f"{name}.py"))[name]
