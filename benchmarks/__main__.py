"""Measure this project against its peers: `make bench`, or

    python -m benchmarks                            everything, about eighteen minutes when quiet
    python -m benchmarks --models perceptron --batches 1 128 --rounds 25
    python -m benchmarks --quick --peers jax_step torch_eager

writes RESULTS.md and results.png into benchmarks/, or into --out, after each case: a run that is
cut short leaves what it has. Needs the extra `bench`; who cannot take part is shown with why.
"""

from __future__ import annotations

import argparse
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks import emit_time, report, summary
from benchmarks.cases import CLOCKS, CannotRun, Case, chosen
from benchmarks.contestants import PEERS, contestants
from benchmarks.race import Race, Result

FIGURES = ("allocations", "memory", "epoch", "workspace", "bits")


def main() -> None:
    options = arguments()
    results: list[Result] = []
    told: dict[str, Any] = {}
    turn = 0.01 if options.quick else 0.04
    with Race(options.rounds, turn, options.clock, options.patience) as race:
        for case in selected(options):
            print(case.title, flush=True)
            try:
                result = race.run(case, contestants(case, frozenset(options.peers)))
            except CannotRun as reason:
                print(f"  not measured: {reason}", flush=True)
                continue
            print("\n" + report.section(result), flush=True)
            results.append(result)
            write(results, told, options)
    if not (options.models or options.batches or options.quick) or options.figures:
        with Race(options.rounds, turn, options.clock, options.patience) as race:
            told |= figures(race)
    print(summary.table(results, told))
    write(results, told, options)


def figures(race: Race) -> dict[str, Any]:
    """What is measured beside the races; who fails is left out, with the reason on the terminal."""
    told: dict[str, Any] = {}
    for name in FIGURES:
        try:
            told[name] = race.figure("figures", figure=name)
        except CannotRun as reason:
            print(f"{name}: {reason}", flush=True)
    try:
        told |= emit_time.summary(repeats=2)
    except subprocess.CalledProcessError as error:
        print(f"emission: {error.stderr.strip().splitlines()[-1:]}", flush=True)
    return told


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="training steps of this project and of its peers")
    parser.add_argument("--models", nargs="*", default=[], help="perceptron lenet5 small_gpt ...")
    parser.add_argument("--batches", nargs="*", type=int, default=[])
    parser.add_argument("--peers", nargs="*", default=[], choices=[*PEERS], metavar="PEER")
    parser.add_argument("--figures", action="store_true", help="what is no race, in any case")
    parser.add_argument("--patience", type=float, default=120.0, help="seconds for an answer")
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
        found = [replace(c, threads=1) for c in found]
    if options.quick and not options.models:
        found = [c for c in found if c.model in ("perceptron", "lenet5")]
    return found


def write(results: list[Result], told: dict[str, Any], options: argparse.Namespace) -> None:
    """RESULTS.md and its picture."""
    if options.dry or not results:
        return
    folder = options.out
    folder.mkdir(parents=True, exist_ok=True)
    try:
        from benchmarks.picture import draw

        draw(results, folder / "results.png")
    except ImportError as error:
        print(f"no picture: {error}")
    said = report.heading(results, options.rounds, options.clock, options.patience)
    page = report.document(results, said, summary.table(results, told))
    temporary = folder / ".RESULTS.md"
    temporary.write_text(page, encoding="utf-8")
    temporary.replace(folder / "RESULTS.md")


if __name__ == "__main__":
    main()
