"""One weight by the chain rule: four factors, each with its value.

A network 2-3-1, sigmoid hidden layer, linear output, squared error C = (y - out)^2. For the weight
w11 from the first input to the first hidden neuron, with input (1, 1) and target y = 0:

    dC/dw11 = dC/dout * dout/da1 * da1/dz1 * dz1/dw11
            = -2 (y - out) * w2_1 * a1 (1 - a1) * x1
            = -1.15680614 * 0.1528 * 0.24207180 * 1 = -0.04278861

    python examples/one_weight.py
"""

from math import prod

import numpy as np

import gradwright as gw


@gw.network
def network_2_3_1(x: gw.f64["batch", 2], y: gw.f64["batch", 1]):
    hidden = gw.sigmoid(gw.dense(x, 3, name="hidden"))
    out = gw.dense(hidden, 1, name="output")
    return gw.outputs(loss=gw.mse(out, y), hidden=hidden, out=out)


# Row: input. Column: neuron.
WEIGHTS = {
    "hidden.W": np.array([[-0.0053, -0.5820, -0.2723], [0.3793, -0.5204, 0.1896]]),
    "hidden.b": np.array([-0.0140, 0.5607, -0.0628]),
    "output.W": np.array([[0.1528], [-0.1745], [-0.1135]]),
    "output.b": np.array([-0.5516]),
}
X = np.array([[1.0, 1.0]])
Y = np.array([[0.0]])


def factors() -> tuple[dict[str, float], float]:
    """The four factors of dC/dw11, from the values of the forward pass; and dC/dw11 as derived."""
    model = gw.compile(network_2_3_1, target="numpy", batch=1, dtype="float64", out="build")
    values = model.forward(WEIGHTS, X)
    _, grads = model.value_and_grad(WEIGHTS, X, Y)
    a1, out = float(values.hidden[0, 0]), float(values.out[0, 0])
    return {
        "dC/dout   = -2 (y - out)": -2 * (Y[0, 0] - out),
        "dout/da1  = w2_1": WEIGHTS["output.W"][0, 0],
        "da1/dz1   = a1 (1 - a1)": a1 * (1 - a1),
        "dz1/dw11  = x1": X[0, 0],
    }, float(grads["hidden.W"][0, 0])


def main() -> None:
    by_hand, derived = factors()
    for name, value in by_hand.items():
        print(f"{name:28}{value:14.8f}")
    print(f"{'product':28}{prod(by_hand.values()):14.8f}")
    print(f"{'dC/dw11 as derived':28}{derived:14.8f}\n")
    values = {**WEIGHTS, "x": X, "y": Y}
    print(gw.derive(network_2_3_1, wrt="hidden.W[0, 0]", batch=1, values=values).text(full=True))


if __name__ == "__main__":
    main()
