"""gradwright: one line of index notation in, a trained network out.

    import gradwright as gw

    @gw.network
    def mnist_mlp(x: gw.f32["batch", 784], label: gw.i32["batch"]):
        h = gw.relu(gw.dense(x, 100, name="fc1"))
        logits = gw.dense(h, 10, name="fc2")
        return gw.outputs(loss=gw.cross_entropy(logits, label), logits=logits)

    model = gw.compile(mnist_mlp, target="c", batch=128, optimizer=gw.sgd(lr=0.1))

These are the public names; everything behind them may change.
"""

from compiler.check import GradientCheck, gradcheck
from compiler.derive import Derivation, derive
from compiler.driver import VERSION as __version__
from compiler.driver import compile, emit, lower_to_text
from compiler.grad import grad
from compiler.initializers import (
    constant,
    glorot_normal,
    glorot_uniform,
    he_normal,
    he_uniform,
    normal,
    uniform,
    zeros,
)
from compiler.network import Network, f32, f64, i32, i64, network, outputs
from compiler.notation import (
    Tensor,
    argmax,
    assign,
    buffer,
    define,
    index,
    indices,
    max,
    mean,
    param,
    random,
    recurrence,
    sum,
    tensor,
    training,
)
from compiler.oplib import (
    add,
    cross_entropy,
    dense,
    flatten,
    linear,
    log_softmax,
    mse,
    mul,
    relu,
    sigmoid,
    softmax,
    tanh,
)
from compiler.optimizers import Optimizer, momentum, optimizer, sgd
from compiler.pipeline import PASSES
from compiler.tangent import jvp
from ir.errors import GradwrightError

__all__ = [
    "PASSES",
    "Derivation",
    "GradientCheck",
    "GradwrightError",
    "Network",
    "Optimizer",
    "Tensor",
    "__version__",
    "add",
    "argmax",
    "assign",
    "buffer",
    "compile",
    "constant",
    "cross_entropy",
    "define",
    "dense",
    "derive",
    "emit",
    "f32",
    "f64",
    "flatten",
    "glorot_normal",
    "glorot_uniform",
    "grad",
    "gradcheck",
    "he_normal",
    "he_uniform",
    "i32",
    "i64",
    "index",
    "indices",
    "jvp",
    "linear",
    "log_softmax",
    "lower_to_text",
    "max",
    "mean",
    "momentum",
    "mse",
    "mul",
    "network",
    "normal",
    "optimizer",
    "outputs",
    "param",
    "random",
    "recurrence",
    "relu",
    "sgd",
    "sigmoid",
    "softmax",
    "sum",
    "tanh",
    "tensor",
    "training",
    "uniform",
    "zeros",
]
