"""The op library: forward lines of index notation, nothing else. Every gradient is derived from them.

    h = gw.relu(gw.dense(x, 100, name="fc1"))
    loss = gw.cross_entropy(gw.dense(h, 10, name="fc2"), label)

To add an op, write its forward line in the file it belongs to, and name it here. Names and defaults are
PyTorch's. `OPS` is what `gradwright` re-exports.
"""

from compiler.oplib.activations import (
    celu,
    elu,
    gelu,
    hardsigmoid,
    hardswish,
    leaky_relu,
    log_sigmoid,
    log_softmax,
    logsumexp,
    mish,
    prelu,
    relu,
    relu6,
    selu,
    sigmoid,
    silu,
    softmax,
    softplus,
    softsign,
    tanh,
)
from compiler.oplib.classification import cross_entropy, nll_loss
from compiler.oplib.layers import dense, linear
from compiler.oplib.losses import (
    bce,
    bce_with_logits,
    cosine_embedding_loss,
    cosine_similarity,
    hinge_embedding_loss,
    hinge_loss,
    huber_loss,
    kl_div,
    l1_loss,
    mse,
    rmse,
    smooth_l1_loss,
)
from compiler.oplib.shape import add, flatten, mul

__all__ = [
    "add",
    "bce",
    "bce_with_logits",
    "celu",
    "cosine_embedding_loss",
    "cosine_similarity",
    "cross_entropy",
    "dense",
    "elu",
    "flatten",
    "gelu",
    "hardsigmoid",
    "hardswish",
    "hinge_embedding_loss",
    "hinge_loss",
    "huber_loss",
    "kl_div",
    "l1_loss",
    "leaky_relu",
    "linear",
    "log_sigmoid",
    "log_softmax",
    "logsumexp",
    "mish",
    "mse",
    "mul",
    "nll_loss",
    "prelu",
    "relu",
    "relu6",
    "rmse",
    "selu",
    "sigmoid",
    "silu",
    "smooth_l1_loss",
    "softmax",
    "softplus",
    "softsign",
    "tanh",
]
