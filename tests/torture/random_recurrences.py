"""Random recurrences, hundreds of them in both targets: a table, and the seeds that failed.

    python -m tests.torture.random_recurrences                       # about a quarter of an hour
    python -m tests.torture.random_recurrences --count 50 --first 1000
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.random_recurrences import check, recurrence


def main() -> int:
    """The exit code is 1 if any failed."""
    parser = argparse.ArgumentParser(description="check random recurrences")
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--first", type=int, default=0)
    said = parser.parse_args()
    tried, failed = {"numpy": 0, "c": 0}, {"numpy": 0, "c": 0}
    for seed in range(said.first, said.first + said.count):
        target = "c" if seed % 4 == 3 else "numpy"
        tried[target] += 1
        with tempfile.TemporaryDirectory() as folder:
            try:
                check(recurrence(seed), target, Path(folder), seed)
            except Exception as error:  # a defect, whatever it is
                failed[target] += 1
                print(f"seed {seed}, {target}: {str(error)[:500]}", flush=True)
    print("| target | recurrences | failed |\n|---|---:|---:|")
    for target in tried:
        print(f"| {target} | {tried[target]} | {failed[target]} |")
    return 1 if any(failed.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
