"""The MNIST perceptron: 784-100-200-10, relu, softmax cross-entropy, plain gradient descent.

    gradwright train examples/mnist_mlp.py                  batches of 128, rate 0.1, 10 epochs
    gradwright train examples/mnist_mlp.py --batch 2 --lr 0.01 --epochs 1
    gradwright compile examples/mnist_mlp.py --target c --out generated

reaches at least 97 % on the MNIST test set, from C and from NumPy alike.
"""

import gradwright as gw


@gw.network
def mnist_mlp(x: gw.f32["batch", 784], label: gw.i32["batch"]):
    h = gw.relu(gw.dense(x, 100, name="fc1"))
    h = gw.relu(gw.dense(h, 200, name="fc2"))
    logits = gw.dense(h, 10, name="fc3")
    return gw.outputs(loss=gw.cross_entropy(logits, label), logits=logits)
