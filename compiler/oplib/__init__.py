"""The op library: forward lines of index notation, nothing else. Every gradient is derived from them.

    h = gw.relu(gw.dense(x, 100, name="fc1"))
    loss = gw.cross_entropy(gw.dense(h, 10, name="fc2"), label)

To add an op, write its forward line in the file it belongs to, and name it here. Names and defaults are
PyTorch's. `OPS` is what `gradwright` re-exports.
"""

from compiler.oplib.activations import log_softmax, relu, sigmoid, softmax, tanh
from compiler.oplib.layers import dense, linear
from compiler.oplib.losses import cross_entropy, mse
from compiler.oplib.shape import add, flatten, mul

__all__ = [
    "add",
    "cross_entropy",
    "dense",
    "flatten",
    "linear",
    "log_softmax",
    "mse",
    "mul",
    "relu",
    "sigmoid",
    "softmax",
    "tanh",
]
