"""10,000 random programs, every pass, many builds; each failure as the smallest program with it.

    python -m tests.torture.random_programs                  # hours; a Markdown table
    python -m tests.torture.random_programs --programs 500 --minutes 10 --seed 7

Bundles of 25 programs are one network each. Every bundle runs through all passes and through
four of eleven: the builds of tests/random_programs_checks.py, and one thread against three.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter

from tests.random_programs_checks import BUILDS
from tests.random_programs_run import BUNDLE, THREADS, Report, run


def main() -> int:
    """The exit code is 1 if anything failed."""
    parser = argparse.ArgumentParser(description="check random programs")
    parser.add_argument("--programs", type=int, default=10_000)
    parser.add_argument("--minutes", type=float, default=float("inf"))
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    said = parser.parse_args()
    print(f"seed {said.seed}", flush=True)
    report, built, end = Report(), Counter[str](), time.monotonic() + 60 * said.minutes
    names = [*BUILDS, THREADS]
    for bundle in range(-(-said.programs // BUNDLE)):
        if time.monotonic() > end:
            break
        chosen = [names[(4 * bundle + i) % len(names)] for i in range(4)]
        before, known = report.programs, len(report.failures)
        run(f"{said.seed} {bundle}", BUNDLE, chosen, report=report)
        built.update(dict.fromkeys(chosen, report.programs - before))
        for failure in report.failures[known:]:
            print(failure, flush=True)
    print(table(report, built))
    return 1 if report.failures else 0


def table(report: Report, built: Counter[str]) -> str:
    """What was tried, and how many of it."""
    rows = {
        "programs checked: gradients, and every pass": report.programs,
        "drawn again, because they have no gradient": report.drawn_again,
        **{f"programs built as: {name}": count for name, count in sorted(built.items())},
        "numbers compared within a computed bound": report.compared,
        "of these with a bound of infinity": report.unknown,
        "central differences across a kink, left to the complex step": report.kinks,
        "programs that failed": len(report.failures),
    }
    lines = [f"| {what} | {count:,} |" for what, count in rows.items()]
    return "\n".join(["| what | how many |", "|---|---:|", *lines])


if __name__ == "__main__":
    sys.exit(main())
