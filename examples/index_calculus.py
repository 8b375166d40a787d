"""The chain rule on indices: Kronecker deltas appear, are solved, and vanish.

    f(y) = sum_p y_p^2            p = 1..3
    g_p(x) = sum_q w_pq x_q^2     q = 1..2

    df/dy_j = sum_p 2 y_p delta_jp = 2 y_j
    dg_j/dx_k = sum_q 2 w_jq x_q delta_kq = 2 w_jk x_k
    d(f o g)/dx_k = 4 x_k sum_j w_jk sum_q w_jq x_q^2

With w = [[1, 2], [3, 4], [5, 6]] and x = (1, 2): g = (9, 19, 29), f = 1283 and the gradient is
(844, 2144).

    python examples/index_calculus.py
"""

import numpy as np

import gradwright as gw

X = np.array([1.0, 2.0])
W = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])


@gw.network
def composed():
    p, q = gw.indices("p q")
    x = gw.param("x", (2,), init=gw.constant(X))
    w = gw.param("w", (3, 2), init=gw.constant(W))
    g = gw.define((p,), gw.sum(w[p, q] * x[q] ** 2, over=q), name="g")
    f = gw.define((), gw.sum(g[p] ** 2, over=p), name="f")
    return gw.outputs(loss=f, g=g)


def evaluate() -> tuple[np.ndarray, float, np.ndarray]:
    """g, f and df/dx at X."""
    model = gw.compile(composed, target="numpy", dtype="float64", out="build")
    params = model.init_params()
    f, grads = model.value_and_grad(params)
    return model.forward(params).g, float(f), grads["x"]


def by_hand() -> np.ndarray:
    """The closed form at the end of the derivation."""
    return 4 * X * np.einsum("jk,j->k", W, np.einsum("jq,q->j", W, X**2))


def main() -> None:
    print(gw.derive(composed, wrt="x").text(full=True))
    g, f, gradient = evaluate()
    print(f"\ng = {g}\nf = {f:g}\ndf/dx = {gradient}\nclosed form = {by_hand()}")


if __name__ == "__main__":
    main()
