"""The first computational graph of every course: f = (x + y) * z.

At x = -2, y = 5, z = -4, values run forwards and gradients run backwards:

    q = x + y = 3        df/dq = z = -4
    f = q * z = -12      df/dx = -4, df/dy = -4, df/dz = q = 3

The three numbers are parameters, because a module has gradients of its parameters. The derivation
has those of all five nodes, and draws the graph with the value and the gradient of each.

    python examples/computational_graph.py
"""

import gradwright as gw


@gw.network
def graph():
    x = gw.param("x", (), init=gw.constant(-2.0))
    y = gw.param("y", (), init=gw.constant(5.0))
    z = gw.param("z", (), init=gw.constant(-4.0))
    q = gw.define((), x[()] + y[()], name="q")
    f = gw.define((), q[()] * z[()], name="f")
    return gw.outputs(loss=f, q=q)


def evaluate() -> tuple[dict[str, float], dict[str, float]]:
    """The values of all five nodes, and the gradients of the three leaves, from the module."""
    model = gw.compile(graph, target="numpy", dtype="float64", out="build")
    params = model.init_params()
    f, grads = model.value_and_grad(params)
    values = {name: float(value) for name, value in params.items()}
    values |= {"q": float(model.forward(params).q), "f": float(f)}
    return values, {name: float(grad) for name, grad in grads.items()}


def along_the_graph() -> dict[str, float]:
    """The gradient of every node, q and f among them, as the derivation has it."""
    return {name: gw.derive(graph, wrt=name).value for name in "xyzqf"}


def main() -> None:
    values, grads = evaluate()
    print(f"{'node':>6}{'value':>8}{'gradient':>10}")
    for name, gradient in (along_the_graph() | grads).items():
        print(f"{name:>6}{values[name]:8g}{gradient:10g}")
    for name in grads:
        print(f"\n{gw.derive(graph, wrt=name).text()}")


if __name__ == "__main__":
    main()
