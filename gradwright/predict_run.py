"""`gradwright predict`, from a picture and a checkpoint to class probabilities.

    probabilities, seen = predict(PredictOptions("net.py", Path("7.png"), Path("runs/net")))

The network is compiled with the options of its checkpoint, and the picture goes the way of the data
set that it was trained on, so that it sees what it has learnt to see.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradwright.model_file import ModelFile
from gradwright.train_run import compile_options
from gradwright.training import checkpoint as checkpoints
from gradwright.training.batches import fit
from gradwright.training.datasets import Dataset, Split
from gradwright.training.metrics import class_scores
from gradwright.training.model import CompiledModel
from gradwright.training.picture_file import read_digit
from ir.errors import InputError, ShapeError

DIGITS_SIDE = 8
SHADES = " ░▒▓█"
BAR = 30


@dataclass(frozen=True, slots=True)
class PredictOptions:
    """The options of the command."""

    model: str
    image: Path
    checkpoint: Path


def predict(options: PredictOptions) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Class probabilities, and the picture as the network saw it (0..1).

    Raises `GradwrightError`: a file that is no picture, a checkpoint of another network, a network
    that has no class scores or takes no square pictures.
    """
    known = checkpoints.load(options.checkpoint)
    source = ModelFile.parse(options.model)
    with tempfile.TemporaryDirectory() as folder:
        with source.errors():
            network = source.load()
            model = compile_options(known.settings).compile(network, Path(folder))
        checkpoints.require_match(options.checkpoint, known, model)
        dataset = _dataset(options.image, known.settings.data, model)
        rows = fit(model, dataset)[0]
        scores = class_scores(model, known.params, rows)
    if scores is None:
        raise InputError(f"{model.NAME} has no class scores", fix="return logits=... from it")
    seen = rows.arrays[_image_input(model)].reshape(math.isqrt(_pixels(model)), -1)
    return probabilities(scores[0]), seen.astype(np.float64)


def _dataset(image: Path, data: str, model: CompiledModel) -> Dataset:
    """The picture as a data set of one image, of the size of those that were trained on."""
    side = DIGITS_SIDE if data == "digits" else math.isqrt(_pixels(model))
    if side != DIGITS_SIDE and side * side != _pixels(model):
        raise ShapeError(
            f"{model.NAME} takes no square pictures",
            notes=(f"found: {_pixels(model)} numbers an image",),
        )
    # MNIST leaves a margin of 4 in 28; the 8x8 digits have none.
    box = side if side == DIGITS_SIDE else round(side * 20 / 28)
    split = Split(read_digit(image, side, box)[None], np.zeros(1, np.uint8))
    return Dataset(image.name, split, split, 1.0, str(image))


def _image_input(model: CompiledModel) -> str:
    return next(name for name, (_, dtype) in model.INPUTS.items() if dtype.startswith("float"))


def _pixels(model: CompiledModel) -> int:
    floats = [shape for shape, dtype in model.INPUTS.values() if dtype.startswith("float")]
    return math.prod(int(size) for size in floats[0][1:]) if floats else 0


def probabilities(scores: NDArray[Any]) -> NDArray[np.float64]:
    """Softmax, unless the scores are probabilities already (log-probabilities come out right)."""
    scores = scores.astype(np.float64)
    if scores.min() >= 0 and abs(scores.sum() - 1) < 1e-3:
        weights = scores
    else:
        weights = np.exp(scores - scores.max())
    shares: NDArray[np.float64] = weights / weights.sum()
    return shares


def blocks(picture: NDArray[np.float64]) -> Iterator[str]:
    """A picture as lines of block characters: one for two pixels, as a character is tall."""
    padded = np.pad(picture, ((0, picture.shape[0] % 2), (0, 0)))
    pairs = padded.reshape(-1, 2, picture.shape[1]).mean(axis=1)
    levels = np.ceil(np.clip(pairs, 0, 1) * (len(SHADES) - 1)).astype(int)
    for row in levels:
        yield "".join(SHADES[level] for level in row).rstrip()


def table(found: NDArray[np.float64], count: int = 10) -> Iterator[str]:
    """The classes, the most probable first."""
    for label in np.argsort(-found, kind="stable")[:count]:
        share = found[label]
        bar = "█" * round(BAR * share)
        yield f"{label:>5}  {100 * share:6.2f} %  {bar}".rstrip()
