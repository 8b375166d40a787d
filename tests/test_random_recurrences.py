"""Random recurrences in both targets: a few here, hundreds in `make torture`."""

from pathlib import Path

import pytest

from tests.random_recurrences import check, recurrence


@pytest.mark.parametrize("seed", [3, 7, 8, 12, 22])
def test_a_recurrence_says_what_its_lines_mean(seed: int, tmp_path: Path) -> None:
    check(recurrence(seed), "c" if seed % 4 == 3 else "numpy", tmp_path, seed)
