"""The hand-made network and the embedded digits, fitted to each other."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from gradwright.training import digits
from gradwright.training.batches import Rows, fit
from tests.training import softmax_regression


@pytest.fixture
def model() -> SimpleNamespace:
    """A copy of the module's names, so that a test may change one."""
    public = {n: v for n, v in vars(softmax_regression).items() if not n.startswith("_")}
    return SimpleNamespace(**public)


@pytest.fixture(scope="session")
def data() -> tuple[Rows, Rows]:
    return fit(softmax_regression, digits.load())
