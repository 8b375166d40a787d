"""The derivative at a point: d(x^2)/dx is 6 at x = 3.

And for a vector: f = sum over i of x_i x_i, at x = (1, 2, 3, 4, 5), is 55, with gradient 2x.

    python examples/derivative_at_a_point.py
"""

import numpy as np

import gradwright as gw


@gw.network
def square():
    x = gw.param("x", (), init=gw.constant(3.0))
    return gw.outputs(loss=gw.define((), x[()] ** 2, name="y"))


@gw.network
def sum_of_squares():
    i = gw.indices("i")
    x = gw.param("x", (5,), init=gw.constant(np.arange(1.0, 6.0)))
    return gw.outputs(loss=gw.define((), gw.sum(x[i] * x[i], over=i), name="f"))


def value_and_gradient(network: gw.Network) -> tuple[float, np.ndarray]:
    model = gw.compile(network, target="numpy", dtype="float64", out="build")
    value, grads = model.value_and_grad(model.init_params())
    return float(value), grads["x"]


def main() -> None:
    for network in (square, sum_of_squares):
        value, gradient = value_and_gradient(network)
        print(f"{network.name}: value {value:g}, gradient {gradient}")
        print(gw.derive(network, wrt="x").text(), "\n")


if __name__ == "__main__":
    main()
