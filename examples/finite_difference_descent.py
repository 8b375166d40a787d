"""Descent with gradients measured by finite differences, against gradients from the chain rule.

The network 2-3-1 of one_weight.py learns to answer 0 to the input (1, 1): 100 epochs, learning rate
0.01. Both start at a loss of 0.33455. After that:

                        finite differences      chain rule
    last loss           0.000328                0.00032618715731374767
    w11                 0.01424004              0.01423568
    prediction          -0.0175                 -0.017436158134919305
    evaluations         14 an epoch             1 an epoch

The measured gradients are forward differences of 0.0001, on weights kept in float32 as most
frameworks keep them; the chain rule runs in float64 throughout.

    python examples/finite_difference_descent.py [--plot FILE]      the plot needs matplotlib
"""

import argparse
from typing import Any, NamedTuple

import numpy as np

import gradwright as gw

EPOCHS = 100
RATE = 0.01
STEP = 0.0001
X = np.array([[1.0, 1.0]])
Y = np.array([[0.0]])
START = {
    "hidden.W": np.array([[-0.0053, -0.5820, -0.2723], [0.3793, -0.5204, 0.1896]]),
    "hidden.b": np.array([-0.0140, 0.5607, -0.0628]),
    "output.W": np.array([[0.1528], [-0.1745], [-0.1135]]),
    "output.b": np.array([-0.5516]),
}
Params = dict[str, np.ndarray]


class Descent(NamedTuple):
    losses: list[float]  # before each update
    params: Params
    prediction: float


@gw.network
def network_2_3_1(x: gw.f64["batch", 2], y: gw.f64["batch", 1]):
    hidden = gw.sigmoid(gw.dense(x, 3, name="hidden"))
    out = gw.dense(hidden, 1, name="output")
    return gw.outputs(loss=gw.mse(out, y), out=out)


def as_type(params: Params, dtype: str) -> Params:
    return {name: value.astype(dtype) for name, value in params.items()}


def loss_at(model: Any, params: Params) -> float:
    answer = model.forward(as_type(params, "float64"), X).out
    return float(np.mean((answer - Y) ** 2))


def measured_gradients(model: Any, params: Params) -> Params:
    """Every weight is moved by STEP, alone, and the loss evaluated again."""
    before = loss_at(model, params)
    grads = {}
    for name, value in params.items():
        grads[name] = np.zeros(value.shape)
        for place in np.ndindex(value.shape):
            kept = value[place]
            value[place] = kept + np.float32(STEP)
            grads[name][place] = (loss_at(model, params) - before) / STEP
            value[place] = kept
    return grads


def descend_by_differences(model: Any) -> Descent:
    params = as_type(START, "float32")
    losses = []
    for _ in range(EPOCHS):
        losses.append(loss_at(model, params))
        for name, grad in measured_gradients(model, params).items():
            params[name] = (params[name] - RATE * grad).astype("float32")
    return Descent(losses, params, predict(model, params))


def descend_by_chain_rule(model: Any) -> Descent:
    params = as_type(START, "float64")
    state = model.init_state(params)
    losses = [model.train_step(params, state, X, Y, lr=RATE) for _ in range(EPOCHS)]
    return Descent(losses, params, predict(model, params))


def predict(model: Any, params: Params) -> float:
    return float(model.forward(as_type(params, "float64"), X).out[0, 0])


def compare() -> tuple[Descent, Descent]:
    model = gw.compile(network_2_3_1, target="numpy", batch=1, dtype="float64", out="build")
    return descend_by_differences(model), descend_by_chain_rule(model)


def table(measured: Descent, exact: Descent) -> str:
    rows = [("first loss", measured.losses[0], exact.losses[0])]
    rows += [("last loss", measured.losses[-1], exact.losses[-1])]
    for name, values in exact.params.items():
        for place in np.ndindex(values.shape):
            label = f"{name}[{', '.join(map(str, place))}]"
            rows.append((label, float(measured.params[name][place]), float(values[place])))
    rows += [("prediction", measured.prediction, exact.prediction)]
    lines = [f"{'':14}{'differences':>14}{'chain rule':>14}{'apart':>11}"]
    lines += [f"{label:14}{a:14.8f}{b:14.8f}{a - b:11.1e}" for label, a, b in rows]
    return "\n".join(lines)


def plot(measured: Descent, exact: Descent, path: str) -> None:
    from matplotlib import pyplot

    figure, axes = pyplot.subplots()
    axes.semilogy(measured.losses, label="finite differences")
    axes.semilogy(exact.losses, "--", label="chain rule")
    axes.set(xlabel="epoch", ylabel="loss")
    axes.legend()
    figure.savefig(path)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="descent by differences and by the chain rule")
    parser.add_argument("--plot", metavar="FILE", help="save the losses as a picture")
    options = parser.parse_args(arguments)
    measured, exact = compare()
    print(table(measured, exact))
    if options.plot:
        plot(measured, exact, options.plot)


if __name__ == "__main__":
    main()
