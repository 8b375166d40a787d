"""Two convolutions with dropout on MNIST, 99 % in three epochs.

    28x28 -> conv 32 of 3x3 -> conv 64 of 3x3 -> pool 2 -> dropout 0.25 -> 128 -> dropout 0.5 -> 10

1,199,882 parameters. Dropout holds while it trains; `forward` keeps every neuron.

    gradwright train examples/two_convolutions.py --optimizer adam --lr 0.001 --batch 64 --epochs 3

reaches at least 99.0 % on the MNIST test set.
"""

import gradwright as gw


@gw.network
def two_convolutions(x: gw.f32["batch", 1, 28, 28], label: gw.i32["batch"]):
    h = gw.relu(gw.conv2d(x, 32, 3, name="conv1"))
    h = gw.relu(gw.conv2d(h, 64, 3, name="conv2"))
    h = gw.dropout(gw.max_pool2d(h, 2), 0.25)
    h = gw.relu(gw.dense(gw.flatten(h), 128, name="fc1"))
    logits = gw.dense(gw.dropout(h, 0.5), 10, name="fc2")
    return gw.outputs(loss=gw.cross_entropy(logits, label), logits=logits)
