"""A tensor used twice collects both paths; a broadcast one sums over where it was copied to.

y = (a x + b) a with x and a of 3 x 3 and b of 3, added to every row. Read element by element, with
an incoming cotangent c (the loss is sum c y, so c is dloss/dy):

    da = c (a x + b)  +  c a x        once as the outer factor, once as the inner one
    db_j = sum_i c_ij a_ij            over the rows that b was copied to

and read as matrix products:

    da = (a x + b)^T c  +  c a^T x^T
    db_j = sum_i (c a^T)_ij

    python examples/tensor_used_twice.py
"""

import numpy as np

import gradwright as gw

A = np.array([[1.0, -2.0, 0.5], [0.0, 1.5, 2.0], [-1.0, 3.0, 0.25]])
X = np.array([[2.0, 0.0, -1.0], [1.0, 1.0, 0.5], [-3.0, 2.0, 4.0]])
B = np.array([1.0, -1.0, 2.0])
Gradients = tuple[np.ndarray, np.ndarray]


@gw.network
def by_element(x: gw.f64[3, 3], c: gw.f64[3, 3]):
    a, b = gw.param("a", (3, 3), init=gw.constant(A)), gw.param("b", (3,), init=gw.constant(B))
    y = gw.mul(gw.add(gw.mul(a, x), b), a)
    i, j = gw.indices("i j")
    return gw.outputs(loss=gw.define((), gw.sum(c[i, j] * y[i, j], over=(i, j)), name="loss"))


@gw.network
def by_matrix(x: gw.f64[3, 3], c: gw.f64[3, 3]):
    a, b = gw.param("a", (3, 3), init=gw.constant(A)), gw.param("b", (3,), init=gw.constant(B))
    i, j, k = gw.indices("i j k")
    inner = gw.define((i, j), gw.sum(a[i, k] * x[k, j], over=k) + b[j], name="inner")
    y = gw.define((i, j), gw.sum(inner[i, k] * a[k, j], over=k), name="y")
    return gw.outputs(loss=gw.define((), gw.sum(c[i, j] * y[i, j], over=(i, j)), name="loss"))


def derived(network: gw.Network, cotangent: np.ndarray) -> Gradients:
    model = gw.compile(network, target="numpy", dtype="float64", out="build")
    _, grads = model.value_and_grad(model.init_params(), X, cotangent)
    return grads["a"], grads["b"]


def by_hand_by_element(c: np.ndarray) -> Gradients:
    return c * (A * X + B) + c * A * X, (c * A).sum(axis=0)


def by_hand_by_matrix(c: np.ndarray) -> Gradients:
    return (A @ X + B).T @ c + c @ A.T @ X.T, (c @ A.T).sum(axis=0)


def main() -> None:
    cotangent = np.arange(9.0).reshape(3, 3)
    for network, by_hand in ((by_element, by_hand_by_element), (by_matrix, by_hand_by_matrix)):
        (da, db), (da_hand, db_hand) = derived(network, cotangent), by_hand(cotangent)
        print(f"{network.name}\nda =\n{da}\ndb = {db}")
        print(f"apart from the formulas above: {abs(da - da_hand).max() + abs(db - db_hand).max()}")
        print(gw.derive(network, wrt="a").text(), "\n")


if __name__ == "__main__":
    main()
