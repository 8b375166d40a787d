"""Convolution: shapes, strides, and the Sobel filters as fixed kernels.

    images    kernels     stride  padding   result
    5x3x50x50 7x3x3x3     1       0         5x7x48x48
    5x3x50x50 7x3x3x3     1       1         5x7x50x50
    5x3x50x50 7x3x3x3     2       1         5x7x25x25
    5x3x50x50 7x3x3x3     3       0         5x7x16x16

A bright square on black has an edge wherever the Sobel filters answer: the gradient along x is +4
at its left side, -4 at its right one and 0 inside, and the one along y is that turned.

    python examples/convolution.py
"""

import numpy as np

import gradwright as gw

SOBEL_X = np.array([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]])
SOBEL = np.stack([SOBEL_X, SOBEL_X.T])[:, None]  # two kernels for one channel: along x, along y
CASES = ((1, 0), (1, 1), (2, 1), (3, 0))  # stride, padding


def convolution(stride: int, padding: int) -> gw.Network:
    @gw.network
    def seven_kernels(x: gw.f64["batch", 3, 50, 50]):
        y = gw.conv2d(x, 7, 3, stride=stride, padding=padding, bias=False, name="kernels")
        i = n, o, p, q = gw.indices("n o p q")
        loss = gw.define((), gw.sum(y[i] ** 2, over=i), name="energy")
        return gw.outputs(loss=loss, y=y)

    return seven_kernels


@gw.network
def edges(image: gw.f64["batch", 1, 9, 9]):
    kernels = gw.buffer("sobel", SOBEL.shape, gw.constant(SOBEL))
    return gw.outputs(gradient=gw.convolve(image, kernels, padding=1))


def by_hand(x: np.ndarray, kernels: np.ndarray, stride: int, padding: int) -> np.ndarray:
    """y[n, o, p, q] = sum of x[n, c, stride p + r, stride q + s] kernels[o, c, r, s]."""
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(2, 3))
    return np.einsum("ncpqrs,ocrs->nopq", windows[:, :, ::stride, ::stride], kernels)


def convolve(stride: int, padding: int, target: str = "numpy") -> tuple[np.ndarray, np.ndarray]:
    """The result as compiled, and as written out by hand."""
    network = convolution(stride, padding)
    model = gw.compile(network, target=target, batch=5, dtype="float64", out="build")
    x = np.random.default_rng(0).normal(size=(5, 3, 50, 50))
    params = model.init_params(seed=0)
    return model.forward(params, x).y, by_hand(x, params["kernels.W"], stride, padding)


def square() -> np.ndarray:
    image = np.zeros((1, 1, 9, 9))
    image[0, 0, 3:6, 3:6] = 1
    return image


def find_edges() -> np.ndarray:
    """The gradient along x and along y, [2, 9, 9]."""
    model = gw.compile(edges, target="numpy", batch=1, dtype="float64", out="build")
    return model.forward(model.init_params(), square()).gradient[0]


def main() -> None:
    for stride, padding in CASES:
        ours, expected = convolve(stride, padding)
        apart = abs(ours - expected).max()
        print(f"stride {stride}, padding {padding}: {ours.shape}, apart from NumPy {apart:.1e}")
    along_x, along_y = find_edges()
    print(f"\nalong x\n{along_x.astype(int)}\n\nalong y\n{along_y.astype(int)}\n")
    print(gw.derive(convolution(2, 1), wrt="kernels.W").text(full=True))


if __name__ == "__main__":
    main()
