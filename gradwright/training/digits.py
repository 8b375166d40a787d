"""The embedded digits: 1,797 real handwritten digits of 8x8 pixels, for machines without network.

They are the test set of the UCI "Optical Recognition of Handwritten Digits" (E. Alpaydin,
C. Kaynak; CC BY 4.0), stored as four IDX files beside their attribution in `gradwright/data/`.
Pixels go from 0 to 16. In the order of the original file, the first 1,437 train and the last 360
test.
"""

from __future__ import annotations

from dataclasses import replace
from importlib.resources import as_file, files

from gradwright.training.datasets import Dataset
from gradwright.training.idx import IdxSpec
from gradwright.training.image_folder import IMAGE_AXES, LABEL_AXES, FolderSpec, read_folder

DIGITS = FolderSpec(
    "digits",
    IdxSpec(
        "digits-train-images-idx3-ubyte",
        IMAGE_AXES,
        (1437, 8, 8),
        "41e463fb11442353328aed136a72ca93512604a7ae6e294205756d54294c7502",
    ),
    IdxSpec(
        "digits-train-labels-idx1-ubyte",
        LABEL_AXES,
        (1437,),
        "f8a600b73e2c056aa42316260206e6643bd33e96bd71cfb8e32b94f76fac4f93",
    ),
    IdxSpec(
        "digits-test-images-idx3-ubyte",
        IMAGE_AXES,
        (360, 8, 8),
        "ee7550fe34409fc27d844b52fd0408fab403b2cc523bb34baa4ebd95b760d882",
    ),
    IdxSpec(
        "digits-test-labels-idx1-ubyte",
        LABEL_AXES,
        (360,),
        "cf2c8a23974df0c99eb3f36ff34c02acb9be1c84aca7280211ef04bea1135360",
    ),
    white=16.0,
    classes=10,
)


def load() -> Dataset:
    """The digits that ship inside the package; always there, no network."""
    with as_file(files("gradwright.data")) as folder:
        return replace(read_folder(folder, DIGITS), source="inside the package")
