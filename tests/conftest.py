"""What every test shares: a cache folder of its own, a quick compiler, no deadline on drawn cases.

Emitted C is built into the user's cache folder; here that folder is a temporary one, shared by the
parallel workers, so that tests neither read nor leave anything in the real one. It is built without
optimisation, in a third of the time or less: most tests ask what the C says. Those that ask what
the optimiser makes of it take the fixture `as_users_build`, or name their own compiler. A worker is
one thread: the threads of a matrix product would wait for the other worker's.
"""

from __future__ import annotations

import gc
import os
import shlex
import shutil
import signal
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("gradwright", deadline=None)
settings.load_profile("gradwright")

CACHE = pytest.StashKey[str]()
ASKED = "GRADWRIGHT_TESTS_CC"
QUICK = """#!/bin/sh
for word do
    shift
    [ "$word" = -O3 ] || set -- "$@" "$word"
done
exec {command} "$@"
"""


def pytest_configure(config: pytest.Config) -> None:
    """Workers inherit the environment of the process that starts them, and so its folder.

    A shell has what it runs in the background ignore Ctrl-C; tests that send it want it heard.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    gc.set_threshold(50_000, 20, 100)  # SymPy's trees have few cycles, and looking took a seventh
    if not hasattr(config, "workerinput"):
        config.stash[CACHE] = tempfile.mkdtemp(prefix="gradwright-tests-")
        os.environ["XDG_CACHE_HOME"] = os.environ["GRADWRIGHT_TESTS"] = config.stash[CACHE]
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
        os.environ[ASKED] = os.environ.get("CC", "")
        if command := os.environ[ASKED] or next(filter(shutil.which, ("cc", "gcc", "clang")), None):
            os.environ["CC"] = quick(Path(config.stash[CACHE]) / "quick-cc", command)


def quick(path: Path, command: str) -> str:
    """A compiler that leaves out -O3, as a value of CC."""
    path.write_text(QUICK.format(command=command), encoding="utf-8")
    path.chmod(0o700)
    return shlex.quote(str(path))


def pytest_unconfigure(config: pytest.Config) -> None:
    if CACHE in config.stash:
        shutil.rmtree(config.stash[CACHE], ignore_errors=True)


@pytest.fixture
def as_users_build(monkeypatch: pytest.MonkeyPatch) -> None:
    """Emitted C is built with its own flags, by the compiler that is asked for or that is there."""
    monkeypatch.delenv("CC", raising=False)
    if os.environ[ASKED]:
        monkeypatch.setenv("CC", os.environ[ASKED])
