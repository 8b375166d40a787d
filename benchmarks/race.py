"""A race: everybody is prepared and checked against ours, then all take turns, round after round.

    with Race(rounds=15, round_seconds=0.03) as race:
        result = race.run(case, contestants(case))

A busy moment of the machine hits a whole round, not one contestant; the figures are medians over
the rounds, each on the core that is disturbed least when it begins. Processes live on from case to
case, since loading a framework takes seconds; those that a case has no use for are ended. Who fails
at any time is out with a reason; the others go on.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.agreement import disagreement
from benchmarks.cases import Arrays, CannotRun, Case
from benchmarks.contestants import Contestant
from benchmarks.process import ALLOWED, Process
from gradwright.machine import Limits

FEWEST_ROUNDS, ENOUGH = 3, 6.0
"""Who has raced for so many seconds has enough rounds, if there are so many."""
REST = 0.03
"""Seconds after a turn on two threads: the second one looks for work so long (OpenBLAS: 20 ms)."""
LONG = 0.3
"""Passes of more seconds than this are tried once before the rounds."""


@dataclass(frozen=True, slots=True)
class Time:
    """Seconds of one step, by round."""

    contestant: Contestant
    rounds: tuple[float, ...]

    @property
    def seconds(self) -> float:
        return statistics.median(self.rounds)


@dataclass(frozen=True, slots=True)
class Result:
    """One case: times, the reasons of those without one, and what the machine can do."""

    case: Case
    times: tuple[Time, ...]
    reasons: tuple[tuple[Contestant, str], ...]
    facts: dict[str, float]
    limits: Limits

    @property
    def limit(self) -> float:
        """The least seconds that a step could take on one thread."""
        work = self.facts["operations"], self.facts["read"], self.facts["written"]
        return self.limits.seconds(*work)

    def fastest_peer(self, threads: int = 2) -> Time | None:
        """Of those that are not ours, on at most so many threads."""
        others = [
            t for t in self.times if not t.contestant.ours and t.contestant.threads <= threads
        ]
        return min(others, key=lambda t: t.seconds, default=None)

    def time(self, peer: str, threads: int = 1) -> Time | None:
        """That of one contestant, if it has one."""
        wanted = (peer, threads)
        return next(
            (t for t in self.times if (t.contestant.peer, t.contestant.threads) == wanted), None
        )


@dataclass(slots=True)
class Runner:
    """A prepared contestant: how many steps a pass has, and how many passes a round."""

    contestant: Contestant
    process: Process
    steps: int
    passes: int
    rounds: list[float] = field(default_factory=list)

    @property
    def is_done(self) -> bool:
        spent = sum(self.rounds) * self.steps * self.passes
        return len(self.rounds) >= FEWEST_ROUNDS and spent > ENOUGH


class Race:
    """The processes, and how long everybody's turn is."""

    def __init__(
        self,
        rounds: int,
        round_seconds: float,
        clock: str = "wall",
        patience: float = 120.0,
        say: Callable[[str], None] = print,
    ) -> None:
        self.rounds, self.round_seconds, self.clock, self.say = rounds, round_seconds, clock, say
        self.patience = patience
        self._processes: dict[tuple[str, int], Process] = {}

    def __enter__(self) -> Race:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes.values():
            process.end()

    def run(self, case: Case, racers: Sequence[Contestant]) -> Result:
        """Prepare, check, and time. Raises CannotRun where there is nothing to compare with."""
        self._keep({(c.peer, c.threads) for c in racers} | {("gradwright_c", 1), ("machine", 1)})
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            params = Path(folder) / "params.npz"
            facts = self.figure("gradwright_c", case=asdict(case), params=str(params))
            runners, reasons = self._prepared(case, racers, params, facts["moved"])
        peaks = self._take_turns(runners, reasons)
        told = self.figure("machine", clock=self.clock)
        limits = _limits(told, statistics.median(peaks))
        times = tuple(Time(r.contestant, tuple(r.rounds)) for r in runners)
        return Result(case, times, tuple(reasons), facts, limits)

    def figure(self, peer: str, **asked: Any) -> Any:
        """What a peer file tells besides times. Raises CannotRun."""
        return self._process(peer, 1).ask(do="facts", **asked)

    def _prepared(
        self, case: Case, racers: Sequence[Contestant], params: Path, moved: dict[str, float]
    ) -> tuple[list[Runner], list[tuple[Contestant, str]]]:
        """Those that can run and agree with the first of ours, and why the others do not."""
        runners: list[Runner] = []
        reasons: list[tuple[Contestant, str]] = []
        expected: dict[int, Arrays] = {}
        with np.load(params) as stored:
            start = dict(stored)
        for racer in racers:
            began = time.perf_counter()
            try:
                runner = self._prepare(case, racer, params)
                found = self._first(runner, params.parent / "results.npz")
                if racer.ours:
                    expected.setdefault(_length(found), found)
                ours = expected.get(_length(found))
                if ours is None:
                    raise CannotRun("none of ours to compare with")
                problem = disagreement(ours, found, start, moved)
                if problem:
                    raise CannotRun(f"does not agree: {problem}")
                runner.passes = self._passes(runner)
                runners.append(runner)
                said = f"{time.perf_counter() - began:.0f} s to prepare"
            except CannotRun as reason:
                said = str(reason)
                reasons.append((racer, said))
            self.say(f"  {racer.name}: {said}")
        return runners, reasons

    def _prepare(self, case: Case, racer: Contestant, params: Path) -> Runner:
        process = self._process(racer.peer, racer.threads)
        steps = process.ask(do="prepare", case=asdict(case), params=str(params))
        return Runner(racer, process, steps, 1)

    def _first(self, runner: Runner, out: Path) -> Arrays:
        runner.process.ask(do="check", out=str(out))
        with np.load(out) as stored:
            return dict(stored)

    def _passes(self, runner: Runner) -> int:
        """How many passes a turn has: as many as fit into it, by the shorter of two tries."""
        spent = runner.process.ask(do="time", count=1, clock=self.clock)
        if spent < LONG:
            spent = min(spent, runner.process.ask(do="time", count=1, clock=self.clock))
        if spent < self.round_seconds / 10:
            spent = runner.process.ask(do="time", count=5, clock=self.clock)
        return max(1, int(self.round_seconds / spent))

    def _take_turns(
        self, runners: list[Runner], reasons: list[tuple[Contestant, str]]
    ) -> list[float]:
        """The rounds; gives the machine's multiply-adds a second in each."""
        peaks: list[float] = []
        while len(peaks) < self.rounds and not (peaks and all(r.is_done for r in runners)):
            self._choose_core(runners)
            peaks.append(self.figure("machine", peak=True, clock=self.clock))
            for r in [r for r in runners if not r.is_done]:
                try:
                    spent = r.process.ask(do="time", count=r.passes, clock=self.clock)
                    r.rounds.append(spent / r.steps)
                    time.sleep(REST if r.contestant.threads > 1 else 0)
                except CannotRun as reason:
                    self.say(f"  {r.contestant.name}: {reason}")
                    reasons.append((r.contestant, str(reason)))
                    runners.remove(r)
        return peaks

    def _choose_core(self, runners: list[Runner]) -> None:
        """This round's core for all who run on one thread: other guests of the host disturb one."""
        if len(ALLOWED) < 2:
            return
        core = self.figure("machine", clock=self.clock, cores=sorted(ALLOWED))
        for runner in runners:
            if runner.contestant.threads == 1:
                runner.process.move(core)

    def _keep(self, wanted: set[tuple[str, int]]) -> None:
        """Ends the processes of all others: a large model needs the memory that they hold."""
        for key in [k for k in self._processes if k not in wanted]:
            self._processes.pop(key).end()

    def _process(self, peer: str, threads: int) -> Process:
        known = self._processes.get((peer, threads))
        if known is None or not known.running:
            known = self._processes[peer, threads] = Process(peer, threads, self.patience)
        return known


def _length(found: Arrays) -> int:
    """How many steps a pass made: ours with as many are what it is compared with."""
    return len(found.get("losses", ()))


def _limits(told: dict[str, Any], peak: float) -> Limits:
    """The bandwidths as told, the peak as it was while the race ran."""
    curves = {
        name: tuple((int(n), float(s)) for n, s in told[name]) for name in told if name != "peak"
    }
    return Limits(peak, curves["reading"], curves["copying"])
