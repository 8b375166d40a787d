"""The worst error of each comparison, collected while the tests run and printed at the end.

Ops are printed as a table: how many cases (an op with its options) were compared, and the worst
error of outputs and gradients by each target.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

Errors = dict[tuple[str, str], dict[str, float]]
WORST = pytest.StashKey[dict[str, float]]()
OPS = pytest.StashKey[Errors]()
Record = Callable[[str, float], None]
Tabulate = Callable[[str, str, str, float], None]
TARGETS = ("numpy", "c")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[WORST] = {}
    config.stash[OPS] = {}


@pytest.fixture
def record(request: pytest.FixtureRequest) -> Record:
    """`record("against torch", error)` keeps the largest error of each name."""
    worst = request.config.stash[WORST]

    def keep(name: str, error: float) -> None:
        worst[name] = max(error, worst.get(name, 0.0))

    return keep


@pytest.fixture
def tabulate(request: pytest.FixtureRequest) -> Tabulate:
    """`tabulate("conv2d", "conv2d_strided", "c", error)` is a case of an op by a target."""
    ops = request.config.stash[OPS]

    def keep(op: str, case: str, target: str, error: float) -> None:
        ops.setdefault((op, target), {})[case] = error

    return keep


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    ops, worst = terminalreporter.config.stash[OPS], terminalreporter.config.stash[WORST]
    if ops:
        terminalreporter.section("ops against torch in float64, worst error of each")
    for line in table(ops):
        terminalreporter.write_line(line)
    if worst:
        terminalreporter.section("worst errors")
    for name, error in worst.items():
        terminalreporter.write_line(f"{name:60} {error:.1e}")


def table(ops: Errors) -> list[str]:
    """In Markdown: a line for each op, sorted, and one for all of them."""
    if not ops:
        return []
    names = sorted({op for op, _ in ops})
    cases = {op: set[str]().union(*(ops.get((op, t), {}) for t in TARGETS)) for op in names}
    columns = {
        op: [max(ops[op, t].values()) if (op, t) in ops else None for t in TARGETS] for op in names
    }
    every = [max(found.values()) for found in ops.values()]
    return [
        f"| {'op':28} | cases | NumPy   | C       |",
        f"|{'-' * 30}|------:|---------|---------|",
        *(_row(op, len(cases[op]), columns[op]) for op in names),
        f"{len(names)} ops, {sum(map(len, cases.values()))} cases, worst error {max(every):.1e}",
    ]


def _row(op: str, cases: int, errors: list[float | None]) -> str:
    shown = (f"{e:.1e}" if e is not None else "not run" for e in errors)
    return f"| {op:28} | {cases:5} | {' | '.join(shown)} |"
