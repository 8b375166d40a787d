"""Max pooling: 0..15 as a 4x4 image, window 2x2, gives [[5, 7], [13, 15]].

Its gradient goes to those four places and to no other: with a loss of sum over p, q of c y, where
c = [[1, 2], [3, 4]],

    [[0, 0, 0, 0],
     [0, 1, 0, 2],
     [0, 0, 0, 0],
     [0, 3, 0, 4]]

    python examples/max_pooling.py
"""

import numpy as np

import gradwright as gw

IMAGE = np.arange(16.0).reshape(1, 1, 4, 4)
COTANGENT = np.array([[1.0, 2.0], [3.0, 4.0]])


@gw.network
def max_pooling(cotangent: gw.f64[2, 2]):
    image = gw.param("image", (1, 1, 4, 4), init=gw.constant(IMAGE))
    y = gw.max_pool2d(image, 2)
    p, q = gw.indices("p q")
    loss = gw.define((), gw.sum(cotangent[p, q] * y[0, 0, p, q], over=(p, q)), name="loss")
    return gw.outputs(loss=loss, y=y)


def pool(target: str = "numpy") -> tuple[np.ndarray, np.ndarray]:
    """The pooled image, and the gradient for the image."""
    model = gw.compile(max_pooling, target=target, dtype="float64", out="build")
    params = model.init_params()
    _, grads = model.value_and_grad(params, COTANGENT)
    return model.forward(params).y[0, 0], grads["image"][0, 0]


def main() -> None:
    pooled, gradient = pool()
    print(f"image\n{IMAGE[0, 0]}\npooled\n{pooled}\ngradient\n{gradient}\n")
    print(gw.derive(max_pooling, wrt="image").text(full=True))


if __name__ == "__main__":
    main()
