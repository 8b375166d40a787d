"""Two convolutions with dropout on MNIST, three epochs.

    28x28 -> conv 32 of 3x3 -> conv 64 of 3x3 -> pool 2 -> dropout 0.25 -> 128 -> dropout 0.5 -> 10

1,199,882 parameters, drawn from ±1 / sqrt(fan-in) at the start, as torch's layers do. Pixels are
brought to mean 0 and variance 1 first. Dropout holds while it trains; `forward` keeps every neuron.

    gradwright train examples/two_convolutions.py --optimizer adam --lr 0.003 \\
        --schedule warmup:0.5+cosine --batch 64 --epochs 3

reaches 98.98 to 99.16 % on the MNIST test set by the seed, 99.10 % in the mean of seeds 0 to 4.
Rate, schedule and scaling were chosen on 10,000 training images held back.
"""

import gradwright as gw
from gradwright import Tensor

MEAN, DEVIATION = 0.1307, 0.3081  # of all pixels of the MNIST training images


def conv(x: Tensor, channels: int, name: str) -> Tensor:
    bound = (9 * x.shape[1]) ** -0.5
    return gw.conv2d(x, channels, 3, name=name, init=gw.uniform(-bound, bound))


def dense(x: Tensor, features: int, name: str) -> Tensor:
    bound = x.shape[1] ** -0.5
    return gw.dense(x, features, name=name, init=gw.uniform(-bound, bound))


@gw.network
def two_convolutions(x: gw.f32["batch", 1, 28, 28], label: gw.i32["batch"]):
    h = (x - MEAN) / DEVIATION
    h = gw.relu(conv(h, 32, "conv1"))
    h = gw.relu(conv(h, 64, "conv2"))
    h = gw.dropout(gw.max_pool2d(h, 2), 0.25)
    h = gw.relu(dense(gw.flatten(h), 128, "fc1"))
    logits = dense(gw.dropout(h, 0.5), 10, "fc2")
    return gw.outputs(loss=gw.cross_entropy(logits, label), logits=logits)
