"""`make bench` without its peers: who agrees with whom, the protocol, the tables.

No time is asserted.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import report, summary
from benchmarks.agreement import disagreement, rounding
from benchmarks.cases import CannotRun, Case, all_cases, chosen, inputs
from benchmarks.contestants import OURS, PEERS, Contestant, contestants
from benchmarks.networks import network
from benchmarks.peers import figures, machine
from benchmarks.race import Race, Result, Runner, Time
from benchmarks.worker import Worker, run
from gradwright.machine import Limits

START = {"W": np.array([1.0, 2.0, -4.0], np.float32)}
AFTER = {"losses": np.array([2.5]), "W": np.array([1.1, 1.9, -4.2], np.float32)}


def changed(**arrays: object) -> dict[str, np.ndarray]:
    return AFTER | {name: np.array(value, np.float32) for name, value in arrays.items()}


@pytest.mark.parametrize(
    ("theirs", "problem"),
    [
        (changed(), None),
        (changed(W=[1.1001, 1.9, -4.2]), None),
        (changed(losses=[2.4]), "losses differs by 4.0e-02"),
        (changed(losses=[np.nan]), "losses differs by nan"),
        (changed(W=[1, 2, -4]), "W differs by 1.0e"),
        (changed(W=[1.05, 1.95, -4.1]), "W differs by 5.0e-01"),
        (changed(W=[1.1, 1.9]), "W has shape (2,) and not (3,)"),
        ({"losses": AFTER["losses"]}, "no W to compare"),
    ],
    ids=str,
)
def test_who_agrees(theirs: dict[str, np.ndarray], problem: str | None) -> None:
    found = disagreement(AFTER, theirs, START)
    assert found is None if problem is None else found is not None and found.startswith(problem)


def test_what_rounding_can_turn_is_allowed_for() -> None:
    """A bias at the kink of its ReLU may have the gradient of either side, any other only its."""

    def step(start: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        b = start["b"]
        return {"b": b - np.float32(0.5) * (b > 0)}

    kink, apart = ({"b": np.array([b, 3], np.float32)} for b in (1e-7, 1e-3))
    assert rounding(step, apart)["b"] < 1e-5
    moved = rounding(step, kink)
    assert moved["b"] == pytest.approx(0.5)
    other = {"b": np.array([1e-7, 2.5], np.float32)}
    assert disagreement(step(kink), other, kink) is not None
    assert disagreement(step(kink), other, kink, moved) is None


def test_every_case_has_its_model_and_data() -> None:
    assert len({case.title for case in all_cases()}) == len(all_cases())
    for case in all_cases():
        assert network(case.model)
        if case.model == "vgg16":
            continue  # the same data as LeNet's, but large
        rows, order = inputs(case)
        assert sorted(order) == list(range(case.batch * case.epoch))
        assert {len(a) for a in rows.values()} == {len(order)}
    assert [(c.batch, c.threads) for c in chosen(["perceptron"], [8, 64])] == [(8, 1), (64, 2)]
    assert len(chosen([], [])) == len(all_cases())


def test_two_threads_race_against_everybody_on_one_and_two() -> None:
    pairs = contestants(Case("perceptron", 64, threads=2))
    assert len(pairs) == 2 * (len(OURS) + len(PEERS))
    assert [c.peer for c in pairs if not c.ours and c.threads == 2] == list(PEERS)
    assert pairs[0] == Contestant("gradwright_c", "gradwright C", 1, ours=True)


class Peer:
    """A peer file as the worker sees it."""

    @staticmethod
    def prepare(case: Case, given: object, threads: int) -> Peer:
        if case.batch == 2:
            raise CannotRun("not with two")
        return Peer()

    steps = 3

    def first(self) -> dict[str, np.ndarray]:
        return {"losses": np.zeros(3)}

    def run(self, count: int) -> None:
        if count > 100:
            raise ValueError("too many\nof them")


def test_a_worker_answers_each_command_on_a_line(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setitem(sys.modules, "benchmarks.peers.fake", Peer)
    params, out = str(tmp_path / "params.npz"), str(tmp_path / "out.npz")
    np.savez(params, W=np.zeros(2))
    case = {"model": "perceptron", "batch": 1}
    commands = [
        {"do": "prepare", "case": case | {"batch": 2}, "params": params},
        {"do": "prepare", "case": case, "params": params},
        {"do": "check", "out": out},
        {"do": "time", "count": 20, "clock": "wall"},
        {"do": "time", "count": 200, "clock": "cpu"},
    ]
    monkeypatch.setattr(sys, "stdin", StringIO("".join(json.dumps(c) + "\n" for c in commands)))
    answers = StringIO()
    run(Worker("fake", 1), answers)
    cannot, steps, checked, timed, failed = map(json.loads, answers.getvalue().splitlines())
    assert cannot == {"cannot": "not with two"}
    assert steps == {"ok": 3}
    assert checked == {"ok": None}
    assert timed["ok"] > 0
    assert failed == {"cannot": "ValueError: too many"}
    assert np.load(out)["losses"].shape == (3,)


LIMITS = Limits(1e11, ((2**19, 1e11),) * 4, ((2**19, 5e10),) * 4)
FACTS = {"operations": 1e7, "read": 1e6, "written": 1e6}


def result(threads: int = 1) -> Result:
    ours = Contestant("gradwright_c", "gradwright C", threads, ours=True)
    times = [Time(ours, (2e-4, 1.6e-4, 9e-4))]
    counts = range(1, threads + 1)
    times += [Time(Contestant("jax_step", "JAX jit", n), (6e-4 / n,)) for n in counts]
    times += [Time(Contestant("torch_eager", "PyTorch eager", n), (8e-4 * n,)) for n in counts]
    reasons = tuple((Contestant("pytensor_c", "PyTensor C", n), "no | of that") for n in counts)
    case = Case("perceptron", 128, threads=threads)
    return Result(case, tuple(times), reasons, FACTS, LIMITS)


def test_the_table_of_a_case() -> None:
    rows = report.section(result()).splitlines()
    assert rows[0] == "## perceptron, batch 128"
    assert rows[2].endswith("limit 100 µs at 100 GFLOP/s a thread.")
    assert rows[-4:] == [
        "| **gradwright C** | 200 µs | 3.00 | 50.0 | 50% |",
        "| JAX jit | 600 µs | 1.00 | 16.7 | 17% |",
        "| PyTorch eager | 800 µs | 0.75 | 12.5 | 12% |",
        "| PyTensor C | no / of that | | | |",
    ]


def test_each_is_compared_with_peers_on_as_many_threads() -> None:
    rows = report.section(result(threads=2)).splitlines()[6:]
    assert rows[:3] == [
        "| **gradwright C, 2 threads** | 200 µs | 1.50 | 50.0 | 25% |",
        "| JAX jit, 2 threads | 300 µs | 1.00 | 33.3 | 17% |",
        "| JAX jit | 600 µs | 1.00 | 16.7 | 17% |",
    ]
    assert len(rows) == 6


def test_what_was_asked_beside_what_was_measured() -> None:
    """Of a run that has one batch and one other figure; C called from C on one and two threads."""
    alone = [Contestant("gradwright_c_alone", "C", n, ours=True) for n in (1, 2)]
    times = (Time(alone[0], (2e-4,)), Time(alone[1], (1e-4,)))
    found = result(threads=2)
    found = replace(found, times=found.times + times, case=replace(found.case, batch=64))
    rows = [row.split(" | ") for row in summary.table([found], {"memory": 5}).splitlines()[4:]]
    said = {(row[0][2:], row[1]): row[2:] for row in rows}
    assert len(said) == len(summary.ASKED)
    assert said["perceptron, batch 32, 64, 128, 512", "faster than every peer"] == [
        "–, 3.00, –, –", "yes |"
    ]  # fmt: skip
    large = "perceptron on two threads, batch 64, 128, 512"
    assert said[large, "≥ 1.7 × our one thread"] == ["2.00, –, –", "yes |"]
    assert said[large, "≥ 2 × the fastest peer on one or two"] == ["3.00, –, –", "yes |"]
    peak = "perceptron, batch 64, 128, 512", "≥ 80 % of the multiply-add peak"
    assert said[peak] == ["50%, –, –", "no |"]
    memory = "memory of a C program that trains the perceptron, without data"
    assert said[memory, "≤ 4 MB"] == ["5.0 MB", "no |"]
    assert said["LeNet-5, batch 64", "≥ 4 × the fastest peer"] == ["not measured", "|"]


def test_the_faster_of_our_two_rows_counts_against_pytorch() -> None:
    alone = Time(Contestant("gradwright_c_alone", "C", 1, ours=True), (1e-4,))
    vgg16 = replace(result().case, model="vgg16", batch=1)
    for times, ahead in ((result().times, "4.00"), ((*result().times, alone), "8.00")):
        cases = [replace(vgg16, kind=kind) for kind in ("forward", "step")]
        found = [replace(result(), case=case, times=times) for case in cases]
        said = summary.table(found, {})
        row = "| VGG16, batch 1, forward and step | faster than PyTorch |"
        assert f"{row} {ahead}, {ahead} | yes |" in said


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(1.5, "1.50 s"), (0.0123456, "12.3 ms"), (8.4e-6, "8.40 µs"), (4e-7, "0.40 µs")],
)
def test_durations(seconds: float, text: str) -> None:
    assert report.duration(seconds) == text


def test_a_race_against_numpy_by_hand(tmp_path: Path) -> None:
    """And what is said of a contestant that takes a step of twice the length."""
    case = Case("perceptron", 2, rate=0.01)
    ours, hand = (Contestant("gradwright_c", "ours", 1, True), Contestant("numpy_by_hand", "hand"))
    with Race(rounds=2, round_seconds=1e-3, say=lambda line: None) as race:
        found = race.run(case, (ours, hand))
        params = tmp_path / "params.npz"
        np.savez(params, **START_OF_PERCEPTRON)
        expected = race._first(race._prepare(case, ours, params), tmp_path / "ours.npz")
        wrong = race._prepare(replace(case, rate=0.02), hand, params)
        other = race._first(wrong, tmp_path / "theirs.npz")
    assert found.reasons == ()
    assert [t.contestant for t in found.times] == [ours, hand]
    assert all(len(t.rounds) == 2 for t in found.times)
    assert found.facts["operations"] == 2 * 2 * (3 * 100_400 - 78_400) + 2 * 2
    assert found.fastest_peer() is found.times[-1]
    assert found.time("numpy_by_hand") is found.times[-1]
    assert found.time("numpy_by_hand", threads=2) is None
    assert "differs by 1.0e+00 of its change" in str(
        disagreement(expected, other, START_OF_PERCEPTRON)
    )


@pytest.mark.parametrize(
    ("figure", "least", "most"), [("allocations", 100, 12_000), ("memory", 1, 4)]
)
def test_figures_that_are_no_race(figure: str, least: float, most: float) -> None:
    before = np.getbufsize()
    try:
        assert least < figures.facts(figure) <= most
    finally:
        np.setbufsize(before)


class Unlucky:
    """A process whose third answer does not come."""

    answers, core = 0, -1

    def move(self, core: int) -> None:
        self.core = core

    def ask(self, **_: object) -> float:
        self.answers += 1
        if self.answers > 2:
            raise CannotRun("the process ended with code -9")
        return 0.5


class Steady(Unlucky):
    def ask(self, **_: object) -> float:
        return 4.0


def test_who_fails_in_a_round_is_out_and_who_is_slow_has_enough(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Race, "figure", lambda *_, cores=(), **__: cores[-1] if cores else 1e11)
    monkeypatch.setattr("benchmarks.race.ALLOWED", {3, 5})
    slow, unlucky = (Contestant(name, name) for name in ("slow", "unlucky"))
    steady = Steady()
    runners = [Runner(slow, steady, 2, 1), Runner(unlucky, Unlucky(), 1, 1)]  # type: ignore[arg-type]
    reasons: list[tuple[Contestant, str]] = []
    peaks = Race(rounds=9, round_seconds=1e-3, say=lambda _: None)._take_turns(runners, reasons)
    assert [r.rounds for r in runners] == [[2.0] * 3]
    assert reasons == [(unlucky, "the process ended with code -9")]
    assert len(peaks) == 3
    assert steady.core == 5


def test_the_quieter_core_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two: the second reads faster, and has the same multiply-adds."""
    at: list[int] = []
    monkeypatch.setattr(os, "sched_setaffinity", lambda _, cores: at.append(*cores), raising=False)
    reading = SimpleNamespace(peak=lambda: 2.0, reading=lambda _: {3: 4.0, 5: 7.0}[at[-1]])
    monkeypatch.setattr(machine, "meter", lambda _: reading)
    assert machine.facts("wall", cores=[3, 5]) == 5
    assert at == [3, 5, 5]


START_OF_PERCEPTRON = {
    f"fc{layer}.{part}": np.random.default_rng(layer).standard_normal(shape).astype(np.float32) / 10
    for layer, sizes in enumerate(((784, 100), (100, 200), (200, 10)), 1)
    for part, shape in (("W", sizes), ("b", sizes[1:]))
}
