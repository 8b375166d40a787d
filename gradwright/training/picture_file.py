"""Read a picture of one digit as the data set would hold it: bright on black, sized and centred.

    pixels = read_digit(Path("seven.png"), side=28, box=20)        # (28, 28), 0..1

As for MNIST, the strokes are cut out, fitted into `box` pixels with their proportions kept, and
put with their centre of mass in the middle. A picture of exactly side x side pixels is taken as it
is, turned to bright on black. Needs the extra `predict`. It does not find digits in a scene.
"""

from __future__ import annotations

import io
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradwright.training.extras import extra
from ir.errors import DataError

FORMATS = ("PNG", "JPEG", "BMP", "GIF")
PIXELS, SIDE = 25_000_000, 1024
"""More pixels are refused, before anything is allocated; a longer side is made smaller at once."""
FAINT = 0.1
"""Below this share of the brightest pixel, it is background."""


def read_digit(path: Path, side: int, box: int) -> NDArray[np.float64]:
    """Raises `DataError` for a file that is no picture, too large, or blank."""
    grey = _strokes(_grey(path), path)
    if grey.shape == (side, side):
        return grey
    rows, columns = (np.flatnonzero((grey > FAINT).any(axis=axis)) for axis in (1, 0))
    cut = grey[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return _centred(_fitted(cut, box), side)


def _grey(path: Path) -> NDArray[np.float64]:
    """The picture as it is, on white where it is transparent: 0 black, 1 white."""
    library = extra("PIL.Image", "predict")
    try:
        # From memory: a file gives room for as much as a damaged chunk says that it holds.
        content = io.BytesIO(_content(path))
        with _without_warnings(), library.open(content, formats=FORMATS) as picture:
            width, height = picture.size
            if width * height > PIXELS:
                raise ValueError(f"{width}x{height} pixels, more than {PIXELS}")
            solid = picture.convert("RGBA")
            if max(width, height) > SIDE:
                solid.thumbnail((SIDE, SIDE))
            white = library.new("RGBA", solid.size, "white")
            grey = library.alpha_composite(white, solid).convert("L")
            return np.asarray(grey, np.float64) / 255
    except (OSError, ValueError, SyntaxError, library.DecompressionBombError) as error:
        raise DataError(
            f"{path} cannot be read as a picture",
            notes=(f"found: {getattr(error, 'strerror', None) or error}",),
            fix=f"give a file of one of the kinds {', '.join(FORMATS)}",
        ) from None


def _content(path: Path) -> bytes:
    found = path.stat()
    if not stat.S_ISREG(found.st_mode) or found.st_size > 4 * PIXELS:
        raise ValueError(f"no regular file of at most {4 * PIXELS} bytes")
    return path.read_bytes()


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Pillow warns of what is refused here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _strokes(grey: NDArray[np.float64], path: Path) -> NDArray[np.float64]:
    """Bright on black: the border tells which of the two is the background."""
    border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    background = float(np.median(border))
    strokes = background - grey if background > 0.5 else grey - background
    strokes = np.maximum(strokes, 0.0)
    if strokes.max() < FAINT:
        raise DataError(f"{path} is blank", fix="draw one dark digit on white, or white on black")
    scaled: NDArray[np.float64] = strokes / strokes.max()
    return scaled


def _fitted(cut: NDArray[np.float64], box: int) -> NDArray[np.float64]:
    """The larger side becomes `box` pixels; each pixel is the mean of what it covers."""
    library = extra("PIL.Image", "predict")
    scale = box / max(cut.shape)
    height, width = (max(1, round(scale * size)) for size in cut.shape)
    grey: Any = library.fromarray((255 * cut).astype(np.uint8))
    small = grey.resize((width, height), library.Resampling.BOX)
    return np.asarray(small, np.float64) / 255


def _centred(digit: NDArray[np.float64], side: int) -> NDArray[np.float64]:
    """The centre of mass in the middle, as far as nothing is cut off.

    A digit that fills the picture, as the 8x8 ones do, has its box in the middle.
    """
    made = np.zeros((side, side))
    first = []
    for axis, size in enumerate(digit.shape):
        fills = max(digit.shape) == side
        mass = np.ones(size) if fills else digit.sum(axis=1 - axis)
        centre = float(np.arange(size) @ mass / mass.sum()) + 0.5
        first.append(min(max(round(side / 2 - centre), 0), side - size))
    top, left = first
    made[top : top + digit.shape[0], left : left + digit.shape[1]] = digit
    return made
