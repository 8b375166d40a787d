"""Measure this project against its peers: `make bench`, or

    python -m benchmarks                                        everything, about twenty minutes
    python -m benchmarks --models perceptron --batches 1 128 --rounds 25
    python -m benchmarks --quick --peers jax_step torch_eager

writes RESULTS.md and results.png into benchmarks/, or into --out. Needs the extra `bench`; a peer
that is not installed is shown as such.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks import report
from benchmarks.cases import CLOCKS, Case, chosen
from benchmarks.contestants import PEERS, contestants
from benchmarks.race import Race, Result


def main() -> None:
    options = arguments()
    results = []
    with Race(options.rounds, 0.01 if options.quick else 0.04, options.clock) as race:
        for case in selected(options):
            print(case.title, flush=True)
            result = race.run(case, contestants(case, frozenset(options.peers)))
            print("\n" + report.section(result), flush=True)
            results.append(result)
            if not options.dry:  # after each, so that a run that is cut short leaves its results
                write(results, options)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="training steps of this project and of its peers")
    parser.add_argument("--models", nargs="*", default=[], help="perceptron lenet5 small_gpt ...")
    parser.add_argument("--batches", nargs="*", type=int, default=[])
    parser.add_argument("--peers", nargs="*", default=[], choices=[*PEERS], metavar="PEER")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--quick", action="store_true", help="three short rounds, small models")
    parser.add_argument("--clock", choices=[*CLOCKS], default="wall", help="cpu: one thread only")
    parser.add_argument("--dry", action="store_true", help="write no files")
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent)
    options = parser.parse_args()
    options.rounds = 3 if options.quick else options.rounds
    return options


def selected(options: argparse.Namespace) -> list[Case]:
    """Those that were asked for; a quick run leaves out what takes minutes to compile."""
    found = chosen(options.models, options.batches)
    if options.clock == "cpu":
        found = [c for c in found if c.threads == 1]
    if options.quick and not options.models:
        found = [c for c in found if c.model in ("perceptron", "lenet5")]
    return found


def write(results: list[Result], options: argparse.Namespace) -> None:
    """RESULTS.md and its picture."""
    folder = options.out
    folder.mkdir(parents=True, exist_ok=True)
    try:
        from benchmarks.picture import draw

        draw(results, folder / "results.png")
    except ImportError as error:
        print(f"no picture: {error}")
    page = report.document(results, report.heading(results, options.rounds, options.clock))
    temporary = folder / ".RESULTS.md"
    temporary.write_text(page, encoding="utf-8")
    temporary.replace(folder / "RESULTS.md")


if __name__ == "__main__":
    main()
