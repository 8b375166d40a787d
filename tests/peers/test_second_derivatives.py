"""Hessian-vector products of ten networks against JAX in float64.

There it is forward mode over reverse mode; here the gradient's network is differentiated again.
"""

from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradwright as gw

jax.config.update("jax_enable_x64", True)

ROWS, INPUTS, CLASSES = 5, 4, 3
ACTIVATIONS: dict[str, tuple[Callable, Callable]] = {
    "tanh": (gw.tanh, jnp.tanh),
    "sigmoid": (gw.sigmoid, jax.nn.sigmoid),
    "softmax": (gw.softmax, lambda z: jax.nn.softmax(z, axis=-1)),
    "softplus": (gw.softplus, jax.nn.softplus),
    "gelu": (gw.gelu, lambda z: jax.nn.gelu(z, approximate=False)),
}
LAYOUTS = [
    (name, loss, sizes)
    for name, sizes in zip(ACTIVATIONS, [(6,), (5, 4), (3, 3, 3), (7,), (4, 6)], strict=True)
    for loss in ("mse", "cross_entropy")
]


def network(activation: str, loss: str, sizes: tuple[int, ...]) -> tuple[gw.Network, gw.Network]:
    """The network, and the one whose loss is its gradient times the direction `v_NAME`."""
    act = ACTIVATIONS[activation][0]

    @gw.network
    def base(x: gw.f64["batch", INPUTS], y: gw.f64["batch", CLASSES], label: gw.i32["batch"]):
        h = x
        for i, size in enumerate(sizes):
            h = act(gw.dense(h, size, name=f"fc{i}"))
        out = gw.dense(h, CLASSES, name="out")
        last = gw.mse(out, y) if loss == "mse" else gw.cross_entropy(out, label)
        return gw.outputs(loss=last)

    @gw.network
    def product(x: gw.f64["batch", INPUTS], y: gw.f64["batch", CLASSES], label: gw.i32["batch"]):
        slopes = gw.grad(base)(x, y, label)
        total = 0
        for declared in base.trace().parameters:
            name = declared.name.replace(".", "_")
            v = gw.param(f"v_{name}", declared.shape, trainable=False)
            loops = tuple(gw.index(f"z{d}", s) for d, s in enumerate(declared.shape))
            total += gw.sum(getattr(slopes, f"d_{name}")[loops] * v[loops], over=loops)
        return gw.outputs(loss=gw.define((), total))

    return base, product


def loss_in_jax(activation: str, loss: str, depth: int, x, y, label) -> Callable:
    act = ACTIVATIONS[activation][1]

    def value(params):
        h = x
        for i in range(depth):
            h = act(h @ params[f"fc{i}.W"] + params[f"fc{i}.b"])
        out = h @ params["out.W"] + params["out.b"]
        if loss == "mse":
            return jnp.mean((out - y) ** 2)
        return -jnp.mean(jax.nn.log_softmax(out)[jnp.arange(len(label)), label])

    return value


@pytest.mark.parametrize(("activation", "loss", "sizes"), LAYOUTS)
def test_hessian_vector_product(
    activation: str,
    loss: str,
    sizes: tuple[int, ...],
    tmp_path: Path,
    record: Callable[[str, float], None],
) -> None:
    base, product = network(activation, loss, sizes)
    rng = np.random.default_rng(len(sizes))
    x, y = rng.standard_normal((ROWS, INPUTS)), rng.standard_normal((ROWS, CLASSES))
    label = rng.integers(0, CLASSES, ROWS).astype(np.int32)
    shapes = {p.name: tuple(p.shape) for p in base.trace().parameters}
    params = {n: rng.standard_normal(s) for n, s in shapes.items()}
    direction = {n: rng.standard_normal(s) for n, s in shapes.items()}
    held = {**params, **{f"v_{n.replace('.', '_')}": v for n, v in direction.items()}}
    value = loss_in_jax(activation, loss, len(sizes), x, y, label)
    expected = jax.jvp(jax.grad(value), (params,), (direction,))[1]
    for target in ("numpy", "c"):
        model = gw.compile(product, target=target, batch=ROWS, out=tmp_path / target)
        ordered = {n: held[n] for n in model.PARAM_SHAPES}
        made = model.value_and_grad(ordered, x, y, label)[1]
        for name in shapes:
            scale = float(jnp.max(jnp.abs(expected[name])))
            error = float(jnp.max(jnp.abs(made[name] - expected[name]))) / scale
            assert error <= 1e-8, (target, name)
            record("second derivatives of ten networks against JAX", error)
