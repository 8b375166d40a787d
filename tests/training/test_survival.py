"""A few of the kills of `make torture`: see tests/torture/survival.py."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_killed_runs_lose_nothing() -> None:
    """In a process of its own with one thread, because it forks."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.torture.survival", "--share", "0.01", "--target", "numpy"],
        cwd=ROOT, env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line.split("|")[2:4] for line in done.stdout.splitlines() if line.startswith("| ")][1:]
    assert len(rows) == 15
    assert all(int(tried) > 0 and int(failed) == 0 for tried, failed in rows)
