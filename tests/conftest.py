"""What every test shares: a cache folder of its own, and no deadline on generated cases.

Emitted C is built into the user's cache folder; here that folder is a temporary one, shared by the
parallel workers, so that tests neither read nor leave anything in the real one.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile

import pytest
from hypothesis import settings

settings.register_profile("gradwright", deadline=None)
settings.load_profile("gradwright")

CACHE = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    """Workers inherit the environment of the process that starts them, and so its folder.

    A shell has what it runs in the background ignore Ctrl-C; tests that send it want it heard.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if not hasattr(config, "workerinput"):
        config.stash[CACHE] = tempfile.mkdtemp(prefix="gradwright-tests-")
        os.environ["XDG_CACHE_HOME"] = config.stash[CACHE]


def pytest_unconfigure(config: pytest.Config) -> None:
    if CACHE in config.stash:
        shutil.rmtree(config.stash[CACHE], ignore_errors=True)
