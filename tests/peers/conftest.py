"""The worst error of each comparison, collected while the tests run and printed at the end."""

from __future__ import annotations

from collections.abc import Callable

import pytest

WORST = pytest.StashKey[dict[str, float]]()
Record = Callable[[str, float], None]


def pytest_configure(config: pytest.Config) -> None:
    config.stash[WORST] = {}


@pytest.fixture
def record(request: pytest.FixtureRequest) -> Record:
    """`record("against torch", error)` keeps the largest error of each name."""
    worst = request.config.stash[WORST]

    def keep(name: str, error: float) -> None:
        worst[name] = max(error, worst.get(name, 0.0))

    return keep


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    worst = terminalreporter.config.stash[WORST]
    if worst:
        terminalreporter.section("worst errors")
    for name, error in worst.items():
        terminalreporter.write_line(f"{name:60} {error:.1e}")
