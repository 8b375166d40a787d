"""VGG16, whole: 224x224x3 images into 1000 classes, 138,357,544 parameters.

Thirteen convolutions of 3x3 and padding 1 in five blocks, each block ending in a pool of 2, then
three dense layers. One forward pass and one training step of a single image, from C: the loss
for that image is 5.34 before the step and 4.70 after it.

    python examples/vgg16.py            a minute or two, 700 MB of memory

The emitted C has a loop nest a kernel and no copy of anything: below 6,000 lines.
"""

import time
from math import prod
from typing import Any

import numpy as np

import gradwright as gw

BLOCKS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))


def layers(
    x: gw.Tensor, blocks: tuple[tuple[int, int], ...], hidden: int, classes: int
) -> gw.Tensor:
    """The scores, by blocks of (channels, convolutions) and three dense layers."""
    for number, (channels, convolutions) in enumerate(blocks, 1):
        for place in range(1, convolutions + 1):
            x = gw.relu(gw.conv2d(x, channels, 3, padding=1, name=f"conv{number}_{place}"))
        x = gw.max_pool2d(x, 2)
    x = gw.relu(gw.dense(gw.flatten(x), hidden, name="fc1"))
    x = gw.relu(gw.dense(x, hidden, name="fc2"))
    return gw.dense(x, classes, name="fc3")


@gw.network
def vgg16(x: gw.f32["batch", 3, 224, 224], label: gw.i32["batch"]):
    logits = layers(x, BLOCKS, 4096, 1000)
    return gw.outputs(loss=gw.cross_entropy(logits, label), logits=logits)


@gw.network
def small_vgg(x: gw.f32["batch", 3, 16, 16], label: gw.i32["batch"]):
    """The same layers on 16x16 pixels, for a quick look."""
    logits = layers(x, ((4, 2), (8, 2), (8, 3)), 16, 10)
    return gw.outputs(loss=gw.cross_entropy(logits, label), logits=logits)


def one_step(
    network: gw.Network, target: str = "c", rate: float = 1e-5
) -> tuple[Any, np.ndarray, list[float]]:
    """The module, the scores of one image, and the loss before and after a step on that image."""
    model = gw.compile(network, target=target, batch=1, optimizer=gw.sgd(lr=rate), out="build")
    shape, _ = model.INPUTS["x"]
    image = np.random.default_rng(0).random((1, *shape[1:]), dtype=np.float32)
    label = np.array([7], dtype=np.int32)
    params = model.init_params(seed=0)
    state = model.init_state(params)
    scores = model.forward(params, image).logits
    losses = [model.train_step(params, state, image, label) for _ in range(2)]
    return model, scores, losses


def main() -> None:
    began = time.perf_counter()
    model, scores, losses = one_step(vgg16)
    print(f"{sum(prod(shape) for shape in model.PARAM_SHAPES.values()):,} parameters")
    print(f"{model.FLOPS_PER_STEP / 1e9:.1f} GFLOP a step, {model.WORKSPACE_BYTES / 1e6:.0f} MB")
    print(f"scores {scores.shape}, largest at class {scores.argmax()}")
    print(f"loss {losses[0]:.4f}, after one step {losses[1]:.4f}")
    print(f"{time.perf_counter() - began:.1f} s, compilation included")


if __name__ == "__main__":
    main()
