"""Is it a 3 or a 7? Two baselines without any training, then a linear model with the sigmoid loss.

The baselines compare an image with the mean 3 and the mean 7 of the training set, by the mean
absolute difference (L1) and by the root of the mean squared difference (L2). On the 2,038 threes
and sevens of the MNIST test set:

    L1                95.14 %
    L2                96.61 %
    linear model      above 97.5 %

The linear model is p = sigmoid(x w + b), the probability of a 3, with the loss 1 - p for a 3 and p
for a 7. It learns by gradient descent in batches of 256, rate 1, and stops when a sixth of the
training images, held back, has not been told apart better for five epochs; the best epoch counts.

    python examples/three_or_seven.py           MNIST if it can be had, else the 8x8 digits inside
"""

from typing import Any, NamedTuple

import numpy as np

import gradwright as gw
from gradwright.training.datasets import Split
from gradwright.training.early_stopping import Patience
from gradwright.training.sources import choose

BATCH = 256
MOST_EPOCHS = 60


class Images(NamedTuple):
    """Threes and sevens: pixels from 0 to 1, one row an image, and 1 for a 3, 0 for a 7."""

    x: np.ndarray
    three: np.ndarray


def threes_and_sevens(split: Split, white: float) -> Images:
    chosen = (split.labels == 3) | (split.labels == 7)
    pixels = split.images[chosen].reshape(chosen.sum(), -1)
    return Images((pixels / white).astype("float32"), (split.labels[chosen] == 3).astype("float32"))


def l1(x: np.ndarray, mean: np.ndarray) -> np.ndarray:
    return abs(x - mean).mean(axis=1)


def l2(x: np.ndarray, mean: np.ndarray) -> np.ndarray:
    return np.sqrt(((x - mean) ** 2).mean(axis=1))


def baselines(train: Images, test: Images) -> dict[str, float]:
    """The share of the test images that are nearer to the mean image of their own class."""
    mean3, mean7 = (train.x[train.three == t].mean(axis=0, dtype="float64") for t in (1, 0))
    return {
        name: float(((distance(test.x, mean3) < distance(test.x, mean7)) == test.three).mean())
        for name, distance in (("L1", l1), ("L2", l2))
    }


def linear_model(pixels: int) -> gw.Network:
    @gw.network
    def three_or_seven(x: gw.f32["batch", pixels], three: gw.f32["batch"]):
        p = gw.sigmoid(gw.dense(x, 1, name="linear"), name="p")
        n = gw.indices("n")
        wrong = three[n] * (1 - p[n, 0]) + (1 - three[n]) * p[n, 0]
        return gw.outputs(loss=gw.define((), gw.mean(wrong, over=n), name="loss"), p=p)

    return three_or_seven


class Learned(NamedTuple):
    """Accuracy on the images held back, after each epoch; and on the test set, by the best one."""

    epochs: list[float]
    test: float


def accuracy(model: Any, params: dict[str, np.ndarray], images: Images) -> float:
    starts = range(0, len(images.x), BATCH)
    p = [model.forward(params, images.x[start : start + BATCH]).p[:, 0] for start in starts]
    return float(((np.concatenate(p) > 0.5) == images.three).mean())


def hold_back(images: Images, rng: np.random.Generator) -> tuple[Images, Images]:
    """Five sixths to train with, one sixth to stop by."""
    back, rest = np.split(rng.permutation(len(images.x)), [len(images.x) // 6])
    return Images(images.x[rest], images.three[rest]), Images(images.x[back], images.three[back])


def learn(images: Images, test: Images, target: str = "numpy") -> Learned:
    model = gw.compile(linear_model(images.x.shape[1]), target=target, batch=BATCH, out="build")
    rng = np.random.default_rng(0)
    train, back = hold_back(images, rng)
    params = model.init_params(seed=0)
    state = model.init_state(params)
    epochs: list[float] = []
    best, patience = dict(params), Patience(5)
    while not patience.over and len(epochs) < MOST_EPOCHS:
        order = rng.permutation(len(train.x))
        model.train_epoch(params, state, train.x, train.three, order, batch=BATCH, lr=1.0)
        epochs.append(accuracy(model, params, back))
        if patience.improved(epochs[-1]):
            best = {name: value.copy() for name, value in params.items()}
    return Learned(epochs, accuracy(model, best, test))


def load() -> tuple[Images, Images]:
    data = choose("auto", None, print, lambda name, done, total: None)
    print(data.describe())
    train, test = (threes_and_sevens(split, data.white) for split in (data.train, data.test))
    return train, test


def main() -> None:
    train, test = load()
    for name, share in baselines(train, test).items():
        print(f"{name:14}{share:8.2%}")
    learned = learn(train, test)
    for epoch, share in enumerate(learned.epochs, 1):
        print(f"epoch {epoch:2}      {share:8.2%}   held back")
    print(f"{'linear model':14}{learned.test:8.2%}")


if __name__ == "__main__":
    main()
